"""A folder of YAML from somebody else, handed over as --config-dir: it cannot run or write a thing.

Each attack would leave a marker if it came through; `test_the_attacks_are_real` lets one through.
"""

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import configure_log
from omegaconf.basecontainer import BaseContainer

from fashion_mnist.cli.train import main
from fashion_mnist.config.compose import Composer, check, config_folder
from fashion_mnist.config.messages import ConfigError
from tests.builders import data_overrides, make_data

RECIPE = "# @package _global_\n"
# what came through would soon end
NO_DATA = ["data=idx", "data.dir=none", "data.class_names=[a,b]", "tracking.uri=null"]
# attack -> its files, and the words that a user types; MARKER is a path that must stay free
FILES = {
    "callback": (
        {"experiment/x": "hydra: {callbacks: {e: {_target_: os.mkdir, path: MARKER}}}"},
        [],
    ),
    "callback of a group": (
        {"hydra/callbacks/x": "# @package hydra.callbacks\ne: {_target_: os.mkdir, path: MARKER}"},
        ["hydra/callbacks=x"],
    ),
    "callback by its package": (
        {"model/x": "# @package _group_\n_target_: os.mkdir\npath: MARKER"},
        ["+model@hydra.callbacks.e=x"],
    ),
    "callback in a model": (
        {
            "model/x": RECIPE + "defaults: [mlp@model, _self_]\n"
            "hydra: {callbacks: {e: {_target_: os.mkdir, path: MARKER}}}"
        },
        ["model=x"],
    ),
    "callback in a sweep": (
        {
            "sweep/x": RECIPE + "defaults: [default@sweep, _self_]\n"
            "hydra: {callbacks: {e: {_target_: os.mkdir, path: MARKER}}}"
        },
        ["sweep=x"],
    ),
    "factory of a handler": (
        {"experiment/x": "hydra: {job_logging: {handlers: {e: {(): os.mkdir, path: MARKER}}}}"},
        [],
    ),
    "class of a handler": (
        {
            "experiment/x": "hydra: {job_logging: {handlers: {e: {class: logging.FileHandler, "
            "filename: MARKER}}}}"
        },
        [],
    ),
    "handler of Hydra's": (
        {
            "experiment/x": "hydra: {hydra_logging: {handlers: {e: {class: logging.FileHandler, "
            "filename: MARKER}}}}"
        },
        [],
    ),
    "logging of a group": (
        {"hydra/job_logging/x": "version: 1\nhandlers: {e: {(): os.mkdir, path: MARKER}}"},
        ["hydra/job_logging=x"],
    ),
    "stream of a handler": (
        {"experiment/x": "hydra: {job_logging: {handlers: {console: {stream: 'ext://evil.out'}}}}"},
        [],
    ),
    "environment": ({"experiment/x": "hydra: {job: {env_set: {LD_PRELOAD: MARKER}}}"}, []),
    "folder of YAML": ({"experiment/x": "hydra: {output_subdir: MARKER}"}, []),
    "folder of the run": ({"experiment/x": "hydra: {run: {dir: MARKER}}"}, []),
    "folder of the sweep": ({"experiment/x": "hydra: {sweep: {dir: MARKER}}"}, []),
    "name of the log": ({"experiment/x": "hydra: {job: {name: MARKER}}"}, []),
    "launcher of its own": (
        {"hydra/launcher/x": "_target_: zipfile.ZipFile\nfile: MARKER\nmode: w"},
        ["hydra/launcher=x"],
    ),
    "call within a launcher": (
        {
            "hydra/launcher/x": "defaults: [submitit_slurm]\n"
            "additional_parameters: {e: {_target_: os.mkdir, path: MARKER}}"
        },
        ["hydra/launcher=x"],
    ),
    "commands of a launcher": (
        {"hydra/launcher/x": "defaults: [submitit_slurm]\nsetup: [touch MARKER]"},
        ["hydra/launcher=x"],
    ),
    "line of a launcher": (
        {"hydra/launcher/x": 'defaults: [submitit_slurm]\npartition: "a\\ntouch MARKER"'},
        ["hydra/launcher=x"],
    ),
    "interpolation of a launcher": (
        {"hydra/launcher/x": "defaults: [submitit_slurm]\ncomment: ${oc.env:HOME}"},
        ["hydra/launcher=x"],
    ),
    "sweeper of its own": (
        {"hydra/sweeper/x": "_target_: zipfile.ZipFile\nfile: MARKER\nmode: w"},
        ["hydra/sweeper=x"],
    ),
    "object of YAML": ({"experiment/x": "seed: !!python/object/apply:os.mkdir [MARKER]"}, []),
    "module of YAML": ({"experiment/x": "seed: !!python/module:evil"}, []),
}
TYPED = {
    "callback": ["+hydra.callbacks.e={_target_: os.mkdir, path: MARKER}"],
    "factory": ["+hydra.job_logging.handlers.e={class: logging.FileHandler, filename: MARKER}"],
    "call within a launcher": ["+hydra.launcher.e._target_=os.mkdir"],
    "call within a sweeper": ["+hydra.sweeper.e={_target_: os.mkdir, path: MARKER}"],
    "package of YAML": ["hydra.searchpath=[pkg://evil]"],
    "package with a plus": ["++hydra.searchpath=[pkg://evil]"],
}
MODES = [
    [],
    ["-m"],
    ["--dry-run"],
    ["--cfg", "all"],
    ["--info", "all"],
    ["--help"],
    ["--hydra-help"],
]


class MakesFolder:
    """Unpickled, it is a folder."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


Attack = Callable[[dict[str, str], Sequence[str]], list[str]]


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """What no attack may leave."""
    return tmp_path / "MARKER"


@pytest.fixture
def attack(tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch) -> Attack:
    """Lays out files of somebody else, and a module that leaves the marker; the command line."""
    package = tmp_path / "importable" / "evil"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(marker)!r}, 'w')")
    monkeypatch.syspath_prepend(package.parent)

    def lay_out(files: dict[str, str], words: Sequence[str]) -> list[str]:
        for name, text in files.items():
            path = tmp_path / "mine" / f"{name}.yaml"
            path.parent.mkdir(parents=True)
            head = RECIPE if name.startswith("experiment") else ""
            path.write_text(f"{head}{text}\n".replace("MARKER", str(marker)))
        own = [word.replace("MARKER", str(marker)) for word in words]
        chosen = ["experiment=x"] if "experiment/x" in files else []
        folder = ["--config-dir", str(tmp_path / "mine")] if files else []
        return [*folder, *chosen, *own, *NO_DATA]

    return lay_out


def refuse(arguments: Sequence[str], marker: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The program ends with status 2 and a line, and has written nothing; what it said."""
    before = set(Path.cwd().iterdir())
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    said = "".join(capsys.readouterr())  # the mistakes of a sweep's jobs are in its log
    assert not marker.exists()
    assert set(Path.cwd().iterdir()) == before
    assert ended.value.code == 2, said
    assert said.strip()
    assert "Traceback" not in said
    return said


@pytest.mark.parametrize("name", FILES)
def test_a_folder_of_yaml_runs_nothing(
    name: str, attack: Attack, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Callbacks, logging, launchers, paths, YAML tags: all refused before anything is written."""
    said = refuse(attack(*FILES[name]), marker, capsys)
    assert "hydra" in said.lower() or "is no YAML" in said


@pytest.mark.parametrize("name", TYPED)
def test_the_command_line_runs_nothing(
    name: str, attack: Attack, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a line that somebody copied from somewhere calls nothing and imports nothing."""
    said = refuse(attack({}, TYPED[name]), marker, capsys)
    assert "hydra." in said


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_no_flag_leads_past_the_check(
    mode: list[str], attack: Attack, marker: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs, sweeps, dry runs, and flags that only show something."""
    arguments = attack(*FILES["handler of Hydra's"])
    assert "hydra.hydra_logging" in refuse([*mode, *arguments], marker, capsys)


@pytest.mark.parametrize("flag", ["--config-path", "--config-name", "--experimental-rerun"])
def test_no_other_config_takes_the_place_of_ours(
    flag: str, attack: Attack, marker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra's flags for a package, another file, and a pickle."""
    (tmp_path / "pickle").write_bytes(pickle.dumps(MakesFolder(str(marker))))
    values = {
        "--config-path": "pkg://evil",
        "--config-name": "../x",
        "--experimental-rerun": "pickle",
    }
    attack({}, [])
    assert flag in refuse([flag, values[flag]], marker, capsys)


def test_no_job_of_a_sweep_runs_what_a_run_may_not(
    attack: Attack,
    marker: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The second job's files are looked at as the first one's."""
    folder = attack(FILES["class of a handler"][0], [])[:2]
    (tmp_path / "mine/experiment/good.yaml").write_text(f"{RECIPE}seed: 1\n")
    data = data_overrides(make_data(tmp_path / "data"))
    words = ["experiment=good,x", "tracking.uri=null", *data]
    small = ["data.validation_size=20", "training.batch_size=16"]
    said = refuse(["-m", *folder, *words, *small], marker, capsys)
    assert "hydra.job_logging" in said


def test_the_attacks_are_real(attack: Attack, marker: Path, tmp_path: Path) -> None:
    """What Hydra would do with two of them, were they not refused."""
    for name in ("class of a handler", "callback by its package"):
        files, words = FILES[name]
        arguments = attack(files, words)[2:]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            place = f"hydra.searchpath=[file://{tmp_path / 'mine'}]"
            config = compose("train", [*arguments, place], return_hydra_config=True)
        assert not marker.exists()
        if name == "class of a handler":
            config.hydra.job_logging.handlers = {"e": config.hydra.job_logging.handlers.e}
            config.hydra.job_logging.root.handlers = []
            configure_log(config.hydra.job_logging)
            marker.unlink()
        else:
            Callbacks(config)
            marker.rmdir()


def test_what_is_harmless_stays_free(tmp_path: Path) -> None:
    """A file may choose an installed launcher; its options and Hydra's folders may be typed."""
    (tmp_path / "experiment").mkdir()
    own = tmp_path / "experiment/cluster.yaml"
    own.write_text(f"{RECIPE}defaults: [override /hydra/launcher: submitit_slurm]\nseed: 3\n")
    words = ["experiment=cluster", "hydra.launcher.setup=['module load x; y']"]
    words += ["hydra.launcher.partition=gpu", "hydra/job_logging=none"]
    words += ["hydra.run.dir=here", "hydra.sweep.dir=there", "hydra.verbose=true"]
    job = Composer(str(tmp_path)).job(words)
    assert (job.config.seed, job.choices["hydra/launcher"]) == (3, "submitit_slurm")
    own.write_text(f"{own.read_text()}hydra: {{launcher: {{partition: gpu}}}}\n")
    with pytest.raises(ConfigError, match=r"hydra\.launcher must not be changed by a YAML file"):
        Composer(str(tmp_path)).job(["experiment=cluster"])


def test_a_folder_of_any_name_is_searched(tmp_path: Path) -> None:
    """Brackets, commas, quotes and spaces in its path are no syntax of Hydra's."""
    folder = tmp_path / "my [conf], it's 100% $mine" / "{x}"
    (folder / "model").mkdir(parents=True)
    (folder / "model/own.yaml").write_text("defaults: [mlp, _self_]\nwidth: 77\n")
    assert Composer(str(folder)).job(["model=own"]).config.model.width == 77


def test_no_interpolation_runs_code() -> None:
    """`${name:…}` reads variables, versions, the time, other keys: a resolver more wants a look."""
    check([])
    assert set(BaseContainer._resolvers) <= {
        *("oc.create", "oc.decode", "oc.deprecated", "oc.dict.keys", "oc.dict.values"),
        *("oc.env", "oc.select", "now", "hydra", "python_version", "ray_pkg_version"),
    }
