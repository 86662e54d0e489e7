"""Residual knowledge: how fast a network learns the forgotten rows again."""

import warnings
from typing import NamedTuple

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted

from sklunlearn._data import Rows
from sklunlearn._devices import device_of
from sklunlearn._nets import copy_net, forward, logits_of
from sklunlearn._seeding import draw_seed, isolated_random_state
from sklunlearn._training import split_pipeline, transform
from sklunlearn._validation import check_X_y, encode_labels
from sklunlearn.exceptions import DivergenceError
from sklunlearn.metrics._checks import check_integer, check_number, undefined

__all__ = ["RelearnTime", "anamnesis_index", "relearn_time"]


class RelearnTime(NamedTuple):
    """What :func:`relearn_time` returns.

    Attributes
    ----------
    n_batches : int
        Number of batches after which the target was reached, at least 1; if it was not, the
        number that was tried.
    reached : bool
        Whether the target was reached.
    """

    n_batches: int
    reached: bool


def relearn_time(
    unlearner,
    X,
    y,
    *,
    X_forget,
    y_forget,
    target=None,
    lr=1e-3,
    batch_size=256,
    max_epochs=10,
    random_state=None,
):
    r"""Batches of training until an unlearned network knows the forgotten rows again.

    .. math::
        \mathrm{rt} = \max \left( 1, \min \{ t \ge 0 : \mathrm{acc}(\theta_t; D_v) \ge \tau \}
        \right)

    where :math:`\theta_0` are the weights of the unlearner and :math:`\theta_t` those after
    `t` batches of the full training data with Adam on the cross-entropy; :math:`D_v` are the
    rows of `X_forget` and :math:`\tau` is `target`.

    Parameters
    ----------
    unlearner : BaseUnlearner
        A fitted unlearner whose current network is judged. A copy is trained; the unlearner stays
        as it is.
    X : array-like of shape (n_samples, ...) or torch Dataset
        Training data, the forget rows included.
    y : array-like of shape (n_samples,) or None
        Their labels. None: those of the Dataset.
    X_forget : array-like of shape (n_forget, ...) or torch Dataset
        Rows to be known again; the published index takes *held-out* rows of the forgotten class.
    y_forget : array-like of shape (n_forget,) or None
        Their labels. None: those of the Dataset.
    target : float, default=None
        :math:`\tau`, accuracy to reach on these rows, from 0 to 1. None: 0.95 times the accuracy
        of the original network, ``unlearner.fitted_``.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=256
        Largest number of rows in a batch. The accuracy is looked at after each.
    max_epochs : int, default=10
        Passes over the training data after which to give up.
    random_state : int, RandomState instance or None, default=None
        Seed of the order of the rows, and of dropout.

    Returns
    -------
    time : RelearnTime
        A named tuple (n_batches, reached), n_batches from 1 to the number of all batches. **Best
        is the time of the retrained network** with the same settings: a shorter one is knowledge
        that was left, a longer one over-forgetting. ``(nan, False)`` with a warning if `X_forget`
        has no rows.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        If the unlearner is not fitted or was released and `target` is None, data or labels do not
        suit it, there is no weight to train, or no gradient to train by, or a number is out of
        range.
    DivergenceError
        If a logit is not finite.

    Notes
    -----
    - Says something of forgotten *classes*. Random rows are predicted well by the retrained
      network too: the time is 1 whatever was forgotten.
    - A small number that depends on the order of the rows: take at least three values of
      `random_state`, and the same ones for both networks.
    - A mask on the output delays relearning as much as, or more than, retraining does, although
      the encoder knows the class as before. See :func:`embedding_probe` too.
    - The published code counts from 1, so that 1 stands for networks that reach the target
      without training too. It trains the network that is judged itself; here that is a copy.

    References
    ----------
    V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Zero-Shot Machine
    Unlearning. IEEE Transactions on Information Forensics and Security 18, 2345-2354.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn.metrics import relearn_time
    >>> from sklunlearn.unlearners import NegGradUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = NegGradUnlearner(random_state=0).fit(X, y).unlearn(X, y, forget=(y == 2))
    >>> time = relearn_time(
    ...     unlearner, X, y, X_forget=X[y == 2], y_forget=y[y == 2], max_epochs=100, random_state=0
    ... )
    >>> time.n_batches > 1, time.reached
    (True, True)
    """
    check_is_fitted(unlearner, "net_")
    if target is not None:
        check_number(target, "target", 0, 1, "an accuracy from 0 to 1, or None")
    elif not hasattr(unlearner, "fitted_"):
        raise ValueError(
            f"This {type(unlearner).__name__} was released and carries no original network to set "
            "the target by: pass the accuracy to reach as `target`."
        )
    check_number(lr, "lr", np.nextafter(0, 1), np.finfo(float).max, "a number above 0")
    check_integer(batch_size, "batch_size", 1)
    check_integer(max_epochs, "max_epochs", 1)
    if y_forget is not None and len(y_forget) == 0:
        return RelearnTime(undefined("relearn_time", "there are no rows to relearn"), False)
    net = copy_net(unlearner.net_)
    rows = _rows(unlearner, X, y, unlearner.preprocessing_)
    held_out = _rows(unlearner, X_forget, y_forget, unlearner.preprocessing_)
    if target is None:
        preprocessing, original = split_pipeline(unlearner.fitted_)
        target = 0.95 * _accuracy(original, _rows(unlearner, X_forget, y_forget, preprocessing))
    parameters = [
        parameter
        for name in net._modules
        for parameter in getattr(net, f"{name}_").parameters()
        if parameter.requires_grad
    ]
    if not parameters:
        raise ValueError(
            "The network has no weight to train: set `requires_grad` to True on some parameters."
        )
    if _accuracy(net, held_out) >= target:
        return RelearnTime(1, True)
    optimizer, n_batches = torch.optim.Adam(parameters, lr=lr), 0
    with isolated_random_state(draw_seed(random_state)):
        for _ in range(max_epochs):
            for positions in rows.shuffled(batch_size):
                _train_batch(net, rows.batch(positions, device_of(net)), optimizer)
                n_batches += 1
                if _accuracy(net, held_out) >= target:
                    return RelearnTime(n_batches, True)
    return RelearnTime(n_batches, False)


def anamnesis_index(time_unlearned, time_retrained):
    r"""Anamnesis index (AIN): time to relearn, as a ratio to that of the retrained network.

    .. math::
        \mathrm{AIN} = \exp \left( \frac1m \sum_{i=1}^{m} \log \mathrm{rt}(u_i)
        - \frac{1}{m'} \sum_{i=1}^{m'} \log \mathrm{rt}(r_i) \right)

    with the times :math:`\mathrm{rt}` of runs with different seeds; of one run each, the ratio.

    Parameters
    ----------
    time_unlearned : RelearnTime, or list of RelearnTime
        What :func:`relearn_time` gave for the unlearned network: pairs (n_batches, reached), of
        several seeds or one.
    time_retrained : RelearnTime, or list of RelearnTime
        The same for the retrained network.

    Returns
    -------
    index : float
        Above 0; **1 is best**. Below 1 the unlearned network relearns faster than one that never
        saw the rows, so that something of them was left; far above 1 it has over-forgotten (the
        Streisand effect). nan with a warning if both kinds have a run that did not reach its
        target, or there are no runs.

    Raises
    ------
    TypeError, ValueError
        If a time is not a pair of a number of at least 1 and a truth value.

    Warns
    -----
    UserWarning
        If runs of one kind did not reach the target. They count with the number of batches that
        was tried, so that the index is a lower bound (unlearned runs) or an upper bound
        (retrained runs).

    Notes
    -----
    For forgotten classes. Where the retrained network already knows the rows, as it does with
    random ones, all times are 1 and the index is 1: it then says nothing. Times are small whole
    numbers: use three seeds at least, and read a factor of two as no difference.

    References
    ----------
    V. S. Chundawat, A. K. Tarun, M. Mandal and M. Kankanhalli (2023). Zero-Shot Machine
    Unlearning. IEEE Transactions on Information Forensics and Security 18, 2345-2354. It has one
    run of each; the mean of the logarithms is ours.

    Examples
    --------
    >>> from sklunlearn.metrics import anamnesis_index
    >>> round(anamnesis_index((12, True), [(18, True), (32, True)]), 6)
    0.5
    """
    unlearned, capped_unlearned = _times(time_unlearned, "time_unlearned")
    retrained, capped_retrained = _times(time_retrained, "time_retrained")
    if not len(unlearned) or not len(retrained):
        return undefined("anamnesis_index", "there are no runs")
    if capped_unlearned and capped_retrained:
        return undefined(
            "anamnesis_index",
            "neither the unlearned nor the retrained network reached the target in all runs, so "
            "that their ratio is not known; raise `max_epochs` or lower `target`",
        )
    if capped_unlearned or capped_retrained:
        which, bound = ("retrained", "an upper")
        if capped_unlearned:
            which, bound = ("unlearned", "a lower")
        warnings.warn(
            f"Not all runs of the {which} network reached the target, so that the index is only "
            f"{bound} bound: raise `max_epochs` or lower `target` for its value.",
            UserWarning,
            stacklevel=2,
        )
    return float(np.exp(np.log(unlearned).mean() - np.log(retrained).mean()))


def _rows(unlearner, X, y, preprocessing):
    X, y = check_X_y(unlearner, X, y, reset=False)
    return Rows(transform(preprocessing, X), encode_labels(y, unlearner.classes_))


def _accuracy(net, rows):
    logits = forward(net, rows, lambda net, output, batch: logits_of(net, output))
    if not np.isfinite(logits).all():
        raise DivergenceError(
            "The network gives logits that are not finite: lower `lr`, unless those of the "
            "unlearner are not finite either; then unlearn again with a lower learning rate."
        )
    return float((logits.argmax(axis=1) == rows.y.numpy()).mean())


def _train_batch(net, batch, optimizer):
    for name in net._modules:
        getattr(net, f"{name}_").train()
    loss = torch.nn.functional.cross_entropy(logits_of(net, net.infer(batch.X)), batch.y)
    if not loss.requires_grad:
        raise ValueError(
            "The output of the network has no gradient to train by, as votes have none: use "
            "aggregation='mean' for the ensemble of a SISAUnlearner."
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _times(times, name):
    """Numbers of batches, and whether one of them is a cap."""
    expected = "a pair (n_batches, reached), as `relearn_time` returns it, or a list of those"
    try:
        pairs = np.asarray(times, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"`{name}` must be {expected}, got {times!r}.") from error
    if pairs.size == 0:
        return pairs, False
    if pairs.ndim not in (1, 2) or pairs.shape[-1] != 2:
        raise ValueError(f"`{name}` must be {expected}, got {times!r}.")
    pairs = np.atleast_2d(pairs)
    if not (np.isfinite(pairs).all() and (pairs[:, 0] >= 1).all()):
        raise ValueError(f"`{name}` holds a number of batches that is not 1 or more: {times!r}.")
    if not np.isin(pairs[:, 1], (0, 1)).all():
        raise ValueError(f"`{name}` must be {expected}, got {times!r}.")
    return pairs[:, 0], bool((pairs[:, 1] == 0).any())
