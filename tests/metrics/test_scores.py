import numpy as np
import pytest
import torch
from scipy.special import logsumexp, softmax

from sklunlearn.metrics import cross_entropy_per_row, logit_scaled_confidence, modified_entropy

SCORES = [cross_entropy_per_row, logit_scaled_confidence, modified_entropy]


def data(n=200, n_classes=5):
    rng = np.random.default_rng(0)
    return rng.integers(n_classes, size=n), rng.normal(scale=3, size=(n, n_classes))


def by_definition(score, y, z):
    """The published formula on probabilities, one row at a time."""
    result = []
    for label, p in zip(y, softmax(z, axis=1), strict=True):
        others = np.delete(p, label)
        if score is cross_entropy_per_row:
            result.append(-np.log(p[label]))
        elif score is logit_scaled_confidence:
            result.append(np.log(p[label]) - np.log(others.sum()))
        else:
            own = -(1 - p[label]) * np.log(p[label])
            result.append(own - np.sum(others * np.log(1 - others)))
    return result


@pytest.mark.parametrize("score", SCORES)
def test_definition(score):
    y, z = data()
    expected = by_definition(score, y, z)
    labels = range(5)
    from_logits = score(y, z, labels=labels, from_logits=True)
    assert from_logits.dtype == np.float64
    np.testing.assert_allclose(from_logits, expected, rtol=1e-6)
    np.testing.assert_allclose(score(y, softmax(z, axis=1)), expected, rtol=1e-6)
    # Up to a constant for each row, logits are what they were.
    shifted = z + np.arange(len(z))[:, None]
    np.testing.assert_allclose(score(y, shifted, from_logits=True), expected, rtol=1e-6)


def test_modified_entropy_of_a_known_row():
    value = modified_entropy([0], [[2.0, 0.0, -1.0]], labels=[0, 1, 2], from_logits=True)
    assert value == pytest.approx([0.042181], abs=5e-7)


@pytest.mark.parametrize("score", SCORES)
def test_columns_follow_the_labels(score):
    y, z = data()
    names = np.array(["e", "b", "d", "a", "c"])
    expected = by_definition(score, y, z)
    values = score(names[y], z, labels=names, from_logits=True)
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    # Without labels, the columns are in the order of the sorted labels.
    order = np.argsort(names)
    np.testing.assert_allclose(score(names[y], z[:, order], from_logits=True), values, rtol=1e-12)
    # Where not all labels occur, the order must be told.
    some = y == 2
    one = score(names[y][some], z[some], labels=names, from_logits=True)
    np.testing.assert_allclose(one, values[some], rtol=1e-12)


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("convert", [list, np.float32, torch.tensor])
def test_kinds_of_arrays(score, convert):
    y, z = data(n=40)
    expected = score(y, np.float32(z), from_logits=True)
    np.testing.assert_allclose(score(y, convert(z), from_logits=True), expected, rtol=1e-4)
    np.testing.assert_array_equal(
        score(torch.tensor(y), z, from_logits=True), score(y, z, from_logits=True)
    )


def test_digits_of_a_row_that_the_network_is_sure_of():
    z = [[60.0, 0.0], [-60.0, 0.0]]
    labels = [0, 1]
    tiny = np.exp(-60)
    loss = cross_entropy_per_row([0, 0], z, labels=labels, from_logits=True)
    np.testing.assert_allclose(loss, [tiny, 60], rtol=1e-12)
    margin = logit_scaled_confidence([0, 0], z, labels=labels, from_logits=True)
    np.testing.assert_allclose(margin, [60, -60], rtol=1e-12)
    # With p_y = 1 - t: t * t + t * t and 60 + 60, up to terms of higher order.
    entropy = modified_entropy([0, 0], z, labels=labels, from_logits=True)
    np.testing.assert_allclose(entropy, [2 * tiny**2, 120], rtol=1e-12)
    # In single precision the true class has all of the probability; the others tell.
    rounded = softmax(np.float32([[30.0, 0.0]]), axis=1)
    assert rounded[0, 0] == 1
    loss = cross_entropy_per_row([0], rounded, labels=labels)
    np.testing.assert_allclose(loss, np.exp(-30), rtol=1e-5)


def test_modified_entropy_where_probabilities_underflow():
    z = [[1000.0, 0.0, 0.0, -2000.0], [0.0, -1000.0, -1000.0, -3000.0]]
    labels = [0, 1, 2, 3]
    # The likeliest class leaves 2 e^-1000 to the others, and is not the true one.
    entropy = modified_entropy([1, 3], z, labels=labels, from_logits=True)
    np.testing.assert_allclose(entropy, [2000 - np.log(2), 4000 - np.log(2)], rtol=1e-12)
    assert modified_entropy([0, 0], z, labels=labels, from_logits=True).tolist() == [0, 0]
    # Two classes share the row: 2 * (log 2) / 2.
    shared = modified_entropy([0], [[700.0, 700.0, -700.0]], labels=[0, 1, 2], from_logits=True)
    np.testing.assert_allclose(shared, np.log(2), rtol=1e-12)
    # Of probabilities, the smallest normal number stands for 0.
    lowest = np.log(np.finfo(float).tiny)
    entropy = modified_entropy([0, 1], [[0.0, 1.0], [0.0, 1.0]], labels=[0, 1])
    np.testing.assert_allclose(entropy, [-2 * lowest, 0], rtol=1e-12, atol=1e-300)


def test_probability_zero():
    lowest = np.log(np.finfo(float).tiny)
    proba = [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
    labels = [0, 1, 2]
    loss = cross_entropy_per_row([0, 1], proba, labels=labels)
    np.testing.assert_allclose(loss, [-lowest, 0], atol=1e-300)
    margin = logit_scaled_confidence([0, 1], proba, labels=labels)
    np.testing.assert_allclose(margin, [lowest, -lowest - np.log(2)])
    assert np.isfinite(modified_entropy([0, 1], proba, labels=labels)).all()


def test_logits_far_apart():
    z = [[1e308, -1e308, 0.0], [-1e308, 1e308, 0.0]]
    margin = logit_scaled_confidence([0, 2], z, labels=[0, 1, 2], from_logits=True)
    np.testing.assert_array_equal(margin, [1e308, -1e308])


@pytest.mark.parametrize("score", [cross_entropy_per_row, logit_scaled_confidence])
def test_probabilities_are_the_softmax_of_the_logits(score):
    y, z = data()
    proba = softmax(z, axis=1)
    np.testing.assert_allclose(score(y, proba), score(y, z, from_logits=True), atol=1e-10)


def test_margin_orders_rows_as_the_loss_does():
    y, z = data()
    loss = cross_entropy_per_row(y, z, from_logits=True)
    margin = logit_scaled_confidence(y, z, from_logits=True)
    np.testing.assert_array_equal(np.argsort(loss), np.argsort(-margin))
    np.testing.assert_allclose(
        margin,
        z[np.arange(200), y]
        - [logsumexp(np.delete(row, label)) for row, label in zip(z, y, strict=True)],
    )


@pytest.mark.parametrize("score", SCORES)
def test_no_rows_and_one_row(score):
    assert score([], np.empty((0, 3))).shape == (0,)
    assert score([1], [[0.2, 0.8]], labels=[0, 1]).shape == (1,)


HALF = [[0.5, 0.5], [0.5, 0.5]]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "y, y_score, options, error, message",
    [
        ([0, 1], [[2.0, 0.0], [0.0, 1.0]], {}, ValueError, "`y_score` must hold probabilities"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], {}, ValueError, "row 0 has minimum -0.5 and sum 1"),
        ([0, 1], [[np.nan, 0.5], [0.5, 0.5]], {}, ValueError, "holds nan .* 1 of 4 are not"),
        ([0, 1], [[np.inf, 0], [0, 0]], {"from_logits": True}, ValueError, "holds inf"),
        ([0, 1], [0.5, 0.5], {}, ValueError, r"shape \(2,\), expected \(n_samples, n_classes\)"),
        ([0, 1], [[1.0], [1.0]], {}, ValueError, "1 columns"),
        ([0, 1], [[1.0], [1.0]], {"from_logits": True}, ValueError, "1 columns"),
        ([0, 1], [["a", "b"]], {}, TypeError, "must hold real numbers"),
        ([0, 1], [[1.0], [0.5, 0.5]], {}, ValueError, "rows of one length"),
        ([0, 1], torch.tensor(HALF, requires_grad=True), {}, ValueError, "requires grad"),
        ([0], HALF, {}, ValueError, "`y_true` has 1 labels for 2 rows"),
        ([[0], [1]], HALF, {}, ValueError, r"`y_true` has shape \(2, 1\)"),
        ([1, 1], HALF, {}, ValueError, "1 different labels.*labels=unlearner.classes_"),
        ([0, 2], HALF, {"labels": [0, 1]}, ValueError, r"holds \[2\], which are not among"),
        (["0", "1"], HALF, {"labels": [0, 1]}, TypeError, "and `y_true` holds strings"),
        ([0, 1], HALF, {"labels": [0, 1, 2]}, ValueError, "must name 2 columns"),
        ([0, 1], HALF, {"labels": [0, 0]}, ValueError, "each by a label of its own"),
    ],
)
def test_bad_input(score, y, y_score, options, error, message):
    with pytest.raises(error, match=message):
        score(y, y_score, **options)
