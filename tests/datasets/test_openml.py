"""OpenML as scikit-learn talks to it: JSON about the data set, and an ARFF file."""

import dataclasses
import gzip
import hashlib
import io
import json
import time
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets._openml as sklearn_openml

from sklunlearn.datasets import _openml, fetch_cifar10, fetch_fashion_mnist, fetch_mnist

FETCHERS = {
    "_MNIST": (fetch_mnist, 554, (1, 28, 28)),
    "_FASHION_MNIST": (fetch_fashion_mnist, 40996, (1, 28, 28)),
    "_CIFAR10": (fetch_cifar10, 40927, (3, 32, 32)),
}
LABELS = [7, 0, 9]


class Response(io.BytesIO):
    def info(self):
        return {"Content-Encoding": "gzip"}


def arff(rows, quote=""):
    lines = ["% a comment", "@RELATION images"]
    lines += [f"@ATTRIBUTE p{i} INTEGER" for i in range(rows.shape[1])]
    lines += ["@ATTRIBUTE class {0,1,2,3,4,5,6,7,8,9}", "@DATA"]
    for row, label in zip(rows, LABELS, strict=True):
        lines.append(",".join([*map(str, row), f"{quote}{label}{quote}"]))
    return "\n".join(lines).encode() + b"\n"


def serve(monkeypatch, data_id, content, n_pixels, md5=None):
    """Answer what scikit-learn asks OpenML; the list of what it asked."""
    feature = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    features = [
        {"index": str(i), "name": f"p{i}", "data_type": "numeric", "is_target": "false", **feature}
        for i in range(n_pixels)
    ]
    features.append(
        {"index": str(n_pixels), "name": "class", "data_type": "nominal", "is_target": "true"}
        | feature
    )
    description = {
        "id": str(data_id),
        "name": "images",
        "version": "1",
        "description": "",
        "format": "ARFF",
        "status": "active",
        "url": "https://api.openml.org/data/v1/download/1/images.arff",
        "md5_checksum": md5 or hashlib.md5(content).hexdigest(),
    }
    api = "https://www.openml.org/api/v1/json/data/"
    count = [{"name": "NumberOfInstances", "value": "3"}]
    answers = {
        f"{api}{data_id}": {"data_set_description": description},
        f"{api}features/{data_id}": {"data_features": {"feature": features}},
        f"{api}qualities/{data_id}": {"data_qualities": {"quality": count}},
    }
    asked = []

    def urlopen(request, *args, **kwargs):
        url = request.full_url
        asked.append(url)
        answer = json.dumps(answers[url]).encode() if url in answers else content
        return Response(gzip.compress(answer))

    monkeypatch.setattr(sklearn_openml, "urlopen", urlopen)
    return asked


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(256, size=(3, 784))


@pytest.fixture
def three_digits(monkeypatch):
    source = dataclasses.replace(_openml._MNIST, n_samples=3)
    monkeypatch.setattr(_openml, "_MNIST", source)


@pytest.mark.parametrize("name", FETCHERS)
@pytest.mark.parametrize("quote", ["", "'"])
def test_fetch(name, quote, tmp_path, monkeypatch):
    fetch, data_id, shape = FETCHERS[name]
    rows = np.random.default_rng(0).integers(256, size=(3, np.prod(shape)))
    source = dataclasses.replace(getattr(_openml, name), n_samples=3)
    monkeypatch.setattr(_openml, name, source)
    asked = serve(monkeypatch, data_id, arff(rows, quote), rows.shape[1])
    bunch = fetch(data_home=tmp_path)
    assert bunch.data.shape == (3, *shape)
    assert bunch.data.dtype == np.uint8
    # Channel by channel, and each row by row.
    channels, height, width = shape
    for c, i, j in [(0, 0, 0), (channels - 1, 3, 5), (0, height - 1, 1)]:
        expected = rows[:, c * height * width + i * width + j]
        np.testing.assert_array_equal(bunch.data[:, c, i, j], expected)
    assert bunch.target.tolist() == LABELS
    assert bunch.target.dtype == np.int64
    assert len(bunch.target_names) == 10

    n_asked = len(asked)
    X, y = fetch(data_home=tmp_path, download_if_missing=False, return_X_y=True)
    np.testing.assert_array_equal(X, bunch.data)
    np.testing.assert_array_equal(y, LABELS)
    assert len(asked) == n_asked == 4


def test_nothing_is_parsed_as_float64(tmp_path, monkeypatch, three_digits, pixels):
    serve(monkeypatch, 554, arff(pixels), 784)
    found, fetch = [], _openml.fetch_openml

    def recorded(**options):
        bunch = fetch(**options)
        found.append(bunch.data.dtype)
        return bunch

    monkeypatch.setattr(_openml, "fetch_openml", recorded)
    fetch_mnist(data_home=tmp_path)
    assert found == [np.float32]


def test_sources():
    # Numbers of OpenML and sizes of the published data sets.
    sources = [_openml._MNIST, _openml._FASHION_MNIST, _openml._CIFAR10]
    assert [s.data_id for s in sources] == [554, 40996, 40927]
    assert [s.n_samples for s in sources] == [70000, 70000, 60000]
    assert sources[1].target_names[7] == "Sneaker"
    assert sources[2].target_names[3] == "cat"


def test_pixels_written_as_decimals(tmp_path, monkeypatch, three_digits, pixels):
    serve(monkeypatch, 554, arff(pixels.astype(float)), 784)
    X, _ = fetch_mnist(data_home=tmp_path, return_X_y=True)
    np.testing.assert_array_equal(X.reshape(3, 784), pixels)


@pytest.mark.parametrize("value", [0.5, 256, -1, "?"])
def test_data_that_are_no_bytes(tmp_path, monkeypatch, three_digits, pixels, value):
    rows = pixels.astype(object)
    rows[1, 5] = value
    serve(monkeypatch, 554, arff(rows), 784)
    with pytest.raises(ValueError, match=r"554 should hold whole numbers.*\(3, 784\)"):
        fetch_mnist(data_home=tmp_path)
    assert not (tmp_path / "sklunlearn" / "mnist.npz").exists()


def test_other_number_of_rows(tmp_path, monkeypatch, pixels):
    serve(monkeypatch, 554, arff(pixels), 784)
    with pytest.raises(ValueError, match=r"of shape \(70000, 784\), but has shape \(3, 784\)"):
        fetch_mnist(data_home=tmp_path)


def test_no_network(tmp_path, monkeypatch):
    def urlopen(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(sklearn_openml, "urlopen", urlopen)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with (
        pytest.warns(UserWarning, match="Retrying"),
        pytest.raises(OSError, match="no route to host") as error,
    ):
        fetch_mnist(data_home=tmp_path, n_retries=1, delay=1e-6)
    assert "copy the file sklunlearn/mnist.npz" in str(error.value)


def test_not_to_be_downloaded(tmp_path):
    with pytest.raises(FileNotFoundError, match="download_if_missing"):
        fetch_mnist(data_home=tmp_path, download_if_missing=False)


def test_damaged_download(tmp_path, monkeypatch, three_digits, pixels):
    serve(monkeypatch, 554, arff(pixels), 784, md5="0123")
    with (
        pytest.warns(RuntimeWarning, match="Invalid cache"),
        pytest.raises(OSError, match="Delete the folder 'openml'") as error,
    ):
        fetch_mnist(data_home=tmp_path)
    assert str(tmp_path) in str(error.value)


def test_damaged_cache(tmp_path, monkeypatch, three_digits, pixels):
    serve(monkeypatch, 554, arff(pixels), 784)
    fetch_mnist(data_home=tmp_path)
    path = tmp_path / "sklunlearn" / "mnist.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(OSError, match=r"mnist\.npz is damaged"):
        fetch_mnist(data_home=tmp_path)
    path.unlink()
    assert len(fetch_mnist(data_home=tmp_path).data) == 3


@pytest.mark.parametrize("params", [{"data_home": 3}, {"n_retries": 0}, {"return_X_y": "yes"}])
@pytest.mark.parametrize("fetch", [fetch_mnist, fetch_fashion_mnist, fetch_cifar10])
def test_wrong_parameter(fetch, params):
    with pytest.raises(ValueError, match=next(iter(params))):
        fetch(**params)
