"""data/fashion_mnist.py: four files are found, verified and checked against each other."""

import errno
import gzip
import hashlib
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from numpy.typing import NDArray

from fashion_mnist.data.fashion_mnist import (
    CLASS_NAMES,
    FASHION_MNIST_SHA256,
    NAMES,
    load_dataset,
    load_fashion_mnist,
    missing_names,
    read_dataset,
    set_damaged_aside,
    system_folders,
    training_size,
)
from fashion_mnist.data.idx import DataError, find_idx, read_content, write_idx

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES
THREE = ("a", "b", "c")  # class names


def small_arrays() -> dict[str, NDArray[np.uint8]]:
    """Five training and two test images of 2 x 3 pixels, labels below 3; all differ."""
    values = np.arange(5 * 6 + 2 * 6, dtype=np.uint8)
    return {
        TRAIN_IMAGES: values[:30].reshape(5, 2, 3),
        TRAIN_LABELS: np.array([0, 1, 2, 1, 0], dtype=np.uint8),
        TEST_IMAGES: values[30:].reshape(2, 2, 3),
        TEST_LABELS: np.array([2, 0], dtype=np.uint8),
    }


def write_small(folder: Path, *, suffix: str = "", dotted: bool = False) -> None:
    """Write the small data set into `folder`."""
    for name, array in small_arrays().items():
        stem = name.replace("-idx", ".idx") if dotted else name
        write_idx(folder / f"{stem}{suffix}", array)


def write_twice(place: Path, suffix: str) -> tuple[Path, Path]:
    """The small data set in a folder of the user's and in one of the system's."""
    mine, system = place / "mine", place / "system"
    for folder in (mine, system):
        folder.mkdir()
        write_small(folder, suffix=suffix)
    return mine, system


def digests_of(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file's decompressed content."""
    paths = {name: find_idx(folder, name) for name in NAMES}
    return {
        name: hashlib.sha256(read_content(path)).hexdigest()
        for name, path in paths.items()
        if path is not None
    }


def together(digests: Mapping[str, str]) -> str:
    """The SHA-256 of a data set whose files have these digests."""
    return hashlib.sha256("".join(digests[name] for name in NAMES).encode()).hexdigest()


class NoSource:
    """For copies that are on the disk: nothing is to be downloaded."""

    def __init__(self, *_: object, **__: object) -> None:
        """Fail."""
        raise AssertionError("wanted to download")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_four_files_are_read(tmp_path: Path, suffix: str, dotted: bool) -> None:
    """Plain or compressed, in both spellings: images flat uint8, labels int64; no warning."""
    write_small(tmp_path, suffix=suffix, dotted=dotted)
    dataset = load_dataset(name="mine", folder=tmp_path, class_names=THREE)
    for tensor, name in (
        (dataset.train_images, TRAIN_IMAGES),
        (dataset.train_labels, TRAIN_LABELS),
        (dataset.test_images, TEST_IMAGES),
        (dataset.test_labels, TEST_LABELS),
    ):
        array = small_arrays()[name]
        assert tensor.tolist() == array.reshape(len(array), -1).squeeze().tolist()
    assert dataset.train_images.dtype == dataset.test_images.dtype == torch.uint8
    assert dataset.train_labels.dtype == dataset.test_labels.dtype == torch.int64
    assert (dataset.name, dataset.class_names, dataset.num_classes) == ("mine", THREE, 3)
    assert (dataset.image_shape, dataset.source) == ((2, 3), str(tmp_path))


def test_data_set_moves_as_a_whole(tmp_path: Path) -> None:
    """All four tensors go to the device, the rest stays."""
    write_small(tmp_path)
    dataset = load_dataset(name="mine", folder=tmp_path, class_names=THREE)
    moved = dataset.to("meta")
    tensors = (moved.train_images, moved.train_labels, moved.test_images, moved.test_labels)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert (moved.sha256, moved.image_shape) == (dataset.sha256, dataset.image_shape)


def test_digest_is_of_the_content_in_a_fixed_order(tmp_path: Path) -> None:
    """The digest is the same for plain and compressed files, and is what sha256sum would say."""
    (tmp_path / "plain").mkdir()
    (tmp_path / "packed").mkdir()
    write_small(tmp_path / "plain")
    write_small(tmp_path / "packed", suffix=".gz")
    plain = load_dataset(name="mine", folder=tmp_path / "plain", class_names=THREE)
    packed = load_dataset(name="mine", folder=tmp_path / "packed", class_names=THREE)

    each = [hashlib.sha256((tmp_path / "plain" / name).read_bytes()).hexdigest() for name in NAMES]
    assert plain.sha256 == packed.sha256 == hashlib.sha256("".join(each).encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "array", "complaint"),
    [
        (TRAIN_LABELS, [0, 1, 3, 1, 0], "labels must be 0 to 2 for the 3 names .*, got 3"),
        (TEST_LABELS, [2, 3], "labels must be 0 to 2"),
        (TRAIN_LABELS, [1, 2, 3, 1, 2], "got 3; they start at 1: subtract 1 from each"),
        (TRAIN_LABELS, [0, 1, 2, 1], "one label for each of the 5 images of train-.*, got 4"),
        (TEST_LABELS, [0, 1, 2], "one label for each of the 2 images of t10k-.*, got 3"),
        (TEST_IMAGES, np.zeros((2, 3, 2)), "must be 2 x 3 pixels like .*, got 3 x 2"),
        (TRAIN_IMAGES, np.zeros((0, 2, 3)), "at least one pixel, got 0 x 2 x 3"),
        (TEST_IMAGES, np.zeros((2, 0, 3)), "at least one pixel, got 2 x 0 x 3"),
        (TRAIN_IMAGES, [0, 1], "must hold images .*, got labels"),
        (TRAIN_LABELS, np.zeros((5, 2, 3)), "must hold labels .*, got images"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, name: str, array: object, complaint: str
) -> None:
    """Wrong labels, counts, sizes and kinds are errors that name the file."""
    write_small(tmp_path)
    write_idx(tmp_path / name, np.asarray(array, dtype=np.uint8))
    with pytest.raises(DataError, match=f"{name}: .*{complaint}"):
        load_dataset(name="mine", folder=tmp_path, class_names=THREE)


def test_missing_files_are_named(tmp_path: Path) -> None:
    """A folder without some file, and no folder at all, are errors that say data.dir."""
    write_small(tmp_path)
    (tmp_path / TEST_LABELS).unlink()
    with pytest.raises(DataError, match=rf"data\.dir .* has no {TEST_LABELS}$"):
        load_dataset(name="mine", folder=tmp_path, class_names=THREE)
    with pytest.raises(DataError, match=r"data\.dir .*nowhere is no folder"):
        load_dataset(name="mine", folder=tmp_path / "nowhere", class_names=THREE)


def test_content_must_be_the_expected(tmp_path: Path) -> None:
    """With known digests, one changed pixel and two swapped files are noticed."""
    write_small(tmp_path)
    expected = digests_of(tmp_path)
    read = partial(read_dataset, tmp_path, name="mine", class_names=THREE, expected=expected)
    assert read().sha256 == together(expected)

    array = small_arrays()[TEST_IMAGES].copy()
    array[1, 1, 2] ^= 1
    write_idx(tmp_path / TEST_IMAGES, array)
    with pytest.raises(DataError, match=f"{TEST_IMAGES}: changed"):
        read()

    write_small(tmp_path)
    (tmp_path / TEST_IMAGES).write_bytes((tmp_path / TRAIN_IMAGES).read_bytes())
    with pytest.raises(DataError, match=f"{TEST_IMAGES}: swapped: it holds what {TRAIN_IMAGES}"):
        read()


def test_another_data_set_is_refused_and_kept(tmp_path: Path) -> None:
    """Whole files of which none is Fashion-MNIST's are the user's own data: they stay."""
    write_small(tmp_path)
    with pytest.raises(DataError, match=r"changed: .*, or choose data=idx for other classes"):
        load_dataset(folder=tmp_path)
    assert missing_names(tmp_path) == []


def damage(path: Path, kind: str) -> bytes:
    """Damage a file; what it holds then."""
    content = bytearray(path.read_bytes())
    match kind:
        case "truncated":
            del content[-7:]
        case "flipped":
            content[-4] ^= 16
        case "empty":
            content.clear()
        case "nul":
            content[:] = bytes(len(content))
    path.write_bytes(content)
    return bytes(content)


DAMAGES = [(kind, suffix) for kind in ("truncated", "empty", "nul") for suffix in ("", ".gz")]


# a bit that is flipped in a plain file leaves it whole
@pytest.mark.parametrize(("kind", "suffix"), [*DAMAGES, ("flipped", ".gz")])
def test_damaged_file_of_the_user_is_set_aside_for_a_good_copy(
    tmp_path: Path, kind: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of damage to each file is noticed; the file is kept beside, and said to be."""
    mine, system = write_twice(tmp_path, suffix)
    expected = digests_of(system)
    for number, name in enumerate(NAMES):
        caplog.clear()
        held = damage(mine / f"{name}{suffix}", kind)
        dataset = load_fashion_mnist(
            mine, class_names=THREE, expected=expected, systems=[system], source=NoSource
        )
        assert (dataset.source, dataset.sha256) == (str(system), together(expected))
        assert (mine / f"{name}.damaged-1{suffix}").read_bytes() == held
        assert f"{mine / name}{suffix}: " in caplog.text
        assert f"kept as {name}.damaged-1{suffix}" in caplog.text
        assert len(missing_names(mine)) == 1
        write_idx(mine / f"{name}{suffix}", small_arrays()[name])
        dataset = load_fashion_mnist(
            mine, class_names=THREE, expected=expected, systems=[system], source=NoSource
        )
        assert dataset.source == str(mine)
        assert len([path for path in mine.iterdir() if "damaged" in path.name]) == number + 1


@pytest.mark.parametrize("others", ["good", "absent", "damaged", "good, read-only"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_was_changed_on_purpose_is_an_error(
    tmp_path: Path, suffix: str, others: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, nothing is renamed or passed over; taken away, or named, it is in no way."""
    mine, system = write_twice(tmp_path, suffix)
    expected = digests_of(system)
    changed = mine / f"{TRAIN_LABELS}{suffix}"
    write_idx(changed, np.array([1, 0, 2, 1, 0], dtype=np.uint8))
    if others in ("absent", "damaged"):
        path = mine / f"{TEST_IMAGES}{suffix}"
        path.unlink() if others == "absent" else damage(path, "truncated")
    if others == "good, read-only":

        def refuse(_: Path) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        # root may write everywhere
        monkeypatch.setattr("fashion_mnist.data.fashion_mnist._lock", refuse)
    before = sorted(path.name for path in mine.iterdir())
    load_mine = partial(
        load_fashion_mnist, mine, class_names=THREE, expected=expected, source=NoSource
    )
    with pytest.raises(DataError, match=f"{changed.name}: changed: .* remove what is changed"):
        load_mine(systems=[system])
    assert sorted(path.name for path in mine.iterdir() if path.name != ".lock") == before
    if others.startswith("good"):
        named = load_dataset(name="mine", folder=mine, class_names=THREE)
        assert named.train_labels.tolist() == [1, 0, 2, 1, 0]
    changed.unlink()
    assert load_mine(systems=[system]).source == str(system)


def test_damage_that_comes_again_overwrites_nothing(tmp_path: Path) -> None:
    """What was set aside before stays; the next has the next number."""
    write_small(tmp_path)
    expected = digests_of(tmp_path)
    for number in (1, 2):
        path = tmp_path / TEST_LABELS
        path.write_bytes(f"garbage {number}".encode())
        set_damaged_aside(tmp_path, expected)
        assert not path.exists()
        write_idx(path, small_arrays()[TEST_LABELS])
    kept = [(tmp_path / f"{TEST_LABELS}.damaged-{k}").read_text() for k in (1, 2)]
    assert kept == ["garbage 1", "garbage 2"]


def test_every_damaged_spelling_of_a_file_is_set_aside(tmp_path: Path) -> None:
    """A damaged NAME hides NAME.gz: that is judged when the former is out of the way."""
    write_small(tmp_path)
    expected = digests_of(tmp_path)
    (tmp_path / TEST_LABELS).write_bytes(b"garbage")
    (tmp_path / f"{TEST_LABELS}.gz").write_bytes(b"more garbage")
    set_damaged_aside(tmp_path, expected)
    assert missing_names(tmp_path) == [TEST_LABELS]


def test_damaged_copy_of_the_system_is_skipped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The next place is tried, with a message that names the file; nothing there is touched."""
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        write_small(folder, suffix=".gz")
    expected = digests_of(first)
    held = damage(first / f"{TRAIN_IMAGES}.gz", "truncated")
    for folder in (tmp_path / "none", first):  # also where data.dir is the system's folder itself
        caplog.clear()
        dataset = load_fashion_mnist(
            folder, class_names=THREE, expected=expected, systems=[first, second], source=NoSource
        )
        assert dataset.source == str(second)
        assert f"{first / TRAIN_IMAGES}.gz: truncated" in caplog.text
        assert "skipped" in caplog.text
    assert (first / f"{TRAIN_IMAGES}.gz").read_bytes() == held
    assert len(list(first.iterdir())) == 4


def test_good_files_that_do_not_fit_the_names_are_no_damage(tmp_path: Path) -> None:
    """Too few names of classes is a mistake of the config: no file is renamed for it."""
    write_small(tmp_path)
    expected = digests_of(tmp_path)
    with pytest.raises(DataError, match=r"labels must be 0 to 1 for the 2 names"):
        load_fashion_mnist(
            tmp_path, class_names=THREE[:2], expected=expected, systems=[], source=NoSource
        )
    assert missing_names(tmp_path) == []


def test_system_folders_come_from_prefix_and_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment's own share comes first, then XDG_DATA_DIRS, then the usual two, once."""
    monkeypatch.setattr(sys, "prefix", "/env")
    monkeypatch.setenv("XDG_DATA_DIRS", "/opt/share::/usr/share")
    assert [str(folder) for folder in system_folders()] == [
        "/env/share/datasets/fashion-mnist",
        "/opt/share/datasets/fashion-mnist",
        "/usr/share/datasets/fashion-mnist",
        "/usr/local/share/datasets/fashion-mnist",
    ]


def test_training_size_is_known_before_the_data() -> None:
    """Fashion-MNIST's size needs no file; another data set's cannot be known."""
    assert training_size("fashion_mnist") == 60_000
    assert training_size("mine") is None


def test_class_names_are_those_of_the_config() -> None:
    """What `fmnist fetch` and the doctor know is what training is told."""
    path = Path(__file__).parents[2] / "conf" / "data" / "fashion_mnist.yaml"
    assert yaml.safe_load(path.read_text())["class_names"] == list(CLASS_NAMES)


@pytest.fixture(scope="module")
def system_copy() -> Path:
    """The folder of Fashion-MNIST that the system has."""
    for folder in system_folders():
        if not missing_names(folder):
            return folder
    pytest.skip("no system copy of Fashion-MNIST (Debian: dataset-fashion-mnist)")


def test_real_system_copy_is_found_without_torchvision(system_copy: Path, tmp_path: Path) -> None:
    """The system's copy has the published content; torchvision is not imported, nothing written."""
    program = f"""
import sys
from pathlib import Path
from fashion_mnist.data.fashion_mnist import load_dataset
dataset = load_dataset(folder=Path({str(tmp_path)!r}))
assert dataset.train_images.shape == (60000, 784), dataset.train_images.shape
assert dataset.test_labels.shape == (10000,), dataset.test_labels.shape
assert "torchvision" not in sys.modules
print(dataset.source)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(system_copy)
    assert list(tmp_path.iterdir()) == []


def test_real_copy_in_the_folder_wins(system_copy: Path, tmp_path: Path) -> None:
    """data.dir comes before the system; plain files and .gz files may be mixed."""
    for name in NAMES:
        content = read_content(system_copy / f"{name}.gz")
        if name == TRAIN_LABELS:
            (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
        else:
            (tmp_path / name).write_bytes(content)
    dataset = load_dataset(folder=tmp_path)
    assert dataset.source == str(tmp_path)
    assert dataset.sha256 == together(FASHION_MNIST_SHA256)
