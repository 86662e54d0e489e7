"""Metrics and requests: whatever is passed, a number or a clear error."""

import json

import numpy as np
import pandas as pd
from generated import EXPECTED, examples, forgets, labels, numbers, quietly, rows
from hypothesis import given
from hypothesis import strategies as st

from sklunlearn import ForgetRequest, metrics
from sklunlearn.requests import check_group_leakage, forget_mask


@st.composite
def vectors(draw, n):
    """`n` scores, good and bad; or fewer, or none."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.normal(size=draw(st.sampled_from([n, n, n, 1, 0])))
    values = np.round(values, draw(st.sampled_from([0, 9])))
    if len(values) and draw(st.integers(0, 5)) == 0:
        values[0] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e300]))
    kind = draw(st.sampled_from(["f8", "f8", "f4", "f2", "object", "i4", "bool"]))
    with np.errstate(all="ignore"):
        return draw(st.sampled_from([np.asarray, list, pd.Series]))(values.astype(kind))


@st.composite
def probabilities(draw, n, n_classes):
    """Probabilities of `n` rows, which in one of six cases are none."""
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    proba = rng.dirichlet(np.ones(n_classes) * draw(st.sampled_from([1, 0.01])), size=n)
    if draw(st.integers(0, 2)) == 0:
        proba = np.eye(n_classes)[rng.integers(n_classes, size=n)]
    kind = draw(st.sampled_from(["f8", "f8", "f8", "f4", "f2", "object"]))
    proba = proba.astype(kind)
    spoil = draw(st.sampled_from([None] * 5 + ["nan", "negative", "sum", "axis", "empty", "str"]))
    if spoil in ("nan", "negative", "sum"):
        proba[0, 0] = {"nan": np.nan, "negative": -0.1, "sum": 3.0}[spoil]
    changed = {"axis": lambda p: p[:, 0], "empty": lambda p: p[:0], "str": lambda p: p.astype(str)}
    return changed.get(spoil, lambda p: p)(proba)


def check(result, low=-np.inf, high=np.inf):
    """A refusal, or numbers in a range; NaN where nothing is defined."""
    if not isinstance(result, EXPECTED):
        values = np.asarray(result, dtype=np.float64)
        assert (np.isnan(values) | ((values >= low - 1e-9) & (values <= high + 1e-9))).all()


@examples(220)
@given(st.data(), st.integers(1, 9), st.integers(2, 4))
def test_metrics_of_predictions(data, n, n_classes):
    y, other, forget = data.draw(labels(n)), data.draw(labels(n)), data.draw(forgets(n))
    p, q = data.draw(probabilities(n, n_classes)), data.draw(probabilities(n, n_classes))
    number = data.draw(numbers)
    for metric in (metrics.forget_accuracy, metrics.retain_accuracy):
        check(quietly(metric, y, other, forget=forget), 0, 1)
    per_class = quietly(metrics.per_class_accuracy, y, other)
    if not isinstance(per_class, EXPECTED):
        check(list(per_class.values()) if isinstance(per_class, dict) else per_class, 0, 1)
    check(quietly(metrics.prediction_agreement, y, other), 0, 1)
    check(quietly(metrics.kl_divergence, p, q), 0)
    check(quietly(metrics.js_divergence, p, q, base=2), 0, 1)
    check(quietly(metrics.js_divergence, p, q, base=number))
    check(quietly(metrics.total_variation, p, q), 0, 1)
    check(quietly(metrics.activation_distance, p, q), 0, 2)
    check(quietly(metrics.zero_retrain_forgetting, p, q), 0, 1)
    check(quietly(metrics.confidence_gap, p, q), -1, 1)
    check(quietly(metrics.entropy_gap, p, q, base=number))
    check(quietly(metrics.expected_calibration_error, y, p), 0, 1)
    check(quietly(metrics.expected_calibration_error, y, p, n_bins=number), 0, 1)
    for score in ("cross_entropy_per_row", "logit_scaled_confidence", "modified_entropy"):
        quietly(getattr(metrics, score), y, p)
    quietly(metrics.interclass_confusion, y, other, classes=(number, data.draw(numbers)))


@examples(220)
@given(st.data(), st.integers(2, 9))
def test_metrics_of_scores(data, n):
    a, b = data.draw(vectors(n)), data.draw(vectors(n))
    number, other, third = (data.draw(numbers) for _ in range(3))
    check(quietly(metrics.membership_auc, a, b), 0, 1)
    check(quietly(metrics.membership_advantage, a, b), 0, 1)
    check(quietly(metrics.tpr_at_fpr, a, b, fpr=number), 0, 1)
    check(quietly(metrics.ks_distance, a, b), 0, 1)
    check(quietly(metrics.auc_noise_floor, number, other), 0)
    check(quietly(metrics.speed_up, number, other))
    check(quietly(metrics.anamnesis_index, (number, True), (other, True)), 0)
    check(quietly(metrics.average_gap, [number, other], [third, 0.5]), 0)
    check(quietly(metrics.average_gap, [0.5, 0.1], [0.2, 0.5], weights=[number, other]), 0)
    check(quietly(metrics.tug_of_war, [number, other, 0.5], [third, 0.5, 0.5]), 0, 1)
    check(
        quietly(
            metrics.h_mean,
            forget_accuracy=number,
            original_forget_accuracy=other,
            test_accuracy=third,
        ),
        0,
        1,
    )
    points = quietly(lambda: np.stack([np.asarray(a), np.asarray(b)], axis=1))
    quietly(metrics.pareto_front, points)
    check(quietly(metrics.hypervolume, points, reference=[number, other]), 0)
    quietly(metrics.knee_point, points)
    check(quietly(lambda: metrics.u_lira(points, points + 1).accuracy))
    check(quietly(metrics.klom, points, points), 0)


_TEXT = st.text(max_size=8)
_WORDS = st.one_of(st.text(min_size=1, max_size=8), st.sampled_from(["a", "b"]))
_VALUES = st.one_of(numbers, _TEXT, st.lists(numbers, max_size=3), st.dictionaries(_TEXT, numbers))
_QUERIES = st.one_of(
    _TEXT,
    st.sampled_from(["age < 30", "age < 'a'", "not age == age", "age in [1, 2]", "nothing > 1"]),
    st.sampled_from(
        ["age", "device", "__import__('os')", "age +", "(" * 50, "age < 30 and device"]
    ),
)


_GOOD = [
    {"classes": 1},
    {"classes": ["a", "b c"]},
    {"query": "age < 30"},
    {"query": "device == 'x' or age > 50"},
    {"groups": {"device": "x"}},
    {"outliers": 0.3, "by": "age"},
    {"nearest": [0], "n_samples": 2},
    {"fraction": 0.4, "random_state": 0},
    {"classes": 1, "n_samples": 1, "random_state": 0},
    {"query": "age < 50", "keep_together": "device", "on_leakage": "expand"},
]


@st.composite
def criteria(draw, n):
    """Arguments of forget_mask and ForgetRequest: good ones, of which some are spoilt."""
    spoilt = {
        "classes": draw(st.one_of(_VALUES, st.just("a"))),
        "query": draw(_QUERIES),
        "groups": draw(st.sampled_from([{"device": ["x", 3]}, {"no": 1}, {}, 3])),
        "outliers": draw(numbers),
        "by": draw(st.sampled_from(["age", "device", "nothing", 3])),
        "nearest": draw(st.sampled_from([[0], [n], [], [[0.0]], "x", [1.5]])),
        "fraction": draw(numbers),
        "n_samples": draw(numbers),
        "keep_together": draw(st.sampled_from(["device", "nothing", 3])),
        "on_leakage": draw(st.sampled_from(["warn", "raise", "expand", "x", 3])),
        "random_state": draw(st.sampled_from([0, 1, "x", -1, None])),
    }
    names = draw(st.lists(st.sampled_from(sorted(spoilt)), max_size=1))
    return {**draw(st.sampled_from(_GOOD)), **{name: spoilt[name] for name in names}}


@st.composite
def metadata(draw, n):
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    age = rng.integers(0, 90, size=n).astype(float)
    age[0] = draw(st.sampled_from([np.nan, 30.0, np.inf]))
    device = np.array(["x", "y", None], dtype=object)[rng.integers(3, size=n)]
    index = draw(st.sampled_from([np.arange(n), np.zeros(n, dtype=int), np.arange(n)[::-1] * 2]))
    return pd.DataFrame({"age": age, "device": device}, index=index)


@examples(220)
@given(st.data(), st.integers(2, 9))
def test_selections(data, n):
    y, X = data.draw(labels(n)), data.draw(rows(n))
    table, asked = data.draw(metadata(n)), data.draw(criteria(n))
    if isinstance(X, EXPECTED) or isinstance(y, EXPECTED):
        return
    mask = quietly(forget_mask, y, table, X=X, **asked)
    if not isinstance(mask, EXPECTED):
        assert mask.shape == (n,) and mask.dtype == bool and mask.any() and not mask.all()
    leakage = quietly(check_group_leakage, data.draw(forgets(n)), table["device"])
    assert isinstance(leakage, EXPECTED) or leakage.shape == (n,)


@examples(220)
@given(criteria(5), _WORDS, _WORDS, st.sampled_from([None, "2026-03-01T09:30:00+00:00", "x"]))
def test_requests_come_back_from_json(asked, reason, requested_by, requested_at):
    request = quietly(
        ForgetRequest,
        reason=reason,
        requested_by=requested_by,
        requested_at=requested_at,
        **asked,
    )
    if isinstance(request, EXPECTED):
        return
    text = quietly(request.to_json)
    if not isinstance(text, EXPECTED):
        again = ForgetRequest.from_json(text)
        # Of examples that are data only the shape is written.
        assert again == request or asked.get("nearest") == [[0.0]]


@examples(220)
@given(st.data())
def test_any_text_is_a_request_or_refused(data):
    whole = json.loads(ForgetRequest(reason="a", requested_by="b", classes=1).to_json())
    for key in data.draw(st.lists(st.sampled_from(sorted(whole)), max_size=2)):
        whole[key] = data.draw(_VALUES)
    text = json.dumps(whole)
    cut = data.draw(st.integers(0, len(text)))
    for candidate in (text, text[:cut], text[:cut] + data.draw(_TEXT) + text[cut:]):
        quietly(ForgetRequest.from_json, candidate)
