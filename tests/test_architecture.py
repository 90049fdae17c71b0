"""The rooms of the house: who may import whom, and who may see a config."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fashion_mnist"
# from the ground up: a module imports from its own floor or from floors below
FLOORS = [
    {"process"},
    {"runs.files", "runs.signals"},  # a room each: they know nothing of runs, and all write files
    {"metrics", "templates"},
    {"data", "models", "plots"},
    {"training"},
    {"config"},
    {"runs"},
    {"tracking"},
    {"launchers"},
    {"analysis", "maintenance"},
    {"sweeps"},
    {"plugins"},
    {"cli"},
    {"__main__"},
]
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Dotted names of everything that a file imports, at any depth of the code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str:
    """The room of a dotted name in the package: its first word, or a room of its own in `runs`."""
    words = name.removeprefix("fashion_mnist.").split(".")
    own = ".".join(words[:2])
    return own if any(own in rooms for rooms in FLOORS) else words[0]


def floor(name: str) -> int:
    """The floor that a room is on."""
    return next(number for number, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """No module imports from a floor above its own."""
    own = room(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if own == "__init__":
        return
    runtime = {name for name in imports(path) if name.startswith("fashion_mnist.")}
    above = {name for name in runtime if floor(room(name)) > floor(own)}
    assert not above


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_text_files_name_their_encoding(path: Path) -> None:
    """Outside UTF-8 locales a name of a class would end a run. ruff sees only plain `open`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            has_encoding = any(keyword.arg == "encoding" for keyword in node.keywords)
            num_needed = {"read_text": 0, "write_text": 1}.get(node.func.attr)
            assert num_needed is None or has_encoding or len(node.args) > num_needed, node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    """MLflow in tracking, Hydra at the door; nothing below the runs knows of configs."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = "fmnist train" if parts == ("cli", "train") else parts[0]
    libraries = {name.partition(".")[0] for name in imports(path)}
    assert "mlflow" not in libraries or own == "tracking"
    assert not libraries & {"hydra", "omegaconf"} or own in {
        "config",
        "plugins",
        "sweeps",
        "fmnist train",
    }
    assert "matplotlib" not in libraries or own == "plots"
    assert "matplotlib.pyplot" not in imports(path)  # it holds figures and obeys MPLBACKEND
    assert "optuna" not in libraries or own in {"analysis", "sweeps"}
    assert not libraries & {"ray", "submitit"} or own == "launchers"
    # the wording of messages, and the reader of plain YAML, are for all
    schema = ("fashion_mnist.config.schema", "fashion_mnist.config.compose")
    knows_configs = any(name.startswith(schema) for name in imports(path))
    assert not knows_configs or own in {
        "config",
        "runs",
        "sweeps",
        "analysis",
        "fmnist train",
        "plugins",
    }
    assert "pickle" not in libraries
