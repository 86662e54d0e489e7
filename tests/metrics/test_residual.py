import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression

from sklunlearn.metrics import _residual, embedding_probe, zero_retrain_forgetting

# Zero retrain forgetting.

P, Q = [[0.7, 0.2, 0.1]], [[0.1, 0.3, 0.6]]


def test_known_divergence():
    assert zero_retrain_forgetting(P, Q) == pytest.approx(1 - 0.332751, abs=5e-7)
    assert zero_retrain_forgetting(Q, P) == pytest.approx(1 - 0.332751, abs=5e-7)


def test_zrf_against_scipy():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet([1, 1, 1, 1], size=20)
    random = rng.dirichlet([5, 5, 5, 5], size=(6, 20))
    js = np.array(
        [[jensenshannon(p, q, base=2) ** 2 for p, q in zip(proba, r, strict=True)] for r in random]
    )
    assert zero_retrain_forgetting(proba, random) == pytest.approx(1 - js.mean(), abs=1e-9)
    assert zero_retrain_forgetting(proba, random[2]) == pytest.approx(1 - js[2].mean(), abs=1e-9)


def test_zrf_extremes():
    one, other = [[1.0, 0.0]], [[0.0, 1.0]]
    assert zero_retrain_forgetting(one, one) == 1
    assert zero_retrain_forgetting(one, other) == 0
    half = zero_retrain_forgetting(one, [[0.5, 0.5]])
    assert half == pytest.approx(np.log2(3) * 0.75 - 0.5, abs=1e-9)


def test_zrf_of_nothing():
    with pytest.warns(UndefinedMetricWarning, match="zero_retrain_forgetting is nan"):
        assert np.isnan(zero_retrain_forgetting(np.empty((0, 3)), np.empty((5, 0, 3))))
    with pytest.warns(UndefinedMetricWarning, match="zero_retrain_forgetting is nan"):
        assert np.isnan(zero_retrain_forgetting(P, np.empty((0, 1, 3))))


# Embedding probe.


def embeddings(seed, distance, n=60):
    """Three classes in five dimensions, the last of which is `distance` away from the others."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], n // 3)
    Z = rng.normal(size=(n, 5))
    Z[:, 0] += 6 * (y == 1)
    Z[:, 1] += distance * (y == 2)
    return Z, y


def probe(distance, **options):
    options = {"forget_label": 2, "random_state": 0} | options
    return embedding_probe(*embeddings(0, distance), *embeddings(1, distance, n=600), **options)


def test_probe_of_a_class_that_stands_out():
    assert probe(50) == pytest.approx((1, 0), abs=1e-4)
    far, near, none = probe(4, n_draws=20), probe(2, n_draws=20), probe(0, n_draws=20)
    assert far.auc > near.auc > none.auc + 0.1
    # Class 2 then has the same distribution as class 0, and class 1 is easy to tell from it.
    assert 0.6 < none.auc < 0.75
    assert 0 < far.std < 0.1


def test_probe_by_hand():
    # Two rows of each class, all of which are drawn: both are mirror images of each other, so that
    # the probe is the difference of the features over their deviation.
    Z = np.array([[0.0, 0.0], [1.0, 10.0], [2.0, 0.0], [3.0, 10.0]])
    y = np.array(["a", "a", "b", "b"])
    test = np.array([[2.0, 50.0], [3.0, -50.0], [2.5, 0.0], [0.0, 0.0]])
    scale = Z.std(axis=0)
    model = LogisticRegression(class_weight="balanced").fit((Z - Z.mean(axis=0)) / scale, y == "b")
    score = (test - Z.mean(axis=0)) / scale @ model.coef_[0]
    y_test = np.array(["b", "b", "a", "a"])
    expected = np.mean([[b > a for a in score[2:]] for b in score[:2]])
    result = embedding_probe(Z, y, test, y_test, forget_label="b")
    assert result == pytest.approx((expected, 0), abs=1e-9)
    assert 0 < expected < 1


def test_probe_draws_so_many_rows_of_each_class(monkeypatch):
    drawn = []

    class Recorded(LogisticRegression):
        def fit(self, Z, y):
            drawn.append((len(y), int(y.sum()), self.class_weight))
            return super().fit(Z, y)

    monkeypatch.setattr(_residual, "LogisticRegression", Recorded)
    probe(1, n_shots=4, n_draws=3)
    assert drawn == [(12, 4, "balanced")] * 3
    drawn.clear()
    Z, y = embeddings(0, 1)
    keep = (y != 2) | (np.cumsum(y == 2) <= 2)  # two rows of class 2
    embedding_probe(Z[keep], y[keep], Z, y, forget_label=2, n_draws=1)
    assert drawn == [(12, 2, "balanced")]


def test_probe_is_repeatable():
    assert probe(1) == probe(1)
    assert probe(1) != probe(1, random_state=1)
    assert probe(1, n_draws=1).std == 0


def test_probe_does_not_depend_on_the_units():
    scale, shift = np.array([1, 1000, 0.001, 10, 1]), np.array([0, 5, -3, 7, 100])
    (Z, y), (Z_test, y_test) = embeddings(0, 1), embeddings(1, 1)
    options = {"forget_label": 2, "random_state": 0}
    expected = embedding_probe(Z, y, Z_test, y_test, **options)
    scaled = embedding_probe(Z * scale + shift, y, Z_test * scale + shift, y_test, **options)
    assert scaled == pytest.approx(expected, abs=1e-3)


def test_mean_and_deviation_over_draws():
    generator = np.random.RandomState(0)
    aucs = [probe(1, n_draws=1, random_state=generator).auc for _ in range(3)]
    expected = np.mean(aucs), np.sqrt(np.mean((aucs - np.mean(aucs)) ** 2))
    assert probe(1, n_draws=3) == pytest.approx(expected, abs=1e-9)


def test_probe_of_constant_embeddings():
    Z, y = np.ones((20, 3)), np.repeat([0, 1], 10)
    assert embedding_probe(Z, y, Z, y, forget_label=1) == (0.5, 0)


@pytest.mark.parametrize("label", [7, 0])
@pytest.mark.parametrize("side", ["y_train", "y_test"])
def test_probe_without_both_kinds_of_rows(label, side):
    Z, y = np.eye(4), np.array([0, 1, 0, 1])
    one = np.full(4, label)
    y_train, y_test = (one, y) if side == "y_train" else (y, one)
    with pytest.warns(UndefinedMetricWarning, match=f"others in `{side}`, which has"):
        result = embedding_probe(Z, y_train, Z, y_test, forget_label=0)
    assert np.isnan(result).all()


Z, Y = np.eye(4), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda: zero_retrain_forgetting(P, Q * 2), ValueError, "the same rows and classes"),
        (lambda: zero_retrain_forgetting(P, [[0.5, 0.5]]), ValueError, "the same rows and classes"),
        (lambda: zero_retrain_forgetting(P, [[2, 0, 0]]), ValueError, "`proba_random` must hold"),
        (lambda: zero_retrain_forgetting([[np.nan] * 3], Q), ValueError, "`proba` holds nan"),
        (lambda: zero_retrain_forgetting(P[0], Q), ValueError, "`proba` has shape"),
        (lambda: zero_retrain_forgetting(P, Q[0]), ValueError, "`proba_random` has shape"),
        (lambda: zero_retrain_forgetting(P, "a"), TypeError, "must hold real numbers"),
        (lambda: embedding_probe(Z[0], Y, Z, Y, forget_label=0), ValueError, "_train` has shape"),
        (lambda: embedding_probe(Z, Y[:3], Z, Y, forget_label=0), ValueError, "3 labels for 4"),
        (lambda: embedding_probe(Z, Y, Z[:, :2], Y, forget_label=0), ValueError, "same"),
        (lambda: embedding_probe(Z, Y, Z / 0.0, Y, forget_label=0), ValueError, "holds inf"),
        (lambda: embedding_probe(Z, Y, Z, [Y], forget_label=0), ValueError, "`y_test` has shape"),
        (
            lambda: embedding_probe(Z, Y, ["a"], Y, forget_label=0),
            TypeError,
            "must hold real numbers",
        ),
        (
            lambda: embedding_probe(Z, Y, Z, Y, forget_label=0, n_shots=0),
            ValueError,
            "`n_shots` must be an integer of at least 1",
        ),
        (
            lambda: embedding_probe(Z, Y, Z, Y, forget_label=0, n_draws=1.5),
            TypeError,
            "`n_draws` must be an integer of at least 1",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_probabilities_in_half_precision_stay_within_the_bounds():
    half = np.random.default_rng(0).dirichlet(np.ones(3), size=50).astype(np.float16)
    assert (half.astype(float).sum(axis=1) > 1).any()
    nothing = np.zeros_like(half)
    p, q = np.hstack([half, nothing]), np.hstack([nothing, half])
    for i in range(50):
        assert zero_retrain_forgetting(p[i : i + 1], q[i : i + 1]) == pytest.approx(0, abs=1e-12)
