"""Runs of one method that differ only in numbers, trained together as one stack of networks."""

import copy
import datetime
import time
from dataclasses import dataclass

import numpy as np

from sklunlearn._data import Rows, take
from sklunlearn._nets import (
    forward,
    row_losses,
    row_probabilities,
    shallow_copy,
)
from sklunlearn._seeding import (
    RandomStream,
    draw_seed,
    isolated_random_state,
    shared_draws,
)
from sklunlearn._stackable import (
    check_net,
    check_stackable,
    largest_stack,
    stackable_params,
)
from sklunlearn._stacked_bundle import Bundle
from sklunlearn._stacked_networks import Stack
from sklunlearn._training import transform

__all__ = ["Judged", "unlearn_stacked"]


@dataclass
class Judged:
    """What a network says of rows, in place of the unlearner that has it."""

    classes_: np.ndarray
    forget_loss_: np.ndarray
    unlearning_time_: float
    probabilities: np.ndarray

    def predict_proba(self, X):
        """Class probabilities of the rows that were asked, whatever X is."""
        return self.probabilities


def unlearn_stacked(fitted, candidates, X, y, forget, asked=None):
    """Unlearners that have forgotten some rows, each with parameters of its own.

    Parameters
    ----------
    fitted : GradientUnlearner
        Fitted to the rows. It is not changed.
    candidates : list of dict
        Values of parameters, which may differ in those of `stackable_params` alone.
    X, y, forget
        Rows, class indices and a mask, as `_unlearn` is given them.
    asked : data set, default=None
        Rows to classify. Then a network of its own, with a record and all that belongs to it, is
        made only of those that have to be asked by themselves.

    Yields
    ------
    model : GradientUnlearner, Judged or None
        For each candidate; None where the run diverged.

    Raises
    ------
    NotStackable
        If the runs cannot be trained together.
    RuntimeError, TypeError, ValueError
        If something cannot be done to a stack, or to any of the candidates.
    """
    check_stackable(fitted)
    check_net(fitted.net_)
    seed = draw_seed(fitted.random_state)
    sample = take(X, np.arange(min(2 * fitted.batch_size, len(y))))
    size = largest_stack(fitted.net_, transform(fitted.preprocessing_, sample))
    indices = np.flatnonzero(forget)
    rows = Rows(transform(fitted.preprocessing_, take(X, indices)), y[indices])
    if asked is not None:
        asked = Rows(transform(fitted.preprocessing_, asked))
    draws = RandomStream(seed)
    with isolated_random_state(seed), draws:
        inputs = fitted._inputs(fitted.net_, X)  # once for all candidates
    for start in range(0, len(candidates), size):
        chunk = candidates[start : start + size]
        requested_at = datetime.datetime.now(datetime.UTC)
        began = time.perf_counter()
        with isolated_random_state(seed):
            places = _train(fitted, chunk, draws, inputs, y, forget)
        seconds = (time.perf_counter() - began) / len(chunk)
        found = {
            stack: (stack.forward(rows, row_losses), stack.forward(asked, row_probabilities))
            for stack in {stack for stack, _ in places}
        }
        for stack, i in places:
            if not stack.is_finite[i]:
                yield None
                continue
            forget_loss, probabilities = (values[i] for values in found[stack])
            if forget_loss is not None and probabilities is not None:
                model = Judged(fitted.classes_, forget_loss, seconds, probabilities)
            else:
                # One at a time, to be freed after its scores: so many objects at once would have
                # Python look through all that there are, which takes a tenth of a search.
                with isolated_random_state(seed):
                    model, net = stack.network(i)
                if forget_loss is None:
                    forget_loss = forward(net, rows, row_losses)
                model.unlearning_time_ = seconds
                model._exchange(net, forget_loss, forget, requested_at)
            yield model if np.isfinite(forget_loss).all() else None


def _train(fitted, candidates, draws, X, y, forget):
    """Of each candidate, the stack that it was trained in, and its position there."""
    prepared = stackable_params(fitted)[1]
    bundles, owner = [], []
    with shared_draws():  # a search for all bundles that differ in what is made of its result
        for candidate in candidates:
            before = {name: value for name, value in candidate.items() if name in prepared}
            known = [i for i, bundle in enumerate(bundles) if bundle.before == before]
            if not known:
                leader = shallow_copy(fitted)
                vars(leader).update(candidate)
                known = [len(bundles)]
                bundles.append(Bundle(leader, before, copy.copy(draws), X, y, forget))
            owner.append(bundles[known[0]])
    found = {bundle: bundle.structure() for bundle in bundles}
    structures = [found[bundle] for bundle in owner]
    places = [None] * len(candidates)
    for structure in set(structures):
        chosen = [i for i, other in enumerate(structures) if other == structure]
        stack = Stack([candidates[i] for i in chosen], [owner[i] for i in chosen])
        stack.train(fitted.max_epochs)
        for position, i in enumerate(chosen):
            places[i] = stack, position
    return places
