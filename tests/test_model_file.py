import hashlib
import json
import pickle
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save_file
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn import NegGradUnlearner
from sklunlearn._model_file import FORMAT_VERSION, pack, unpack
from sklunlearn.exceptions import ModelFileError
from sklunlearn.persistence import load_model, save_model


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def forget():
    return np.arange(75) % 5 == 0


@pytest.fixture
def fitted(trained_net, X, y, forget):
    unlearner = NegGradUnlearner(FrozenEstimator(trained_net), max_epochs=1, random_state=0)
    return unlearner.fit(X, y).unlearn(X, y, forget=forget)


def describe(path):
    return unpack(path.read_bytes(), path)


def forge(path, change):
    """Write the file anew, with a digest that is right, after a change of the description."""
    description, tensors = describe(path)
    change(description, tensors)
    path.write_bytes(pack(description, tensors))


# Files that are not as they were


def test_every_flipped_byte_is_found(fitted, X, path):
    save_model(fitted, path)
    content, rng = path.read_bytes(), np.random.default_rng(0)
    places = {*range(300), *rng.integers(len(content), size=700).tolist(), len(content) - 1}
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            load_model(path)


def test_every_truncation_and_every_addition_is_found(fitted, path):
    save_model(fitted, path)
    content = path.read_bytes()
    for length in {*range(20), *range(20, len(content), 37), len(content) - 1}:
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            load_model(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError, match="not as save_model wrote it"):
        load_model(path)


def test_foreign_files(fitted, path, tmp_path):
    makers = {
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("weights: 3"),
        "json": lambda: path.write_text('{"__metadata__": {}}'),
        "long number": lambda: path.write_bytes(b"\xff" * 100),
        "nested": lambda: path.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000),
        "pickle": lambda: path.write_bytes(pickle.dumps(fitted)),
        "torch": lambda: torch.save(fitted.net_.module_.state_dict(), path),
        "safetensors": lambda: save_file(fitted.net_.module_.state_dict(), path),
    }
    for name, make in makers.items():
        make()
        with pytest.raises(ModelFileError, match="empty" if name == "empty" else "is not a model"):
            load_model(path)
    with pytest.raises(ModelFileError, match="is a folder"):
        load_model(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_model(tmp_path / "missing")


def test_versions(fitted, path):
    save_model(fitted, path)
    content = path.read_bytes()
    newer = f'"format_version":"{FORMAT_VERSION + 1}"'.encode()
    path.write_bytes(content.replace(b'"format_version":"1"', newer))
    with pytest.raises(ModelFileError, match=r"has format version 2, .*install a newer release"):
        load_model(path)

    path.write_bytes(content)
    forge(path, lambda description, _: description["versions"].update(torch="1.0.0"))
    with pytest.warns(UserWarning, match=r"saved with other versions: torch 1\.0\.0 \(here 2"):
        load_model(path)


def test_other_programs_can_read_the_weights(fitted, path):
    save_model(fitted.release(), path)
    tensors = load(path.read_bytes())
    for key, value in fitted.net_.module_.state_dict().items():
        assert torch.equal(tensors[f"net_.module_.{key}"], value)


# Files that were made to do harm


class Marker:
    """Were it ever unpickled, a file would be there."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "posix.system", "antigravity.x"])
def test_nothing_is_imported_or_called_by_name(fitted, path, name):
    save_model(fitted, path)
    content, loaded = path.read_bytes(), set(sys.modules)

    def call(description, _):
        description["attributes"]["extra_"] = {
            "partial": [{"named": name}, ["touch x"], {"dict": []}]
        }

    def make(description, _):
        description["objects"].append({"class": name, "params": {"command": "touch x"}})
        description["attributes"]["extra_"] = {"object": len(description["objects"]) - 1}

    def method(description, _):
        description["method"] = name

    for change in (call, make, method):
        path.write_bytes(content)
        forge(path, change)
        with pytest.raises(ModelFileError, match="is not known"):
            load_model(path)
    assert set(sys.modules) == loaded


def test_methods_cannot_be_replaced(fitted, path):
    save_model(fitted, path)
    forge(path, lambda d, _: d["attributes"].update(predict={"named": "print"}))
    with pytest.raises(ModelFileError, match="predict"):
        load_model(path)


def test_a_pickle_in_the_place_of_preprocessing_is_not_read(net, X, y, path, tmp_path):
    unlearner = NegGradUnlearner(make_pipeline(StandardScaler(), net), max_epochs=1)
    save_model(unlearner.fit(X, y, forget=[0]), path)
    harm = torch.frombuffer(bytearray(pickle.dumps(Marker(tmp_path / "harm"))), dtype=torch.uint8)

    def change(description, tensors):
        for described in description["objects"]:
            if "skops" in described:
                tensors[described["skops"]] = harm.clone()

    forge(path, change)
    with pytest.raises(ModelFileError, match="no model can be made of it"):
        load_model(path)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"model": {}}, "is not a model that save_model has written"),
        ({"model": "[]"}, "no JSON object"),
        ({"model": "[" * 100_000}, "cannot be read"),
        ({"format_version": "0"}, "is not a model that save_model has written"),
        ({"format_version": "9" * 5000}, "is not a model that save_model has written"),
    ],
)
def test_forged_headers_give_the_one_error(metadata, message, fitted, path):
    save_model(fitted, path)
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header["__metadata__"] |= {**metadata, "digest": "0" * 64}
    header = json.dumps(header, separators=(",", ":")).encode()
    data = len(header).to_bytes(8, "little") + header + data[end:]
    digest = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(b"0" * 64, digest.encode()))
    with pytest.raises(ModelFileError, match=message):
        load_model(path)


def test_forged_descriptions_give_the_one_error_or_a_model(fitted, path):
    save_model(fitted, path)
    original = path.read_bytes()
    rng = np.random.default_rng(0)
    values = [None, -1, 10**9, "x", [], {}, {"object": 0}, {"tuple": 1}, {"named": "MLP"}, True]
    n_models = 0
    for _ in range(150):
        path.write_bytes(original)
        change = values[rng.integers(len(values))]
        forge(path, lambda description, _, change=change: replace_one(description, change, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                load_model(path)
            n_models += 1
        except ModelFileError:
            pass
    assert n_models < 150


def replace_one(node, value, rng):
    """Put a value in the place of one entry, somewhere in nested dictionaries and lists."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node)))
    key = keys[rng.integers(len(keys))]
    below = node[key]
    if isinstance(below, (dict, list)) and below and rng.random() < 0.85:
        replace_one(below, value, rng)
    else:
        node[key] = value


def test_a_model_of_a_device_that_is_not_here_is_put_on_the_cpu(fitted, path):
    fitted = fitted.release()
    save_model(fitted, path)

    def move(description, tensors):
        for described in description["objects"]:
            if "net" in described:
                described["params"]["device"] = "cuda:77"

    forge(path, move)
    with pytest.warns(UserWarning, match="'cuda:77', which this machine does not have") as caught:
        assert load_model(path).net_.device == "cpu"
    assert caught[0].filename == __file__
