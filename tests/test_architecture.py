"""Which packages may import which, and which may see a config."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "fashion_mnist"
# from the lowest: a module imports from its own layer or from layers below
LAYERS = [
    {"runs.files", "runs.signals"},  # know nothing of runs; all packages write files
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


def part_of(name: str) -> str:
    """The package, or the module with a layer of its own, that a dotted name belongs to."""
    words = name.removeprefix("fashion_mnist.").split(".")
    own = ".".join(words[:2])
    return own if any(own in layer for layer in LAYERS) else words[0]


def layer_of(part: str) -> int:
    """The number of its layer."""
    return next(number for number, layer in enumerate(LAYERS) if part in layer)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    """No module imports from a layer above its own."""
    own = part_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    if own == "__init__":
        return
    runtime = {name for name in imports(path) if name.startswith("fashion_mnist.")}
    above = {name for name in runtime if layer_of(part_of(name)) > layer_of(own)}
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
def test_libraries_stay_in_their_packages(path: Path) -> None:
    """MLflow in tracking, Hydra where a command is composed; configs stop at the runs."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    own = "fmnist train" if parts in {("cli", "train"), ("cli", "hydra_jobs")} else parts[0]
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
