"""Splitters that know which rows are to be forgotten."""

from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import BaseCrossValidator, StratifiedKFold
from sklearn.utils import check_random_state, indexable

from sklunlearn.requests import check_forget

__all__ = ["ForgetSplit", "ForgetStratifiedKFold"]


class ForgetStratifiedKFold(StratifiedKFold):
    """Folds with equal shares of each class, both of its forget rows and of its retain rows.

    For the question whether forgetting *generalises*: the forget rows of a test fold are of the
    kind that was forgotten, but were not trained on. Right for a class.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds. There must be as many forget rows and as many retain rows.
    shuffle : bool, default=False
        Whether to deal the rows of a class and kind at random. False: in blocks, in their order.
    random_state : int, RandomState instance or None, default=None
        Shuffles.

    See Also
    --------
    ForgetSplit : For the question whether these very rows are still known.

    Notes
    -----
    Between two folds, the numbers of rows, of forget rows, and of the rows of each class and kind
    differ by at most one.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.model_selection import ForgetStratifiedKFold
    >>> y = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    >>> forget = np.array([1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    >>> for train, test in ForgetStratifiedKFold(n_splits=2).split(y, y, forget=forget):
    ...     print(train, test)
    [1 3 6 7] [0 2 4 5]
    [0 2 4 5] [1 3 6 7]
    """

    __metadata_request__split = {"forget": True}

    def split(self, X, y=None, groups=None, *, forget=None):
        """Generate indices of the training and test rows of each fold.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Only the number of rows is used.
        y : array-like of shape (n_samples,)
            Class labels.
        groups : object
            Ignored.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Which rows to forget.

        Yields
        ------
        train, test : ndarray of int
            Row indices.

        Raises
        ------
        TypeError
            If `forget` is missing or has a wrong type.
        ValueError
            If `forget` or `y` is not valid, or there are fewer rows of a kind than folds.
        """
        y, forget = _check_rows(self, X, y, forget)
        for kind, n_rows in (("forget", forget.sum()), ("retain", (~forget).sum())):
            if n_rows < self.n_splits:
                raise ValueError(
                    f"There are {n_rows} rows to {kind}, fewer than n_splits={self.n_splits}: use "
                    "fewer folds."
                )
        strata = 2 * y + ~forget
        fold = np.empty(len(y), dtype=int)
        # One class and kind after the other, as cards are dealt.
        fold[np.lexsort((y, ~forget))] = np.arange(len(y)) % self.n_splits
        rng = check_random_state(self.random_state)
        for stratum in np.unique(strata):
            rows = np.flatnonzero(strata == stratum)
            fold[rows] = rng.permutation(fold[rows]) if self.shuffle else np.sort(fold[rows])
        for k in range(self.n_splits):
            yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)

    def get_n_splits(self, X=None, y=None, groups=None, *, forget=None):
        """Return the number of folds.

        Parameters
        ----------
        X, y, groups, forget : object
            Ignored.

        Returns
        -------
        n_splits : int
        """
        return self.n_splits


class ForgetSplit(BaseCrossValidator):
    """Splits that train on all forget rows, and test on the same rows beside held-out rows.

    For the question whether *these* rows are still known: they should look like the held-out
    rows. Right for rows of any class, such as those of a patient; not for a whole class, of which
    no row would be held out.

    Parameters
    ----------
    n_splits : int, default=3
        Number of splits.
    test_size : float or int, default=0.25
        Held-out rows: a share of the retain rows, between 0 and 1, or their number. Each class has
        its share of them.
    random_state : int, RandomState instance or None, default=None
        Draws the held-out rows.

    See Also
    --------
    ForgetStratifiedKFold : For the question whether forgetting generalises.

    Examples
    --------
    >>> import numpy as np
    >>> from sklunlearn.model_selection import ForgetSplit
    >>> y = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    >>> forget = np.array([1, 0, 0, 0, 0, 1, 0, 0, 0, 0], dtype=bool)
    >>> for train, test in ForgetSplit(n_splits=2, random_state=0).split(y, y, forget=forget):
    ...     print(len(train), np.intersect1d(train, test), y[test])
    8 [0 5] [0 0 1 1]
    8 [0 5] [0 0 1 1]
    """

    __metadata_request__split = {"forget": True}

    def __init__(self, n_splits=3, *, test_size=0.25, random_state=None):
        self.n_splits = n_splits
        self.test_size = test_size
        self.random_state = random_state

    def split(self, X, y=None, groups=None, *, forget=None):
        """Generate indices of the training and test rows of each split.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            Only the number of rows is used.
        y : array-like of shape (n_samples,)
            Class labels.
        groups : object
            Ignored.
        forget : array-like of shape (n_samples,), dtype bool, or of row indices
            Which rows to forget.

        Yields
        ------
        train, test : ndarray of int
            Row indices, ascending.

        Raises
        ------
        TypeError
            If a parameter has a wrong type, or `forget` is missing or has one.
        ValueError
            If a parameter, `forget` or `y` is not valid, or no retain row would be held out, or
            none left to train on.
        """
        n_splits = self.get_n_splits()
        y, forget = _check_rows(self, X, y, forget)
        retain = np.flatnonzero(~forget)
        n_held_out = self._count_held_out(len(retain))
        rng = check_random_state(self.random_state)
        for _ in range(n_splits):
            rows = rng.permutation(retain)
            rows = rows[np.argsort(y[rows], kind="stable")]
            # At equal distances in rows sorted by class, each class has its share.
            positions = (np.arange(n_held_out) + rng.uniform()) * (len(rows) / n_held_out)
            held_out = np.zeros(len(y), dtype=bool)
            held_out[rows[positions.astype(int)]] = True
            yield np.flatnonzero(~held_out), np.flatnonzero(held_out | forget)

    def get_n_splits(self, X=None, y=None, groups=None, *, forget=None):
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups, forget : object
            Ignored.

        Returns
        -------
        n_splits : int
        """
        if isinstance(self.n_splits, bool) or not isinstance(self.n_splits, Integral):
            raise TypeError(f"`n_splits` must be an integer of at least 1, got {self.n_splits!r}.")
        if self.n_splits < 1:
            raise ValueError(f"`n_splits` must be an integer of at least 1, got {self.n_splits!r}.")
        return int(self.n_splits)

    def _count_held_out(self, n_retain):
        size = self.test_size
        expected = "a share between 0 and 1 or a number of rows"
        if isinstance(size, bool) or not isinstance(size, Real):
            raise TypeError(f"`test_size` must be {expected}, got {size!r}.")
        if not (size >= 1 if isinstance(size, Integral) else 0 < size < 1):
            raise ValueError(f"`test_size` must be {expected}, got {size!r}.")
        count = int(size) if isinstance(size, Integral) else round(size * n_retain)
        if not 0 < count < n_retain:
            raise ValueError(
                f"test_size={size!r} would hold out {count} of {n_retain} retain rows: at least "
                "one must be held out and one left to train on."
            )
        return count


def _check_rows(splitter, X, y, forget):
    """Class indices and mask of the rows, or an error."""
    name = type(splitter).__name__
    if y is None:
        raise ValueError(f"{name}.split needs the class labels: pass `y`.")
    if forget is None:
        raise TypeError(
            f"{name}.split needs `forget`. In model selection turn metadata routing on, "
            "`sklearn.set_config(enable_metadata_routing=True)`, or pass "
            "`cv=list(splitter.split(X, y, forget=mask))`."
        )
    _, y = indexable(X, y)
    y = np.asarray(y)
    if y.ndim != 1:
        raise ValueError(f"`y` must have shape (n_samples,), got {y.shape}: pass one label a row.")
    forget = check_forget(forget, len(y), allow_all=False)
    return np.unique(y, return_inverse=True)[1], forget
