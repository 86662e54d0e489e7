"""The figures of a report, each with the interval that a bootstrap over rows gives."""

from itertools import combinations

import numpy as np

from sklunlearn.inspection._bootstrap import Resampler, interval
from sklunlearn.metrics import (
    auc_noise_floor,
    forget_accuracy,
    js_divergence,
    ks_distance,
    membership_auc,
    prediction_agreement,
    speed_up,
    tug_of_war,
)
from sklunlearn.metrics._distance import js_per_row

__all__ = ["ScoreTable"]


class ScoreTable:
    """Figures, collected row by row.

    Outputs of the networks come as dicts of model name to a list of (probabilities, losses), one
    for each network of that name. `draw` numbers the rows that are resampled: equal numbers, equal
    draws, so that what is computed of the same rows stays paired.
    """

    def __init__(self, n_bootstrap, confidence, seed):
        self.n_bootstrap = n_bootstrap
        self.confidence = confidence
        self.seed = seed
        self.rows = []
        self.accuracies = {}  # metric -> model -> list of (value, samples)

    def frame(self):
        """The figures so far, as a DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=["metric", "model", "value", "low", "high", "n"])

    def add_accuracy(self, metric, outputs, y, rows, draw):
        """Accuracy on some rows; nothing if there are none."""
        if not rows.any():
            return
        drawn = self._resampler(rows.sum(), draw)
        scores = {
            name: [
                (
                    forget_accuracy(y, proba.argmax(axis=1), forget=rows),
                    drawn.means((proba.argmax(axis=1) == y)[rows]),
                )
                for proba, _ in networks
            ]
            for name, networks in outputs.items()
        }
        self.accuracies[metric] = scores
        self._add_compared(metric, scores, rows.sum())

    def add_membership(self, losses, draws):
        """AUC of the loss attack. `losses`: model -> list of (members, non-members)."""
        members, others = losses["unlearned"][0]
        n, m = len(members), len(others)
        of_members, of_others = self._resampler(n, draws[0]), self._resampler(m, draws[1])
        scores = {
            name: [
                (membership_auc(inside, out), of_members.auc(inside, of_others, out))
                for inside, out in networks
            ]
            for name, networks in losses.items()
        }
        self._add_compared("membership_auc", scores, n)
        floor = auc_noise_floor(n, m)
        for name in losses:
            self._add("membership_auc_noise", name, floor, None, m)

    def add_distances(self, where, outputs, rows, draw, with_losses=False):
        """Distances from the retrained networks on some rows; nothing without those."""
        if "retrained" not in outputs:
            return
        outputs = {
            name: [(proba[rows], losses[rows]) for proba, losses in networks]
            for name, networks in outputs.items()
        }
        drawn = self._resampler(rows.sum(), draw)

        def js(a, b):
            samples = drawn.means(js_per_row(a[0], b[0])) / np.log(2)
            return js_divergence(a[0], b[0]), samples

        def ks(a, b):
            return ks_distance(a[1], b[1]), drawn.ks(a[1], b[1])

        def agreement(a, b):
            labels = a[0].argmax(axis=1), b[0].argmax(axis=1)
            return prediction_agreement(*labels), drawn.means(labels[0] == labels[1])

        metrics = {f"js_{where}": js, f"agreement_{where}": agreement}
        if with_losses:
            metrics[f"ks_{where}"] = ks
        for metric, function in metrics.items():
            self._add_distance(metric, function, outputs, rows.sum())

    def add_probe(self, hits, draws):
        """Balanced accuracy of a probe. `hits`: model -> list of (of forget rows, of others)."""
        n, m = (len(rows) for rows in hits["unlearned"][0])
        drawn = self._resampler(n, draws[0]), self._resampler(m, draws[1])
        scores = {
            name: [
                (
                    np.mean([rows.mean() for rows in pair]),
                    np.mean([d.means(rows) for d, rows in zip(drawn, pair, strict=True)], axis=0),
                )
                for pair in networks
            ]
            for name, networks in hits.items()
        }
        self._add_compared("probe_accuracy", scores, n + m)

    def add_ranges(self, metric, values, n):
        """A figure that a network has several times. `values`: model -> (n_networks, n_times).

        Its ends are those of the range over the times, or else over the networks.
        """
        for name, of in values.items():
            medians = np.median(of, axis=1)
            ends = medians if len(medians) > 1 else np.ravel(of)
            self.rows.append((metric, name, medians.mean(), min(ends), max(ends), int(n)))

    def add_tug_of_war(self):
        """Tug of war of the three accuracies, where there are all of them and a reference."""
        metrics = ["forget_accuracy", "retain_accuracy", "test_accuracy"]
        if any("retrained" not in self.accuracies.get(metric, ()) for metric in metrics):
            return
        scores = [self.accuracies[metric] for metric in metrics]
        n_references = len(scores[0]["retrained"])

        def tow(model, i, references):
            pairs = [of[model][i] for of in scores]
            against = [[of["retrained"][j] for j in references] for of in scores]
            reference = [np.mean([value for value, _ in of]) for of in against]
            samples = np.prod(
                [
                    1 - np.abs(drawn - np.mean([samples for _, samples in of], axis=0))
                    for (_, drawn), of in zip(pairs, against, strict=True)
                ],
                axis=0,
            )
            return tug_of_war([value for value, _ in pairs], reference), samples

        everyone = range(n_references)
        for model in ("original", "unlearned"):
            if model in scores[0]:
                self._add("tug_of_war", model, *tow(model, 0, everyone), n_references)
        if n_references > 1:
            each = [tow("retrained", i, [j for j in everyone if j != i]) for i in everyone]
            self._add("tug_of_war", "retrained", *_mean(each), n_references)

    def add_seconds(self, models):
        """Duration of the request, and how many times as fast as retraining that is."""
        seconds = {
            name: [m.unlearning_time_ for m in models[name] if hasattr(m, "unlearning_time_")]
            for name in ("unlearned", "retrained")
            if name in models
        }
        seconds = {name: of for name, of in seconds.items() if of}
        for name, of in seconds.items():
            self._add("seconds", name, float(np.median(of)), None, len(of))
        if len(seconds) == 2:
            ratio = speed_up(seconds["unlearned"], seconds["retrained"])
            self._add("speed_up", "unlearned", ratio, None, len(seconds["unlearned"]))

    def _resampler(self, n, draw):
        return Resampler(int(n), self.n_bootstrap, [self.seed, draw])

    def _add(self, metric, model, value, samples, n):
        low, high = np.nan, np.nan
        if samples is not None:
            low, high = interval(samples, self.confidence)
        self.rows.append((metric, model, float(value), low, high, int(n)))

    def _add_compared(self, metric, scores, n):
        """A figure that each network has by itself, and its differences from the retrained one."""
        means = {name: _mean(each) for name, each in scores.items()}
        for name, (value, samples) in means.items():
            self._add(metric, name, value, samples, n)
        if "retrained" not in means:
            return
        reference, drawn = means["retrained"]
        for name in ("original", "unlearned"):
            if name in means:
                value, samples = means[name]
                self._add(metric, f"{name} gap", value - reference, samples - drawn, n)
        values = [value for value, _ in scores["retrained"]]
        if len(values) > 1:
            # Each from the mean of the others.
            apart = [abs(v - (sum(values) - v) / (len(values) - 1)) for v in values]
            self._add(metric, "floor", max(apart), None, n)

    def _add_distance(self, metric, function, outputs, n):
        """A figure that two networks have."""
        references = outputs["retrained"]
        means = {
            name: _mean([function(outputs[name][0], other) for other in references])
            for name in ("original", "unlearned")
            if name in outputs
        }
        of_each = [[] for _ in references]
        for i, j in combinations(range(len(references)), 2):
            pair = function(references[i], references[j])
            of_each[i].append(pair)
            of_each[j].append(pair)
        if len(references) > 1:
            means["retrained"] = _mean([_mean(pairs) for pairs in of_each])
        for name, (value, samples) in means.items():
            self._add(metric, name, value, samples, n)
        if len(references) > 1:
            reference, drawn = means["retrained"]
            for name in ("original", "unlearned"):
                if name in means:
                    value, samples = means[name]
                    self._add(metric, f"{name} gap", value - reference, samples - drawn, n)
            farthest = min if metric.startswith("agreement") else max
            self._add(metric, "floor", farthest(_mean(pairs)[0] for pairs in of_each), None, n)


def _mean(scores):
    """Mean of the values, and of the samples, draw by draw."""
    values, samples = zip(*scores, strict=True)
    return float(np.mean(values)), np.mean(samples, axis=0)
