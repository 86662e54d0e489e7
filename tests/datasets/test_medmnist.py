import dataclasses
import hashlib
import shutil

import numpy as np
import pytest

from sklunlearn.datasets import _base, _medmnist, fetch_medmnist
from sklunlearn.datasets._medmnist_info import MEDMNIST

COUNTS = {"train": 4, "val": 1, "test": 2}


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Small files of the true format, downloaded by copying."""
    rng, content = np.random.default_rng(0), {}
    (tmp_path / "web").mkdir()
    for name, filename, shape in [
        ("breastmnist", "breastmnist.npz", (28, 28)),
        ("dermamnist", "dermamnist_64.npz", (64, 64, 3)),
    ]:
        arrays = {}
        for part, n in COUNTS.items():
            arrays[f"{part}_images"] = rng.integers(256, size=(n, *shape), dtype=np.uint8)
            arrays[f"{part}_labels"] = rng.integers(2, size=(n, 1), dtype=np.uint8)
        path = tmp_path / "web" / filename
        np.savez_compressed(path, **arrays)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        info = dataclasses.replace(MEDMNIST[name], md5={28: md5, 64: md5})
        monkeypatch.setitem(_medmnist.MEDMNIST, name, info)
        content[name] = arrays

    def retrieve(url, target):
        start, filename = url.removesuffix("?download=1").rsplit("/", 1)
        assert start == "https://zenodo.org/records/10519652/files"
        shutil.copyfile(tmp_path / "web" / filename, target)

    monkeypatch.setattr(_base, "urlretrieve", retrieve)
    return content


def test_grey(published, tmp_path):
    bunch = fetch_medmnist("breastmnist", data_home=tmp_path)
    arrays = published["breastmnist"]
    assert bunch.data.shape == (7, 1, 28, 28)
    assert bunch.data.dtype == np.uint8
    np.testing.assert_array_equal(bunch.data[4, 0], arrays["val_images"][0])
    expected = [int(v) for part in COUNTS for v in arrays[f"{part}_labels"][:, 0]]
    assert bunch.target.tolist() == expected
    assert bunch.target.dtype == np.int64
    assert bunch.target_names == ["malignant", "normal, benign"]
    assert bunch.metadata["subset"].tolist() == ["train"] * 4 + ["val"] + ["test"] * 2


def test_color_and_size_and_subset(published, tmp_path):
    X, y = fetch_medmnist("dermamnist", size=64, subset="test", data_home=tmp_path, return_X_y=True)
    images = published["dermamnist"]["test_images"]
    assert X.shape == (2, 3, 64, 64)
    assert X.flags.c_contiguous
    assert X[1, 2, 10, 40] == images[1, 10, 40, 2]
    assert len(y) == 2


def test_table():
    # As the publishers' page lists them.
    assert len(MEDMNIST) == 11
    n_classes = {name: len(info.target_names) for name, info in MEDMNIST.items()}
    assert n_classes["pathmnist"] == 9
    assert n_classes["organsmnist"] == 11
    assert sorted(n for n, i in MEDMNIST.items() if i.n_channels == 3) == [
        "bloodmnist",
        "dermamnist",
        "pathmnist",
        "retinamnist",
    ]
    checksums = [md5 for info in MEDMNIST.values() for md5 in info.md5.values()]
    assert len(set(checksums)) == 44
    assert {len(md5) for md5 in checksums} == {32}
    for name in MEDMNIST:
        assert f'"{name}"' in fetch_medmnist.__doc__


def test_broken_download(published, tmp_path, monkeypatch):
    info = dataclasses.replace(MEDMNIST["breastmnist"], md5={28: "0123"})
    monkeypatch.setitem(_medmnist.MEDMNIST, "breastmnist", info)
    with pytest.raises(OSError, match="instead of 0123"):
        fetch_medmnist("breastmnist", data_home=tmp_path)


@pytest.mark.parametrize("how", ["cut", "other shape"])
def test_damaged_file(published, tmp_path, how):
    fetch_medmnist("breastmnist", data_home=tmp_path)
    path = tmp_path / "sklunlearn" / "breastmnist.npz"
    if how == "cut":
        path.write_bytes(path.read_bytes()[:500])
    else:
        np.savez(path, train_images=np.zeros((2, 64, 64)), train_labels=np.zeros((2, 1)))
    with pytest.raises(OSError, match=r"breastmnist\.npz is damaged"):
        fetch_medmnist("breastmnist", data_home=tmp_path)


@pytest.mark.parametrize(
    "params",
    [{"name": "chestmnist"}, {"name": "organmnist3d"}, {"size": 32}, {"subset": "validation"}],
)
def test_wrong_parameter(tmp_path, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        fetch_medmnist(**{"name": "breastmnist", "data_home": tmp_path, **params})
