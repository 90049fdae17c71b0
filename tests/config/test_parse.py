"""A config is read whole: every mistake is named with key, limit and value, and nothing crashes."""

import inspect
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_mnist.config.compose import Composer, check, config_folder
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.config.parse import parse
from fashion_mnist.config.schema import flatten
from fashion_mnist.models.network import ACTIVATION_OPTIONS, ACTIVATIONS
from fashion_mnist.training.losses import LOSSES
from fashion_mnist.training.optim import optimizer_names
from fashion_mnist.training.schedules import SCHEDULES
from tests.builders import composer, default_tree


def problems(*overrides: str, config_dir: str | None = None) -> list[str]:
    """What is wrong with a command line."""
    with pytest.raises(ConfigError) as caught:
        (composer() if config_dir is None else Composer(config_dir)).job(overrides)
    return caught.value.problems


def choices(group: str) -> list[str]:
    """The YAML files of a group."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def test_defaults_are_sound() -> None:
    """Without a word from the user."""
    config = check([])
    assert config.model.sizes() == (512, 512)
    assert config.tracking.uri == "sqlite:///mlflow.db"


@pytest.mark.parametrize(
    "choice",
    [
        f"{group}={name}"
        for group in ("model", "loss", "optimizer", "schedule")
        for name in choices(group)
    ],
)
def test_every_yaml_file_is_sound(choice: str) -> None:
    """Each can be chosen, and says of each key its unit and range."""
    check([choice])
    group, _, name = choice.partition("=")
    lines = (config_folder() / group / f"{name}.yaml").read_text().splitlines()
    inherits = "defaults:" in lines
    values = [line for line in lines if ":" in line and not line.startswith(("#", "defaults", " "))]
    assert inherits or all("#" in line or line.startswith("name:") for line in values)


def test_every_optimizer_and_schedule_has_a_yaml_file() -> None:
    """The advice `optimizer=NAME` can always be followed."""
    assert choices("optimizer") == optimizer_names()
    assert choices("schedule") == sorted(SCHEDULES)


MISTAKES = (Path(__file__).parent / "mistakes.txt").read_text(encoding="utf-8").split("\n\n$ ")[1:]


@pytest.mark.parametrize("entry", MISTAKES, ids=lambda entry: entry.partition("\n")[0][:60])
def test_message_names_key_limit_and_value(entry: str) -> None:
    """Each mistake is one line, which says what is allowed, whole, and what came."""
    command, *expected = entry.strip().split("\n")
    lists = {"{activations}": ACTIVATIONS, "{optimizers}": optimizer_names()}
    for name, words in lists.items():
        expected = [line.replace(name, ", ".join(words)) for line in expected]
    assert problems(*shlex.split(command)) == expected


def test_a_message_is_one_line() -> None:
    """Whatever characters are in the value."""
    [problem] = problems("tracking.run_name='a\nb'")
    assert problem == "tracking.run_name must be null or text on one line, got 'a\\nb'"


@pytest.mark.parametrize("key", ["tracking.run_name", "tracking.experiment", "sweep.name"])
@pytest.mark.parametrize("word", ["latest", "best"])
def test_no_name_is_a_word_that_commands_find_runs_by(key: str, word: str) -> None:
    """`fmnist show latest` would never find it."""
    [problem] = problems(f"{key}={word}")
    assert problem.startswith(f"{key} must be ")
    assert problem.endswith(f"text other than latest and best, got '{word}'")


def test_all_mistakes_come_at_once() -> None:
    """From the grammar, the groups, the types, the ranges and the rules between keys."""
    found = problems(
        "optimzer=sgd",
        "schedule=cosin",
        "optimizer.lrr=0.1",
        "model.dropout=1.5",
        "training.epochs=two",
        "+lrr=1",
        "model.activation=rellu",
        "=3",
        "loss.class_weights=[1,2]",
        "data.fold=12",
    )
    beginnings = [
        "schedule must be one of constant",
        "'=3' is no override",
        "model.activation must be one of",
        "model.dropout must be a number",
        "training.epochs must be a whole number",
        "optimizer.lrr is not an option of adamw",
        "loss.class_weights must be 10 numbers",
        "data.fold must be 0 to 11",
        "optimzer is not a key",
        "lrr is not a key",
    ]
    assert len(found) == len(beginnings)
    assert all(map(str.startswith, found, beginnings))


def test_a_network_must_fit_the_memory() -> None:
    """With its weights, gradients and two moments."""
    [problem] = problems("model.width=99999", "model.depth=900")
    assert "must fit this machine's" in problem
    assert "got a model of 133,959 GiB" in problem


def test_a_rule_leaves_out_what_is_wrong_by_itself() -> None:
    """One message for a key, whatever depends on it."""
    [problem] = problems("training.batch_size=x", "model.normalization=batch")
    assert problem.startswith("training.batch_size must be a whole number")
    assert len(problems("optimizer.name=3", "optimizer.betas=x")) == 1
    assert len(problems("data.validation_size=x", "data.fold=99")) == 1


def test_options_have_the_ranges_of_their_functions() -> None:
    """A key of a schedule or loss is checked where its function says how; nothing repeats it."""
    for group, table in (("schedule", SCHEDULES), ("loss", LOSSES)):
        for name, function in table.items():
            for key, each in inspect.signature(function).parameters.items():
                if each.kind is each.KEYWORD_ONLY:
                    [problem] = problems(f"{group}={name}", f"{group}.{key}=-1")
                    assert problem.startswith(f"{group}.{key} must be a ")


def test_options_of_activations_are_torchs() -> None:
    """All that torch takes and a layer can have are in the table, with defaults in their ranges."""
    others = {"self", "inplace", "min_value", "max_value"}  # the last two are deprecated
    for name, kind in ACTIVATIONS.items():
        defaults = inspect.signature(kind.__init__).parameters
        table = ACTIVATION_OPTIONS.get(name, {})
        assert {*table} == {*defaults} - others - {"args", "kwargs"}
        words = [f"model.activation_options.{key}={defaults[key].default}" for key in table]
        config = check([f"model.activation={name}", *words])
        assert {*config.model.activation_options} == {*table}


def test_zero_and_zero_point_zero_are_one_value() -> None:
    """A float is one however it is written: in a key, an option and an argument."""
    words = ["optimizer.weight_decay={}", "schedule.final={}", "model.activation=leaky_relu"]
    words += ["model.dropout={}", "model.activation_options={{negative_slope: {}}}"]
    whole, point = (check([word.format(zero) for word in words]) for zero in ("0", "0.0"))
    assert repr(whole) == repr(point)
    assert isinstance(flatten(whole)["optimizer.weight_decay"], float)


def test_what_is_not_said_is_recorded_as_what_is_used() -> None:
    """Options that a file leaves out, or the command line takes away, have the default's value."""
    flat = flatten(check(["~optimizer.weight_decay", "~schedule.final", "schedule.warmup=0"]))
    assert flat["optimizer.weight_decay"] == 0.01  # of torch
    assert (flat["optimizer.amsgrad"], flat["schedule.final"]) == (False, 0.0)
    assert flat == flatten(check(["schedule.warmup=0"]))


def test_a_device_that_is_not_there_is_a_mistake() -> None:
    """Where there is no such device; where there is, it is taken."""
    if torch.cuda.is_available():
        assert check(["training.device=cuda"]).training.device == "cuda"
    else:
        assert "training.device must be one that" in problems("training.device=cuda")[0]


def test_an_option_that_torch_knows_may_be_added() -> None:
    """Though the YAML does not name it."""
    assert check(["+optimizer.amsgrad=true"]).optimizer.options["amsgrad"] is True
    assert check(["optimizer=sgd", "+optimizer.dampening=0.1", "optimizer.nesterov=false"])


def test_hidden_sizes_replace_width_and_depth() -> None:
    """They are recorded as null then, and an empty list is softmax regression."""
    model = check(["model.hidden_sizes=[7,3]"]).model
    assert (model.width, model.depth, model.sizes()) == (None, None, (7, 3))
    assert check(["model.hidden_sizes=[]"]).model.sizes() == ()


def test_a_users_own_folder_adds_choices(tmp_path: Path) -> None:
    """`--config-dir` takes part in everything, mistakes too."""
    (tmp_path / "model").mkdir()
    own = tmp_path / "model" / "mine.yaml"
    own.write_text("defaults: [mlp, _self_]\nwidth: 77\n")
    assert Composer(str(tmp_path)).job(["model=mine"]).config.model.width == 77
    own.write_text("defaults: [mlp, _self_]\nwidht: 77\n")
    [problem] = problems("model=mine", config_dir=str(tmp_path))
    assert problem == "model.widht is not a key (did you mean model.width?)"
    own.write_text("width: [1\n")
    assert problems("model=mine", config_dir=str(tmp_path))
    (tmp_path / "model/mine.yaml").write_text("defaults: [mlp]\nactivation: ${hydra:job.name}\n")
    [problem] = problems("model=mine", config_dir=str(tmp_path))
    assert problem.startswith("model.activation: '${hydra:job.name}' cannot be resolved: Hydra")
    assert problem.endswith(f"(in {tmp_path}/model/mine.yaml)")
    assert "--config-dir" in problems(config_dir=str(tmp_path / "none"))[0]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
)
KEYS = sorted(flatten(parse(default_tree())))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), SCALARS, min_size=1, max_size=4))
def test_no_value_of_any_key_crashes(changes: dict[str, Any]) -> None:
    """Any value at any key gives a config or messages, each with the key's group, on one line."""
    node = default_tree()
    for key, value in changes.items():
        *path, name = key.split(".")
        inner = node
        for part in path:
            inner = inner[part]
        inner[name] = value
    found: list[str] = []
    try:
        parse(node)
    except ConfigError as error:
        found = error.problems
    roots = {key.partition(".")[0] for key in changes} | {"training", "data", "model", "loss"}
    assert all(problem.partition(".")[0].split()[0] in roots for problem in found)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        SCALARS,
        lambda inner: st.dictionaries(
            st.sampled_from(["model", "data", "optimizer", "name", "lr", "seed", "options"]),
            inner,
            max_size=4,
        ),
    )
)
def test_no_tree_crashes(node: Any) -> None:
    """A tree that is no config at all is refused as one."""
    with pytest.raises(ConfigError):
        parse(node)
