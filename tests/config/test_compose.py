"""From a command line to jobs: what was checked is what is run, whoever wrote the YAML."""

import time
from collections.abc import Sequence

import pytest
from hydra import compose, initialize_config_dir

from fashion_mnist.config.compose import CONFIG_NAME, composed_by_hydra, config_folder
from fashion_mnist.config.messages import ConfigError
from fashion_mnist.sweeps.definition import check_sweep
from fashion_mnist.sweeps.space import read_space
from tests.builders import composer


def job_problems(*jobs: Sequence[str]) -> list[str]:
    """What is wrong with jobs."""
    with pytest.raises(ConfigError) as caught:
        composer().jobs(jobs)
    return caught.value.problems


MIXED = [
    ["model=small", "optimizer.lr=0.1"],
    ["model=small", "optimizer.lr=0.2", "seed=3"],
    ["model=wide", "optimizer=sgd", "optimizer.momentum=0.5", "optimizer.nesterov=true"],
    ["+optimizer.amsgrad=true", "model.width=7"],
    ["++optimizer.amsgrad=true", "++model.width=8"],
    ["+tracking.tags.a=1", "~tracking.tags.a", "+tracking.tags.b=1"],
    ["model.width=9", "~schedule.final", "~model.width", "+model.width=3"],
    ["model.hidden_sizes=[5,3]", "training.ema=null"],
    ["model.activation=leaky_relu", "+model.activation_options={negative_slope:0.3}"],
    ["+tracking.tags={a:1}", "+tracking.tags={b:x}", "++tracking.tags.c=2"],
    ["seed=${model.depth}", "model.depth=5"],
    ["model.width=4", "model.width=5", "tracking.run_name='a, b'"],
    ["hydra.run.dir=elsewhere", "data.class_names=[a,b,c,d,e,f,g,h,i,j]"],
]
WRONG = [
    ["model=smal", "seed=x"],
    ["training.epochs.foo=3"],
    ["strange.key=1", "+sead=2"],
    ["seed=${nothing}"],
    ["model.width=1,2"],
    ["=x", "model.dropout=7"],
    ["~nothing"],
    ["optimizer=sgd", "optimizer.betas=[1,2]"],
]


def test_hydra_makes_the_same_of_the_words_that_were_checked() -> None:
    """With groups, additions, deletions, nulls, lists and interpolations."""
    jobs = composer().jobs(MIXED)
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        for job in jobs:
            made = compose(CONFIG_NAME, overrides=list(job.overrides))
            assert composed_by_hydra(made, job.overrides, {}).config == job.config
    assert composer().job(MIXED[0]).config == jobs[0].config


def test_mistakes_of_jobs_are_those_of_each_alone() -> None:
    """Hydra's, the grammar's and our own."""
    found = job_problems(*WRONG, [])
    expected = []
    for job in WRONG:
        with pytest.raises(ConfigError) as caught:
            composer().job(job)
        expected += [f"{text} (1 of 9 jobs: {' '.join(job)})" for text in caught.value.problems]
    assert found == expected
    assert len(found) == 11  # the first, third and sixth job have two mistakes


def test_a_mistake_is_said_once_with_what_its_jobs_share() -> None:
    """What all jobs do wrong needs no job's name."""
    made = read_space(
        ["model.width=-1,8", "optimizer.lr=1,x", "model.dropout=2", "sed=1"],
        axes={},
        when={},
        composer=composer(),
    )
    assert job_problems(*(made.overrides_of(job) for job in made.grid())) == [
        "model.width must be null or a whole number from 1 to 100000, got -1 "
        "(2 of 4 jobs: model.width=-1)",
        "model.dropout must be a number in [0, 1), got 2",
        "sed is not a key (did you mean seed?)",
        "optimizer.lr must be a number in (0, inf), got 'x' (2 of 4 jobs: optimizer.lr=x)",
    ]
    assert job_problems(["seed=1", "model.depth=-1"], ["seed=2"], ["seed=3", "model.depth=-1"])[
        0
    ].endswith("(2 of 3 jobs: model.depth=-1)")


def test_hundreds_of_jobs_are_checked_in_seconds() -> None:
    """What takes Hydra half a minute; the bound leaves room for a busy machine."""
    made = read_space(
        ["model.width=range(1,17)", "optimizer.lr=0.1,0.2,0.3,0.4", "seed=range(4)"],
        axes={},
        when={},
        composer=composer(),
    )
    jobs = [made.overrides_of(job) for job in made.grid()]
    begin = time.process_time()
    assert len(composer().jobs(jobs)) == 256
    assert time.process_time() - begin < 8


def test_settings_of_a_sweep_are_read_without_its_jobs() -> None:
    """Axes and mistakes of the jobs do not count; the name is the file's."""
    read = composer().sweep(
        ["sweep=optimizers", "sweep.limit=9", "model.width=1,2", "model=none", "a b", "sed=1"]
    )
    assert (read.name, read.limit) == ("optimizers", 9)
    assert "optimizer, optimizer.lr" in read.axes
    assert composer().sweep(["seed=1,2"]).name is None
    assert composer().sweep(["sweep=seeds", "sweep.name=mine"]).name == "mine"
    assert composer().sweep(["sweep=recipes/tiny_search"]).name == "tiny_search"


def test_mistakes_in_the_settings_of_a_sweep_come_at_once() -> None:
    """The file's name, the keys and their ranges."""
    with pytest.raises(ConfigError) as caught:
        composer().sweep(["sweep=seds", "sweep.limt=9", "sweep.n_trials=0", "seed=x"])
    first, second, third = caught.value.problems
    assert first.startswith("sweep must be one of architectures, ")
    assert first.endswith("(did you mean seeds?), got 'seds'")
    assert "search, seeds, recipes/… (did" in first  # what one starts from, and where more is
    assert second == "sweep.n_trials must be a whole number, 1 or more, got 0"
    assert third == "sweep.limt is not a key (did you mean sweep.limit?)"


@pytest.mark.parametrize(
    "words",
    [
        ["optimizer.amsgrad=true"],
        ["tracking.tags={course: dl}"],
        ["model.activation=leaky_relu", "model.activation_options={negative_slope: 0.3}"],
        ["optimizer=rmsprop", "optimizer.momentum=0.5"],
        ["sweep.axes={seed: [0, 1]}"],
        ["data.class_names.0=shirt"],
    ],
)
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_key_is_set_with_or_without_a_plus(words: list[str], plus: str) -> None:
    """Whether the file lists it or not; and Hydra takes the words for it."""
    job = composer().job([f"{plus}{word}" for word in words])
    assert job.config == composer().job(words).config
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        made = compose(CONFIG_NAME, overrides=list(job.overrides))
    assert composed_by_hydra(made, job.overrides, {}).config == job.config


def test_a_key_that_one_file_lacks_can_be_swept() -> None:
    """Of an optimizer, where two take it and one file lists it."""
    sweep = check_sweep(["optimizer=sgd,rmsprop", "optimizer.momentum=0.5"], composer())
    jobs = sweep.compose(sweep.samples())
    assert [job.config.optimizer.options["momentum"] for job in jobs] == [0.5, 0.5]
    sweep = check_sweep(["schedule=step,step", "schedule.num_steps=2"], composer())
    assert len(sweep.compose(sweep.samples())) == 1


def test_no_recipe_is_a_choice() -> None:
    """Alone, on the command line of a sweep, and as an axis of YAML."""
    assert composer().job(["experiment=null"]).config == composer().job([]).config
    for words in (["experiment=null,fast"], ["sweep.axes={experiment: [null, fast]}"]):
        sweep = check_sweep(words, composer())
        first, second = sweep.compose(sweep.samples())
        assert first.config.model == composer().job([]).config.model
        assert second.choices["experiment"] == "fast"


def test_tags_keep_what_was_typed() -> None:
    """Whatever it would be in YAML: numbers, versions, true and false."""
    words = [
        "tracking.tags={month: 2024_01, version: 1.10, ok: true}",
        "tracking.tags.more=007",
        "tracking.tags={2024: x}",
    ]
    tags = composer().job([*words, "tracking.tags.words='a, b'"]).config.tracking.tags
    assert tags == {
        "month": "2024_01",
        "version": "1.10",
        "ok": "true",
        "more": "007",
        "2024": "x",
        "words": "a, b",
    }


@pytest.mark.parametrize("name", ["pruned", "host", "mlflow.parentRunId", "sweep.objective"])
def test_tags_of_runs_are_not_the_users(name: str) -> None:
    """By them a run is found, gone on with and compared."""
    with pytest.raises(ConfigError, match="none that a run has anyway"):
        composer().job([f"tracking.tags={{{name}: x}}"])


def test_an_empty_variable_names_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for the commands that read runs; one with an address counts."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert composer().job([]).config.tracking.uri == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert composer().job([]).config.tracking.uri == "http://host:5000"


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of data and of what is written; Hydra's folder is below it too."""
    monkeypatch.setenv("HOME", "/home/me")
    config = composer().job(['data.dir="~/fm"', 'output_dir="~"']).config
    assert config.data.dir == "/home/me/fm"
    assert config.output_dir == "/home/me"


def test_the_chosen_files_are_known() -> None:
    """Of every group, a recipe's choice among them."""
    choices = composer().job(["model=wide", "experiment=fast"]).choices
    assert [choices[group] for group in ("model", "schedule", "experiment")] == [
        "wide",
        "one_cycle",
        "fast",
    ]
    assert "experiment" not in composer().job([]).choices
