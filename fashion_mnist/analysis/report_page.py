"""A report as one HTML page that needs nothing beside it, to read on a screen or in print."""

from collections.abc import Sequence
from html import escape

from fashion_mnist.analysis.details import grouped
from fashion_mnist.analysis.leaderboard import (
    count_text,
    interval_text,
    notes,
    standing_text,
    tested_text,
)
from fashion_mnist.analysis.report import Gap, Report
from fashion_mnist.analysis.report_origin import fingerprints, origin_rows, wall_seconds
from fashion_mnist.analysis.report_pictures import (
    calibration_pictures,
    confusion_pictures,
    cost_picture,
    effect_pictures,
    gap_picture,
    leaderboard_pictures,
    pair_pictures,
)
from fashion_mnist.analysis.report_rows import (
    Row,
    calibration_rows,
    class_rows,
    cost_rows,
    gap_rows,
    pair_rows,
    score_rows,
)
from fashion_mnist.analysis.report_words import answer, question
from fashion_mnist.console import duration, plural
from fashion_mnist.metrics.classification import absent_classes
from fashion_mnist.page import code, html_page, section, table
from fashion_mnist.runs.results import FAILURE_TAG
from fashion_mnist.sweep.labels import ABSENT, metric_name, short_names, short_value, statistic_text
from fashion_mnist.sweep.summary_page import effect_tables
from fashion_mnist.tracking.recorded import SCORE, SWEEP_COMMAND_TAG, TEST_SCORE

MOST_AXES = 6  # as columns of their own; more are told in one
MOST_LISTED = 20  # failed runs; runs of one setting
WORDS = {"setting", "class", "classes", "F1 of", ""}  # columns that stand on the left


def report_page(report: Report) -> str:
    """The page."""
    first, *others = answer(report)
    title = f"Report: {report.subject.title}"
    one = report.is_one_run
    best = "" if one or len(report.board.settings) == 1 else " of the best setting"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<div class="best"><p><b>{escape(first)}</b></p>{_paragraphs(others)}</div>',
        *section("The question", [_paragraphs(question(report))]),
        *section("Scores" if one else "Leaderboard", _leaderboard(report)),
        *section("Main effects", _effects(report), on_new_sheet=True),
        *section(f"Right and wrong answers{best}", _confusion(report), on_new_sheet=True),
        *section("The best setting and the second", _gap(report), on_new_sheet=True),
        *section("Classes that are taken for each other", _pairs(report), on_new_sheet=True),
        *section(f"Calibration{best}", _calibration(report), on_new_sheet=True),
        *section("Costs", _costs(report)),
        *section("How to repeat it", _repeat(report), on_new_sheet=True),
    ]
    return html_page(title, parts)


def _leaderboard(report: Report) -> list[str]:
    pictures = leaderboard_pictures(report)
    if report.is_one_run:
        return [*_scores(report), *pictures, *_failures(report)]
    told = [_faint(note) for note in notes(report.board)]
    spread = "± is the standard deviation over a setting's runs (n − 1), the interval Student's t."
    return [_board(report), _faint(spread), *told, *pictures, *_failures(report)]


def _board(report: Report) -> str:
    """The settings that are shown; those level with the best stand on a ground of their own."""
    board = report.board
    names = short_names(board.axes) if len(board.axes) <= MOST_AXES else {}
    has_test = any(setting.test for setting, _ in board.shown)
    head = ["", *(names.values() or ["setting"]), metric_name(SCORE), "95 % interval", "runs"]
    head += ["vs. best", *([metric_name(TEST_SCORE)] if has_test else [])]
    rows, classes = [], []
    for place, (setting, standing) in enumerate(board.shown, start=1):
        values = [short_value(setting.values.get(axis, ABSENT)) for axis in names]
        cells = [str(place) if setting.score else ABSENT, *(values or [board.label(setting)])]
        cells += [statistic_text(SCORE, setting.score), interval_text(setting) or ABSENT]
        cells += [count_text(board, setting), standing_text(standing)]
        cells += [tested_text(setting)] if has_test else []
        rows.append([escape(cell) for cell in cells])
        kinds = {"best": "winner near", "not significantly different": "near"}
        classes.append(kinds.get(standing.verdict, ""))
    left = set(range(1, 1 + max(len(names), 1))) | {head.index("vs. best")}
    return table(head, rows, left=left, classes=classes)


def _scores(report: Report) -> list[str]:
    if not report.winner:
        return [_faint(f"What it said of its images is not known: {report.no_winner}")]
    several = len(report.winner[0].runs) > 1
    note = [_faint("Mean ± std (n − 1) over its networks.")] if several else []
    return [_table(score_rows(report)), *note, *_missing(report)]


def _effects(report: Report) -> list[str]:
    pictures, tables = effect_pictures(report), effect_tables(report.ranked)
    return [*pictures, *tables] if any([*pictures, *tables]) else []


def _confusion(report: Report) -> list[str]:
    if not report.winner:
        return [] if report.is_one_run else _scores(report)
    pooled = report.winner[0]
    absent = absent_classes(pooled.counts, pooled.class_names)
    several = f" of {len(pooled.runs)} networks, summed" if len(pooled.runs) > 1 else ""
    return [
        *([] if report.is_one_run else _scores(report)),
        confusion_pictures(report),
        f"<h3>Classes: answers on the {escape(pooled.split)} split{several}</h3>",
        _table(class_rows(pooled)),
        *([_faint(absent)] if absent else []),
    ]


def _gap(report: Report) -> list[str]:
    gap = report.gap
    if len(report.board.settings) == 1:
        return []
    if not isinstance(gap, Gap):
        return [_faint(f"Their confusion matrices cannot be set against each other: {gap}.")]
    second = report.board.label(report.board.settings[1])
    pairs = f", summed over {gap.num_pairs} seeds that both have" if gap.num_pairs > 1 else ""
    words = (
        f"The second: {second}. On the same images of the {report.winner[0].split} split{pairs}."
    )
    return [f"<p>{escape(words)}</p>", gap_picture(gap), _table(gap_rows(gap))]


def _pairs(report: Report) -> list[str]:
    if not report.winner:
        return []
    why = f"The images are not shown: {report.no_images}" if report.no_images else ""
    rows = pair_rows(report)
    if not rows:
        return ["<p>There are no mistakes.</p>"]
    note = f"On the {report.winner[0].split} split, all networks' answers together."
    return [_faint(note), _table(rows), _faint(why) if why else "", *pair_pictures(report)]


def _calibration(report: Report) -> list[str]:
    if not report.winner:
        return []
    note = (
        "How far the probabilities can be believed; the lower the better. ECE: the mean distance "
        "of confidence from accuracy; Brier score: mean squared error of the probabilities; "
        "negative log-likelihood in nats."
    )
    return [_table(calibration_rows(report)), _faint(note), *calibration_pictures(report)]


def _costs(report: Report) -> list[str]:
    runs = report.runs
    spent = sum(run.duration.total_seconds() for run in runs if run.duration)
    wall = wall_seconds(runs)
    words = f"From the first start to the last end: {duration(wall)}. " if wall is not None else ""
    words += f"All runs' times together: {duration(spent)}. "
    words += "Runs of a stack are trained together: each has the time of the whole stack."
    return [f"<p>{escape(words)}</p>", _table(cost_rows(report)), cost_picture(report)]


def _repeat(report: Report) -> list[str]:
    parts = []
    for sweep in report.subject.sweeps:
        if SWEEP_COMMAND_TAG in sweep.tags:
            parts.append(f"<p>The sweep {escape(sweep.name)}, again or on from here:</p>")
            parts.append(f"<pre>{escape(sweep.tags[SWEEP_COMMAND_TAG])}</pre>")
    for (setting, _), (command, why) in zip(report.board.shown, report.commands, strict=True):
        parts.append(f"<h3>{escape(report.board.label(setting))}</h3>")
        parts.append(f"<pre>{escape(command)}</pre>" if command else _faint(why))
        own = fingerprints(setting)
        listed = "<br>".join(
            f"run {code(run_id)} fingerprint {code(mark)}" for run_id, mark in own[:MOST_LISTED]
        )
        more = f"<br>and {len(own) - MOST_LISTED:,} more" if len(own) > MOST_LISTED else ""
        parts.append(f'<p class="faint">{listed}{more}</p>')
    note = "A command that names YAML of one's own needs --config-dir with its folder, as it did."
    origin = [[escape(name), escape(value)] for name, value in origin_rows(report.runs)]
    parts += [_faint(note), "<h3>Made of and on</h3>", table(["", ""], origin, left={0, 1})]
    run = next(iter(report.best.runs.values()))
    rows = [[escape(group), escape(words)] for group, words in grouped(run.parameters)]
    whose = "" if len(report.board.settings) == 1 else " of the best setting"
    heading = f"<h3>Configuration{whose}: {escape(run.name)}</h3>"
    return [*parts, heading, table(["", ""], rows, left={0, 1})]


def _failures(report: Report) -> list[str]:
    failed = [run for run in report.runs if run.status == "FAILED"]
    if not failed:
        return []
    rows = [
        [code(run.run_id[:8]), escape(run.name), escape(run.tags.get(FAILURE_TAG, ""))]
        for run in failed[:MOST_LISTED]
    ]
    hidden = len(failed) - len(rows)
    more = [_faint(f"and {plural(hidden, 'more run')}")] if hidden else []
    return ["<h3>Failed</h3>", table(["", "run", "why"], rows, left={0, 1, 2}), *more]


def _missing(report: Report) -> list[str]:
    lines = [why for own in report.winner for why in own.missing]
    lines += [report.no_winner] if report.no_winner else []
    return [_faint(f"Left out: {why}") for why in lines[:MOST_LISTED]]


def _table(rows: Sequence[Row]) -> str:
    head = list(dict.fromkeys(key for row in rows for key in row))
    cells = [[escape(row.get(key, "")) for key in head] for row in rows]
    return table(head, cells, left={n for n, key in enumerate(head) if key in WORDS})


def _paragraphs(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _faint(words: str) -> str:
    return f'<p class="faint">{escape(words)}</p>'
