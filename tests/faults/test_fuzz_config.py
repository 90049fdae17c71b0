"""Any config at all gives a run's settings or `ConfigError`: no traceback, no folder, no hang.

The inputs are the same at every start. What broke once is an example of its own.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fashion_mnist.config.compose import Composer, check
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.config.overrides import parse_override
from fashion_mnist.config.parse import parse
from fashion_mnist.config.schema import SweepConfig, flatten, nested
from fashion_mnist.sweeps.definition import Sweep, check_sweep
from fashion_mnist.sweeps.space import read_space, sweep_id
from tests.builders import default_tree

pytestmark = pytest.mark.long

SECONDS = 20  # for one input, on the slowest machine: what hangs takes for ever
HUGE = st.sampled_from([30, 400, 5000]).map(lambda digits: 10**digits)  # Python writes 4300 digits
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), HUGE, HUGE.map(lambda n: -n))
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["x" * 10_000, "²", "٣", "１", "\0", "\x1b[31m", "${x}", "${seed}", "$", "../x"]
    ),
    st.sampled_from(["range(10**12)", "range(0,1,1e-300)", "glob(*)", "1,2", "null", "nan", "???"]),
)
SCALARS = st.one_of(st.none(), NUMBERS, WORDS)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.text(max_size=5), SCALARS), inner, max_size=4),
    ),
    max_leaves=8,
)
KEYS = [*sorted(flatten(parse(default_tree()))), "model", "data.augment", "sweep", "x"]


def fuzz(examples: int) -> Callable[[Any], Any]:
    """So many inputs, the same ones at every start."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=1000 * SECONDS,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def only_mistakes() -> Iterator[list[str]]:
    """Within, mistakes may be found, each said in a line, and nothing is written; the mistakes."""
    problems: list[str] = []
    try:
        yield problems
    except ConfigError as error:
        problems += error.problems or ["nothing said"]
    assert all("\n" not in problem and 0 < len(problem) < 2500 for problem in problems)
    assert list(Path.cwd().iterdir()) == []


@fuzz(250)
@given(st.dictionaries(st.sampled_from(KEYS), TREES, min_size=1, max_size=4))
def test_any_value_at_any_key(changes: dict[str, Any]) -> None:
    """Numbers of any size, texts of any kind, trees where a number belongs."""
    node = default_tree()
    for key, value in changes.items():
        *path, name = key.split(".")
        inner = node
        for part in path:
            inner = inner.setdefault(part, {}) if isinstance(inner, dict) else {}
        if isinstance(inner, dict):
            inner[name] = value
    with only_mistakes():
        parse(node)


@fuzz(250)
@given(st.one_of(st.text(max_size=20), st.tuples(st.sampled_from(KEYS), WORDS).map("=".join)))
def test_any_override(text: str) -> None:
    """What is no override is a problem in words."""
    problems: list[str] = []
    assert (parse_override(text, problems) is None) == bool(problems)
    assert all("\n" not in problem for problem in problems)


ATTACKS = {
    "digits": "1" * 5000,
    "hexadecimal digits": "0x" + "f" * 5000,
    "brackets": "[" * 3000 + "]" * 3000,
    "some brackets": "[" * 60 + "]" * 60,
    "braces": "{a:" * 400 + "1" + "}" * 400,
    "range": "range(10**12)",
    "long range": "range(0,1000000000000)",
    "fine range": "range(0,1,1e-300)",
    "endless number": "1e999",
    "NUL": "a\0b",
    "surrogate": "\udcff",
    "interpolations": "${seed}" * 99,
    "interpolation of itself": "${model.width}",
    "a megabyte": "x" * 1_000_000,
}


@pytest.mark.parametrize("value", ATTACKS.values(), ids=ATTACKS)
def test_overrides_that_broke_something(value: str) -> None:
    """Refused, or taken, in no time; of a run and of a sweep."""
    words = [f"model.width={value}", f"+nokey={value}"]
    with only_mistakes() as problems:
        check(words)
    assert problems
    with only_mistakes():
        check_sweep(words, Composer())


BODIES = st.one_of(
    st.dictionaries(
        st.one_of(st.sampled_from(["defaults", "width", "hydra", "axes", "<<"]), SCALARS), TREES
    ).map(lambda tree: dump(tree)),
    st.binary(max_size=60),
    st.text("ab:- \n[]{}&*!#|>'\"%@`,?0.$~<\t", max_size=60).map(str.encode),
)


def dump(tree: Any) -> bytes:
    """A tree as YAML; nothing where YAML has no words for it."""
    try:
        return yaml.safe_dump(tree, allow_unicode=True).encode()
    except ValueError:
        return b""


@fuzz(25)
@given(st.sampled_from(["model", "experiment", "sweep"]), BODIES)
def test_any_file_of_a_users_folder(
    tmp_path_factory: pytest.TempPathFactory, group: str, body: bytes
) -> None:
    """YAML that is none, and YAML that is no config."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / group).mkdir()
    (folder / group / "x.yaml").write_bytes(body)
    with only_mistakes():
        if group == "sweep":
            check_sweep(["sweep=x"], Composer(str(folder)))
        else:
            Composer(str(folder)).job([f"{group}=x"])


def chain(line: str, first: str, length: int = 12) -> str:
    """Lines of which each names the one before, several times."""
    return first + "".join(line.format(k, k - 1) for k in range(1, length))


BOMBS = {
    "aliases": chain("a{0}: &a{0} [" + ",".join(["*a{1}"] * 9) + "]\n", "a0: &a0 [x, x]\n"),
    "merges": chain("a{0}: &a{0} {{<<: [" + ",".join(["*a{1}"] * 9) + "]}}\n", "a0: &a0 {x: 1}\n"),
    "interpolations": chain("a{0}: " + "${{model.a{1}}}" * 9 + "\n", "a0: xxxxxxxxx\n"),
    "lists": chain("a{0}: [" + ",".join(["'${{model.a{1}}}'"] * 9) + "]\n", "a0: [1, 2]\n"),
    "defaults": "defaults: [" + ",".join(f"y1@a{k}" for k in range(4)) + "]\n",
    "a list within itself": "a: &a [*a]\n",
    "a file within itself": "defaults: [x]\n",
    "depth": "a: " + "[" * 5000 + "]" * 5000,
    "length": "a: " + "x" * 10_000_000,
    "values": "a: [" + "1," * 60_000 + "]",
    "digits": "width: " + "1" * 5000,
    "hexadecimal digits": "width: 0x" + "f" * 5000,
    "sexagesimal digits": "width: 1" + ":1" * 3000,
    "a set": "width: !!set {a}",
}


@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS)
def test_a_file_that_would_fill_the_memory(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Aliases, merges, interpolations, defaults that multiply each other: refused at once."""
    folder = tmp_path_factory.mktemp("mine") / "model"
    folder.mkdir()
    (folder / "x.yaml").write_text(text)
    for k in range(1, 12):
        more = ",".join(f"y{k + 1}@a{number}" for number in range(4))
        (folder / f"y{k}.yaml").write_text(f"defaults: [{more}]\n")
    with only_mistakes() as problems:
        Composer(str(folder.parent)).job(["model=x"])
    assert problems


@cache
def search_settings() -> SweepConfig:
    """Of a search, as the YAML has them."""
    return Composer().sweep(["sweep.sampler=tpe"])


RANGES = st.fixed_dictionaries(
    {"low": NUMBERS, "high": NUMBERS},
    optional={"log": st.booleans(), "num": NUMBERS, "step": NUMBERS, "x": SCALARS},
)
AXES = st.one_of(st.sampled_from(["model.width", "seed", "model", "a.b, +c", "hydra.x"]), WORDS)


@fuzz(300)
@given(
    st.dictionaries(AXES, st.one_of(RANGES, TREES), max_size=4),
    st.dictionaries(AXES, st.one_of(TREES, st.dictionaries(AXES, TREES, max_size=2)), max_size=2),
    st.sampled_from([None, 1, 10**6]),
)
def test_any_sweep(axes: dict[str, Any], when: dict[str, Any], limit: int | None) -> None:
    """Axes, ranges and conditions: a grid within bounds, edges of a search, or mistakes."""
    with only_mistakes():
        space = read_space([], axes=axes, when=when, composer=Composer())
        sweep_id(space, sampler="tpe", objectives=["parameters"], data_sha256=[])
        sweep = Sweep(search_settings(), space, Composer(), ())
        assert sweep.words() is not None
        assert sweep.samples()
        assert len(space.grid(limit)) <= (limit or 100_000)


@fuzz(60)
@given(st.randoms(use_true_random=False))
def test_any_config_that_a_run_left(chance: random.Random) -> None:
    """`config/resolved.yaml` says the same config again; with letters changed, it or a mistake."""
    config = parse(default_tree())
    text = yaml.safe_dump(nested(flatten(config)), sort_keys=False)
    assert parse(yaml.safe_load(text)) == config
    letters = list(text)
    for _ in range(chance.randint(1, 6)):
        letters[chance.randrange(len(letters))] = chance.choice("0a:-[]{}&*!#\"' \n\t~\0²")
    try:
        node = yaml.safe_load("".join(letters))
    except (yaml.YAMLError, ValueError):
        return
    with only_mistakes():
        parse(node)
