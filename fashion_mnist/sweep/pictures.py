"""Pictures of a sweep's settings: the leaderboard, importances, and all the others together.

Lengths and font sizes are points. A picture that there is nothing to draw for is None.
"""

from collections.abc import Mapping, Sequence

from fashion_mnist.canvas import (
    BLUE,
    END,
    FAINT,
    INK,
    VERMILION,
    Box,
    Canvas,
    Text,
    text_width,
    write_heading,
)
from fashion_mnist.plots.axes import Span, clipped, draw_dots, draw_ticks_below, span_over
from fashion_mnist.sweep.axis_pictures import effects_picture, parallel_picture
from fashion_mnist.sweep.chart import WIDTH, draw_whisker, ends
from fashion_mnist.sweep.curves import curves_picture
from fashion_mnist.sweep.figures import figure_name, statistic_text
from fashion_mnist.sweep.heat_map import heat_map_picture
from fashion_mnist.sweep.leaderboard import Leaderboard, Setting, count_text
from fashion_mnist.sweep.pareto import pareto_picture
from fashion_mnist.sweep.scale import ABSENT, short_names, short_value


def sweep_pictures(
    board: Leaderboard, *, shares: Mapping[str, float], objectives: Sequence[str]
) -> dict[str, Canvas]:
    """All pictures that this sweep has something to show for, by their names.

    Args:
        shares: the importance of each axis.
    """
    pictures = {
        "leaderboard": leaderboard_picture(board),
        "main_effects": effects_picture(board, shares),
        "heat_map": heat_map_picture(board, shares),
        "learning_curves": curves_picture(board),
        "parallel_coordinates": parallel_picture(board),
        "importance": importance_picture(board, shares),
        "pareto_front": pareto_picture(board, objectives),
    }
    return {name: canvas for name, canvas in pictures.items() if canvas}


def leaderboard_picture(board: Leaderboard, limit: int = 20) -> Canvas | None:
    """The best settings in rows: values, each run as a dot, mean ± std, number of runs."""
    shown = board.scored[:limit]
    if not shown:
        return None
    columns = _columns(board, shown)
    left = 14 + sum(width + 12 for _, _, width in columns)
    right, top, row = left + 300, 66.0, 18.0
    bottom = top + row * len(shown)
    canvas = Canvas(right + 162, bottom + 34)
    runs = [run.figures[board.score] for setting in shown for run in setting.scored_runs]
    span = span_over([*runs, *ends(s.score for s in shown if s.score)], left, right)
    draw_ticks_below(canvas, span, span.round_numbers(5), top - 4, bottom)
    x = 14.0
    for name, texts, width in columns:
        canvas.texts.append(Text(x, top - 12, clipped(name, 8, width), 8, FAINT))
        for number, words in enumerate(texts):
            canvas.texts.append(Text(x, top + row * (number + 0.5), words, 9))
        x += width + 12
    for words, end in (("mean ± std", right + 104), ("runs", canvas.width - 8)):
        canvas.texts.append(Text(end, top - 12, words, 8, FAINT, END))
    for number, setting in enumerate(shown):
        _draw_row(canvas, board, setting, span, top + row * (number + 0.5))
    total, what = len(board.settings), figure_name(board.score)
    which = f"the best {len(shown)} of {total} settings" if total > 1 else "one setting"
    which = f"all {total} settings" if total == len(shown) > 1 else which
    caption = "Pale dots: runs. Line: mean ± std over the runs of a setting, n − 1."
    write_heading(canvas, [(f"{what.capitalize()}: {which}", 12, INK), (caption, 9, FAINT)])
    return canvas


def importance_picture(board: Leaderboard, shares: Mapping[str, float]) -> Canvas | None:
    """A bar for each axis: its share of the differences between settings."""
    if not shares:
        return None
    num_settings = len(board.scored)
    left, top, row = 180.0, 56.0, 20.0
    canvas = Canvas(WIDTH, top + row * len(shares) + 10)
    span = Span(0, max(shares.values()), left, WIDTH - 60)
    for number, (axis, share) in enumerate(shares.items()):
        y = top + row * (number + 0.5)
        canvas.texts.append(Text(left - 6, y, clipped(axis, 9, left - 14), 9, INK, END))
        canvas.boxes.append(Box(left, y - 6, max(span.at(share), left + 1), y + 6, BLUE))
        canvas.texts.append(Text(span.at(share) + 6, y, f"{share:.1%}", 9, FAINT))
    title = f"What the differences in {figure_name(board.score)} come from"
    caption = (
        f"Share of the variance that an axis explains alone, by fANOVA over {num_settings} settings"
    )
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    return canvas


def _columns(board: Leaderboard, shown: Sequence[Setting]) -> list[tuple[str, list[str], float]]:
    """The differing axes as columns: name, texts, width; narrower where they are many."""
    names = short_names(board.axes)
    texts = {axis: [short_value(s.values.get(axis, ABSENT)) for s in shown] for axis in board.axes}
    widths = {
        axis: max(text_width(words, 9) for words in [names[axis], *texts[axis]])
        for axis in board.axes
    }
    room = max(420 / max(len(widths), 1) - 12, 24)
    spare = 420 - sum(min(width, room) + 12 for width in widths.values())
    wide = sum(width > room for width in widths.values())
    room += max(spare, 0) / max(wide, 1)
    return [
        (
            names[axis],
            [clipped(words, 9, min(widths[axis], room)) for words in texts[axis]],
            min(widths[axis], room),
        )
        for axis in board.axes
    ]


def _draw_row(canvas: Canvas, board: Leaderboard, setting: Setting, span: Span, y: float) -> None:
    color = VERMILION if setting is board.winner else BLUE
    runs = [run.figures[board.score] for run in setting.scored_runs]
    if setting.score:
        draw_whisker(canvas, setting.score, span, y, color)
    if len(runs) > 1:
        draw_dots(canvas, [(span.at(run), y) for run in runs], "#a9a9a9", 1.8)
    words = statistic_text(board.score, setting.score)
    canvas.texts.append(Text(span.end + 104, y, words, 9, color, END))
    canvas.texts.append(Text(canvas.width - 8, y, count_text(setting), 9, INK, END))
