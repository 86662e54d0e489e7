"""What the scenarios share: networks side by side, a table with intervals, a verdict."""

import copy
import textwrap

import numpy as np
from scipy.special import rel_entr
from scipy.stats import binomtest
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Bunch

from sklunlearn import RetrainUnlearner
from sklunlearn.metrics import cross_entropy_per_row

N_DRAWS = 400  # of the bootstrap
MEMBERSHIP, DISTANCE = "membership, AUC", "JS distance, bits"

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
    original = RetrainUnlearner(net, random_state=0).fit(X, y)
    seconds = {"original": None}
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

    # Of fewer than five rows nothing can be said.
    held_out = {kind: of for kind, of in held_out.items() if len(of[1]) >= 5}
    rows = {"forget": (X[forget], y[forget], groups[forget]), **held_out}
    figures = {
        title: (kind, score)
        for title, (kind, score) in figures.items()
        # Rows of one class have no ROC curve.
        if kind in rows and (score is not auc or len(np.unique(rows[kind][1])) == 2)
    }
    codes = {kind: np.searchsorted(original.classes_, of[1]) for kind, of in rows.items()}
    weights = {kind: draw_weights(of[2], seed) for seed, (kind, of) in enumerate(rows.items())}
    proba = {
        name: [{kind: m.predict_proba(of[0]) for kind, of in rows.items()} for m in each]
        for name, each in models.items()
    }

    def membership(p):
        losses = [
            cross_entropy_per_row(codes[kind], p[kind], labels=np.arange(p[kind].shape[1]))
            for kind in ("forget", "same")
        ]
        inside = np.arange(sum(map(len, losses))) < len(losses[0])
        both = np.concatenate([weights["forget"], weights["same"]], axis=1)
        return _auc(both, inside, -np.concatenate(losses))

    def distance(p):
        others = [q["forget"] for q in proba["retrained"] if q is not p]
        each = np.mean([_js_per_row(p["forget"], q) for q in others], axis=0)
        return weights["forget"] @ each / weights["forget"].sum(axis=1)

    scores = {
        title: (kind, lambda p, kind=kind, score=score: score(weights[kind], codes[kind], p[kind]))
        for title, (kind, score) in figures.items()
    }
    if "same" in rows:
        scores[MEMBERSHIP] = ("forget", membership)
    scores[DISTANCE] = ("forget", distance)
    draws = {
        title: {name: np.array([score(p) for p in each]) for name, each in proba.items()}
        for title, (_, score) in scores.items()
    }
    of_figures = {
        title: Bunch(kind=kind, is_share=title in figures and figures[title][1] is accuracy)
        for title, (kind, _) in scores.items()
    }
    return Bunch(draws=draws, figures=of_figures, rows=rows, seconds=seconds)


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

    The convention of `sklunlearn.unlearning_report`: it is one if its interval leaves out 0 and it
    exceeds the `floor`, the largest one of a retrained network from the others, with a margin for
    their small number.
    """
    draws = result.draws[title]
    each = draws["retrained"][:, 0]
    m = len(each)
    difference = draws[name].mean(axis=0) - draws["retrained"].mean(axis=0)
    low, high = np.nanquantile(difference[1:], [0.025, 0.975])
    if title == DISTANCE:
        floor = each.max() * m / (m - 1)
        is_apart = low > 0 and draws[name][0, 0] > floor
    else:
        floor = np.abs(each - (each.sum() - each) / (m - 1)).max() * m / (m - 1)
        is_apart = (low > 0 or high < 0) and abs(difference[0]) > floor
    return Bunch(value=difference[0], floor=floor, is_apart=bool(is_apart))


def show(result):
    """Print the table, and what the figures of each method say."""
    titles, names = list(result.draws), list(result.seconds)
    width = max(map(len, names)) + 1
    counts = {kind: len(of[1]) for kind, of in result.rows.items()}
    print("Rows: " + ", ".join(f"{n} {MEANING[kind]}" for kind, n in counts.items()) + ".")
    print("\n" + " " * width + "".join(f"{title:>19} " for title in titles) + "  seconds")
    for name in names:
        cells = []
        for title in titles:
            value, low, high = read(result, title, name)
            star = "*" if name != "retrained" and gap(result, title, name).is_apart else " "
            cells.append(f"{value:.3f}{star}[{low:.2f} {high:.2f}]")
        seconds = f"{result.seconds[name]:9.2f}" if result.seconds[name] else ""
        print(f"{name:<{width}}" + "".join(f"{cell:>20}" for cell in cells) + seconds)
    floors = [f"{gap(result, title, 'retrained').floor:.3f}" + " " * 13 for title in titles]
    print(f"{'yardstick':<{width}}" + "".join(f"{cell:>20}" for cell in floors))
    n = len(result.draws[titles[0]]["retrained"])
    print(
        f"""
In brackets: 95% intervals over rows. retrained: mean of {n} networks without the forget rows.
yardstick: how far one of them may be from the others (of a distance: its largest value).
*: beyond the yardstick, and not by chance of the rows.
"""
    )
    for name in names:
        if name not in ("original", "retrained"):
            print(textwrap.fill(f"{name}: {judge(result, name)}", 110, subsequent_indent="  "))


MEANING = {
    "forget": "to forget",
    "same": "of the same kind that no network has seen",
    "others": "others that none has seen",
}


def judge(result, name):
    """What the figures of a method say, in words."""
    gaps = {title: gap(result, title, name) for title in result.draws}
    before = {title: gap(result, title, "original") for title in result.draws}
    others = [t for t, figure in result.figures.items() if figure.kind == "others"]
    apart = [t for t in gaps if gaps[t].is_apart]
    harmed = [t for t in others if t in apart and gaps[t].value < 0]
    harm = f"HARM: {_list(gaps, harmed)}." if harmed else "The rows that stay keep their scores."
    had = [t for t in before if before[t].is_apart and t not in others]
    if not apart:
        if not had:
            return "not told from a retrained network, but neither is the original: says nothing."
        return f"as close to the retrained networks as another retrained one. {harm}"
    if had and all(gaps[t].value / before[t].value > 0.8 for t in had):
        return f"no closer to retraining than the original in anything that tells them. {harm}"
    words = []
    known = [t for t in apart if t not in others and t != DISTANCE]
    if low := [t for t in known if gaps[t].value < 0]:
        words.append(f"goes too far: {_list(gaps, low)}")
    if high := [t for t in known if gaps[t].value > 0]:
        words.append(f"still knows more: {_list(gaps, high)}")
    js = {m: read(result, DISTANCE, m)[0] for m in (name, "original", "retrained")}
    if DISTANCE in apart:
        side = "closer to" if js[name] < js["original"] else "farther from"
        words.append(
            f"answers {side} retraining than the original's ({js[name]:.3f} and "
            f"{js['original']:.3f} bits), not as close as another retrained network's "
            f"({js['retrained']:.3f})"
        )
    else:
        words.append("answers as close to retraining as another retrained network's")
    return f"{'; '.join(words)}. {harm}"


def _list(gaps, titles):
    return ", ".join(f"{title} {gaps[title].value:+.3f}" for title in titles)
