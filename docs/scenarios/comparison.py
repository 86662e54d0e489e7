"""What the scenarios share: networks side by side, a table with intervals, a verdict."""

import copy
import textwrap
import time

import numpy as np
from scipy.special import rel_entr
from scipy.stats import binomtest
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from sklunlearn import RetrainUnlearner
from sklunlearn.metrics import cross_entropy_per_row

N_DRAWS = 400  # of the bootstrap

# A score is a function of weights of shape (n_draws, n_rows): all draws of rows at once.


def accuracy(weights, y, proba):
    """Share of rows that are right."""
    return weights @ (proba.argmax(axis=1) == y) / weights.sum(axis=1)


def balanced_accuracy(weights, y, proba):
    """Mean over the classes of the share of their rows that are right."""
    with np.errstate(invalid="ignore"):  # a draw may lack a rare class
        each = [accuracy(weights[:, y == k], k, proba[y == k]) for k in np.unique(y)]
    there = np.isfinite(each)
    return np.where(there, each, 0).sum(axis=0) / there.sum(axis=0)


def auc(weights, y, proba):
    """Area under the ROC curve of class 1."""
    return _auc(weights, y == 1, proba[:, 1])


def _auc(weights, positive, scores):
    order = np.argsort(scores)
    weights, positive = weights[:, order], positive[order]
    ties = np.flatnonzero(np.append(True, np.diff(scores[order]) > 0))
    above = np.add.reduceat(weights * positive, ties, axis=1)
    below = np.add.reduceat(weights * ~positive, ties, axis=1)
    with np.errstate(invalid="ignore"):
        pairs = above.sum(axis=1) * below.sum(axis=1)
        return (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1) / pairs


def _js_per_row(p, q):
    middle = (p + q) / 2
    return (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * np.log(2))


def draw_weights(groups, seed):
    """How often each row is drawn: once in the first line, then by whole groups."""
    names, codes = np.unique(groups, return_inverse=True)
    if len(names) == 1:  # one patient: then other images of the patient, not other patients
        codes = np.arange(len(groups))
    n = codes.max() + 1
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=N_DRAWS)
    return np.concatenate([np.ones((1, len(codes))), drawn[:, codes]])


def compare(net, methods, X, y, *, forget, groups, held_out, figures, seeds):
    """Train, unlearn by each method, retrain `seeds` times; figures of all, with draws.

    `held_out` maps "same" (the kind of rows that is forgotten) and "others" to (X, y, groups);
    `figures` maps titles to (kind of rows, score), where "forget" are the rows of the request. Of
    `methods`, those that have to be told what retraining would do are functions of a retrained
    network.
    """
    start = time.perf_counter()
    original = RetrainUnlearner(net, random_state=0).fit(X, y)
    seconds = {"original": time.perf_counter() - start}
    frozen = FrozenEstimator(original.fitted_)
    retrained = [
        RetrainUnlearner(frozen, random_state=seed).fit(X, y).unlearn(X, y, forget=forget)
        for seed in range(1, seeds + 1)
    ]
    models = {"original": [original]}
    for name, method in methods.items():
        method = method(retrained[0]) if not hasattr(method, "unlearn") else method
        method.set_params(estimator=FrozenEstimator(copy.deepcopy(original.fitted_)))
        models[name] = [method.set_params(random_state=0).fit(X, y).unlearn(X, y, forget=forget)]
        seconds[name] = method.unlearning_time_
    models["retrained"] = retrained
    seconds["retrained"] = np.mean([model.unlearning_time_ for model in retrained])

    rows = {"forget": (X[forget], y[forget], groups[forget]), **held_out}
    codes = {kind: np.searchsorted(original.classes_, of[1]) for kind, of in rows.items()}
    weights = {kind: draw_weights(of[2], seed) for seed, (kind, of) in enumerate(rows.items())}
    proba = {
        name: [{kind: m.predict_proba(of[0]) for kind, of in rows.items()} for m in each]
        for name, each in models.items()
    }

    def membership(p):
        losses = [cross_entropy_per_row(codes[kind], p[kind]) for kind in ("forget", "same")]
        inside = np.arange(sum(map(len, losses))) < len(losses[0])
        both = np.concatenate([weights["forget"], weights["same"]], axis=1)
        return _auc(both, inside, -np.concatenate(losses))

    def distance(p):
        others = [q["forget"] for q in proba["retrained"] if q is not p]
        each = np.mean([_js_per_row(p["forget"], q) for q in others], axis=0)
        return weights["forget"] @ each / weights["forget"].sum(axis=1)

    result = Bunch(draws={}, seconds=seconds, figures={}, rows=rows)
    for title, (kind, score) in figures.items():
        result.figures[title] = Bunch(kind=kind, is_share=score is accuracy, is_distance=False)
        result.draws[title] = {
            name: np.array([score(weights[kind], codes[kind], p[kind]) for p in each])
            for name, each in proba.items()
        }
    extra = {"membership AUC": membership} if "same" in rows else {}
    for title, score in {**extra, "JS distance": distance}.items():
        is_distance = score is distance
        result.figures[title] = Bunch(kind="forget", is_share=False, is_distance=is_distance)
        result.draws[title] = {
            name: np.array([score(p) for p in each]) for name, each in proba.items()
        }
    return result


def read(result, title, name):
    """Value of a figure of a model, the mean over its networks, and the 95% interval."""
    figure, (value, *drawn) = result.figures[title], result.draws[title][name].mean(axis=0)
    n_groups = len(np.unique(result.rows[figure.kind][2]))
    if figure.is_share and value in (0, 1):  # the bootstrap has no width there
        n = n_groups if n_groups > 1 else len(result.rows[figure.kind][1])
        return value, *binomtest(int(value) * n, n).proportion_ci(method="wilson")
    return value, *np.nanquantile(drawn, [0.025, 0.975])


def gap(result, title, name):
    """Difference of a figure from that of the retrained networks, and whether it is one.

    The convention of `sklunlearn.unlearning_report`: the interval of the difference leaves out 0,
    and no retrained network is as far from the others, with a margin for their small number.
    """
    draws = result.draws[title]
    each = draws["retrained"][:, 0]
    m = len(each)
    difference = (draws[name].mean(axis=0) - draws["retrained"].mean(axis=0))
    low, high = np.nanquantile(difference[1:], [0.025, 0.975])
    if result.figures[title].is_distance:
        is_apart = low > 0 and draws[name][0, 0] > each.max() * m / (m - 1)
    else:
        floor = np.abs(each - (each.sum() - each) / (m - 1)).max() * m / (m - 1)
        is_apart = (low > 0 or high < 0) and abs(difference[0]) > floor
    return difference[0], bool(is_apart)


def show(result):
    """Print the table, and a sentence or two on each method."""
    rows = {kind: f"{len(of[1])}" for kind, of in result.rows.items()}
    print(f"Rows: {', '.join(f'{n} {kind}' for kind, n in rows.items())}.")
    titles, names = list(result.draws), list(result.seconds)
    width = max(map(len, names)) + 1
    print("\n" + " " * width + "".join(f"{title:>20}" for title in titles) + "   seconds")
    for name in names:
        cells = []
        for title in titles:
            value, low, high = read(result, title, name)
            star = "*" if name != "retrained" and gap(result, title, name)[1] else " "
            cells.append(f"{value:.3f}{star}[{low:.2f} {high:.2f}]")
        line = "".join(f"{cell:>20}" for cell in cells)
        print(f"{name:<{width}}{line}{result.seconds[name]:>10.2f}")
    n = len(result.draws[titles[0]]["retrained"])
    print(
        f"\nIn brackets: 95% intervals over rows. *: differs from the {n} retrained networks, of "
        "which the last line is\nthe mean, by more than chance and by more than they differ from "
        "each other.\n"
    )
    for name in names:
        if name not in ("original", "retrained"):
            print(textwrap.fill(f"{name}: {judge(result, name)}", 100, subsequent_indent="  "))


def judge(result, name):
    """What the figures of a method say, in words."""
    gaps = {title: gap(result, title, name) for title in result.draws}
    before = {title: gap(result, title, "original") for title in result.draws}
    known = [t for t, f in result.figures.items() if f.kind != "others" and not f.is_distance]
    apart = [title for title, (_, is_apart) in gaps.items() if is_apart]
    kept = [t for t, f in result.figures.items() if f.kind == "others"]
    if harmed := [t for t in kept if t in apart and gaps[t][0] < 0]:
        harm = f"HARM to the rows that stay ({_differences(gaps, harmed)})."
    else:
        harm = "No harm to the rows that stay."
    if not apart:
        if not any(is_apart for _, is_apart in before.values()):
            return "cannot be told from a retrained network, but neither can the original."
        return f"as close to the retrained networks as they are to each other. {harm}"
    there = [t for t, (_, is_apart) in before.items() if is_apart and t not in kept]
    if there and all(gaps[t][0] > 0.8 * before[t][0] > 0 or gaps[t][0] < 0.8 * before[t][0] < 0 for t in there):
        return f"nothing measurable is forgotten: as far from retraining as the original. {harm}"
    words = []
    if low := [t for t in known if t in apart and gaps[t][0] < 0]:
        words.append(f"goes too far ({_differences(gaps, low)})")
    if high := [t for t in known if t in apart and gaps[t][0] > 0]:
        words.append(f"still knows more ({_differences(gaps, high)})")
    js = {m: result.draws["JS distance"][m][:, 0].mean() for m in (name, "original", "retrained")}
    times = f"{js[name] / js['retrained']:.1f} times as far from the retrained networks as they are"
    words.append(f"{times} from each other, the original {js['original'] / js['retrained']:.1f} times")
    return f"{'; '.join(words)}. {harm}"


def _differences(gaps, titles):
    return ", ".join(f"{title} {gaps[title][0]:+.3f}" for title in titles)
