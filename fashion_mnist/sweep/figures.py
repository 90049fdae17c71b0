"""What people call a run's figures, and how many digits of them are worth reading."""

from fashion_mnist.metrics.statistics import Statistic
from fashion_mnist.sweep.scale import ABSENT

FIGURE_NAMES = {
    "final/val_accuracy": "validation accuracy",
    "final/val_f1_macro": "validation macro F1",
    "final/val_loss": "validation loss",
    "final/epoch": "epoch",
    "test/accuracy": "test accuracy",
    "test/f1_macro": "test macro F1",
    "test/loss": "test loss",
}


def figure_name(key: str) -> str:
    """What people call a figure."""
    return FIGURE_NAMES.get(key, key)


def figure_text(key: str, value: float) -> str:
    """A figure's value with the digits that are worth reading."""
    return f"{value:,.0f}" if key == "parameters" else f"{value:.4f}"


def statistic_text(key: str, figure: Statistic | None) -> str:
    """`0.8912 ± 0.0021`, or the one value; how many there are is for the caller to say."""
    if figure is None:
        return ABSENT
    mean = figure_text(key, figure.mean)
    # sizes that are the same for all runs of a setting have no spread worth a word
    is_spread = figure.std is not None and (figure.std > 0 or key != "parameters")
    return f"{mean} ± {figure_text(key, figure.std or 0)}" if is_spread else mean


def p_text(p: float) -> str:
    """`p = 0.21`, `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"
