"""A sweep's space: one notation in YAML and on the command line, and exactly the jobs it means."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from fashion_mnist.config.compose import Composer, config_folder
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.sweeps.axes import Axis, read_axis, text_of
from fashion_mnist.sweeps.definition import check_sweep
from fashion_mnist.sweeps.space import Space, read_space, sweep_id

FILES = Composer().options("sweep")


def space(*overrides: str, when: dict[str, Any] | None = None, **axes: Any) -> Space:
    """A space of these axes, whose dots are written as __, under these overrides."""
    named = {key.replace("__", "."): value for key, value in axes.items()}
    return read_space(overrides, axes=named, when=when or {}, composer=Composer())


def values(*overrides: str, **axes: Any) -> list[str]:
    """The texts of the only axis there is, in a grid."""
    return [text for job in space(*overrides, **axes).grid() for text in job.values()]


def problems(*overrides: str, axes: dict[str, Any] | None = None, when: Any = None) -> list[str]:
    """What is wrong with a space."""
    with pytest.raises(ConfigError) as caught:
        read_space(overrides, axes=axes or {}, when=when or {}, composer=Composer())
    return caught.value.problems


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ([0.0, 1e-3, 5], ["0.0", "0.001", "5"]),
        ([None, True, "relu", "1", "a b"], ["null", "true", "relu", "'1'", "'a b'"]),
        ([[512, 256], [64]], ["[512,256]", "[64]"]),
        ([{"a": 1}, {}], ["{a:1}", "{}"]),
        ([1, 1, 2], ["1", "2"]),
        ({"low": 1, "high": 4}, ["1", "2", "3", "4"]),
        ({"low": 1, "high": 8, "step": 3}, ["1", "4", "7"]),
        ({"low": 0.1, "high": 0.3, "step": 0.1}, ["0.1", "0.2", "0.3"]),
        ({"low": 0, "high": 1, "num": 3}, ["0", "1"]),
        ({"low": 0.0, "high": 1, "num": 3}, ["0.0", "0.5", "1.0"]),
        ({"low": 1e-4, "high": 1e-2, "log": True, "num": 3}, ["0.0001", "0.001", "0.01"]),
        ({"low": 1e-5, "high": 2e-5, "log": True, "num": 3}, ["1e-05", "1.41421e-05", "2e-05"]),
        ({"low": 16, "high": 64, "log": True, "num": 3}, ["16", "32", "64"]),
        ("range(3)", ["0", "1", "2"]),
        ("range(1, 8, 3)", ["1", "4", "7"]),
        ("range(0, 0.4, 0.1)", ["0.0", "0.1", "0.2", "0.3"]),
        ("range(3, 0, -1)", ["1", "2", "3"]),
        ("choice(a, b)", ["a", "b"]),
        ("3, null", ["3", "null"]),
    ],
)
def test_yaml_says_values_and_ranges(notation: Any, expected: list[str]) -> None:
    """Both ends are in a range, but for Hydra's own, which leaves its stop out."""
    assert values(some__key=notation) == expected


@pytest.mark.parametrize(
    ("key", "notation", "expected"),
    [
        ("model.dropout", {"low": 0, "high": 1, "num": 5}, "0.0 0.25 0.5 0.75 1.0"),
        ("training.ema", {"low": 0, "high": 1, "num": 3}, "0.0 0.5 1.0"),  # or null
        ("loss.label_smoothing", {"low": 0, "high": 1, "step": 1}, "0.0 1.0"),
        ("optimizer.weight_decay", {"low": 1, "high": 4, "log": True, "num": 3}, "1.0 2.0 4.0"),
        ("schedule.final", {"low": 0, "high": 1, "num": 3}, "0.0 0.5 1.0"),
        ("model.activation_options.beta", {"low": 1, "high": 2, "num": 3}, "1.0 1.5 2.0"),
        ("optimizer.weight_decay", "range(0, 3)", "0.0 1.0 2.0"),
        ("model.depth", {"low": 1.0, "high": 3}, "1 2 3"),
        ("training.epochs", {"low": 1e1, "high": 1e3, "log": True, "num": 3}, "10 100 1000"),
        ("schedule.num_steps", {"low": 1.0, "high": 5.0, "num": 3}, "1 3 5"),
        ("training.threads", {"low": 1.0, "high": 1.5, "num": 2}, "1.0 1.5"),  # refused when run
    ],
)
def test_a_keys_type_says_whether_a_range_is_of_whole_numbers(
    key: str, notation: Any, expected: str
) -> None:
    """However its ends are written; in a group, and in an option of a function."""
    assert list(read_axis((key,), notation).values()) == [(text,) for text in expected.split()]


def test_a_range_of_a_search_is_of_its_keys_type() -> None:
    """Whole on the command line too, where Hydra's intervals never are."""
    first, second = space("model.depth=interval(1,8)", "model.dropout=interval(0,1)").searched
    assert [type(each) for each in (first.low, first.high, second.low)] == [int, int, float]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("model.width=128,256", ["128", "256"]),
        ("optimizer.lr=1e-3,3e-3", ["0.001", "0.003"]),
        ("model=small,'wide'", ["small", "wide"]),
        ("model.hidden_sizes=[512,256],[64],null", ["[512,256]", "[64]", "null"]),
        ("seed=range(2)", ["0", "1"]),
        ("seed=shuffle(range(2))", ["0", "1"]),
        ("data.normalize=true,false", ["true", "false"]),
        ("model=glob(*,exclude=[m*,d*,l*])", ["small", "wide"]),
        ("model.dropout=sort(0.3,0.1)", ["0.1", "0.3"]),
    ],
)
def test_command_line_says_the_same_in_hydras_grammar(override: str, expected: list[str]) -> None:
    """Values are written one way, however they were typed."""
    assert values(override) == expected


def test_intervals_are_ranges_for_a_search() -> None:
    """With Hydra's tag for logarithms and its cast for whole numbers, as YAML says them."""
    typed = space(
        "a=interval(0,1)",
        "b=tag(log,interval(1e-4,1e-2))",
        "c=int(interval(1,8))",
        "d=range(2,9,2)",
    )
    assert typed.searched == (
        Axis(("a",), None, 0.0, 1.0),
        Axis(("b",), None, 1e-4, 1e-2, log=True),
        Axis(("c",), None, 1, 8),
        Axis(("d",), None, 2, 8, step=2),
    )
    yaml = space(
        a={"low": 0.0, "high": 1.0},
        b={"low": 1e-4, "high": 1e-2, "log": True},
        c={"low": 1, "high": 8},
        d={"low": 2, "high": 8, "step": 2},
    )
    assert typed == yaml
    assert isinstance(typed.searched[2].low, int)


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda trees: st.lists(trees, max_size=3),
    max_leaves=6,
)


@settings(deadline=None, max_examples=200)
@given(_TREES)
def test_values_are_read_back_as_they_were(value: Any) -> None:
    """Whatever YAML holds is quoted so that Hydra's grammar gives the same value and type."""
    if "\n" in str([value]) or "\r" in str([value]):
        return
    override = OverridesParser.create().parse_override(f"key={text_of(value)}")
    assert repr(override.value()) == repr(value)
    assert not override.is_sweep_override()


def test_first_axis_is_the_slowest() -> None:
    """Axes of YAML first, in its order, then those of the command line."""
    grid = space("seed=0,1", model__width=[1, 2]).grid()
    assert [list(job.items()) for job in grid] == [
        [("model.width", "1"), ("seed", "0")],
        [("model.width", "1"), ("seed", "1")],
        [("model.width", "2"), ("seed", "0")],
        [("model.width", "2"), ("seed", "1")],
    ]


def test_command_line_replaces_the_axis_of_its_name() -> None:
    """Swept or plain; what has one value is the same for all jobs."""
    axes = {"model.width": [1, 2], "model.depth": [3, 4], "training.epochs": 5}
    swept = read_space(["model.width=7,8,9"], axes=axes, when={}, composer=Composer())
    assert [axis.count for axis in swept.axes] == [3, 2]
    assert swept.fixed == ("training.epochs=5",)
    plain = read_space(
        ["model.width=7", "training.epochs=2"], axes=axes, when={}, composer=Composer()
    )
    assert [axis.name for axis in plain.axes] == ["model.depth"]
    assert set(plain.fixed) == {"training.epochs=2", "model.width=7"}


def test_zipped_keys_take_their_values_together() -> None:
    """They are one axis, which the command line cannot take apart."""
    axes = {"model.width, optimizer.lr": [[128, 3e-3], [512, 1e-3]]}
    grid = read_space([], axes=axes, when={}, composer=Composer()).grid()
    assert grid == [
        {"model.width": "128", "optimizer.lr": "0.003"},
        {"model.width": "512", "optimizer.lr": "0.001"},
    ]
    for override in ("optimizer.lr=1", "optimizer.lr=1,2"):
        (problem,) = problems(override, axes=axes)
        assert "optimizer.lr is one of the keys of the axis 'model.width, optimizer.lr'" in problem


def test_an_axis_counts_only_under_its_condition() -> None:
    """Elsewhere it is left out, with what hangs on it in turn; equal jobs are made once."""
    when = {
        "optimizer.momentum": {"optimizer": "sgd"},
        "optimizer.nesterov": {"optimizer.momentum": [0.9, 1]},
    }
    made = space(
        when=when,
        optimizer=["sgd", "adamw"],
        optimizer__momentum=[0.0, 0.9, 1.0],
        optimizer__nesterov=[True, False],
    )
    assert [" ".join(job.values()) for job in made.grid()] == [
        "sgd 0.0",
        "sgd 0.9 true",
        "sgd 0.9 false",
        "sgd 1.0 true",
        "sgd 1.0 false",
        "adamw",
    ]
    proposal = {"optimizer": "adamw", "optimizer.momentum": "0.9", "optimizer.nesterov": "true"}
    assert made.overrides_of(made.active(proposal)) == ("optimizer=adamw",)


def test_a_condition_holds_for_what_the_command_line_sets() -> None:
    """A plain value on top of a conditional axis counts under the same condition."""
    axes = {"optimizer": ["sgd", "adamw"], "optimizer.momentum": [0.0, 0.9]}
    when = {"optimizer.momentum": {"optimizer": "sgd"}}
    plain = read_space(["optimizer.momentum=0.5"], axes=axes, when=when, composer=Composer())
    assert [plain.overrides_of(job) for job in plain.grid()] == [
        ("optimizer=sgd", "optimizer.momentum=0.5"),
        ("optimizer=adamw",),
    ]
    without = read_space(["optimizer=adamw"], axes=axes, when=when, composer=Composer())
    assert [without.overrides_of(job) for job in without.grid()] == [("optimizer=adamw",)]


def test_overrides_lose_their_plus_and_what_is_the_sweeps() -> None:
    """A key is named without its plus: it is set whether it is in a file or not."""
    overrides = [
        "sweep=x",
        "sweep.limit=3",
        "hydra/launcher=basic",
        "hydra.verbose=true",
        "+optimizer.rho=0.8,0.9",
        "~schedule.final",
        "tracking.run_name='a b'",
    ]
    made = read_space(
        overrides, axes={"+optimizer.eps": [1e-6, 1e-7]}, when={}, composer=Composer()
    )
    assert made.grid()[0] == {"optimizer.eps": "1e-06", "optimizer.rho": "0.8"}
    assert made.overrides_of(made.grid()[0]) == (
        "~schedule.final",
        "tracking.run_name='a b'",
        "optimizer.eps=1e-06",
        "optimizer.rho=0.8",
    )


def test_seeds_and_folds_are_replicates() -> None:
    """A search is over everything else, and repeats each setting with them."""
    made = space("seed=range(2)", "data.fold=1,3", "model.width=5,6")
    assert [axis.name for axis in made.searched] == ["model.width"]
    assert [tuple(job.values()) for job in made.replicates()] == [
        ("0", "1"),
        ("0", "3"),
        ("1", "1"),
        ("1", "3"),
    ]
    assert space("model.width=5,6").replicates() == [{}]


def test_a_huge_grid_is_an_error_at_once() -> None:
    """Its size is known without it; what conditions leave out is not counted against the limit."""
    huge = space("a=range(1000)", "b=range(1000)", "c=range(1000)")
    begin = time.monotonic()
    with pytest.raises(ConfigError, match=r"1,000,000,000.*sweep\.limit"):
        huge.grid()
    with pytest.raises(ConfigError, match=r"at most 10 runs.*1,000,000,000"):
        huge.grid(limit=10)
    assert time.monotonic() - begin < 1
    with pytest.raises(ConfigError, match=r"at most 3 runs, and this grid has 4"):
        space("a=range(4)").grid(limit=3)
    few = space(when={"b": {"a": 0}}, a=[0, 1], b=[0, 1])
    assert len(few.grid(limit=3)) == 3


def test_a_range_without_num_or_step_is_no_grid() -> None:
    """Every such axis is named, with what it wants."""
    made = space(a={"low": 0.0, "high": 1}, b={"low": 1, "high": 99, "log": True}, c=[1, 2])
    with pytest.raises(ConfigError) as caught:
        made.grid()
    first, second = caught.value.problems
    assert first.startswith("a is a range that a grid cannot list: give it num")
    assert second.startswith("b is a range that a grid cannot list")


def test_all_mistakes_of_a_space_come_at_once() -> None:
    """From YAML, its conditions and the command line."""
    found = problems(
        "=3",
        "sweep=a,b",
        "model.width=range(3,1)",
        "optimizer.lr=tag(lg,interval(1,2))",
        "x=interval(0,nan)",
        axes={
            "empty": [],
            "low": {"low": 1},
            "typo": {"low": 1, "high": 2, "lgo": True},
            "down": {"low": 2, "high": 1},
            "zero": {"low": 0, "high": 1, "log": True},
            "both": {"low": 1, "high": 2, "log": True, "step": 1},
            "flag": {"low": True, "high": 2},
            "long": {"low": 1, "high": 10**400},
            "a, b": [[1, 2], [3]],
            "a,data.fold": [[1, 2]],
            "b d": [1],
            "sweep.limit": [1],
            "twice": [1],
            "twice, c": [[1, 2]],
            "grammar": "range(",
            "seed": {"low": 1, "high": 9, "log": True},
            "optimizer": ["sgd", "adam"],
            "alpha": [1, 2],
            "beta": [1, 2],
        },
        when={
            "alpah": {"beta": 1},
            "alpha": {"alpha": 1},
            "beta": {"optimizer": "sgdd"},
            "optimizer": "sgd",
        },
    )
    beginnings = [
        "sweep.axes.empty must be one value or more, got []",
        "sweep.axes.low must be a range with low and high",
        "sweep.axes.typo must be a list of values, a range",
        "sweep.axes.down must be a range of finite numbers with low below high",
        "sweep.axes.zero must be a range with low above 0 where log is true",
        "sweep.axes.both must be a range with one of log and step, not both",
        "sweep.axes.flag must be a range whose log is true or false",
        "sweep.axes.long must be a range of finite numbers",
        "sweep.axes.a, b must be a list of lists of 2 values, one for each key",
        "sweep.axes must name keys of a run",
        "sweep.axes must name keys of a run",
        "sweep.axes has twice twice, again as 'twice, c'",
        "sweep.axes.grammar must be a list of values, a range",
        "'=3' is no override",
        "sweep cannot be swept, got sweep=a,b",
        "model.width=range(3,1) must be a range with a value between start and stop",
        "optimizer.lr=tag(lg,interval(1,2)) must be tagged with nothing but log",
        "x=interval(0,nan) must be a range of finite numbers",
        "sweep.axes 'a, data.fold' must not take a together with seed or data.fold",
        "seed must have values that can be listed",
        "sweep.when.alpah is no axis (did you mean alpha?)",
        "sweep.when.alpha depends on alpha, which is neither another axis nor set",
        "sweep.when.beta.optimizer must be one of sgd, adam (did you mean sgd?), got sgdd",
        "sweep.when.optimizer must name other keys and their values",
    ]
    assert len(found) == len(beginnings)
    for problem, beginning in zip(found, beginnings, strict=True):
        assert problem.startswith(beginning)


def test_a_sweep_keeps_its_id_with_other_seeds_places_and_orders() -> None:
    """What it compares makes it another one."""

    def identity(*overrides: str, **axes: Any) -> str:
        return sweep_id(
            space(*overrides, **axes), sampler="grid", objectives=["final/val_loss"], data_sha256=[]
        )

    first = identity("model.width=1,2", "optimizer.lr=0.1", "seed=range(3)", "optimizer=sgd")
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert first == identity(
        "optimizer=sgd",
        "tracking.uri=null",
        "tracking=default",
        "evaluation=default",
        "evaluation.test=never",
        "output_dir=x",
        "data.dir=x",
        "training.device=cpu",
        "training.threads=1",
        "rerun=true",
        "data.fold=0,1",
        "seed=range(5)",
        "optimizer.lr=1e-1",
        model__width={"low": 1, "high": 2},
    )
    reordered = identity("optimizer=sgd", "model.width=2,1", "optimizer.lr=0.1")
    assert first == reordered
    others = [
        identity("model.width=1,2,3", "optimizer.lr=0.1", "optimizer=sgd"),
        identity("model.width=1,2", "optimizer.lr=0.2", "optimizer=sgd"),
        identity("model.width=1,2", "optimizer=sgd"),
        identity("model.width=1,2", "optimizer.lr=0.1", "optimizer=sgd", "data=idx"),
    ]
    assert len({first, *others}) == 5


def test_a_recipe_and_a_users_folder_may_bring_a_sweep(tmp_path: Path) -> None:
    """As Hydra finds them, also for glob."""
    for group in ("experiment", "sweep", "model"):
        (tmp_path / group).mkdir()
    (tmp_path / "sweep/mine.yaml").write_text("defaults: [default, _self_]\naxes: {seed: [1, 2]}")
    recipe = "# @package _global_\ndefaults: [{override /sweep: mine}]\n"
    (tmp_path / "experiment/paper.yaml").write_text(recipe)
    (tmp_path / "model/smaller.yaml").write_text("defaults: [small, _self_]\nwidth: 3\n")
    composer = Composer(str(tmp_path))
    read = composer.sweep(["experiment=paper"])
    assert (read.name, read.axes) == ("mine", {"seed": [1, 2]})
    made = read_space(["model=glob(small*)"], axes={}, when={}, composer=composer)
    jobs = [made.overrides_of(job) for job in made.grid()]
    assert jobs == [("model=small",), ("model=smaller",)]
    configs = [job.config for job in composer.jobs(jobs)]
    assert [config.model.width for config in configs] == [128, 3]


def test_the_notation_that_is_explained_makes_sound_jobs() -> None:
    """The examples in the comments of architectures.yaml, each as the axes of a sweep."""
    text = (config_folder() / "sweep" / "architectures.yaml").read_text()
    examples = re.findall(r"^#   (\S.*?:.*?)(?:  .*)?$", text, re.MULTILINE)
    assert len(examples) == 9
    for example in examples:
        axes: Any = OmegaConf.to_container(OmegaConf.create(example))  # 1e-4 is a number there
        made = read_space([], axes=axes, when={}, composer=Composer())
        Composer().jobs([made.overrides_of(job) for job in made.grid()])


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_every_sweep_file_makes_sound_jobs(name: str) -> None:
    """All of them; of a search, those at the ends of its ranges. Its first line says how many."""
    read = Composer().sweep([f"sweep={name}"])
    made = read_space([f"sweep={name}"], axes=read.axes, when=read.when, composer=Composer())
    if name == "default":
        assert made.grid() == [{}]
        return
    first_line = (config_folder() / "sweep" / f"{name}.yaml").read_text().partition("\n")[0]
    if read.sampler == "grid":
        jobs = made.grid(read.limit)
        assert f": {len(jobs)} runs" in first_line
    else:
        assert f": {read.n_trials} runs" in first_line
        ends = {
            axis.name: [text_of(axis.low), text_of(axis.high)]
            if axis.choices is None
            else [axis.choices[0][0], axis.choices[-1][0]]
            for axis in made.axes
        }
        jobs = [{key: texts[k] for key, texts in ends.items()} for k in (0, 1)]
    configs = [job.config for job in Composer().jobs([made.overrides_of(job) for job in jobs])]
    assert len(configs) == len(jobs)
    assert len({repr(config) for config in configs}) == len(jobs)


@pytest.mark.parametrize(
    "words", [("sweep.n_trials=0",), ("model.depth=1,2", "sweep.n_trials=0", "sweep.limt=3")]
)
def test_mistakes_of_a_sweep_do_not_hide_those_of_its_runs(words: Sequence[str]) -> None:
    """All are told at once, each once."""
    with pytest.raises(ConfigError) as error:
        check_sweep(["training.epochs=0", *words, "model.widht=3"], Composer())
    keys = [problem.split()[0] for problem in error.value.problems]
    wrong = [word.partition("=")[0] for word in words if word.startswith("sweep.")]
    assert sorted(keys) == sorted([*wrong, "training.epochs", "model.widht"])
