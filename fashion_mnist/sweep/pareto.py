"""The settings that no other beats in all objectives, and their picture. Lengths are points."""

import math
from collections.abc import Sequence

import numpy as np

from fashion_mnist.canvas import (
    END,
    FAINT,
    INK,
    MIDDLE,
    VERMILION,
    Canvas,
    Line,
    Text,
    text_width,
    write_heading,
)
from fashion_mnist.plots.axes import clipped, draw_ticks_below, draw_ticks_left, span_over
from fashion_mnist.sweep.chart import WIDTH, draw_whisker, ends, power_ticks
from fashion_mnist.sweep.figures import figure_name, statistic_text
from fashion_mnist.sweep.leaderboard import Leaderboard, Setting, count_text, lower_is_better


def pareto_picture(board: Leaderboard, objectives: Sequence[str]) -> Canvas | None:
    """The first objective over the second, and the settings that no other beats in both."""
    if len(objectives) < 2:
        return None
    first, second = objectives[:2]
    found = [s for s in board.scored if first in s.figures and second in s.figures]
    if not found:
        return None
    front = pareto_front(found, objectives)
    left, top, bottom = 60.0, 48.0, 288.0
    canvas = Canvas(WIDTH, bottom + 44 + 16 * min(len(front), 12))
    costs = [setting.figures[second].mean for setting in found]
    is_log = min(costs) > 0 and max(costs) / min(costs) >= 8

    def cost(setting: Setting) -> float:
        mean = setting.figures[second].mean
        return math.log10(mean) if is_log else mean

    across = span_over(map(cost, found), left, WIDTH - 12)
    up = span_over(ends([s.figures[first] for s in found]), bottom, top)
    draw_ticks_left(canvas, up, up.round_numbers(6), left, WIDTH - 12)
    draw_ticks_below(
        canvas, across, power_ticks(across) if is_log else across.round_numbers(6), top, bottom
    )
    words = figure_name(second) + (", logarithmic" if is_log else "")
    canvas.texts.append(Text((left + WIDTH) / 2, bottom + 22, words, 9, FAINT, MIDDLE))
    for setting in found:
        if setting not in front:
            figure = setting.figures[first]
            draw_whisker(canvas, figure, up, across.at(cost(setting)), "#b5b5b5", is_upright=True)
    places = [(across.at(cost(s)), up.at(s.figures[first].mean)) for s in front]
    canvas.lines.append(Line(np.array(places), VERMILION, 1.0))
    for number, (setting, (x, y)) in enumerate(zip(front, places, strict=True), start=1):
        draw_whisker(canvas, setting.figures[first], up, x, VERMILION, is_upright=True)
        if number <= 12:
            canvas.texts.append(Text(x - 5, y - 8, str(number), 8.5, VERMILION, END))
            _write_line(
                canvas, setting, board.label(setting), objectives, number, bottom + 26 + 16 * number
            )
    title = f"{figure_name(first).capitalize()} against {figure_name(second)}"
    caption = f"{len(front)} of {len(found)} settings, in orange: no other is better in both"
    write_heading(canvas, [(title, 12, INK), (caption, 9, FAINT)])
    return canvas


def pareto_front(settings: Sequence[Setting], objectives: Sequence[str]) -> list[Setting]:
    """The settings that no other beats in one objective and equals in the rest, by the second."""

    def losses(setting: Setting) -> list[float]:
        signs = (1 if lower_is_better(key) else -1 for key in objectives)
        means = (setting.figures[key].mean for key in objectives)
        return [sign * mean for sign, mean in zip(signs, means, strict=True)]

    known = [s for s in settings if all(key in s.figures for key in objectives)]
    all_losses = np.array([losses(setting) for setting in known]).reshape(-1, len(objectives))
    front = [
        setting
        for setting, own in zip(known, all_losses, strict=True)
        if not ((all_losses <= own).all(axis=1) & (all_losses < own).any(axis=1)).any()
    ]
    return sorted(front, key=lambda setting: setting.figures[objectives[-1]].mean)


def _write_line(
    canvas: Canvas, setting: Setting, label: str, objectives: Sequence[str], number: int, y: float
) -> None:
    """Writes which setting a number in the picture is, and its figures."""
    figures = [statistic_text(key, setting.figures[key]) for key in objectives[:2]]
    words = f"{' at '.join(figures)} {figure_name(objectives[1])} (n = {count_text(setting)})"
    canvas.texts.append(Text(60, y, str(number), 8.5, VERMILION, END))
    canvas.texts.append(Text(WIDTH - 12, y, words, 8.5, INK, END))
    room = WIDTH - 100 - text_width(words, 8.5)
    canvas.texts.append(Text(68, y, clipped(label, 8.5, room), 8.5))
