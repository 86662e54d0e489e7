"""Whatever is passed: an answer or a clear error, and a refused call changes nothing."""

import json

import numpy as np
import pytest
from generated import (
    EXPECTED,
    as_dataset,
    examples,
    forgets,
    labels,
    parameters,
    quietly,
    rows,
    unlearners,
)
from hypothesis import event, given
from hypothesis import strategies as st

from sklunlearn._nets import weights_digest
from sklunlearn.exceptions import ReleasedModelError
from sklunlearn.requests import check_forget


def state_of(unlearner):
    """What must not change: weights, of the original too, and every attribute."""
    if not hasattr(unlearner, "net_"):
        return dict(vars(unlearner))
    fitted = getattr(unlearner, "fitted_", unlearner.net_)
    fitted = fitted[-1] if hasattr(fitted, "steps") else fitted
    return {
        **{name: id(value) for name, value in vars(unlearner).items()},
        "digests": (weights_digest(unlearner.net_), weights_digest(fitted)),
    }


def assert_sound(unlearner, X):
    """A fitted unlearner answers, with probabilities and with labels that it knows."""
    probabilities = unlearner.predict_proba(X)
    assert np.isfinite(probabilities).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-3)
    assert set(unlearner.predict(X).tolist()) <= set(unlearner.classes_.tolist())
    json.dumps(getattr(unlearner, "records_", []), allow_nan=False)


@st.composite
def scenes(draw):
    """Data, an unlearner and some calls."""
    n = draw(st.integers(5, 16))
    X, y = draw(rows(n)), draw(labels(n))
    unlearner = draw(unlearners(X, y))
    calls = []
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(["unlearn", "partial_unlearn", "predict", "set_params", "fit"]))
        other = draw(st.integers(0, 3)) == 0
        width = np.shape(X)[1] if len(np.shape(X)) > 1 else 1
        call = {
            "X": draw(rows(n, draw(st.sampled_from([width, width, 3])))) if other else X,
            "y": draw(labels(n)) if other else y,
            "forget": draw(forgets(n)),
            "as_dataset": draw(st.integers(0, 9)) == 0,
            "max_retain_drop": draw(st.sampled_from([None, None, None, 0, 1, 0.3, -1, "x"])),
            "params": draw(parameters(unlearner)),
        }
        calls.append((name, call))
    return X, y, draw(forgets(n)), unlearner, calls


@pytest.mark.filterwarnings("ignore")  # of feature names that come and go, among others
@examples(680)
@given(scenes())
def test_fit_and_requests(scene):
    X, y, forget, unlearner, calls = scene
    before = state_of(unlearner)
    if isinstance(X, EXPECTED) or isinstance(y, EXPECTED):  # there are no such data
        return
    if isinstance(quietly(unlearner.fit, X, y), EXPECTED):
        assert state_of(unlearner) == before
        event("the fit is refused")
        return
    event("fitted")
    assert_sound(unlearner, X)
    for name, call in [("unlearn", {"X": X, "y": y, "forget": forget}), *calls]:
        if do(unlearner, name, call):
            X, y = call["X"], call["y"]
    released = unlearner.release()
    np.testing.assert_array_equal(released.predict_proba(X), unlearner.predict_proba(X))
    before = state_of(released)
    error = quietly(released.unlearn, X, y, forget=forget)
    assert isinstance(error, ReleasedModelError)
    assert state_of(released) == before


def do(unlearner, name, call):
    """Make a call, and say whether it was carried out on the data."""
    X, y = call["X"], call["y"]
    if isinstance(X, EXPECTED) or isinstance(y, EXPECTED):
        return False
    if call.get("as_dataset"):
        dataset = quietly(as_dataset, X, y)
        if not isinstance(dataset, EXPECTED):
            X, y = dataset, None
    before = state_of(unlearner)
    if name == "predict":
        quietly(unlearner.predict_proba, X)
        assert state_of(unlearner) == before
        return False
    if name == "set_params":
        unlearner.set_params(**call["params"])
        assert state_of(unlearner)["digests"] == before["digests"]
        return False
    options = {"forget": call["forget"]}
    if name != "fit":
        options["max_retain_drop"] = call.get("max_retain_drop")
    result = quietly(getattr(unlearner, name), X, y, **options)
    event(f"{name} is {'refused' if isinstance(result, EXPECTED) else 'done'}")
    if isinstance(result, EXPECTED):
        assert state_of(unlearner) == before
        return False
    assert result is unlearner
    assert_sound(unlearner, X)
    return not call.get("as_dataset")


@examples(220)
@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), forgets(n))), st.booleans())
def test_check_forget(case, allow_all):
    n, forget = case
    mask = quietly(check_forget, forget, n, allow_all=allow_all)
    if not isinstance(mask, EXPECTED):
        assert mask.shape == (n,) and mask.dtype == bool and mask.any()
        given = np.asarray(forget)
        expected = np.flatnonzero(given) if given.dtype == bool else np.sort(given)
        np.testing.assert_array_equal(np.flatnonzero(mask), expected)
