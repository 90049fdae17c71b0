"""Runs that are trained together: each is recorded, fails and goes on by itself."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from fashion_mnist.cli.console import summarize_run
from fashion_mnist.config.messages import RunError
from fashion_mnist.config.schema import Config
from fashion_mnist.data.fashion_mnist import Dataset
from fashion_mnist.metrics.classification import SUMMARY_SCORES
from fashion_mnist.metrics.predictions import read_predictions
from fashion_mnist.runs import artifacts, results, trainer
from fashion_mnist.runs.identity import next_folder, run_folders
from fashion_mnist.runs.members import Member, Observer
from fashion_mnist.runs.records import run_name
from fashion_mnist.runs.request import (
    Request,
    RequestResult,
    find_attempts,
    identify,
    validation_accuracy_of,
)
from fashion_mnist.runs.run_dir import RunDir, locked
from fashion_mnist.runs.signals import StopRequested
from fashion_mnist.runs.trainer import is_recorded, train
from fashion_mnist.training.stack import HistoryRow, Stack
from tests.builders import QUIET, load, make_config, make_data
from tests.training.test_contract import ATOL, RTOL

SMALL = ("training.epochs=2", "model.hidden_sizes=[6]", "training.threads=1")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of real files."""
    return make_data(tmp_path / "data")


def configs(data: Path, *variants: str) -> list[Config]:
    """A config for each variant, on that data."""
    return [make_config(data, *SMALL, *variant.split()) for variant in variants]


def train_all(
    own: Sequence[Config], dataset: Dataset, observer: Observer = QUIET
) -> list[RequestResult]:
    """The runs as members of a sweep."""
    return train([Request(config, auto=False) for config in own], dataset, observer)


def assert_same_networks(these: Sequence[RequestResult], those: Sequence[RequestResult]) -> None:
    """Weights agree; within the tolerance of stacks, for these may have had other neighbours."""
    for one, other in zip(these, those, strict=True):
        weights, expected = (load_file(result.folder.model) for result in (one, other))
        for name, tensor in expected.items():
            torch.testing.assert_close(weights[name], tensor, rtol=RTOL, atol=ATOL, msg=name)


def test_runs_of_different_shapes_are_those_trained_alone(data: Path, tmp_path: Path) -> None:
    """Neighbours differ in everything that may differ, and in what splits stacks."""
    variants = ["seed=1", "seed=2 optimizer.lr=0.03", "model.hidden_sizes=[5,3]", "optimizer=sgd"]
    own, dataset = configs(data, *variants), load(data)
    together = train_all(own, dataset)
    assert [result.folder.tags()["stack_size"] for result in together] == ["2", "2", "1", "1"]
    for config, result in zip(own, together, strict=True):
        elsewhere = replace(config, output_dir=str(tmp_path / "alone"))
        [alone] = train_all([elsewhere], dataset)
        assert_same_networks([alone], [result])
        assert alone.folder.metrics() == pytest.approx(result.folder.metrics(), rel=1e-3)


def test_a_run_that_diverges_does_so_alone(data: Path) -> None:
    """It fails with its reason; its neighbour is what it is anyway."""
    own = configs(data, "optimizer=sgd", "optimizer=sgd optimizer.lr=1.0e+30")
    good, bad = train_all(own, load(data))
    assert (good.folder.status(), bad.folder.status()) == ("FINISHED", "FAILED")
    assert bad.folder.tags()["failure"].startswith("diverged in epoch 1 at step")
    with pytest.raises(RunError, match="diverged"):
        validation_accuracy_of(bad)
    assert validation_accuracy_of(good) == good.folder.metrics()["final/val_accuracy"]


@pytest.mark.parametrize("most", [1, 2])
def test_what_does_not_fit_is_trained_in_smaller_stacks(data: Path, most: int) -> None:
    """As after an error for want of memory; the networks are the same."""
    sizes = []

    def on_step(stack: Stack, _step: int) -> None:
        sizes.append(stack.num_runs)
        if stack.num_runs > most:
            raise MemoryError("no room")

    own, dataset = configs(data, *(f"seed={k}" for k in range(5))), load(data)
    results = train_all(own, dataset, Observer(on_step=on_step))
    assert {result.folder.status() for result in results} == {"FINISHED"}
    assert max(sizes) == 5
    fresh = [replace(config, rerun=True) for config in own]
    anew = train_all(fresh, dataset)
    assert_same_networks(anew, results)


def test_a_run_that_cannot_be_trained_fails_alone(data: Path) -> None:
    """Whatever goes wrong when it has a part in a step; after an epoch that went well."""
    own, dataset = configs(data, *(f"seed={k}" for k in range(4))), load(data)

    def on_step(stack: Stack, _step: int) -> None:
        seeds = [generator.initial_seed() for generator in stack.loader.shuffle_generators]
        if stack.epoch == 1 and culprit in seeds:
            raise RuntimeError("bad\nvalue")

    def find_culprit(stack: Stack, _rows: list[HistoryRow]) -> None:
        if stack.num_runs == 4 and not culprits:
            culprits.append(stack.loader.shuffle_generators[2].initial_seed())

    culprits: list[int] = []
    culprit = -1
    with pytest.raises(StopRequested):  # to learn the seed of the third
        train_all(own, dataset, Observer(on_step=_stop_in_epoch_2, on_epoch=find_culprit))
    [culprit] = culprits
    results = train_all(own, dataset, Observer(on_step=on_step))
    statuses = [result.folder.status() for result in results]
    assert statuses == ["FINISHED", "FINISHED", "FAILED", "FINISHED"]
    assert results[2].folder.tags()["failure"] == "RuntimeError: bad"
    with pytest.raises(RuntimeError, match="bad"):
        validation_accuracy_of(results[2])
    assert results[2].folder.tags()["fingerprint"]
    assert not results[2].folder.checkpoint.exists()


def _stop_in_epoch_2(stack: Stack, _step: int) -> None:
    if stack.epoch == 1:
        raise StopRequested(2)


def test_stopped_runs_go_on_where_they_were(data: Path) -> None:
    """All are saved and said to be killed; again they end as undisturbed ones."""
    own, dataset = configs(data, "seed=1", "seed=2"), load(data)
    with pytest.raises(StopRequested):
        train_all(own, dataset, Observer(on_step=_stop_in_epoch_2))
    folders = [RunDir(path) for path in sorted(Path("outputs/runs").iterdir())]
    assert [folder.status() for folder in folders] == ["KILLED"] * 2
    assert [folder.epoch() for folder in folders] == [1, 1]
    assert [len(folder.history()) for folder in folders] == [1, 1]
    results = train_all(own, dataset)
    anew = train_all([replace(config, rerun=True) for config in own], dataset)
    assert_same_networks(results, anew)
    assert [row["epoch"] for row in results[0].folder.history()] == [1, 2]


@pytest.mark.parametrize(
    "stopping",
    [
        "training.epochs=3",
        "training.epochs=9 training.early_stopping.metric=val/loss "
        "training.early_stopping.patience=1",
    ],
)
def test_a_run_is_stopped_before_its_pictures_are_drawn(data: Path, stopping: str) -> None:
    """A stack of many takes long for them: what is trained is kept, and not trained again."""
    words = f"{stopping} optimizer.lr=0.1"
    own, dataset = configs(data, f"seed=1 {words}", f"seed=2 {words}"), load(data)
    steps = list[int]()

    def statuses() -> list[str]:
        return sorted(RunDir(path).status() for path in Path("outputs/runs").iterdir())

    def stop_at_the_second() -> None:
        if "FINISHED" in statuses():
            raise StopRequested(15)

    with pytest.raises(StopRequested):
        train_all(own, dataset, Observer(stop_at_the_second))
    assert statuses() == ["FINISHED", "KILLED"]
    results = train_all(own, dataset, Observer(on_step=lambda _, step: steps.append(step)))
    assert steps == []
    anew = train_all([replace(config, rerun=True) for config in own], dataset)
    for result, other in zip(results, anew, strict=True):
        assert_same_networks([result], [other])
        assert result.folder.metrics() == pytest.approx(other.folder.metrics(), rel=1e-3)
        assert len(result.folder.history()) == len(other.folder.history())
    if "early" in stopping:
        assert len(results[0].folder.history()) < 9


def test_what_ended_before_a_stop_is_recorded_whatever_is_to_be_drawn(data: Path) -> None:
    """Of runs trained together: one has its weights, and waits; one has diverged; one goes on."""
    words = "optimizer=sgd training.early_stopping.metric=val/loss training.epochs=9"
    own = configs(
        data,
        f"{words} optimizer.lr=1.0e-30 training.early_stopping.patience=1",
        f"{words} optimizer.lr=1.0e+30",
        f"{words} optimizer.lr=0.1",
    )
    epochs = list[int]()

    def stop() -> None:
        if epochs[-1:] == [3]:
            raise StopRequested(15)

    observer = Observer(stop, on_epoch=lambda stack, _rows: epochs.append(stack.epoch))
    with pytest.raises(StopRequested):
        train_all(own, load(data), observer)
    statuses = {
        folder.tags().get("failure", "")[:8]: folder.status()
        for folder in map(RunDir, Path("outputs/runs").iterdir())
    }
    assert statuses == {"": "KILLED", "diverged": "FAILED"}


def kind_of(
    config: Config, dataset: Dataset, *, retry_failed: bool = False, keeps_pruned: bool = False
) -> str:
    """What is to be done of a run."""
    request = Request(config, auto=False, retry_failed=retry_failed)
    fingerprint = identify(config, dataset)
    return find_attempts(request, fingerprint, keeps_pruned=keeps_pruned).kind


def test_what_is_to_be_done_of_a_run_is_decided_by_its_last_attempt(data: Path) -> None:
    """And by what is asked for; what a search pruned is settled in that search alone."""
    words = ("seed=1", "seed=2", "optimizer=sgd optimizer.lr=1.0e+30", "seed=4")
    own, dataset = configs(data, *words), load(data)
    observer = Observer(should_prune=lambda number, _epoch, _row: number == 1)
    train_all(own[:3], dataset, observer)
    finished, pruned, failed, new = own
    assert kind_of(new, dataset) == kind_of(replace(new, rerun=True), dataset) == "new"
    assert kind_of(finished, dataset, retry_failed=True) == "finished"
    assert kind_of(pruned, dataset, keeps_pruned=True) == "pruned"
    assert kind_of(replace(pruned, rerun=True), dataset) == "resumed"
    assert kind_of(failed, dataset, keeps_pruned=True) == "failed"
    assert kind_of(failed, dataset, retry_failed=True) == "retried"
    assert {kind_of(replace(own[k], rerun=True), dataset) for k in (0, 2)} == {"repeated"}
    assert len(list(Path("outputs/runs").iterdir())) == 3  # it only looks


def test_a_run_that_is_pruned_can_be_gone_on_with(data: Path) -> None:
    """It ends as killed, with a tag; its neighbour goes on; later it ends as undisturbed."""
    own, dataset = configs(data, "seed=1", "seed=2"), load(data)
    observer = Observer(should_prune=lambda number, _epoch, _row: number == 1)
    kept, pruned = train_all(own, dataset, observer)
    assert (kept.folder.status(), pruned.folder.status()) == ("FINISHED", "KILLED")
    assert pruned.folder.tags()["pruned"] == "after epoch 1 of 2"
    assert validation_accuracy_of(pruned) is None
    assert kind_of(own[1], dataset) == "resumed"
    [later] = train_all(own[1:], dataset)
    [anew] = train_all([replace(own[1], rerun=True)], dataset)
    assert later.folder.path == pruned.folder.path
    assert_same_networks([later], [anew])


def test_what_failed_is_tried_again_only_on_demand(data: Path) -> None:
    """A new attempt in a folder of its own; the old one stays."""
    [config] = configs(data, "optimizer=sgd optimizer.lr=1.0e+30")
    dataset = load(data)
    [first] = train_all([config], dataset)
    [again] = train_all([config], dataset)
    assert (again.was_known, again.folder.path) == (True, first.folder.path)
    [retried] = train([Request(config, retry_failed=True)], dataset, QUIET)
    assert (retried.was_known, retried.folder.path != first.folder.path) == (False, True)
    assert first.folder.status() == "FAILED"


def test_auto_reads_the_test_and_records_the_network_where_it_means_yes(data: Path) -> None:
    """A member of a sweep keeps both for its winner, who gets them later from what is saved."""
    [config] = configs(data, "seed=3")
    dataset = load(data)
    [member] = train_all([config], dataset)
    assert "test/accuracy" not in member.folder.metrics()
    pictures = {"curves.png", "samples.png", "weights.png"}
    assert not pictures & {path.name for path in member.folder.artifacts.iterdir()}
    assert not member.folder.has_recorded_model()
    assert member.folder.metrics()["parameters"] == 30 * 6 + 6 + 6 * 3 + 3
    [winner] = train([Request(config)], dataset, QUIET)
    assert winner.was_known
    assert "test/accuracy" in winner.folder.metrics()
    assert winner.folder.has_recorded_model()
    assert pictures < {path.name for path in winner.folder.artifacts.iterdir()}
    assert load_file(winner.folder.model)


@pytest.mark.parametrize("failing", ["weights_figure", "samples_figure"])
def test_pictures_of_which_some_were_drawn_are_drawn_by_the_next_start(
    failing: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk was full, or a kill came, after the first: its log says which are there."""
    [config], dataset = configs(data, "seed=3"), load(data)
    train_all([config], dataset)
    with monkeypatch.context() as patch:
        patch.setattr(artifacts, failing, lambda *_: 1 / 0)
        [winner] = train([Request(config)], dataset, QUIET)
    assert isinstance(winner.error, ZeroDivisionError)
    [winner] = train([Request(config)], dataset, QUIET)
    assert winner.error is None
    assert set(artifacts.PICTURES) < {path.name for path in winner.folder.artifacts.iterdir()}
    recorded = {name for kind, name in winner.folder.state().files if kind == "artifact"}
    assert set(artifacts.PICTURES) < recorded


TTA = ("validation_tta", "test_tta")


def test_test_time_augmentation_is_recorded_apart(data: Path) -> None:
    """A finished run gets it later, once, from the mean over the copies; plain scores stay."""
    plain, asked = configs(
        data, *[f"seed=3 data.augment.shift=3 evaluation.tta={own}" for own in ("false", "true")]
    )
    dataset = load(data)
    [first] = train([Request(plain)], dataset, QUIET)
    before, folder = first.folder.metrics(), first.folder
    assert not [own for own in TTA if (folder.artifacts / own).exists()]

    [member] = train_all([asked], dataset)  # whose test set is not to be read
    assert (member.was_known, member.folder.path) == (True, folder.path)
    assert not (folder.artifacts / "test_tta").exists()
    [again] = train([Request(asked)], dataset, QUIET)
    metrics = again.folder.metrics()
    assert before.items() <= metrics.items()
    added = {
        f"{start}tta_{key}" for start in ("final/val_", "test/") for key in (*SUMMARY_SCORES, "ece")
    }
    loss = {"final/val_tta_loss", "test/tta_loss"}
    assert metrics.keys() - before.keys() == added | loss

    model, images = folder.load_model(), dataset.test_images.view(-1, *dataset.image_shape)
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    height, width = dataset.image_shape
    moved = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    expected = torch.stack([model.probabilities(each) for each in moved]).mean(0)
    recorded = read_predictions(folder.artifacts / "test_tta" / "predictions.npz")
    torch.testing.assert_close(torch.from_numpy(recorded.probabilities), expected)
    right = float((expected.argmax(1) == dataset.test_labels).float().mean())
    assert metrics["test/tta_accuracy"] == pytest.approx(right)
    words = summarize_run(folder, note="", where=())
    assert f"averaged over copies of each image: accuracy {right:.4f}" in words
    assert is_recorded(Request(asked), folder, folder.state(), "")


def test_test_time_augmentation_needs_no_validation_split(data: Path) -> None:
    """Then it is of the test set alone, and the run is known the next time."""
    words = "data.validation_size=0 data.augment.flip=0.5 evaluation.tta=true"
    [config] = configs(data, words)
    dataset = load(data)
    train([Request(config)], dataset, QUIET)
    [again] = train([Request(config)], dataset, QUIET)
    assert again.was_known
    assert [own for own in TTA if (again.folder.artifacts / own).exists()] == ["test_tta"]
    assert is_recorded(Request(config), again.folder, again.folder.state(), "")


def test_a_recorded_run_is_not_opened(data: Path) -> None:
    """Its lock may be another's; what is asked for anew, or of another store or sweep, needs it."""
    store = f"sqlite:///{data / 'store.db'}"
    local, sent = configs(data, "seed=4", f"seed=5 tracking.uri={store}")
    dataset = load(data)

    def known(config: Config, parent: str = "", **changed: Any) -> bool:
        """Whether the run is known while another process has its lock."""
        request = Request(config, **{"auto": False} | changed)
        [result] = train([request], dataset, QUIET, parent=parent, patience_seconds=0)
        assert (result.error is None) == result.was_known
        return result.was_known

    for result in train_all([local, sent], dataset):
        assert result.error is None
        with locked(result.folder.path, "run"):
            is_local = "seed=4" in result.folder.name()
            own = local if is_local else sent
            other = replace(own.tracking, experiment="other", uri=store)
            assert known(own)
            assert known(own, retry_failed=True)
            assert not known(own, auto=True)  # the test set is to be read
            assert not known(replace(own, tracking=other))
            offline = replace(own.tracking, offline="always")
            assert known(replace(own, tracking=offline)) == is_local
            assert known(own, parent="0" * 32) == is_local  # nowhere recorded


def test_attempts_are_found_by_name(tmp_path: Path) -> None:
    """In their order, the tenth too, where some before were removed; the next one is new."""
    assert run_folders(tmp_path, "f" * 64) == []
    assert next_folder(tmp_path, "f" * 64).name == f"{'f' * 16}-1"
    made = [tmp_path / "runs" / f"{'f' * 16}-{number}" for number in (1, 2, 5, 8, 9, 10)]
    for folder in (*made, tmp_path / "runs" / f"{'f' * 16}-x", tmp_path / "runs" / f"{'e' * 16}-3"):
        folder.mkdir(parents=True)
    assert run_folders(tmp_path, "f" * 64) == made
    assert next_folder(tmp_path, "f" * 64).name == f"{'f' * 16}-11"


def test_a_run_says_where_early_stopping_ended_it(data: Path) -> None:
    """And which epoch's network it is; one that was not stopped says the latter alone."""
    words = "training.early_stopping.metric=val/loss training.early_stopping.patience=2"
    own = configs(
        data,
        f"training.epochs=60 optimizer.lr=0.3 {words}",
        f"training.epochs=2 optimizer.lr=1e-5 {words}",
        "training.epochs=2",
    )
    stopped, whole, plain = train_all(own, load(data))
    epochs = len(stopped.folder.history())
    assert epochs < 60
    kept = "network of epoch {}, the best by val/loss"
    line = f"stopped early after epoch {epochs} of 60; {kept.format(epochs - 2)}"
    assert stopped.folder.tags()["early_stopping"] == line
    assert whole.folder.tags()["early_stopping"] == kept.format(2)
    assert "early_stopping" not in plain.folder.tags()
    assert f"\n  {line}" in summarize_run(stopped.folder, note="", where=[])


@pytest.mark.parametrize(
    ("sizes", "name"),
    [
        ("[512,256,128,64]", "512-256-128-64 "),
        ("[64,64,64,64]", "64x4 "),
        ("[64,64]", "64-64 "),
        ("[9,8,7,6,5,4,3]", "9-…-3 (7 layers) "),
        ("[]", "linear "),
    ],
)
def test_names_say_the_layers(sizes: str, name: str, data: Path) -> None:
    """Different networks are not named alike."""
    assert run_name(make_config(data, f"model.hidden_sizes={sizes}"), []).startswith(name)


def test_names_say_the_data_set(data: Path) -> None:
    """Of data without a name, the folder; Fashion-MNIST goes without saying."""
    names = [
        run_name(make_config(data, f"data.name={name}", f"data.dir={folder}"), ["data=idx"])
        for name, folder in (("idx", "x/one"), ("idx", "x/two"), ("kmnist", "k"))
    ]
    assert [name.split()[-1] for name in names] == ["data=one", "data=two", "data=kmnist"]
    assert "data=" not in run_name(make_config(data, "data.name=fashion_mnist"), [])


def test_a_key_is_named_once(data: Path) -> None:
    """With the value that counts, the last; one that is taken away in the end is not named."""
    words = ["optimizer.weight_decay=0.1", "+optimizer.amsgrad=true", "schedule=step"]
    words += ["optimizer.weight_decay=0.2", "~optimizer.amsgrad", "+schedule=linear"]
    name = run_name(make_config(data), words)
    assert name.endswith(" weight_decay=0.2 schedule=linear")
    assert name.count("weight_decay") == name.count("schedule") == 1
    assert "amsgrad" not in name


def test_a_known_run_is_evaluated_with_the_threads_of_its_record(data: Path) -> None:
    """On which its scores were computed, and not with those that this machine would take now."""
    [config] = configs(data, "training.threads=3")
    dataset = load(data)
    train_all([config], dataset)
    later = replace(config, training=replace(config.training, threads=1))
    torch.set_num_threads(1)
    [known] = train([Request(later)], dataset, QUIET)
    assert known.was_known
    assert "test/accuracy" in known.folder.metrics()
    assert torch.get_num_threads() == 3


def test_a_run_that_cannot_be_drawn_keeps_no_other_from_being_recorded(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error in the pictures of one is its own; the next start records it."""
    own, dataset = configs(data, "seed=1", "seed=2", "seed=3"), load(data)
    draw, calls = results.finish_member, []

    def fail_once(member: Member, *args: Any, **options: Any) -> None:
        calls.append(member)
        if len(calls) == 1:
            raise ZeroDivisionError("a picture of nothing")
        draw(member, *args, **options)

    monkeypatch.setattr(trainer, "finish_member", fail_once)
    done = train_all(own, dataset)
    assert isinstance(done[0].error, ZeroDivisionError)
    assert [result.folder.status() for result in done] == ["KILLED", "FINISHED", "FINISHED"]
    [again] = train_all(own[:1], dataset)
    assert (again.error, again.folder.status()) == (None, "FINISHED")


def test_a_finished_run_that_cannot_be_recorded_further_keeps_no_other_from_training(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the error is: it is its own, and the next start records it."""
    own, dataset = configs(data, "seed=1", "seed=2", "seed=3"), load(data)
    [first] = train([Request(own[0], auto=False)], dataset, QUIET)
    assert first.error is None
    with monkeypatch.context() as patch:
        patch.setattr(results, "record_training", lambda *_: 1 / 0)
        wanted = [Request(each, auto=each is own[0]) for each in own]
        done = train(wanted, dataset, QUIET)
    assert isinstance(done[0].error, ZeroDivisionError)
    assert [result.folder.status() for result in done] == ["FINISHED"] * 3
    [again] = train([Request(own[0])], dataset, QUIET)
    assert again.error is None
    assert (again.folder.artifacts / "curves.png").exists()
