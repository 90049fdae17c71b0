"""A user's folder of YAML: it adds and replaces files, and what is not read is said."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fashion_mnist.config.compose import Composer, config_folder
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.sweeps.definition import check_sweep, is_sweep, read_sweep

RECIPE = "# @package _global_\n"
MLP = (config_folder() / "model/mlp.yaml").read_text()
Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of the folder `mine`."""

    def write_file(name: str, text: str) -> Path:
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def mine() -> Composer:
    """With that folder."""
    return Composer("mine")


def problems(*overrides: str) -> list[str]:
    """What is wrong with a run of that folder."""
    with pytest.raises(ConfigError) as caught:
        mine().job(overrides)
    return caught.value.problems


def test_a_recipes_launcher_counts(write: Write) -> None:
    """Its choice stands over the program's own, and what is typed over both."""
    write("experiment/cluster.yaml", f"{RECIPE}defaults: [override /hydra/launcher: basic]\n")
    sweep = check_sweep(["experiment=cluster", "seed=1,2"], mine())
    assert sweep.hydra_config().hydra.launcher._target_.endswith("BasicLauncher")
    typed = check_sweep(["experiment=cluster", "seed=1,2", "hydra/launcher=stacked"], mine())
    assert typed.hydra_config().hydra.launcher._target_.endswith("StackedLauncher")
    plain = check_sweep(["seed=1,2"], mine())
    assert plain.hydra_config().hydra.launcher._target_.endswith("StackedLauncher")


def test_a_launcher_of_some_jobs_is_refused_by_name(write: Write) -> None:
    """A sweep has one: where the recipe is swept over, it must be typed."""
    write("experiment/cluster.yaml", f"{RECIPE}defaults: [override /hydra/launcher: basic]\n")
    with pytest.raises(ConfigError, match=r"hydra/launcher=basic is chosen by a file of some jobs"):
        check_sweep(["experiment=null,cluster"], mine()).compose(
            [{"experiment": "null"}, {"experiment": "cluster"}]
        )
    sweep = check_sweep(["experiment=null,cluster", "hydra/launcher=basic"], mine())
    assert len(sweep.compose(sweep.samples())) == 2


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("model/mlp.yaml", MLP.replace("width: 512", "width: 77"), []),
        ("model/mlp.yaml", MLP.replace("width: 512", "width: 77"), ["model=linear"]),
        ("experiment/fast.yaml", f"{RECIPE}model: {{width: 77}}\n", ["experiment=fast"]),
        ("model/small.yaml", "defaults: [mlp, _self_]\nwidth: 77\n", ["model=small"]),
    ],
)
def test_a_file_of_a_packaged_name_replaces_it(
    name: str, text: str, words: list[str], write: Write
) -> None:
    """The user's is used, and one line says so; also where another file begins with it."""
    write(name, text)
    composer = mine()
    assert composer.job(words).config.model.width == 77
    assert composer.notes() == [f"mine/{name} is read, and not the packaged file of that name"]
    assert Composer().job(words).config.model.width != 77


def test_a_sweep_of_a_packaged_name_replaces_it(write: Write) -> None:
    """As any other file."""
    write("sweep/architectures.yaml", "defaults: [default, _self_]\naxes: {seed: [1, 2]}\n")
    assert read_sweep(["sweep=architectures"], mine()).words() == {"seed": ["1", "2"]}


def test_a_file_that_begins_with_itself_is_told_so(write: Write) -> None:
    """It has the name of the packaged one that is meant."""
    write("model/mlp.yaml", "defaults: [mlp, _self_]\nwidth: 77\n")
    [problem] = problems()
    assert "model/mlp.yaml names itself in its defaults list" in problem


def test_a_file_in_a_subfolder_can_be_chosen(write: Write) -> None:
    """By its path within the group."""
    write("experiment/team/a.yaml", f"{RECIPE}seed: 3\n")
    assert mine().job(["experiment=team/a"]).config.seed == 3
    assert "team/a" in mine().options("experiment")


def test_a_recipe_without_its_first_line_is_told_so(write: Write) -> None:
    """For its keys would be those of `experiment`."""
    write("experiment/mine.yaml", "model: {width: 77}\n")
    assert problems("experiment=mine") == [
        "experiment/mine.yaml must begin with the line `# @package _global_`, for its keys are "
        "those of the whole config"
    ]


def test_a_file_that_hydra_does_not_read_is_named(write: Write) -> None:
    """`.yml`, and a train.yaml that would replace everything."""
    write("model/mine.yml", "width: 3\n")
    assert problems("model=mine") == ["mine/model/mine.yml is not read: name it mine.yaml"]
    write("model/linear.yml", "width: 3\n")  # the packaged one is not what is meant
    assert problems("model=linear") == ["mine/model/linear.yml is not read: name it linear.yaml"]
    write("train.yaml", "seed: 3\n")
    with pytest.raises(ConfigError, match=r"train\.yaml must not be in --config-dir"):
        mine()


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("experiment/mine.yaml", f"{RECIPE}defaults: [override /model: dep]\n", "experiment=mine"),
        ("experiment/mine.yaml", f"{RECIPE}defaults: [/model@other: dep]\n", "experiment=mine"),
        ("model/mine.yaml", "defaults: [dep, _self_]\n", "model=mine"),
    ],
)
def test_a_list_of_defaults_that_names_no_file_is_told_what_it_may_name(
    name: str, text: str, word: str, write: Write
) -> None:
    """As a word on the command line is, and in which file."""
    write(name, text)
    options = "deep, linear, mine, mlp" if name.startswith("model") else "deep, linear, mlp"
    assert problems(word) == [
        f"model must be one of {options}, small, wide (did you mean deep?), got 'dep' "
        f"(in the defaults of mine/{name})"
    ]


def test_broken_yaml_is_named_with_its_line(write: Write) -> None:
    """Of a chosen file, and of one that it begins with."""
    path = write("model/mine.yaml", "width: 3\ndepth: [1\n")
    [problem] = problems("model=mine")
    assert problem.startswith(f"{path}, line 3, is no YAML: ")


def test_keys_that_are_missing_come_with_advice(write: Write) -> None:
    """A file of one's own begins with the one that it changes."""
    write("model/mine.yaml", "width: 3\n")
    [problem] = problems("model=mine")
    assert "model.depth, model.hidden_sizes, " in problem
    assert problem.endswith("begins with the one that it changes, as in `defaults: [mlp, _self_]`")


@pytest.mark.parametrize(
    ("model", "experiment", "word", "keys"),
    [
        ("hidden_sizes: [9, 8]\nwidth: 512", "", "", "model.width"),  # as in mlp.yaml
        ("hidden_sizes: [9, 8]\nwidth: 77\ndepth: 3", "", "", "model.width and model.depth"),
        ("hidden_sizes: [9, 8]", "model: {width: 77}", "", "model.width"),
        ("hidden_sizes: [9, 8]", "", "model.width=512", "model.width"),
        ("width: 77", "", "", ""),
        ("hidden_sizes: [9, 8]", "", "", ""),
        ("hidden_sizes: [9, 8]\nwidth: null\ndepth: null", "", "model.width=null", ""),
        ("width: 77", "model: {hidden_sizes: [9, 8]}", "", ""),  # replaces it
        ("width: 77", "", "model.hidden_sizes=[9]", ""),
        ("hidden_sizes: [9, 8]\nwidth: 77", "", "model.hidden_sizes=null", ""),
    ],
)
def test_a_width_that_layers_leave_unread_is_a_mistake(
    model: str, experiment: str, word: str, keys: str, write: Write
) -> None:
    """Said with hidden_sizes or after them; hidden_sizes that come later replace it."""
    write("model/mine.yaml", f"defaults: [mlp, _self_]\n{model}\n")
    write("experiment/mine.yaml", f"{RECIPE}{experiment}\n")
    words = ["model=mine", "experiment=mine", *([word] if word else [])]
    if not keys:
        assert mine().job(words).config.model.sizes()
        return
    [problem] = problems(*words)
    assert problem.startswith(f"{keys} must not be set beside model.hidden_sizes, which says all")


@pytest.mark.parametrize(
    ("training", "experiment", "word", "is_read"),
    [
        ("patience: 9", "", "", False),
        ("", "patience: 5", "", False),  # as in default.yaml
        ("", "", "training.early_stopping.patience=9", False),
        ("patience: 9", "", "training.early_stopping.metric=val/loss", True),
        ("", "metric: val/loss", "training.early_stopping.patience=9", True),
        ("metric: null, patience: 9", "", "", True),  # it says that it is off
        ("metric: val/loss, patience: 9", "", "training.early_stopping.metric=null", True),
    ],
)
def test_patience_without_early_stopping_is_a_mistake(
    training: str, experiment: str, word: str, is_read: bool, write: Write
) -> None:
    """In a file or typed, unless early stopping is switched off beside it or later."""
    write("training/mine.yaml", f"defaults: [default, _self_]\nearly_stopping: {{{training}}}\n")
    write("experiment/mine.yaml", f"{RECIPE}training: {{early_stopping: {{{experiment}}}}}\n")
    words = ["training=mine", "experiment=mine", *([word] if word else [])]
    if is_read:
        assert mine().job(words)
        return
    [problem] = problems(*words)
    assert problem.startswith("training.early_stopping.patience must not be set where training.ear")


@pytest.mark.parametrize(
    "sweep", ["defaults: [override /sweep: mine]", "sweep: {axes: {seed: [1, 2]}}"]
)
def test_a_recipes_sweep_is_made(sweep: str, write: Write) -> None:
    """Without -m, whether it names a file or says the axes; its jobs alone are single runs."""
    write("sweep/mine.yaml", "defaults: [default, _self_]\naxes: {seed: [1, 2]}\n")
    write("experiment/paper.yaml", f"{RECIPE}{sweep}\n")
    write("experiment/plain.yaml", f"{RECIPE}seed: 3\n")
    assert is_sweep(["experiment=paper"], mine())
    assert is_sweep(["sweep.limit=3"], mine())
    for words in ([], ["experiment=plain"], ["experiment=null"], ["experiment=pape"]):
        assert not is_sweep(words, mine())
    assert not is_sweep(["experiment=paper", "sweep=default"], mine())
    for words in (["experiment=paper"], ["experiment=plain,paper"]):
        swept = check_sweep(words, mine())
        jobs = swept.compose(swept.samples())
        assert len(jobs) == 2
        assert not any(is_sweep(job.overrides, mine()) for job in jobs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a 1\nb: *a\n", "must have no aliases"),
        ("<<: {width: 3}\n", "must have no aliases"),
        ("_target_: os.getcwd\n", "must not have _target_"),
        ("width: " + "[" * 60 + "]" * 60, "is nested too deeply"),
        ("# " + "x" * 200_000, "has more than 200,000 bytes"),
        ("defaults: [" + ",".join(f"mlp@a{k}" for k in range(25)) + "]", "one file too many"),
    ],
)
def test_a_file_is_plain_and_short(text: str, expected: str, write: Write) -> None:
    """No aliases, merges, targets; bounded in bytes, depth and what it includes."""
    write("model/mine.yaml", text)
    [problem] = problems("model=mine")
    assert expected in problem


def test_a_file_says_nothing_of_hydra_but_the_launcher(write: Write) -> None:
    """Nor its options: they are typed."""
    write("experiment/x.yaml", f"{RECIPE}hydra: {{run: {{dir: elsewhere}}}}\n")
    [problem] = problems("experiment=x")
    assert problem.startswith("hydra.run must not be changed by a YAML file")
    write("experiment/x.yaml", f"{RECIPE}defaults: [override /hydra/launcher: mine]\n")
    write("hydra/launcher/mine.yaml", "_target: x\n")
    [problem] = problems("experiment=x")
    assert problem.startswith("hydra/launcher must be one of basic, ")
