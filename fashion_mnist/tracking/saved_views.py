"""The pages that MLflow opens on: results, curves with confusion matrices, one for each sweep.

MLflow keeps a saved view as an experiment's tag. The form is undocumented (seen in 3.17);
`tests/test_ui.py` looks at the pages in a browser.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fashion_mnist.tracking.recorded import DIRECTIONS, SCORE

VIEWS_VERSION = "2"  # raise it when a view changes: experiments that have an older one get the new
VIEW_TAG = "mlflow.sharedViewState"
VERSION_TAG = "fashion_mnist.views"
TABLE_VIEW, TABLE_NAME = "results", "Results"
CHARTS_VIEW, CHARTS_NAME = "curves", "Curves and confusion matrices"

COLUMNS = {  # in this order, with widths in pixels that show the whole name
    "metrics.`final/val_accuracy`": 145,
    "metrics.`final/val_f1_macro`": 135,
    "metrics.`test/accuracy`": 110,
    "metrics.`test/f1_macro`": 110,
    "params.`model.width`": 105,
    "params.`model.depth`": 100,
    "params.`model.activation`": 125,
    "params.`optimizer.name`": 120,
    "params.`optimizer.lr`": 95,
    "params.`model.hidden_sizes`": 150,
}
SWEEP_METRICS = {SCORE: 145, "final/val_f1_macro": 135, "test/accuracy": 110}
CURVES = ("train/loss", "val/loss", "val/accuracy")
IMAGES = ("validation/confusion_matrix", "test/confusion_matrix")
# MLflow reverses the shown runs in a card of images, and no key of the state prevents that; in
# ascending order of the table it would show the worst ten
MATRICES_NAME = "Confusion matrices of the ten best runs, the best one last"

NOTE = """Networks described in YAML, one a run. Open **Results** or **Curves and confusion \
matrices** with the button on the right.

- `final/…` is measured on the validation split, with the weights that the run is left with: those
  of the last epoch, or of the best one under early stopping. `test/…` is the test set.
- Rows of a confusion matrix are the true classes, columns the predicted ones. A click enlarges it.
"""


def view_links(server: str, experiment_id: str) -> dict[str, str]:
    """The pages of both views by name, on a server such as `http://127.0.0.1:5000`."""
    # the workflow type hides the pages on language models, which are what MLflow shows first
    page = f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return {
        TABLE_NAME: f"{page}&viewStateShareKey={TABLE_VIEW}",
        CHARTS_NAME: f"{page}&viewStateShareKey={CHARTS_VIEW}&compareRunsMode=CHART",
    }


def sweep_link(server: str, experiment_id: str, key: str) -> str:
    """The page of a sweep's view, with its charts, that `Event log.view` made under this key."""
    page = f"{server}/#/experiments/{experiment_id}/runs?workflowType=machine_learning"
    return f"{page}&viewStateShareKey={key}&compareRunsMode=CHART"


def experiment_tags(present: Mapping[str, str]) -> dict[str, str]:
    """The tags that an experiment with these tags lacks; a view that a user changed is kept."""
    if present.get(VERSION_TAG) == VIEWS_VERSION:
        return {}
    note = {} if "mlflow.note.content" in present else {"mlflow.note.content": NOTE}
    return note | {
        f"{VIEW_TAG}.{TABLE_VIEW}": saved_view(TABLE_NAME, common_state()),
        f"{VIEW_TAG}.{CHARTS_VIEW}": saved_view(CHARTS_NAME, charts_state()),
        VERSION_TAG: VIEWS_VERSION,
    }


def saved_view(name: str, state: Mapping[str, Any]) -> str:
    """A view's tag: its name under the Views button, and the page's state."""
    # the dates only order the list of views
    return json.dumps({"name": name, "createdAt": 1, "updatedAt": 1, "state": json.dumps(state)})


def common_state(score: str = SCORE) -> dict[str, Any]:
    """All runs that are not deleted, the best by this metric first."""
    return {
        "searchFilter": "",
        "orderByKey": f"metrics.`{score}`",
        "orderByAsc": DIRECTIONS.get(score) == "minimize",
        "startTime": "ALL",
        "lifecycleFilter": "Active",  # this spelling, or the table is empty
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": list(COLUMNS),
        "columnOrder": list(COLUMNS),
        "columnWidths": COLUMNS,
        "runsHiddenMode": "FIRST_10_RUNS",  # the charts draw the ten best
    }


def charts_state() -> dict[str, Any]:
    """Curves in one section, the confusion matrices of all shown runs in another."""
    curves = [line_chart(metric, "curves") for metric in CURVES]
    images = [image_chart(key, "matrices") for key in IMAGES]
    return common_state() | {
        "compareRunCharts": [*curves, *images],
        "compareRunSections": [
            section("curves", "Curves", columns=3, height=360),
            section("matrices", MATRICES_NAME, columns=1, height=620),
        ],
        "isAccordionReordered": True,  # else the sections are sorted by name
        "runListHidden": True,  # its room lets two matrices stand side by side on a laptop
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
    }


def sweep_view(
    name: str, columns: Sequence[str], axes: Sequence[str], score: str, run_id: str
) -> str:
    """The view's tag: the children of this run, the best first.

    Args:
        columns: parameters, the table's first columns.
        axes: parameters, the axes of a chart.
        score: the metric that settings are ranked by.
    """
    widths = {f"params.`{column}`": max(60, 20 + 7 * len(column)) for column in columns}
    metrics = {score: 145} | SWEEP_METRICS
    widths |= {f"metrics.`{metric}`": width for metric, width in metrics.items()}
    charts = [parallel_chart(axes, score, "axes"), bar_chart(score, "scores")]
    state = common_state(score) | {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
        "selectedColumns": list(widths),
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "FIRST_20_RUNS",  # but the parallel coordinates draw all
        "compareRunCharts": [*charts, line_chart("val/accuracy", "scores")],
        "compareRunSections": [
            section("axes", "What was swept", columns=1, height=400),
            section("scores", "Scores", columns=2, height=400),
        ],
        "isAccordionReordered": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0},
    }
    return saved_view(name, state)


def parallel_chart(axes: Sequence[str], metric: str, section: str) -> dict[str, Any]:
    """A line for each run across the parameters' axes, to the metric's."""
    state = chart("PARALLEL", metric, section)
    return state | {"selectedParams": list(axes), "selectedMetrics": [metric], "showAllRuns": True}


def bar_chart(metric: str, section: str) -> dict[str, Any]:
    """The metric's last value, a bar for each run."""
    return chart("BAR", metric, section) | {"metricKey": metric, "runsCountToCompare": 20}


def section(key: str, name: str, *, columns: int, height: int) -> dict[str, Any]:
    """A group of charts; height of a chart in pixels."""
    state = {"uuid": key, "name": name, "columns": columns, "cardHeight": height}
    return state | {"display": True, "isReordered": True, "deleted": False, "isGenerated": False}


def line_chart(metric: str, section: str) -> dict[str, Any]:
    """The metric against the epoch, a line for each run."""
    state = chart("LINE", metric, section) | {"metricKey": metric, "selectedMetricKeys": [metric]}
    state |= {"xAxisKey": "step", "displayName": metric}
    return state | {"lineSmoothness": 0, "useGlobalLineSmoothing": True}


def image_chart(key: str, section: str) -> dict[str, Any]:
    """The image logged under this key, one for each run."""
    state = chart("IMAGE", key, section)
    return state | {"imageKeys": [key], "step": 0, "showRunParams": False}


def chart(kind: str, key: str, section: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": f"{kind.lower()} {key}",
        "metricSectionId": section,
        "runsCountToCompare": 10,
        "deleted": False,
        "isGenerated": False,
    }
