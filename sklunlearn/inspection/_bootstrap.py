"""Bootstrap over rows: how far a figure would stray with other rows of the same kind."""

import numpy as np

__all__ = ["Resampler", "interval"]

_BLOCK = 4_000_000  # entries of a block of counts, 32 MB


def interval(samples, confidence):
    """Percentile interval of resampled values, (low, high)."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


class Resampler:
    """Draws rows with replacement, the same draws whatever is asked.

    So figures of several models are resampled together, and their differences are paired.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    n_bootstrap : int
        Number of draws.
    seed : sequence of int
        Seed of the draws.
    """

    def __init__(self, n, n_bootstrap, seed):
        self.n = n
        self.n_bootstrap = n_bootstrap
        self.seed = seed
        self.n_per_block = max(1, _BLOCK // n)

    def counts(self, n_per_block=None):
        """Blocks of how often each row was drawn, of shape (n_draws, n)."""
        rng = np.random.default_rng(self.seed)
        step = n_per_block or self.n_per_block
        for start in range(0, self.n_bootstrap, step):
            n_draws = min(step, self.n_bootstrap - start)
            drawn = rng.integers(self.n, size=(n_draws, self.n))
            drawn += self.n * np.arange(n_draws)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=n_draws * self.n)
            yield counts.reshape(n_draws, self.n).astype(float)

    def means(self, values):
        """Mean over the drawn rows, of shape (n_bootstrap, ...), of values of shape (n, ...)."""
        values = np.asarray(values, dtype=float)
        flat = values.reshape(self.n, -1)
        drawn = np.concatenate([counts @ flat / self.n for counts in self.counts()])
        return drawn.reshape(self.n_bootstrap, *values.shape[1:])

    def ks(self, a, b):
        """As :func:`sklunlearn.metrics.ks_distance` of two losses of each drawn row."""
        values = np.concatenate([a, b])
        order = np.argsort(values)
        ends = _ends_of_ties(values[order])
        drawn = []
        for counts in self.counts(max(1, self.n_per_block // 2)):
            signed = np.concatenate([counts, -counts], axis=1)[:, order]
            gaps = signed.cumsum(axis=1)[:, ends] / self.n
            drawn.append(np.abs(gaps).max(axis=1))
        return np.concatenate(drawn)

    def auc(self, members, others, non_members):
        """As :func:`sklunlearn.metrics.membership_auc`, with drawn members and non-members.

        `others` is the Resampler of the `non_members`.
        """
        # The non-members in order: as sums up to each place, they answer for every member.
        order = np.argsort(non_members)
        ordered = np.asarray(non_members)[order]
        n_below, n_up_to = (np.searchsorted(ordered, members, side) for side in ("left", "right"))
        step = min(self.n_per_block, others.n_per_block)
        drawn = []
        for counts, other in zip(self.counts(step), others.counts(step), strict=True):
            up_to = np.cumsum(other[:, order], axis=1)
            up_to = np.concatenate([np.zeros((len(other), 1)), up_to], axis=1)
            above = others.n - (up_to[:, n_below] + up_to[:, n_up_to]) / 2
            drawn.append((counts * above).sum(axis=1) / (self.n * others.n))
        return np.concatenate(drawn)


def _ends_of_ties(ordered):
    return np.flatnonzero(np.append(np.diff(ordered) > 0, True))
