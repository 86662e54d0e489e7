import hashlib
import os
import shutil
from urllib.error import URLError

import numpy as np
import pytest

from sklunlearn.datasets import _base
from sklunlearn.datasets._base import atomic_path, cache_folder, download, load_npz, save_npz

MD5 = hashlib.md5(b"content").hexdigest()


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A file that is downloaded by copying; the list counts how often."""
    path, calls = tmp_path / "source", []
    path.write_bytes(b"content")

    def retrieve(url, target):
        calls.append(url)
        shutil.copyfile(url, target)

    monkeypatch.setattr(_base, "urlretrieve", retrieve)
    return str(path), calls


@pytest.fixture
def no_network(monkeypatch):
    calls = []

    def retrieve(url, target):
        calls.append(url)
        raise URLError("no route to host")

    monkeypatch.setattr(_base, "urlretrieve", retrieve)
    return calls


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "home"))
    assert cache_folder(None) == tmp_path / "home" / "sklunlearn"
    assert cache_folder(tmp_path / "other") == tmp_path / "other" / "sklunlearn"
    assert (tmp_path / "other" / "sklunlearn").is_dir()


@pytest.mark.parametrize("md5", [None, MD5])
def test_download_happens_once(tmp_path, source, md5):
    url, calls = source
    target = tmp_path / "target"
    for _ in range(2):
        assert download(url, target, md5=md5) == target
    assert target.read_bytes() == b"content"
    assert calls == [url]
    umask = os.umask(0)
    os.umask(umask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~umask


def test_wrong_checksum(tmp_path, source):
    with pytest.raises(OSError, match=f"{MD5} instead of 0123") as error:
        download(source[0], tmp_path / "target", md5="0123")
    assert "Nothing was kept" in str(error.value)
    assert os.listdir(tmp_path) == ["source"]


def test_no_network(tmp_path, no_network):
    target = tmp_path / "target"
    with pytest.raises(OSError, match="no route to host") as error:
        download("http://example.org/x", target, n_retries=2, delay=1e-6)
    assert f"save the file as {target}" in str(error.value)
    assert "`data_home`" in str(error.value)
    assert len(no_network) == 3
    assert os.listdir(tmp_path) == []


def test_network_that_comes_back(tmp_path, source, monkeypatch):
    copy, failures = _base.urlretrieve, [TimeoutError(), ConnectionResetError()]

    def flaky(url, target):
        if failures:
            raise failures.pop()
        copy(url, target)

    monkeypatch.setattr(_base, "urlretrieve", flaky)
    download(source[0], tmp_path / "target", n_retries=2, delay=1e-6)
    assert (tmp_path / "target").read_bytes() == b"content"


def test_missing_and_not_to_be_downloaded(tmp_path, source):
    url, calls = source
    with pytest.raises(FileNotFoundError, match="download_if_missing"):
        download(url, tmp_path / "target", download_if_missing=False)
    assert calls == []
    download(url, tmp_path / "target")
    assert download(url, tmp_path / "target", download_if_missing=False).exists()


def test_interrupted_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as name:
        with open(name, "w") as file:
            file.write("half of the n")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_npz_there_and_back(tmp_path):
    path, X = tmp_path / "a.npz", np.arange(6, dtype=np.uint8).reshape(2, 3)
    save_npz(path, X=X, y=np.array([1, 2]))
    found, y = load_npz(path, ["X", "y"])
    np.testing.assert_array_equal(found, X)
    assert found.dtype == np.uint8
    assert y.tolist() == [1, 2]
    assert os.listdir(tmp_path) == ["a.npz"]


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 3] ^= 255
    path.write_bytes({"empty": b"", "cut": content[:100], "text": b"<html>"}.get(how, content))


@pytest.mark.parametrize("how", ["empty", "cut", "text", "flipped", "another array"])
def test_damaged_npz(tmp_path, how):
    path = tmp_path / "a.npz"
    save_npz(path, X=np.random.default_rng(0).integers(256, size=(50, 50)))
    damage(path, how)
    with pytest.raises(OSError, match="damaged") as error:
        load_npz(path, ["Y" if how == "another array" else "X"])
    assert str(path) in str(error.value)
    assert "Delete this file and call again" in str(error.value)
