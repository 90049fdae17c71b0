"""The tables of results: what the script names is there, and it writes within its marks."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from fashion_mnist.config.compose import Composer

SCRIPTS = Path(__file__).parents[1] / "scripts" / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, as Python finds it when it is started."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import results

    yield results
    sys.modules.pop("results")


def test_every_recipe_and_sweep_it_names_is_there(results: ModuleType) -> None:
    """All recipes have a row; what they were chosen by can be run again."""
    assert sorted(results.RECIPES) == Composer().options("experiment")
    sweeps = Composer().options("sweep")
    searches = {name for own in results.RECIPES.values() for name in own}
    assert {f"recipes/{name}" for name in searches | set(results.SWEEPS)} <= set(sweeps)
    assert {name for own in results.ENSEMBLES for name in own} <= set(results.RECIPES)
    assert {results.OVER_COPIES, *results.ALONE} <= set(results.RECIPES)


def test_differences_are_taken_seed_by_seed(results: ModuleType) -> None:
    """Of 0.5, 0.7 and 0.9 points: the mean 0.7, and Student's interval of three values."""
    first = {"0": 0.9, "1": 0.8, "2": 0.7}
    other = {"2": 0.709, "1": 0.807, "0": 0.905}
    assert results.difference_from(first, other) == "+0.70 (+0.20 to +1.20)"
    assert results.difference_from(first, first) == ""


def test_a_setting_is_named_by_what_differs(results: ModuleType) -> None:
    """The first by all that varies, another by what it has otherwise; never by the seed."""
    keys = ("epochs", "mixup", "ema", "seed")
    rows = [("20", "1.0", "0.9", "0"), ("20", "1.0", "0.9", "1"), ("20", "0.0", "0.9", "0")]
    rows += [("20", "1.0", "null", "1")]
    sweep = [dict(zip(keys, row, strict=True)) for row in rows]
    told = [results.setting_of(own, sweep) for own in sweep]
    assert told == ["`mixup=1.0` `ema=0.9`"] * 2 + ["`mixup=0.0`", "`ema=null`"]


def test_a_table_replaces_the_one_between_its_marks(results: ModuleType, tmp_path: Path) -> None:
    """In every file that has them; nothing else changes, and without marks nothing is written."""
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text("before\n<!-- a -->\nold\n<!-- /a -->\n<!-- b -->\n<!-- /b -->\nafter\n")
    other.write_text("<!-- a -->\nolder\n<!-- /a -->\n")
    results.write_between_marks([page, other], "a", "| \\1 |")
    results.write_between_marks([other, page], "b", "new")
    expected = "before\n<!-- a -->\n| \\1 |\n<!-- /a -->\n<!-- b -->\nnew\n<!-- /b -->\nafter\n"
    assert page.read_text() == expected
    assert other.read_text() == "<!-- a -->\n| \\1 |\n<!-- /a -->\n"
    with pytest.raises(SystemExit, match=r"no marks <!-- c --> and <!-- /c --> in .*page.md"):
        results.write_between_marks([page], "c", "x")
    assert page.read_text() == expected


def test_every_table_has_its_marks(results: ModuleType) -> None:
    """In the chapter on recipes; the README shows the same table of the recipes."""
    root = SCRIPTS.parents[1]
    chapter, readme = (root / "docs" / "recipes.md").read_text(), (root / "README.md").read_text()
    for name in ("recipes", *results.SWEEPS):
        assert f"<!-- {name} -->\n" in chapter
        assert f"<!-- /{name} -->" in chapter
    [table] = re.findall(r"<!-- recipes -->.*<!-- /recipes -->", readme, re.DOTALL)
    assert table in chapter
