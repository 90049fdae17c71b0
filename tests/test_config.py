"""A config is read whole: every mistake is named with key, limit and value, and nothing crashes."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fashion_mnist.config.compose import check, config_folder
from fashion_mnist.config.errors import ConfigError
from fashion_mnist.config.schema import flatten, parse
from fashion_mnist.config.trees import plain
from fashion_mnist.training.optim import optimizer_names
from fashion_mnist.training.schedules import SCHEDULES
from tests.builders import compose_groups


def problems(*overrides: str, config_dir: str | None = None) -> list[str]:
    """What is wrong with a command line."""
    with pytest.raises(ConfigError) as caught:
        check(overrides, config_dir=config_dir)
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
    )
    text = "\n".join(found)
    assert "optimzer is not a key (did you mean optimizer?)" in text
    assert "schedule must be one of constant, cosine, linear, one_cycle, step" in text
    assert "(did you mean cosine?), got 'cosin'" in text
    assert "optimizer.lrr is not an option of adamw" in text
    assert "model.dropout must be a number in [0, 1), got 1.5" in text
    assert "training.epochs must be a whole number, 1 or more, got 'two'" in text
    assert "(did you mean relu?), got 'rellu'" in text
    assert "'=3' is no override" in text
    assert len(found) == 8


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.hidden_sizes=[5]", "model.width=3"], "model.width must not be set beside"),
        (["training.batch_size=55001"], "training.batch_size must be"),
        (["data.validation_size=60000"], "data.validation_size must be"),
        (["data.fold=12"], "data.fold must be 0 to 11"),
        (["data.validation_size=0", "training.early_stopping.metric=val/loss"], "got 0 with val/"),
        (["optimizer.name=sgd"], "optimizer.betas is not an option of sgd"),
        (["optimizer.name=sgd"], "optimizer=sgd"),
        (["optimizer.name=lbfgs"], "optimizer.name must not be lbfgs: it wants the loss"),
        (["optimizer.name=adm"], "(did you mean adam?)"),
        (["optimizer.betas=[0.9,1.5]"], "1.5"),
        (["optimizer.betas=0.9"], "optimizer.betas must be a list, got 0.9"),
        (["optimizer=sgd", "+optimizer.rho=0.9"], "optimizer.rho is not an option of sgd"),
        (["loss=brier", "+loss.label_smoothing=0.1"], "loss.label_smoothing is not a key"),
        (["loss.class_weights=[1,2]"], "loss.class_weights must be 10 numbers"),
        (["schedule.factor=0.5"], "schedule.factor is not a key"),
        (["model.activation_options={slope:3}"], "model.activation_options must be arguments of"),
        (["model.activation_options={inplace:true}"], "model.activation_options must be arguments"),
        (["tracking.uri=nonsense"], "tracking.uri must be sqlite:///FILE"),
        (["tracking.uri=http://"], "tracking.uri must be sqlite:///FILE"),
        (["tracking.uri=http://me:x@h"], "tracking.uri must have no password in it"),
        (["tracking.run_name='a\nb'"], "tracking.run_name must be null or text on one line"),
        (["data=idx"], "data.dir must be text, got None"),
        (["data.class_names=[a,a,b,c,d,e,f,g,h,i]"], "data.class_names must be different"),
        (["~model.width"], "model.width is missing"),
        (["~optimizer.lr"], "optimizer.lr is missing"),
        (["training.epochs=true"], "training.epochs must be a whole number, 1 or more, got True"),
        (["optimizer.lr=nan"], "optimizer.lr must be a number in (0, inf), got nan"),
        (["training=5"], "training must be one of default"),
        (["++model=5"], "model must be"),
        (["seed=${nothing}"], "nothing"),
        (["model.width=${oc.env:NO_SUCH_VARIABLE}"], "NO_SUCH_VARIABLE"),
        (["output_dir=/dev/null/x"], "output_dir must be in a folder that can be written to"),
        (["training.batch_size=1", "model.normalization=batch"], "a last batch of 1 image"),
        (["optimizer.betas=[0.9,0.99,0.9]"], "optimizer.betas must be a list of 2, got"),
        (["optimizer.lr=1" + "0" * 400], "optimizer.lr must be a number in (0, inf)"),
        (["model.activation=hardtanh", "model.activation_options={min_val:2}"], "arguments of"),
        (["model=null"], "model must be one of"),
        (["output_dir=" + "x" * 300], "output_dir must be"),
        (["tracking.tags={a$b:1}"], "tracking.tags must be a mapping whose names"),
        (["seed=1,2"], "seed takes one value"),
        (["experiment=long"], "experiment must be one of augmented, fast, "),
        (["lr=0.1"], "lr is not a key (did you mean optimizer.lr?)"),
        (["model.width=99999", "model.depth=900"], "GiB of memory"),
        (["training.batch_size=54999", "model.normalization=batch"], "a last batch of 1 image"),
    ],
)
def test_message_names_key_limit_and_value(overrides: list[str], expected: str) -> None:
    """One message, and it says what is expected."""
    found = problems(*overrides)
    assert any(expected in problem for problem in found), found
    assert all("\n" not in problem for problem in found)


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
    assert check(["model=mine"], config_dir=str(tmp_path)).model.width == 77
    own.write_text("defaults: [mlp, _self_]\nwidht: 77\n")
    [problem] = problems("model=mine", config_dir=str(tmp_path))
    assert problem == "model.widht is not a key (did you mean model.width?)"
    own.write_text("width: [1\n")
    assert problems("model=mine", config_dir=str(tmp_path))
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
KEYS = sorted(flatten(parse(plain(compose_groups(())))))


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS), SCALARS, min_size=1, max_size=4))
def test_no_value_of_any_key_crashes(changes: dict[str, Any]) -> None:
    """Any value at any key gives a config or messages, each with the key's group, on one line."""
    node = plain(compose_groups(()))
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
