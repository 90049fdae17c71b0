"""The notebook for students: it runs from top to bottom, and is committed as it ran."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode

from fashion_mnist.config.compose import Composer, check
from fashion_mnist.sweeps.definition import check_sweep
from tests.builders import make_data

pytestmark = pytest.mark.long

NOTEBOOK = Path(__file__).parents[1] / "scripts" / "fashion_mnist_task.ipynb"
LARGEST_BYTES = 400_000
# where it counts: the settings, in place of those of the cell with the tag "parameters"
SMALL = """
folder = Path({folder!r})
data = {data!r}
hidden_sizes, batch_size, num_epochs, num_tuning_epochs = [16, 12], 20, 2, 1
"""
FIGURES = """
import json
print(json.dumps({
    "difference": difference,
    "by_hand": by_hand[-1]["val/loss"],
    "framework": run.history()[-1]["val/loss"],
    "scores": scores.to_dict(),
    "chosen": float(winner["final/val_accuracy"]),
    "runs": runs["final/val_accuracy"].tolist(),
    "tested": int(runs["test/accuracy"].count()),
}))
"""


@pytest.fixture
def notebook() -> NotebookNode:
    """As it is committed."""
    read: NotebookNode = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]  # nbformat's are untyped
    return read


def code_cell(source: str) -> NotebookNode:
    """A cell to be run."""
    cell: NotebookNode = nbformat.v4.new_code_cell(source)  # type: ignore[no-untyped-call]  # the same
    return cell


def test_it_runs_from_top_to_bottom(
    notebook: NotebookNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a small data set: no cell fails, and all that computes a figure gets the same one."""
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    pictures = make_data(
        tmp_path / "pictures", num_train=400, num_test=100, num_classes=10, image_shape=(28, 28)
    )
    data = [
        "data.name=small",
        f"data.dir={pictures}",
        "data.validation_size=100",
        "tracking.uri=null",
    ]
    cells = notebook.cells
    [place] = [k for k, c in enumerate(cells) if "parameters" in c.metadata.get("tags", [])]
    cells.insert(place + 1, code_cell(SMALL.format(folder=str(tmp_path / "runs"), data=data)))
    cells.append(code_cell(FIGURES))
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()

    texts = [output.get("text", "") for c in cells for output in c.get("outputs", [])]
    assert "x1b" not in "".join(texts)  # a notebook wants colours, and the tables are plain text
    figures = json.loads(cells[-1].outputs[-1].text)
    assert figures["difference"] < 1e-3
    assert figures["by_hand"] == pytest.approx(figures["framework"], abs=1e-3)
    for own in figures["scores"].values():
        assert own == pytest.approx(figures["scores"]["scikit-learn"], abs=1e-6)
    assert len(figures["runs"]) == 6
    assert figures["chosen"] == max(figures["runs"])
    assert figures["tested"] == 1  # the test set is read for the one that is chosen


def test_it_is_committed_with_its_outputs(notebook: NotebookNode) -> None:
    """Run once from top to bottom, without an error, small, and of no particular machine."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 4
    assert NOTEBOOK.stat().st_size < LARGEST_BYTES
    words = [str(cell.source) for cell in notebook.cells] + [o.get("text", "") for o in outputs]
    assert not re.search(r"(?<![\w.:/])/(home|root|tmp|usr|work)\b|\x1b|\\x1b", "\n".join(words))


def test_commands_that_it_proposes_are_taken(notebook: NotebookNode) -> None:
    """What it says may be tried next is no mistake."""
    commands = re.findall(r"^\.\./train (.*?) *#", notebook.cells[-1].source, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        words = command.replace("'", "").split()
        if "-m" in words:
            check_sweep([word for word in words if word != "-m"], Composer())
        else:
            check(words)
