"""Makes the environment .venv. scripts/environment calls it when something has to be made.

Standard library only. What .venv holds tells its state:
  unfinished      while something is being installed; a kill leaves it, and all is made again
  ready-for-KIND  the folder that .venv was made in; its time is that of the newer of SOURCES
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
UNFINISHED = VENV / "unfinished"
SOURCES = (ROOT / "pyproject.toml", ROOT / "requirements.txt")

# What to install for whom; each includes what those before it have.
REQUIREMENTS = {
    "train": ".",
    "test": ".[dev,submitit,ray,notebook,server]",
}

# What tests start besides Python, by a program of each: pages are looked at, and runs recorded in
# a database. Without them these tests are skipped.
SYSTEM_PACKAGES = {"chromium": "chromium", "pg_ctlcluster": "postgresql"}

# What training, a sweep's summary, the uploader and the pages import. uv writes no bytecode, and
# without it torch takes 6 seconds to import instead of 2.
WARMED = (
    "torch",
    "hydra.main",
    "rich.progress",
    "safetensors.torch",
    "typer",
    "matplotlib.backends.backend_agg",
    "optuna.importance",
    "mlflow.pyfunc",
    "mlflow.server.fastapi_app",
    "mlflow.store.tracking.sqlalchemy_store",
)
IMPORT_EACH = """
import contextlib, importlib, sys
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
"""


def say(message: str) -> None:
    """Writes to standard error: standard output belongs to the program that is set up."""
    print(f"set-up: {message}", file=sys.stderr, flush=True)


def call(
    command: Sequence[str], *, folder: Path | None = None, env: dict[str, str] | None = None
) -> int:
    """Runs a command that asks nothing and prints to standard error; its exit status."""
    return subprocess.run(
        command,
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        close_fds=False,  # so that it holds the lock too: it may outlive this program's kill
        check=False,
    ).returncode


def require(command: Sequence[str], failure: str) -> None:
    """Runs a command in the project's folder.

    Raises:
        SystemExit: it failed; the line says what could not be done.
    """
    if status := call(command, folder=ROOT):
        raise SystemExit(f"set-up: {failure} (exit status {status}, see above)")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Holds the lock under which .venv is changed; says so when it has to wait."""
    with (ROOT / ".venv.lock").open("w", encoding="utf-8") as lock:
        os.set_inheritable(lock.fileno(), True)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another one is setting up {VENV}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_ready(kind: str) -> bool:
    """Asks scripts/environment, where the rule stands."""
    ask = 'source "$1" && environment_is_ready "$2"'
    return call(["bash", "-c", ask, "bash", str(ROOT / "scripts" / "environment"), kind]) == 0


def is_whole() -> bool:
    """Whether .venv can be installed into: not half made, not moved, and its Python runs."""
    if UNFINISHED.exists() or not os.access(PYTHON, os.X_OK):
        return False
    # programs in a moved .venv still start the Python of the old place
    moved = any(
        stamp.read_text(encoding="utf-8") != f"{ROOT}\n" for stamp in VENV.glob("ready-for-*")
    )
    return not moved and call([PYTHON, "-c", ""]) == 0


def make() -> None:
    """Makes .venv anew, empty but for pip, and marks it unfinished."""
    try:
        import ensurepip  # noqa: F401 - Debian has venv without it
    except ImportError:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise SystemExit(
            f"set-up: {sys.executable} cannot make environments, it has no ensurepip; "
            f"on Debian and Ubuntu `apt-get install python{version}-venv` brings it"
        ) from None
    if VENV.exists():
        say(f"making {VENV} again: the one that is there was left half made, moved or broken")
        # bin goes first: killed in the middle, .venv must not look whole
        shutil.rmtree(VENV / "bin", ignore_errors=True)
        shutil.rmtree(VENV)
    VENV.mkdir()
    UNFINISHED.touch()
    # the resolved name has the version in it, so that the link breaks when the system's Python
    # goes from 3.11 to 3.12, and does not silently lead to one without our packages
    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    require([str(base), "-m", "venv", str(VENV)], "could not make an environment")


def find_uv() -> str:
    """The path of uv: that of .venv, else the user's own, else .venv gets one."""
    own = VENV / "bin" / "uv"
    if not own.exists():
        if found := shutil.which("uv"):
            return found
        pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
        require(pip, "could not install uv")
    return str(own)


def install(kind: str) -> None:
    """Installs the project, editable, with what `kind` needs, in the versions of the lock."""
    uv_install = [find_uv(), "pip", "install", "--python", PYTHON]
    constrained = ["-e", REQUIREMENTS[kind], "-c", "requirements.txt"]
    require([*uv_install, *constrained], "could not install the packages")


def warm_up() -> None:
    """Imports what the commands will import, so that its bytecode is written now."""
    say("compiling what was installed, half a minute")
    env = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    own = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "fashion_mnist").rglob("*.py")
        if "plugins" not in path.parts
    ]
    call([PYTHON, "-W", "ignore", "-c", IMPORT_EACH, *WARMED, *own], env=env)


def set_up(kind: str) -> None:
    """Brings .venv from whatever state it is in to ready.

    Raises:
        SystemExit: with one line, if it cannot.
    """
    made_from_ns = max(source.stat().st_mtime_ns for source in SOURCES)
    whole = is_whole()
    if whole:
        say(f"bringing {VENV} up to date: seconds, or minutes if much is new")
        UNFINISHED.touch()
    else:
        say(
            f"first use: making {VENV}, two or three minutes with a fast network; on Linux it "
            "downloads 3 GB and fills 6 (less with UV_TORCH_BACKEND=cpu in front of the command)"
        )
        make()
    try:
        install(kind)
    except SystemExit:
        if whole:  # uv resolves and downloads first: nothing was changed
            UNFINISHED.unlink()
        raise
    warm_up()
    kinds = list(REQUIREMENTS)
    for ready in kinds[: kinds.index(kind) + 1]:
        stamp = VENV / f"ready-for-{ready}"
        stamp.write_text(f"{ROOT}\n", encoding="utf-8")
        os.utime(stamp, ns=(made_from_ns, made_from_ns))  # an edit since then makes it stale
    UNFINISHED.unlink()


def install_system_package(name: str) -> bool:
    """Lets apt-get install a package if it is there and we may; whether it did."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    say(f"installing the system's package {name}")
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    call(["apt-get", "update", "-qq"], env=env)
    return call(["apt-get", "install", "-y", "-qq", name], env=env) == 0


def fetch_data() -> None:
    """Finds or downloads Fashion-MNIST; where neither works, says so and leaves it at that."""
    fetch = [str(VENV / "bin" / "fmnist"), "fetch"]
    if call(fetch) == 0:
        return
    if install_system_package("dataset-fashion-mnist") and call(fetch) == 0:
        return
    say("Fashion-MNIST is not here yet: training will say how to get it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=REQUIREMENTS)
    parser.add_argument(
        "--again", action="store_true", help="install what is missing, even where .venv is ready"
    )
    options = parser.parse_args()
    kind = options.kind
    with alone():
        if is_ready(kind) and not options.again:  # another one made it while this one waited
            return
        set_up(kind)
        fetch_data()
        if kind == "test" and os.environ.get("CI") == "true":
            for program, package in SYSTEM_PACKAGES.items():
                if shutil.which(program) is None:
                    install_system_package(package)
        say("done")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("set-up: stopped; the next use starts it again") from None
