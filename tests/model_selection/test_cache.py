import os
import pickle

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.base import clone

from sklunlearn.model_selection import _cache
from sklunlearn.model_selection._cache import NetworkCache


@pytest.fixture
def calls():
    return []


@pytest.fixture
def cached(calls, tmp_path):
    def train(first, *arguments, key):
        calls.append(arguments)
        return [first]

    return lambda cache: cache.cache(train, ignore=["first"])


def test_what_is_known_is_looked_up_by_arguments_and_key(cached, calls, tmp_path):
    train = cached(NetworkCache(str(tmp_path)))
    X = np.arange(3)
    assert train("a", X, 1, key="k") == ["a"]
    assert train("b", X.copy(), 1, key="k") == ["a"]
    assert len(calls) == 1
    assert train("b", X + 1, 1, key="k") == train("b", X, 2, key="k") == ["b"]
    assert train("b", X, 1, key="other") == ["b"]
    assert len(calls) == 4
    assert len(os.listdir(tmp_path)) == 4, "and no file that is not complete"


def test_other_processes_find_it_in_the_folder(cached, calls, tmp_path):
    cache = NetworkCache(str(tmp_path))
    first = cached(cache)("a", 1, key="k")
    sent = pickle.loads(pickle.dumps(cache))
    assert not sent._held
    again = cached(sent)("b", 1, key="k")
    assert again == first
    assert again is not first
    assert len(calls) == 1
    assert clone(cache, safe=False) is cache
    assert cached(cache)("c", 1, key="k") is first


def test_a_process_that_cannot_see_the_folder_holds_what_it_trained(cached, calls, tmp_path):
    def sent_elsewhere(name):
        folder = tmp_path / name
        folder.mkdir()
        message = pickle.dumps(NetworkCache(str(folder)))
        folder.rmdir()
        return message

    message = sent_elsewhere("one")
    first = cached(pickle.loads(message))("a", 1, key="k")
    assert first == ["a"]
    assert cached(pickle.loads(message))("b", 1, key="k") is first
    assert len(calls) == 1
    # Of one search only: what was trained on rows to forget does not pile up.
    other = cached(pickle.loads(sent_elsewhere("other")))("c", 1, key="k")
    assert other == ["c"]
    assert list(_cache._HELD) == [str(tmp_path / "other")]
    assert not os.listdir(tmp_path)


def test_workers_that_cannot_see_the_folder(tmp_path, recwarn, monkeypatch):
    cache = NetworkCache(str(tmp_path / "gone"))
    with parallel_config("threading"):
        cache.warn_if_unseen(2)
        monkeypatch.setattr(_cache, "_on_this_machine", lambda: False)
        with pytest.warns(UserWarning, match="cannot see .*gone.* pass `memory` as a folder"):
            cache.warn_if_unseen(2)
        NetworkCache(str(tmp_path)).warn_if_unseen(2)
        cache.warn_if_unseen(1)
    assert not recwarn


def test_a_net_of_a_class_without_a_name(trained_net, X, tmp_path):
    class Local(type(trained_net.module_)):
        pass

    trained_net.module = trained_net.module_.__class__ = Local
    for name in ("net", "again"):
        cached = NetworkCache(str(tmp_path)).cache(lambda net, key: net)
        cached(trained_net, key=name)
        loaded = NetworkCache(str(tmp_path)).cache(None)(None, key=name)
        assert loaded is not trained_net
        assert type(loaded.module_) is Local
        np.testing.assert_array_equal(loaded.predict_proba(X), trained_net.predict_proba(X))
        trained_net = loaded.fit(X, np.arange(75) % 3)  # it can be trained
