import itertools

import numpy as np
import pytest
from sklearn.exceptions import UndefinedMetricWarning

from sklunlearn.metrics import hypervolume, knee_point, pareto_front, speed_up

POINTS = np.array([(0.2, 0.95), (0.6, 0.9), (0.8, 0.7), (0.5, 0.6), (0.95, 0.3)])
ON_FRONT = [True, True, True, False, True]


def random_points(seed, n_points=40, n_objectives=2):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 12, size=(n_points, n_objectives)) / 12  # with ties and duplicates


def front_by_hand(scores):
    mask = []
    for b in scores.tolist():
        mask.append(
            not any(
                all(x >= y for x, y in zip(a, b, strict=True)) and a != b for a in scores.tolist()
            )
        )
    return mask


def test_vectors():
    assert pareto_front(POINTS).tolist() == ON_FRONT
    assert hypervolume(POINTS, reference=(0, 0)) == pytest.approx(0.735, abs=1e-9)
    assert knee_point(POINTS) == 1


@pytest.mark.parametrize("n_objectives", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_front_by_hand(seed, n_objectives):
    scores = random_points(seed, n_objectives=n_objectives)
    mask = pareto_front(scores)
    assert mask.dtype == bool
    assert mask.tolist() == front_by_hand(scores)
    order = np.random.default_rng(seed).permutation(len(scores))
    np.testing.assert_array_equal(pareto_front(scores[order]), mask[order])
    np.testing.assert_array_equal(pareto_front(np.exp(3 * scores) - 9), mask)  # only order counts


def test_front_keeps_duplicates():
    scores = [[1, 0], [0, 1], [1, 0], [0, 0], [0, 0]]
    assert pareto_front(scores).tolist() == [True, True, True, False, False]
    assert pareto_front([[2, 2]]).tolist() == [True]
    assert pareto_front(np.empty((0, 2))).tolist() == []


def test_equal_in_one_objective_is_enough_to_be_dominated():
    assert pareto_front([[1, 0], [1, 1], [0, 1]]).tolist() == [False, True, False]


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_counts_the_cells_that_are_dominated(seed):
    scores = random_points(seed)
    for reference in [(0, 0), (3 / 12, 6 / 12), (-1, 0)]:
        cells = 0
        for i, j in itertools.product(range(-12, 12), range(-12, 12)):
            low, high = np.array([i, j]) / 12, np.array([i + 1, j + 1]) / 12
            above = (low >= np.array(reference) - 1e-9).all()
            cells += above and (scores >= high - 1e-9).all(axis=1).any()
        area = hypervolume(scores, reference=reference)
        assert area == pytest.approx(cells / 144, abs=1e-12)


def test_hypervolume_does_not_depend_on_order_duplicates_or_dominated_points():
    expected = hypervolume(POINTS, reference=[0, 0])
    for rows in itertools.permutations(range(5)):
        assert hypervolume(POINTS[list(rows)], reference=[0, 0]) == pytest.approx(expected)
    twice = np.r_[POINTS, POINTS, [[0.1, 0.1]]]
    assert hypervolume(twice, reference=[0, 0]) == pytest.approx(expected, abs=1e-12)
    assert hypervolume(POINTS[:, ::-1], reference=[0, 0]) == pytest.approx(expected, abs=1e-12)
    moved = hypervolume(POINTS * [2, 3] - 7, reference=[-7, -7])
    assert moved == pytest.approx(6 * expected, abs=1e-12)


def test_points_that_are_not_above_the_reference_count_nothing():
    assert hypervolume([[0.5, 0.5]], reference=[0.5, 0]) == 0
    assert hypervolume([[0.9, -1]], reference=[0, 0]) == 0
    assert hypervolume([[0.5, 0.5], [2, -1]], reference=[0, 0]) == 0.25
    assert hypervolume([[1, 1]], reference=[0, 0]) == 1


def farthest_by_hand(scores):
    """Row farthest outside the line through the ends of the scaled front, by an area."""
    rows = np.flatnonzero(front_by_hand(scores))
    best, best_distance = None, 0
    if len(rows) < 3:
        return best, best_distance
    low, high = scores[rows].min(axis=0), scores[rows].max(axis=0)
    for row in rows:
        x, y = (scores[row] - low) / (high - low)
        # Twice the area of the triangle with the corners (0, 1), (1, 0) and (x, y), over its base.
        distance = np.linalg.det([[0, 1, 1], [1, 0, 1], [x, y, 1]]) / 2**0.5
        if distance > best_distance + 1e-9:
            best, best_distance = row, distance
    return best, best_distance


def test_knee_is_the_point_farthest_outside_the_chord():
    row, distance = farthest_by_hand(POINTS)
    assert (row, distance) == (1, pytest.approx(0.322731, abs=1e-6))
    n_knees = 0
    for seed in range(40):
        scores = np.random.default_rng(seed).random((12, 2))
        row, _ = farthest_by_hand(scores)
        if row is not None:
            n_knees += 1
            assert knee_point(scores) == row
    assert n_knees > 10


def test_knee_does_not_depend_on_scale_order_or_which_objective_comes_first():
    assert knee_point(POINTS * [1000, 0.01] - [7, -3]) == 1
    assert knee_point(POINTS[:, ::-1]) == 1
    assert knee_point(POINTS[::-1]) == 3
    assert isinstance(knee_point(POINTS), int)
    # Scaled by the front, not by all points: the last one is dominated, and far away.
    assert knee_point([*POINTS, (-50, 0.9)]) == 1


def test_knee_and_ideal_point_may_differ():
    # The knee is (.6, .9); closest to (1, 1) is (.8, .7), which two points fall back on.
    assert knee_point(POINTS) == 1
    assert knee_point(POINTS[[1, 2]]) == 1
    assert np.linalg.norm(1 - POINTS[2]) == pytest.approx(0.360555, abs=1e-6)


@pytest.mark.parametrize(
    "scores, expected",
    [
        ([[0.3, 0.4]], 0),  # one point
        ([[0.1, 0.2], [0.3, 0.4]], 1),  # one on the front
        ([[0.6, 0.6]] * 4, 0),  # no spread: the first
        ([[0.9, 0.2], [0.2, 0.95]], 1),  # two
        ([[0.1, 0.9], [0.2, 0.2], [0.95, 0.15]], 2),  # bent inward
        ([[0, 1], [0.49, 0.49], [1, 0]], 1),
        ([[0.1, 0.9], [0.2, 0.8], [0.5, 0.5], [0.8, 0.2]], 2),  # straight, but for rounding
        ([[0.9, 0.1], [0.3, 0.7], [0.7, 0.3], [0.1, 0.9]], 1),
    ],
)
def test_knee_falls_back_on_the_point_closest_to_the_ideal(scores, expected):
    scores = np.array(scores)
    on_front = np.array(front_by_hand(scores))
    distances = np.where(on_front, np.linalg.norm(1 - scores, axis=1), np.inf)
    assert distances[expected] == pytest.approx(distances.min(), abs=1e-12)
    assert knee_point(scores) == expected


def test_knee_of_duplicates_is_the_first_of_them():
    assert knee_point(np.r_[POINTS[[0, 4]], POINTS, POINTS]) == 3


@pytest.mark.parametrize(
    "call, expected",
    [
        (pareto_front, [True, False, True, True, False, True]),
        (lambda scores: hypervolume(scores, reference=[0, 0]), 0.735),
        (knee_point, 2),
    ],
)
def test_points_with_nan_are_left_out_with_a_warning(call, expected):
    scores = np.insert(POINTS, 1, [np.nan, 2], axis=0)
    with pytest.warns(UndefinedMetricWarning, match="1 of 6 points in `scores` hold nan") as caught:
        found = call(scores)
    assert caught[0].filename == __file__
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_no_point_at_all():
    nothing, unknown = np.empty((0, 2)), [[np.nan, 1.0]]
    with pytest.warns(UndefinedMetricWarning, match="hypervolume is nan: there is no point"):
        assert np.isnan(hypervolume(nothing, reference=[0, 0]))
    with pytest.raises(ValueError, match="None of the 0 points"):
        knee_point(nothing)
    with pytest.warns(UndefinedMetricWarning, match="1 of 1 points"):
        assert pareto_front(unknown).tolist() == [False]
    with (
        pytest.warns(UndefinedMetricWarning, match="1 of 1 points"),
        pytest.raises(ValueError, match="None of the 1 points"),
    ):
        knee_point(unknown)


@pytest.mark.parametrize(
    "call", [pareto_front, lambda scores: hypervolume(scores, reference=[0, 0]), knee_point]
)
@pytest.mark.parametrize(
    "scores, error, match",
    [
        ([0.1, 0.2], ValueError, r"`scores` has shape \(2,\), expected \(n_points, n_objectives\)"),
        ([[0.1, np.inf]], ValueError, r"`scores` holds inf at index \[0, 1\]"),
        ([[-np.inf, 0.1]], ValueError, "`scores` holds -inf"),
        ([["a", "b"]], TypeError, "`scores` must hold real numbers"),
        ([[0.1, 0.2], [0.3]], ValueError, "rows of one length"),
        (np.empty((3, 0)), ValueError, "objective"),
    ],
)
def test_bad_points(call, scores, error, match):
    with pytest.raises(error, match=match):
        call(scores)


@pytest.mark.parametrize(
    "call", [lambda scores: hypervolume(scores, reference=[0, 0, 0]), knee_point]
)
def test_two_objectives_where_two_are_needed(call):
    with pytest.raises(ValueError, match="`scores` has 3 columns, expected 2"):
        call([[0.1, 0.2, 0.3]])


@pytest.mark.parametrize(
    "reference, error, match",
    [
        ([0, 0, 0], ValueError, "`reference` must be two numbers, got 3"),
        (0, ValueError, r"`reference` has shape \(\), expected \(2,\)"),
        ([0, np.nan], ValueError, "`reference` holds nan"),
        (None, TypeError, "`reference` must hold real numbers"),
    ],
)
def test_bad_reference(reference, error, match):
    with pytest.raises(error, match=match):
        hypervolume(POINTS, reference=reference)


def test_speed_up():
    assert speed_up(2.0, 30.0) == 15
    assert speed_up([2, 1000, 1], (30, 20, 40)) == 15  # medians
    assert speed_up(30, 2) == pytest.approx(1 / speed_up(2, 30))
    assert isinstance(speed_up(2, 30), float)


@pytest.mark.parametrize(
    "seconds, error, match",
    [
        (0, ValueError, "must be one or more durations above 0, got 0"),
        ([1, -1], ValueError, "must be one or more durations above 0"),
        ([], ValueError, "must be one or more durations above 0"),
        (np.nan, ValueError, "holds nan, expected finite"),
        ([1, np.inf], ValueError, r"holds inf at index \[1\]"),
        ("1", TypeError, "must hold real numbers"),
        ([[1]], ValueError, r"has shape \(1, 1\), expected \(\) or \(n_runs,\)"),
    ],
)
def test_bad_durations(seconds, error, match):
    with pytest.raises(error, match="`seconds` " + match):
        speed_up(seconds, 1)
    with pytest.raises(error, match="`reference_seconds` " + match):
        speed_up(1, seconds)
