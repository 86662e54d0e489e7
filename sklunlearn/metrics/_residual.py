"""Residual knowledge: what a network still holds of the rows, by its outputs or embeddings."""

from typing import NamedTuple

import numpy as np
from scipy.special import rel_entr
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from sklunlearn.metrics._checks import (
    check_floats,
    check_integer,
    check_labels,
    check_proba,
    check_same_shape,
    undefined,
)

__all__ = ["EmbeddingProbe", "embedding_probe", "zero_retrain_forgetting"]


def zero_retrain_forgetting(proba, proba_random):
    r"""Zero retrain forgetting (ZRF): closeness of the outputs to those of an untrained network.

    .. math::
        \mathrm{ZRF} = 1 - \frac1n \sum_x \mathrm{JS}(p_x, q_x), \qquad
        \mathrm{JS}(p, q) = \tfrac12 \sum_k p_k \log_2 \frac{2 p_k}{p_k + q_k}
        + \tfrac12 \sum_k q_k \log_2 \frac{2 q_k}{p_k + q_k}

    with the probabilities :math:`p_x` of the network that is judged and :math:`q_x` of one with
    random weights.

    Parameters
    ----------
    proba : array-like of shape (n_samples, n_classes)
        Probabilities of the forget rows under the network that is judged.
    proba_random : array-like of shape (n_networks, n_samples, n_classes)
        Those of untrained networks of the same architecture, or of shape (n_samples, n_classes) of
        one; of several the mean is taken. Pass at least five, as they differ; or the uniform
        distribution, ``1 / n_classes``, which depends on no draw.

    Returns
    -------
    zrf : float
        From 0 to 1; 1 where the network says what the untrained ones say. **Best is the value of
        the retrained network, not 1**: that network is sure of many rows that it never saw. Above
        it the network has been randomised, which gives the rows away (the Streisand effect). nan
        with a warning if there are no rows.

    Raises
    ------
    TypeError, ValueError
        If an array holds no probabilities or the shapes do not fit.

    Notes
    -----
    The divergence is that of the definition, in bits. The published code swaps the arguments,
    divides by the number of classes too, and is infinite where a probability is 0; its values are
    not comparable. A network with random weights may be very sure of itself if the data are not
    scaled.

    References
    ----------
    V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Can Bad Teaching Induce
    Forgetting? Unlearning in Deep Networks Using an Incompetent Teacher. AAAI. arXiv:2205.08096.

    Examples
    --------
    >>> from sklunlearn.metrics import zero_retrain_forgetting
    >>> zero_retrain_forgetting([[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]])
    0.5
    """
    proba = check_proba(proba, "proba")
    several = "(n_networks, n_samples, n_classes)"
    proba_random = check_proba(proba_random, "proba_random", several)
    check_same_shape(proba, proba_random, ("proba", "proba_random"), axes=slice(-2, None))
    if not proba_random.size:
        why = f"`proba_random` has shape {proba_random.shape}"
        return undefined("zero_retrain_forgetting", why)
    # In half precision they sum to 1 only nearly, and the divergence could be below 0.
    proba, proba_random = (p / p.sum(axis=-1, keepdims=True) for p in (proba, proba_random))
    middle = (proba + proba_random) / 2
    divergence = (rel_entr(proba, middle) + rel_entr(proba_random, middle)).sum(axis=-1) / 2
    return float(1 - divergence.mean() / np.log(2))


class EmbeddingProbe(NamedTuple):
    """What :func:`embedding_probe` returns.

    Attributes
    ----------
    auc : float
        Mean area under the ROC curve of the probes.
    std : float
        Standard deviation of the areas over the draws.
    """

    auc: float
    std: float


def embedding_probe(
    embeddings_train,
    y_train,
    embeddings_test,
    y_test,
    *,
    forget_label,
    n_shots=5,
    n_draws=10,
    random_state=None,
):
    r"""Find the forgotten class again in the embeddings, by a linear probe trained on a few rows.

    In each draw :math:`d`, a balanced logistic regression is trained on the standardised
    embeddings of `n_shots` rows of each class, to tell the forgotten class from the rest. With its
    scores :math:`s_d` of test rows,

    .. math::
        \mathrm{AUC} = \frac1D \sum_{d=1}^{D} \left[ P(s_d(x_f) > s_d(x_r))
        + \tfrac12 P(s_d(x_f) = s_d(x_r)) \right].

    Parameters
    ----------
    embeddings_train : array-like of shape (n_train, n_embedding)
        What enters the head of the network that is judged, for training rows; see
        :func:`sklunlearn.embeddings.embed`.
    y_train : array-like of shape (n_train,)
        True labels of these rows, the forgotten class among them.
    embeddings_test : array-like of shape (n_test, n_embedding)
        Embeddings of test rows.
    y_test : array-like of shape (n_test,)
        True labels of these.
    forget_label : label
        The class that was forgotten.
    n_shots : int, default=5
        Number of rows of each class to train a probe on; all of a class that has fewer.
    n_draws : int, default=10
        :math:`D`, number of draws.
    random_state : int, RandomState instance or None, default=None
        Draws the rows.

    Returns
    -------
    probe : EmbeddingProbe
        A named tuple (auc, std). `auc` is from 0 to 1. **Best is the value of the retrained
        network**, not 0.5: an encoder that never saw a class separates it rather well too. A value
        above that by more than two `std` is knowledge that is left in the encoder. Both nan with a
        warning if the training or test rows hold no row of the class or no other row.

    Raises
    ------
    TypeError, ValueError
        If the arrays do not have those shapes, the numbers of rows or features differ, a value is
        not finite, or a number is out of range.

    Notes
    -----
    For forgotten classes only. It shows what measures of the output cannot: a network whose
    head alone was changed, or whose output for the class is masked, keeps the value of the
    original. It is blind to the head itself, and an encoder that was ruined has a low value, as
    one that has over-forgotten.

    References
    ----------
    Our own composition; linear probes go back to G. Alain and Y. Bengio (2017). Understanding
    Intermediate Layers Using Linear Classifier Probes. ICLR Workshop.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn.metrics import embedding_probe
    >>> X, y = load_iris(return_X_y=True)
    >>> probe = embedding_probe(X[::2], y[::2], X[1::2], y[1::2], forget_label=0, random_state=0)
    >>> probe.auc
    1.0
    """
    train = check_floats(embeddings_train, "embeddings_train", "(n_train, n_embedding)")
    test = check_floats(embeddings_test, "embeddings_test", "(n_test, n_embedding)")
    y_train = check_labels(y_train, "y_train", len(train))
    y_test = check_labels(y_test, "y_test", len(test))
    names = ("embeddings_train", "embeddings_test")
    check_same_shape(train, test, names, axes=slice(1, None))
    check_integer(n_shots, "n_shots", 1)
    check_integer(n_draws, "n_draws", 1)
    rng = check_random_state(random_state)
    is_forgotten = [np.asarray(y == forget_label, dtype=bool) for y in (y_train, y_test)]
    for rows, name in zip(is_forgotten, ("y_train", "y_test"), strict=True):
        if not 0 < rows.sum() < len(rows):
            nothing = undefined(
                "embedding_probe",
                f"it needs rows of class {forget_label!r} and others in `{name}`, which has "
                f"{rows.sum()} and {len(rows) - rows.sum()}",
            )
            return EmbeddingProbe(nothing, nothing)
    aucs = []
    members = [np.flatnonzero(y_train == label) for label in np.unique(y_train)]
    for _ in range(n_draws):
        shots = np.concatenate(
            [rng.choice(rows, size=min(n_shots, len(rows)), replace=False) for rows in members]
        )
        probe = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        probe.fit(train[shots], is_forgotten[0][shots])
        aucs.append(roc_auc_score(is_forgotten[1], probe.decision_function(test)))
    return EmbeddingProbe(float(np.mean(aucs)), float(np.std(aucs)))
