"""Every method with its default parameters, on the same trained networks, against retraining.

Digits and wine, and with --cifar the CIFAR-10 subset of the data folder and an AllCNN of a quarter
of the width: a class is forgotten, then 10% of the training rows, drawn at random. 30% of the rows
are held out; CIFAR has a test set of its own. A seed is that of the split, the training, the rows
that are drawn and the method. For each seed one network is trained, and all methods start from it.

Writes a CSV file, one line a run, and the printed tables as Markdown.
"""

import argparse
import copy
import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import torch
from benchlib import accuracies, cifar_net, load_cifar, split
from sklearn.datasets import load_digits, load_wine
from sklearn.frozen import FrozenEstimator

from sklunlearn import RetrainUnlearner, all_unlearners

# Parameters that are not the defaults, by method and kind of request.
SETTINGS: dict[tuple[str, str], dict] = {}
# Methods whose paper stops early: for rows, at the accuracy of the original network on test rows.
# For a class their defaults are right.
WITH_STOP = {"DUCKUnlearner", "ICUUnlearner"}
# Methods whose original is not a plain network: they train their own, which is not timed.
TRAIN_THEIR_OWN = {"SISAUnlearner"}

REFERENCE = "RetrainUnlearner"
FRACTION = 0.1
SCORES = ["forget", "forget_test", "retain", "test"]


@dataclass(frozen=True)
class Data:
    load: Callable  # seed -> (X, y) to train on, (X, y) to test on
    label: int  # the class that is forgotten
    n_classes: int


cached_cifar = functools.cache(load_cifar)
DATA = {
    "digits": Data(functools.partial(split, load_digits), label=3, n_classes=10),
    "wine": Data(functools.partial(split, load_wine), label=1, n_classes=3),
    "cifar": Data(lambda seed: cached_cifar(), label=0, n_classes=10),
}


@dataclass(frozen=True)
class Goal:
    text: str
    data: tuple
    kind: str
    column: str
    excess: Callable  # how far beyond the goal a value is; at most 0 where it is met


GOALS = [
    Goal(
        "digits, class: accuracy on the forget rows (train) at most 0.05",
        ("digits",),
        "class",
        "forget",
        lambda accuracy: accuracy - 0.05,
    ),
    Goal(
        "digits, class: test accuracy on the other classes at most 3 points below retraining",
        ("digits",),
        "class",
        "gap_test",
        lambda gap: -3 - gap,
    ),
    *(
        Goal(
            f"{data}, rows: accuracy on the forget rows within 5 points of retraining",
            (data,),
            "rows",
            "gap_forget",
            lambda gap: abs(gap) - 5,
        )
        for data in DATA
    ),
]


def make_net(data, train, max_epochs):
    """Net to train; None: the default network."""
    return cifar_net(train[0], max_epochs) if data == "cifar" else None


def mark(y, kind, label, seed):
    """Mask of the rows to forget."""
    if kind == "class":
        return y == label
    forget = np.zeros(len(y), dtype=bool)
    n_rows = round(FRACTION * len(y))
    forget[np.random.default_rng(seed).choice(len(y), n_rows, replace=False)] = True
    return forget


def prepare(data, seed, max_epochs, requests):
    """Train a network, and again for each request; the network, and scores and seconds of both."""
    print(f"{data}, seed {seed}: training and retraining", file=sys.stderr)
    train, test = DATA[data].load(seed)
    net = make_net(data, train, max_epochs)
    retrained = RetrainUnlearner(net, random_state=seed).fit(*train)
    original = RetrainUnlearner(FrozenEstimator(retrained.fitted_)).fit(*train)
    results = {}
    for kind, label in requests:
        forget = mark(train[1], kind, label, seed)
        retrained.unlearn(*train, forget=forget)
        results[kind, label] = {
            "original": (accuracies(original, train, test, forget, label), np.nan),
            REFERENCE: (
                accuracies(retrained, train, test, forget, label),
                retrained.unlearning_time_,
            ),
        }
    return retrained.fitted_, results


def make_unlearner(method, kind, net, original, test_accuracy, seed):
    params = dict(SETTINGS.get((method, kind), {}))
    if method in WITH_STOP and kind == "rows":
        params["stop_accuracy"] = test_accuracy
    # A copy: a method that changed the original would spoil the comparison for those after it.
    original = FrozenEstimator(copy.deepcopy(original))
    estimator = net if method in TRAIN_THEIR_OWN else original
    return dict(all_unlearners())[method](estimator, random_state=seed, **params)


def run(method, data, seed, max_epochs, kind, label, prepared):
    """One line of the CSV file."""
    train, test = DATA[data].load(seed)
    forget = mark(train[1], kind, label, seed)
    original, results = prepared
    known = results[kind, label]
    retrained, retrained_seconds = known[REFERENCE]
    scores, seconds, error = [np.nan] * len(SCORES), np.nan, None
    if method in known:
        scores, seconds = known[method]
    else:
        try:
            net = make_net(data, train, max_epochs)
            test_accuracy = known["original"][0][SCORES.index("test")]
            unlearner = make_unlearner(method, kind, net, original, test_accuracy, seed)
            unlearner.fit(*train).unlearn(*train, forget=forget)
            scores = accuracies(unlearner, train, test, forget, label)
            seconds = unlearner.unlearning_time_
        except Exception as raised:  # whatever it is: the others are still to be compared
            error = " ".join(f"{type(raised).__name__}: {raised}".split())
    gaps = 100 * (np.array(scores) - retrained)
    return {
        "data": data,
        "request": kind,
        "label": "" if label is None else label,
        "method": method,
        "made_for_it": method in dict(all_unlearners(kind)),
        "seed": seed,
        "n_forget": int(forget.sum()),
        **dict(zip(SCORES, scores, strict=True)),
        **{f"retrained_{name}": score for name, score in zip(SCORES, retrained, strict=True)},
        **{f"gap_{name}": gap for name, gap in zip(SCORES, gaps, strict=True)},
        "seconds": seconds,
        "retrained_seconds": retrained_seconds,
        "speed_up": retrained_seconds / seconds,
        "error": error,
    }


HEAD = (
    f"| {'method':26} | {'forget':>15} | {'its test rows':>13} | retain | {'test':>6} "
    f"| {'forget gap':>14} | {'test gap':>14} | {'seconds':>8} | speed-up | remarks |"
)
RULE = "|" + "|".join("-" * len(cell) for cell in HEAD.split("|")[1:-1]) + "|"


def table_line(runs):
    """Line of the table of one method, from its runs."""
    means = runs[[*SCORES, "gap_forget", "gap_test"]].mean()
    forget, forget_test, retain, test = (number(means[name], ".3f") for name in SCORES)
    if runs["request"].iloc[0] == "class" and np.isfinite(means["forget"]):
        forget += f" ({runs['forget'].max():.3f})"
    gaps = []
    for name in ("gap_forget", "gap_test"):
        values = runs[name].dropna()
        gap = number(means[name], "+.1f")
        if len(values):
            gap += f" ({values[values.abs().idxmax()]:+.1f})"
        gaps.append(gap)
    seconds = number(runs["seconds"].median(), ".3f")
    speed_up = number(runs["speed_up"].median(), ".1f")
    method = runs["method"].iloc[0]
    remarks = [] if method == "original" or runs["made_for_it"].all() else ["not made for this"]
    errors = runs["error"].dropna()
    if len(errors):
        first = errors.iloc[0].replace("|", "\\|")
        remarks.append(f"raised in {len(errors)} of {len(runs)} runs: {first}")
    return (
        f"| {method:26} | {forget:>15} | {forget_test:>13} | {retain:>6} | {test:>6} "
        f"| {gaps[0]:>14} | {gaps[1]:>14} | {seconds:>8} | {speed_up:>8} | {'; '.join(remarks)} |"
    )


def number(value, spec):
    return format(value, spec) if np.isfinite(value) else "-"


def goal_lines(runs):
    """Which methods miss the goals, by the mean over their runs."""
    lines = ["", "## Goals", "", "Of methods that are made for the request; means over the runs."]
    for goal in GOALS:
        of_goal = runs[runs["data"].isin(goal.data) & (runs["request"] == goal.kind)]
        missed, sometimes, met = [], [], []
        judged = of_goal[of_goal["made_for_it"] & (of_goal["method"] != REFERENCE)]
        for method, of_method in judged.groupby("method"):
            n_raised = int(of_method["error"].notna().sum())
            values = of_method[goal.column].dropna()
            if n_raised:
                missed.append(f"{method} (raised in {n_raised} of {len(of_method)} runs)")
                continue
            # Rounded, as a difference of 0.05 may come out a little larger.
            excess = goal.excess(values).round(9)
            text = f"mean {values.mean():.3g}, worst {values[excess.idxmax()]:.3g}"
            n_missed = int((excess > 0).sum())
            if round(goal.excess(values.mean()), 9) > 0:
                missed.append(f"{method} ({text})")
            elif n_missed:
                sometimes.append(f"{method} ({text}; {n_missed} of {len(values)} runs)")
            else:
                met.append(method)
        if len(judged) == 0:
            continue
        lines += ["", f"- {goal.text}"]
        lines.append(f"  - missed: {', '.join(missed) or 'none'}")
        if sometimes:
            lines.append(f"  - met on average, missed in some runs: {', '.join(sometimes)}")
        lines.append(f"  - met: {', '.join(met) or 'none'}")
        untouched = of_goal.loc[of_goal["method"] == "original", goal.column].mean()
        if goal.column != "gap_test" and round(goal.excess(untouched), 9) <= 0:
            lines.append(
                f"  - the original network meets it too ({untouched:.3g}): meeting it alone does "
                "not show that anything was forgotten"
            )
    return lines


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [name for name, _ in all_unlearners()]
    add = parser.add_argument
    add("--seeds", type=int, default=3, help="how many (default: %(default)s)")
    add("--methods", nargs="+", choices=names, default=names, metavar="NAME", help="(default: all)")
    add(
        "--data",
        nargs="+",
        choices=list(DATA),
        default=["digits", "wine"],
        metavar="NAME",
        help=f"of {', '.join(DATA)} (default: digits wine)",
    )
    add("--cifar", action="store_true", help="CIFAR-10 too")
    add("--all-classes", action="store_true", help="forget each class in turn, not one")
    add("--epochs", type=int, default=15, help="of training on CIFAR (default: %(default)s)")
    add("--threads", type=int, default=1, help="of torch (default: %(default)s)")
    add(
        "--out",
        type=Path,
        default=Path("compare-output"),
        metavar="FOLDER",
        help="of the two files, made where it is missing (default: compare-output)",
    )
    add(
        "--memory",
        metavar="FOLDER",
        help="keeps the trained networks and the results of retraining, its times included",
    )
    arguments = parser.parse_args()
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {arguments.seeds}")
    torch.set_num_threads(arguments.threads)
    compare(arguments)


def compare(arguments):
    chosen = list(dict.fromkeys([*arguments.data, *(["cifar"] if arguments.cifar else [])]))
    methods = list(dict.fromkeys(["original", REFERENCE, *arguments.methods]))
    seeds, max_epochs = range(arguments.seeds), arguments.epochs
    cached_prepare = joblib.Memory(arguments.memory, verbose=0).cache(prepare)
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines, rows = [], []

    def show(*new):
        lines.extend(new)
        print(*new, sep="\n", flush=True)
        (arguments.out / "compare_methods.md").write_text("\n".join(lines) + "\n")
        pd.DataFrame(rows).to_csv(arguments.out / "compare_methods.csv", index=False)

    show(
        "# Methods compared",
        "",
        f"Default parameters, {len(seeds)} seed{'s' * (len(seeds) != 1)}. Accuracies: means over "
        "the runs. Gaps: accuracy minus",
        "that of the retrained network, in points. In brackets: the run that is farthest off. "
        "Seconds and",
        "speed-up over retraining: medians.",
    )
    for data in chosen:
        labels = range(DATA[data].n_classes) if arguments.all_classes else [DATA[data].label]
        requests = [*(("class", label) for label in labels), ("rows", None)]
        prepared = [cached_prepare(data, seed, max_epochs, requests) for seed in seeds]
        for kind in ("class", "rows"):
            title = f"{FRACTION:.0%} of the rows"
            if kind == "class":
                title = f"class {labels[0]}" if len(labels) == 1 else "each class"
            show("", f"## {data}, {title}", "", HEAD, RULE)
            for method in methods:
                new = [
                    run(method, data, seed, max_epochs, kind, label, prepared[seed])
                    for seed in seeds
                    for of_kind, label in requests
                    if of_kind == kind
                ]
                rows += new
                show(table_line(pd.DataFrame(new)))
            n_rows = np.mean([row["n_forget"] for row in new])
            show("", f"{n_rows:.0f} rows to forget: one is {100 / n_rows:.1f} points.")
    show(*goal_lines(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
