import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset

from sklunlearn import BoundaryUnlearner
from sklunlearn.datasets import LazyImages, load_image_folder
from sklunlearn.datasets._decode import Decoder

N = 12
PIXELS = np.random.default_rng(0).integers(256, size=(N, 8, 8), dtype=np.uint8)
LABELS = [f"class {i % 3}" for i in range(N)]


@pytest.fixture
def files(tmp_path):
    names = [f"{i:02d}.png" for i in range(N)]
    for name, pixels in zip(names, PIXELS, strict=True):
        Image.fromarray(pixels).save(tmp_path / name)
    return names


@pytest.fixture
def make(tmp_path, files):
    def images(targets=LABELS, **options):
        return LazyImages(tmp_path, files, targets, image_shape=(1, 8, 8), **options)

    return images


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are decoded, as it happens."""
    names, read = [], Decoder.read

    def counted(self, path):
        names.append(int(path[-6:-4]))
        return read(self, path)

    monkeypatch.setattr(Decoder, "read", counted)
    return names


def test_items(make):
    images = make()
    assert len(images) == N
    for i in (0, 5, -1, np.int64(3)):
        x, y = images[i]
        assert x.dtype == torch.float32
        np.testing.assert_allclose(x, PIXELS[i][None] / 255, rtol=1e-6)
        assert y == LABELS[i]
        assert type(y) is str
    with pytest.raises(IndexError):
        images[N]
    assert len(list(images)) == N
    assert images.targets.tolist() == LABELS


def test_slice(make):
    with pytest.raises(TypeError, match="one image an index, got a slice: for several, take"):
        make()[:2]


def test_number_labels(make):
    y = make(targets=np.arange(N))[4][1]
    assert y == 4
    assert type(y) is int


def test_item_may_be_changed(make):
    images = make()
    images[0][0].zero_()
    np.testing.assert_allclose(images[0][0], PIXELS[0][None] / 255, rtol=1e-6)


def test_wrong_number_of_targets(make):
    with pytest.raises(ValueError, match=r"shape \(5,\) for 12 files"):
        make(targets=range(5))


def test_cache_holds_what_was_used_last(make, reads):
    images = make(cache_size=3.5 * 64 / 1e6)  # three images of 64 bytes
    for i in (0, 1, 2, 0, 1, 2):
        images[i]
    assert reads == [0, 1, 2]
    images[0]
    images[3]  # puts out 1, which was not asked for longest
    for i in (0, 2, 3):
        images[i]
    assert reads == [0, 1, 2, 3]
    images[1]
    assert reads == [0, 1, 2, 3, 1]
    assert images._kept_bytes == sum(image.nbytes for image in images._kept.values()) == 3 * 64


def test_no_cache(make, reads):
    images = make(cache_size=0)
    for _ in range(2):
        images[0]
    assert reads == [0, 0]


def test_targets_are_had_without_reading(make, reads):
    assert make().targets.shape == (N,)
    assert reads == []


def test_copy_starts_with_an_empty_cache(make):
    images = make()
    small = len(pickle.dumps(images))
    for i in range(N):
        images[i]
    assert len(pickle.dumps(images)) == small
    copy = pickle.loads(pickle.dumps(images))
    assert len(copy._kept) == 0
    torch.testing.assert_close(copy[3][0], images[3][0])


def test_threads(make):
    images = make(cache_size=5 * 64 / 1e6)
    order = np.random.default_rng(0).integers(N, size=400).tolist()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: images[i][0], order))
    for i, x in zip(order, found, strict=True):
        np.testing.assert_allclose(x[0], PIXELS[i] / 255, rtol=1e-6)
    assert images._kept_bytes == 64 * len(images._kept) <= 5 * 64


@pytest.mark.parametrize("indices", [[3, 0, 3], np.array([1, 2])])
def test_batch(make, indices):
    batch = make().__getitems__(indices)
    assert [y for _, y in batch] == [LABELS[i] for i in indices]
    x = torch.stack([x for x, _ in batch])
    np.testing.assert_allclose(x[:, 0], PIXELS[indices] / 255, rtol=1e-6)


def test_loader_and_subset(make):
    loader = DataLoader(Subset(make(targets=np.arange(N)), [2, 4, 6]), batch_size=2)
    (x, y), (_, last) = loader
    np.testing.assert_allclose(x[:, 0], PIXELS[[2, 4]] / 255, rtol=1e-6)
    assert y.tolist() == [2, 4]
    assert last.tolist() == [6]


def test_file_that_was_damaged_since(make, tmp_path, files):
    images = make()
    (tmp_path / files[2]).write_text("no image")
    with pytest.raises(OSError, match="Load the folder anew without this file") as error:
        images[2]
    assert str(tmp_path / files[2]) in str(error.value)
    (tmp_path / files[3]).unlink()
    with pytest.raises(OSError, match=files[3]):
        images[3]


def test_file_of_another_size(make, tmp_path, files):
    images = make()
    Image.fromarray(PIXELS[0, :4]).save(tmp_path / files[2])
    with pytest.raises(OSError, match=r"has shape \(1, 4, 8\) now, but had \(1, 8, 8\)"):
        images[2]


# With an unlearner.


@pytest.fixture
def folder(tmp_path):
    """20 pictures a class: bright above, bright on the left, or dark."""
    rng = np.random.default_rng(0)
    for name, rows, columns in [("top", 4, 8), ("left", 8, 4), ("none", 0, 0)]:
        (tmp_path / name).mkdir()
        for i in range(20):
            pixels = rng.integers(80, size=(8, 8))
            pixels[:rows, :columns] += 120
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("pass_y", [True, False])
def test_unlearning(folder, pass_y):
    lazy, eager = load_image_folder(folder, lazy=True), load_image_folder(folder)
    y = lazy.target if pass_y else None
    mask = lazy.target == "top"
    unlearner = BoundaryUnlearner(random_state=0, max_epochs=5).fit(lazy.data, y)
    assert unlearner.classes_.tolist() == ["left", "none", "top"]
    assert unlearner.score(lazy.data, lazy.target) == 1
    unlearner.unlearn(lazy.data, y, forget=mask)
    assert (unlearner.predict(lazy.data)[mask] == "top").mean() < 0.5

    # The same as with the array in memory.
    other = BoundaryUnlearner(random_state=0, max_epochs=5).fit(eager.data, eager.target)
    other.unlearn(eager.data, eager.target, forget=mask)
    np.testing.assert_allclose(
        unlearner.predict_proba(lazy.data), other.predict_proba(eager.data), atol=1e-4
    )
