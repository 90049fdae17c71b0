"""The package as others get it: built from a copy of the repository, installed without it."""

import gzip
import os
import struct
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import PathDistribution
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
UV = Path(sys.executable).parent / "uv"
PLUGINS = "fashion_mnist/plugins/"
SOURCE_FOLDERS = ("conf", "fashion_mnist", "scripts", "tests")


def run(*command: str | Path, folder: Path) -> str:
    """Standard output of a command that must succeed."""
    without_python_path = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=folder, env=without_python_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository in which something was trained."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in SOURCE_FOLDERS:
        copytree(REPOSITORY / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for path in REPOSITORY.iterdir():
        if path.is_file() and path.name not in {"mlflow.db", ".venv.lock"}:
            (folder / path.name).write_bytes(path.read_bytes())
    for written in ("outputs/run/weights.safetensors", "data/images", "mlruns/0/x", "mlflow.db"):
        (folder / written).parent.mkdir(parents=True, exist_ok=True)
        (folder / written).touch()
    return folder


@pytest.fixture(scope="module")
def built(checkout: Path) -> Path:
    """The folder with the source distribution and with the wheel that was built from it."""
    run(sys.executable, "-m", "build", "--no-isolation", folder=checkout)
    return checkout / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    """The wheel's path."""
    [path] = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment with the wheel and this environment's other packages."""
    environment = tmp_path_factory.mktemp("environment")
    run(UV, "venv", "--offline", "--python", sys.executable, ".", folder=environment)
    python = environment / "bin" / "python"
    run(
        *(UV, "pip", "install", "--offline", "--no-deps", "--python", python, wheel),
        folder=environment,
    )
    # a path in a .pth brings packages, and not the editable install's own .pth among them
    [site_packages] = environment.glob("lib/python*/site-packages")
    (site_packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes uint8 values as a gzipped IDX file: magic number, big-endian sizes, bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_two_classes(folder: Path) -> None:
    """Four IDX files, 120 training and 40 test images: class 1 is bright, class 0 is dark."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for split, size in (("train", 120), ("t10k", 40)):
        labels = (np.arange(size) % 2).astype(np.uint8)
        noise = generator.integers(0, 100, (size, 28, 28))
        images = (noise + 150 * labels[:, None, None]).astype(np.uint8)
        write_idx(folder / f"{split}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", labels)


def test_wheel_holds_modules_templates_and_configs(wheel: Path) -> None:
    """Each module and template as it is here, and each YAML of conf under fashion_mnist/conf.

    Hydra looks for plugins in a package at the top.
    """
    expected = {
        path.relative_to(REPOSITORY).as_posix().removeprefix(PLUGINS): path.read_bytes()
        for pattern in ("*.py", "*.html")
        for path in (REPOSITORY / "fashion_mnist").rglob(pattern)
    } | {
        f"fashion_mnist/{path.relative_to(REPOSITORY).as_posix()}": path.read_bytes()
        for path in (REPOSITORY / "conf").rglob("*.yaml")
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist() if ".dist-info" not in name}
    assert "fashion_mnist/conf/train.yaml" in held
    assert {name: held.get(name) for name in expected} == expected
    assert {name.split("/")[0] for name in held} == {"fashion_mnist", "hydra_plugins"}


def test_source_distribution_leaves_results_out(built: Path) -> None:
    """What training wrote into the repository does not travel."""
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {name.split("/")[1] for name in archive.getnames()}
    assert held >= {*SOURCE_FOLDERS, "LICENSE", "pyproject.toml", "requirements.txt"}
    assert not held & {"outputs", "data", "mlruns", "mlflow.db", "dist"}


def test_lock_pins_what_the_wheel_requires(wheel: Path) -> None:
    """requirements.txt has a version for each dependency, those of the extras included."""
    with zipfile.ZipFile(wheel) as archive:
        [info] = {name.split("/")[0] for name in archive.namelist() if ".dist-info" in name}
        requires = PathDistribution(zipfile.Path(archive, f"{info}/")).requires or []
    lock = (REPOSITORY / "requirements.txt").read_text()
    pinned = {line.split("==")[0].lower() for line in lock.splitlines() if "==" in line}
    names = {requirement.split(";")[0].strip() for requirement in requires}
    names = {"".join(c if c.isalnum() or c in "-_" else " " for c in n).split()[0] for n in names}
    assert {name.lower() for name in names} - pinned == set()


def test_installed_package_trains_from_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    """`fmnist train` needs neither the repository nor its conf, and writes below the folder."""
    data, empty = tmp_path / "data of mine", tmp_path / "empty"
    write_two_classes(data)
    empty.mkdir()
    where = "import fashion_mnist; print(fashion_mnist.__file__)"
    assert Path(run(installed / "python", "-c", where, folder=empty).strip()).is_relative_to(
        installed.parent
    )
    run(
        *(installed / "fmnist", "train", "data=idx", f"data.dir='{data}'"),
        *("data.class_names=[dark,bright]", "data.validation_size=20", "training.batch_size=20"),
        *("training.epochs=1", "model.width=8", "tracking.uri=null"),
        folder=empty,
    )
    assert [path.name for path in empty.iterdir()] == ["outputs"]


def test_installed_package_takes_a_users_own_config(installed: Path, tmp_path: Path) -> None:
    """`--config-dir mine` adds a folder of YAML beside the packaged one."""
    write_two_classes(tmp_path / "data")
    own = tmp_path / "mine" / "data" / "brightness.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(
        f"defaults: [idx, _self_]\nname: brightness\ndir: {tmp_path / 'data'}\n"
        "class_names: [dark, bright]\nvalidation_size: 20\n"
    )
    run(
        *(installed / "fmnist", "train", "--config-dir", "mine", "data=brightness"),
        *("training.batch_size=20", "training.epochs=1", "model.width=8", "tracking.uri=null"),
        folder=tmp_path,
    )
    assert (tmp_path / "outputs").is_dir()
