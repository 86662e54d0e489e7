import hashlib
import shutil

import numpy as np
import pytest
from scipy.io import savemat

from sklunlearn.datasets import _base, _svhn, fetch_svhn


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Small files of the true format, downloaded by copying; images as (row, column, channel)."""
    rng, images = np.random.default_rng(0), {}
    (tmp_path / "web").mkdir()
    for name, labels in [("train", [1, 10, 9]), ("test", [10, 2])]:
        images[name] = rng.integers(256, size=(len(labels), 32, 32, 3), dtype=np.uint8)
        path = tmp_path / "web" / f"{name}_32x32.mat"
        X = images[name].transpose(1, 2, 3, 0)
        savemat(path, {"X": X, "y": np.array(labels, np.uint8)[:, None]}, do_compression=True)
        monkeypatch.setitem(_svhn._MD5, name, hashlib.md5(path.read_bytes()).hexdigest())

    def retrieve(url, target):
        assert url.startswith("http://ufldl.stanford.edu/housenumbers/")
        shutil.copyfile(tmp_path / "web" / url.rsplit("/", 1)[1], target)

    monkeypatch.setattr(_base, "urlretrieve", retrieve)
    return images


def test_all(published, tmp_path):
    bunch = fetch_svhn(data_home=tmp_path)
    assert bunch.data.shape == (5, 3, 32, 32)
    assert bunch.data.dtype == np.uint8
    assert bunch.data.flags.c_contiguous
    # The file calls the digit 0 class 10.
    assert bunch.target.tolist() == [1, 0, 9, 0, 2]
    assert bunch.metadata["subset"].tolist() == ["train"] * 3 + ["test"] * 2
    assert bunch.data[1, 2, 30, 7] == published["train"][1, 30, 7, 2]
    assert bunch.data[4, 0, 3, 20] == published["test"][1, 3, 20, 0]


@pytest.mark.parametrize("subset, y", [("train", [1, 0, 9]), ("test", [0, 2])])
def test_subset(published, tmp_path, subset, y):
    X, found = fetch_svhn(subset=subset, data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X.transpose(0, 2, 3, 1), published[subset])
    np.testing.assert_array_equal(found, y)
    other = {"train": "test", "test": "train"}[subset]
    with pytest.raises(FileNotFoundError, match=f"svhn_{other}_32x32.mat"):
        fetch_svhn(data_home=tmp_path, download_if_missing=False)


def test_published_checksums():
    # As torchvision.datasets.SVHN states them.
    assert _svhn._MD5 == {
        "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test": "eb5a983be6a315427106f1b164d9cef3",
    }


def test_broken_download(published, tmp_path, monkeypatch):
    monkeypatch.setitem(_svhn._MD5, "test", "0123")
    with pytest.raises(OSError, match="instead of 0123"):
        fetch_svhn(subset="test", data_home=tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", "cut", "flipped", "no X"])
def test_damaged_file(published, tmp_path, content):
    fetch_svhn(subset="test", data_home=tmp_path)
    path = tmp_path / "sklunlearn" / "svhn_test_32x32.mat"
    whole = bytearray(path.read_bytes())
    if content == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif content == "flipped":
        whole[len(whole) // 2] ^= 255
        path.write_bytes(whole)
    elif content == "no X":
        savemat(path, {"y": [1]})
    else:
        path.write_bytes(content)
    with pytest.raises(OSError, match="is damaged") as error:
        fetch_svhn(subset="test", data_home=tmp_path)
    assert str(path) in str(error.value)


def test_wrong_subset(tmp_path):
    with pytest.raises(ValueError, match="subset"):
        fetch_svhn(subset="extra", data_home=tmp_path)
