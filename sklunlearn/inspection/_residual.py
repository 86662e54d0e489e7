"""What networks still hold of a forgotten class: a probe of their embeddings, and relearning."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklunlearn._data import Rows, take
from sklunlearn._ensemble import Ensemble
from sklunlearn.embeddings import embed
from sklunlearn.exceptions import DivergenceError
from sklunlearn.inspection._models import rows_of
from sklunlearn.metrics import relearn_time
from sklunlearn.metrics._checks import check_integer
from sklunlearn.trainable import head_module

__all__ = ["ResidualKnowledge", "check_residual"]

_N_FOLDS = 5
_N_ORDERS = 3
_MOST_PROBED = 1000  # rows of either kind
_MOST_RELEARNED = 500
_MOST_STEPS = 300
_BATCH_SIZE = 256


def check_residual(probe, relearning):
    """Whether to probe, and the largest number of steps of relearning, 0 for none."""
    if not isinstance(probe, bool | np.bool_):
        raise TypeError(f"`probe` must be True or False, got {probe!r}.")
    if isinstance(relearning, bool | np.bool_):
        return bool(probe), _MOST_STEPS * bool(relearning)
    check_integer(relearning, "relearning", 1)
    return bool(probe), int(relearning)


class ResidualKnowledge:
    """Measures of what the networks of a report hold of the forgotten classes.

    Parameters
    ----------
    models : dict of str to list of BaseUnlearner
        The networks of each name.
    seed : int
        Seed of the folds, of shuffled labels and of the orders.
    probe : bool
        Whether to probe the embeddings.
    n_steps : int
        Largest number of steps of relearning, 0 for none.
    """

    def __init__(self, models, seed, probe, n_steps):
        self.models = models
        self.seed = seed
        self.probe = probe
        self.n_steps = n_steps

    def measure(self, table, about, X, y, forget, X_test, gone):
        """Add the figures to a table, and to `about` what they rest on or why they are missing.

        Parameters
        ----------
        table : ScoreTable
            The figures.
        about : dict
            What the report is about.
        X, y : array-like or torch Dataset of n_samples rows, ndarray of shape (n_samples,)
            Rows of the request, and their classes as indices.
        forget : ndarray of shape (n_samples,), dtype bool
            Which of them are forgotten.
        X_test : array-like or torch Dataset of n_test rows
            Test rows.
        gone : ndarray of shape (n_test,), dtype bool
            Which of them are of forgotten classes.
        """
        if not about["classes"]:
            if self.n_steps:
                about["remarks"].append(
                    "Relearning was left out: a retrained network knows rows of classes that are "
                    "kept from the start, so that it says something of forgotten classes only."
                )
            return
        # Rows of a class that is kept are known to every network, forgotten or not.
        forgotten = np.flatnonzero(forget & ~np.isin(y, y[~forget]))
        if self.probe:
            self._probe(table, about, X, forgotten, X_test, np.flatnonzero(~gone))
        if self.n_steps:
            self._relearn(table, about, X, y, forgotten)

    def _probe(self, table, about, X, forgotten, X_test, others):
        rng = np.random.default_rng([self.seed, 10])
        forgotten, others = (_at_most(_MOST_PROBED, rows, rng) for rows in (forgotten, others))
        try:
            embeddings = self._embeddings(X, forgotten, X_test, others)
        except ValueError as error:
            about["remarks"].append(f"The probe of embeddings was left out: {error}")
            return
        labels = np.repeat([1, 0], [len(forgotten), len(others)])
        shuffled = rng.permutation(labels)
        folds = StratifiedKFold(_N_FOLDS, shuffle=True, random_state=int(rng.integers(2**31)))
        hits = {
            name: [np.split(_hits(e, labels, folds), [len(forgotten)]) for e in of]
            for name, of in embeddings.items()
        }
        table.add_probe(hits, draws=(7, 8))
        # Labels that mean nothing: what is above a half there is not knowledge of the class.
        control = _balanced(_hits(embeddings["unlearned"][0], shuffled, folds), shuffled)
        table.add_ranges("probe_control", {"unlearned": [[control]]}, len(labels))
        if "original" in embeddings:
            before, after = embeddings["original"][0], embeddings["unlearned"][0]
            about["is_embedding_unchanged"] = np.array_equal(before, after)

    def _embeddings(self, X, forgotten, X_test, others):
        """For each network those of the rows; a ValueError that says why there are none."""
        if min(len(forgotten), len(others)) < _N_FOLDS:
            raise ValueError(
                f"{len(forgotten)} rows of forgotten classes and {len(others)} test rows of the "
                f"others are too few for {_N_FOLDS} folds."
            )
        embeddings = {name: [] for name in self.models}
        for name, networks in self.models.items():
            for model in networks:
                _check_embeds(model.net_.module_)
                both = [_embed(model, X, forgotten), _embed(model, X_test, others)]
                embeddings[name].append(np.concatenate(both))
                if not np.isfinite(embeddings[name][-1]).all():
                    raise ValueError("embeddings are not finite.")
        return embeddings

    def _relearn(self, table, about, X, y, forgotten):
        rng = np.random.default_rng([self.seed, 11])
        chosen = _at_most(_MOST_RELEARNED, forgotten, rng)
        labels = self.models["unlearned"][0].classes_[y]
        target = self._target(table, X, y, chosen)
        if target is None:
            about["remarks"].append(
                "Relearning was left out: without the original and retrained networks there is no "
                "accuracy to reach."
            )
            return
        rows = {"X_forget": _take(X, chosen), "y_forget": labels[chosen], "target": target}
        orders = rng.integers(2**31, size=_N_ORDERS).tolist()
        try:
            steps = {
                name: [[self._steps(m, X, labels, rows, order) for order in orders] for m in of]
                for name, of in self.models.items()
            }
        except (ValueError, DivergenceError) as error:  # votes have no gradient
            about["remarks"].append(f"Relearning was left out: {error}")
            return
        about["relearning"] = {"n_steps": self.n_steps, "target": target}
        table.add_ranges("relearn_steps", steps, len(chosen))

    def _target(self, table, X, y, chosen):
        if "original" in self.models:
            original = self.models["original"][0]
            right = original.predict(_take(X, chosen)) == original.classes_[y[chosen]]
            return 0.95 * float(np.mean(right))
        for metric, model, value, *_ in table.rows:
            if (metric, model) == ("retain_accuracy", "retrained"):
                return 0.95 * value
        return None

    def _steps(self, model, X, y, rows, order):
        """Number of steps after which the rows are known; one more than tried, if they are not."""
        n_batches, never = -(-len(y) // _BATCH_SIZE), self.n_steps + 1
        time = relearn_time(
            model,
            X,
            y,
            **rows,
            batch_size=_BATCH_SIZE,
            max_epochs=-(-self.n_steps // n_batches),
            random_state=order,
        )
        return time.n_batches if time.reached and time.n_batches <= self.n_steps else never


def _at_most(n, rows, rng):
    return rows if len(rows) <= n else np.sort(rng.choice(rows, n, replace=False))


def _check_embeds(module):
    if isinstance(module, Ensemble):
        raise ValueError("a model of several networks has no single embedding.")
    try:
        head_module(module, 2)
    except ValueError:
        raise ValueError("what enters a network's only layer is the data.") from None


def _take(X, indices):
    # Also of a memory map: that these are few is what they were drawn for.
    return X[indices] if isinstance(X, np.ndarray) else take(X, indices)


def _embed(model, X, indices):
    rows = Rows(rows_of(model, X).source, indices=indices)
    return embed(model.net_, rows).numpy().astype(np.float64)


def _hits(embeddings, labels, folds):
    """For each row, whether the probe that was trained without its fold gives its label."""
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
    )
    with warnings.catch_warnings():
        # The accuracy of a probe that is not quite optimal is as good to compare.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return (cross_val_predict(probe, embeddings, labels, cv=folds) == labels).astype(float)


def _balanced(hits, labels):
    return np.mean([hits[labels == label].mean() for label in (0, 1)])
