import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import cross_validate

from sklunlearn import NegGradUnlearner
from sklunlearn.model_selection import ForgetSplit, ForgetStratifiedKFold


def rows(n=200, n_forget=23, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1], size=n)
    forget = np.zeros(n, dtype=bool)
    forget[rng.choice(n, n_forget, replace=False)] = True
    return y, forget


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize(("n_forget", "n_splits"), [(23, 5), (7, 7), (101, 2)])
def test_folds_have_equal_shares(shuffle, n_forget, n_splits):
    y, forget = rows(n_forget=n_forget)
    cv = ForgetStratifiedKFold(n_splits, shuffle=shuffle, random_state=0 if shuffle else None)
    folds = []
    for train, test in cv.split(y, y, forget=forget):
        np.testing.assert_array_equal(np.sort(np.r_[train, test]), np.arange(200))
        folds.append(test)
    np.testing.assert_array_equal(np.sort(np.concatenate(folds)), np.arange(200))
    masks = [np.ones(200, bool), forget, *[(y == k) & f for k in "abc" for f in (forget, ~forget)]]
    for mask in masks:
        counts = [mask[test].sum() for test in folds]
        assert max(counts) - min(counts) <= 1


def test_folds_are_blocks_unless_shuffled():
    y, forget = np.zeros(12, int), np.arange(12) < 4
    first = next(ForgetStratifiedKFold(2).split(y, y, forget=forget))[1]
    np.testing.assert_array_equal(first, [0, 1, 4, 5, 6, 7])
    draws = [
        next(ForgetStratifiedKFold(2, shuffle=True, random_state=s).split(y, y, forget=forget))[1]
        for s in (0, 0, 1)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], first)


@pytest.mark.parametrize(("test_size", "n_held_out"), [(0.25, 44), (0.5, 88), (10, 10), (1, 1)])
def test_forget_split_tests_the_rows_that_it_trains_on(test_size, n_held_out):
    y, forget = rows()
    splits = list(ForgetSplit(4, test_size=test_size, random_state=0).split(y, y, forget=forget))
    assert len(splits) == 4
    for train, test in splits:
        np.testing.assert_array_equal(np.intersect1d(train, test), np.flatnonzero(forget))
        np.testing.assert_array_equal(np.union1d(train, test), np.arange(200))
        held_out = test[~forget[test]]
        assert len(held_out) == n_held_out
        for label in "abc":
            share = n_held_out * np.mean(y[~forget] == label)
            assert abs(np.sum(y[held_out] == label) - share) < 1
    assert not np.array_equal(splits[0][1], splits[1][1])


def test_forget_split_draws_every_retain_row_equally_often():
    y, forget = rows(40, 5)
    cv = ForgetSplit(2000, random_state=0)
    counts = sum(np.bincount(test, minlength=40) for _, test in cv.split(y, y, forget=forget))
    assert (counts[forget] == 2000).all()
    # 9 of 35 rows in 2000 draws: 514, with a standard deviation of 20
    assert np.abs(counts[~forget] - 2000 * 9 / 35).max() < 90


def test_forget_split_is_drawn_by_its_random_state():
    y, forget = rows()

    def draw(state):
        return np.concatenate(
            [test for _, test in ForgetSplit(random_state=state).split(y, y, forget=forget)]
        )

    np.testing.assert_array_equal(draw(1), draw(1))
    assert not np.array_equal(draw(1), draw(2))
    assert not np.array_equal(draw(None), draw(None))


@pytest.mark.parametrize("cv", [ForgetStratifiedKFold(3), ForgetSplit(3, random_state=0)])
def test_splitters_take_part_in_routing(cv, trained_net, X, y):
    asks = cv.get_metadata_routing().consumes("split", ["forget", "groups"])
    assert asks == {"forget"}
    forget = np.arange(75) % 4 == 0
    expected = [test.tolist() for _, test in cv.split(X, y, forget=forget)]
    unlearner = NegGradUnlearner(trained_net, max_epochs=0, random_state=0)
    with config_context(enable_metadata_routing=True):
        result = cross_validate(
            unlearner,
            X,
            y,
            params={"forget": forget},
            cv=cv,
            return_indices=True,
            error_score="raise",
        )
    assert [test.tolist() for test in result["indices"]["test"]] == expected
    with pytest.raises(TypeError, match=r"needs `forget`\. In model selection turn metadata"):
        cross_validate(unlearner, X, y, cv=cv)


@pytest.mark.parametrize("cv", [ForgetStratifiedKFold(3), ForgetSplit(3, random_state=0)])
def test_masks_and_indices_copies_and_numbers(cv):
    y, forget = rows()
    by_mask = [test.tolist() for _, test in cv.split(None, y, forget=forget)]
    for same in (cv, pickle.loads(pickle.dumps(cv)), clone(cv, safe=False)):
        by_index = same.split(y, y.tolist(), forget=np.flatnonzero(forget))
        assert [test.tolist() for _, test in by_index] == by_mask
        assert same.get_n_splits(y, y, forget=forget) == same.get_n_splits() == 3
    assert repr(cv).startswith(f"{type(cv).__name__}(n_splits=3")


Y, FORGET = rows()


@pytest.mark.parametrize("cv", [ForgetStratifiedKFold(3), ForgetSplit(3)])
@pytest.mark.parametrize(
    ("y", "forget", "error", "message"),
    [
        (None, FORGET, ValueError, "pass `y`"),
        (Y, None, TypeError, "needs `forget`"),
        (Y, np.zeros(200, bool), ValueError, "marks no row"),
        (Y, np.ones(200, bool), ValueError, "no retain rows are left"),
        (Y, FORGET[:50], ValueError, "mask of 50 rows"),
        (Y, FORGET.astype(float), TypeError, "dtype float64"),
        (Y[:, None], FORGET, ValueError, "one label a row"),
    ],
)
def test_bad_rows_are_refused(cv, y, forget, error, message):
    with pytest.raises(error, match=message):
        list(cv.split(np.zeros((200, 1)), y, forget=forget))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ForgetStratifiedKFold(24), ValueError, "23 rows to forget, fewer than n_splits"),
        (lambda: ForgetStratifiedKFold(1), ValueError, "n_splits=1"),
        (lambda: ForgetStratifiedKFold(random_state=0), ValueError, "random_state"),
        (lambda: ForgetSplit(0), ValueError, "`n_splits` must be"),
        (lambda: ForgetSplit(2.5), TypeError, "`n_splits` must be"),
        (lambda: ForgetSplit(test_size=0.0), ValueError, "`test_size` must be"),
        (lambda: ForgetSplit(test_size=1.0), ValueError, "`test_size` must be"),
        (lambda: ForgetSplit(test_size="half"), TypeError, "`test_size` must be"),
        (lambda: ForgetSplit(test_size=177), ValueError, "hold out 177 of 177 retain rows"),
        (lambda: ForgetSplit(test_size=0.001), ValueError, "hold out 0 of 177 retain rows"),
    ],
)
def test_bad_parameters_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        list(make().split(Y, Y, forget=FORGET))


def test_too_few_rows_to_retain():
    with pytest.raises(ValueError, match="There are 2 rows to retain, fewer than n_splits=3"):
        list(ForgetStratifiedKFold(3).split(Y[:6], Y[:6], forget=[0, 1, 2, 3]))
