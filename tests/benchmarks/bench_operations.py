"""Time of everything that a user does, by number of rows and size of the network.

For 1,000, 10,000 and 100,000 rows of 64 features or pixels in ten classes, a tenth of them to
forget, and three networks; one thread:

- fit: one epoch of training;
- unlearn, fine-tuning: one epoch over the retain rows, 64 in a step;
- unlearn, boundary: the search for labels and one pass over the forget rows;
- about 100 steps of fine-tuning on few rows: mostly what a step costs;
- search: four candidates in three folds, with the training of a network in each fold;
- metrics, on the outputs alone;
- report: all scores and intervals of one network beside the original;
- release: the copy that can be given away;
- save, load: to a file and back.

Each beside what does the same by hand in PyTorch, NumPy or scikit-learn, and where it can do it,
skorch's own `partial_fit` with torch's DataLoader.
"""

import argparse
import copy
import tempfile
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from bench_methods import METHODS, Plain, params_of
from harness import Results, add_arguments
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from sklunlearn import BoundaryUnlearner, FineTuneUnlearner, RandomLabelUnlearner, unlearning_report
from sklunlearn.metrics import (
    cross_entropy_per_row,
    expected_calibration_error,
    js_divergence,
    membership_auc,
)
from sklunlearn.model_selection import ForgetStratifiedKFold, TradeoffSearchCV
from sklunlearn.networks import default_net
from sklunlearn.persistence import load_model, save_model

N_CLASSES = 10
SIZES = (1_000, 10_000, 100_000)
NETWORKS = {"MLP 64-64": (64, 64), "MLP 512-256": (512, 256), "CNN 16-32": (16, 32)}
GRID = {"lr": [0.001, 0.002, 0.005, 0.01]}


def make_data(n_rows, network):
    """Rows around ten centres, their labels, and which to forget."""
    rng = np.random.default_rng(0)
    y = rng.integers(N_CLASSES, size=n_rows)
    X = rng.normal(size=(N_CLASSES, 64))[y] + rng.normal(size=(n_rows, 64))
    X = X.astype(np.float32)
    forget = np.arange(n_rows) % 10 == 0
    return (X.reshape(-1, 1, 8, 8) if network.startswith("CNN") else X), y, forget


def make_net(X, network):
    net = default_net(X, N_CLASSES).set_params(max_epochs=1)
    name = "module__channels" if network.startswith("CNN") else "module__hidden"
    return net.set_params(**{name: NETWORKS[network]})


class Case:
    """One size and one network: the data, and the network that everything starts from."""

    def __init__(self, n_rows, network):
        self.X, self.y, self.forget = make_data(n_rows, network)
        self.tensors = [torch.as_tensor(part) for part in (self.X, self.y, self.forget)]
        self.net = make_net(self.X, network)
        self.idle = FineTuneUnlearner(self.net, max_epochs=0, random_state=0).fit(self.X, self.y)
        self.original = self.idle.fitted_.module_

    def unlearner(self, cls, **params):
        frozen = FrozenEstimator(self.idle.fitted_)
        return cls(frozen, max_epochs=1, random_state=0, **params).fit(self.X, self.y)

    def plain_request(self, name, unlearner):
        run = Plain(self.original, *self.tensors, params_of(unlearner))
        torch.manual_seed(0)
        METHODS[name](run)
        return run, run.forget_losses()

    def with_skorch(self, **params):
        """A net of skorch's with its own loader."""
        own = {"iterator_train": DataLoader, "iterator_valid": DataLoader}
        return clone(self.net).set_params(**own, **params)


def plain_training(module, X, y):
    """One epoch of Adam, as the default network does it."""
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01, fused=True)
    losses = []
    for rows in torch.randperm(len(X)).tensor_split(-(-len(X) // 64)):
        optimizer.zero_grad()
        loss = cross_entropy(module(X.index_select(0, rows)), y.index_select(0, rows))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return module


def fit(case):
    def ours():
        FineTuneUnlearner(clone(case.net), random_state=0).fit(case.X, case.y)

    def plain():
        torch.manual_seed(0)
        new = case.net.module(**case.net.get_params_for("module"))
        plain_training(new.train(), *case.tensors[:2])

    def with_skorch():
        case.with_skorch().partial_fit(case.X, case.y)

    yield "fit", {"ours": ours, "plain": plain, "skorch": with_skorch}


def unlearn(case):
    X, y, forget = case.X, case.y, case.forget
    tuned = case.unlearner(FineTuneUnlearner, lr=0.005)

    def with_skorch():
        net = case.with_skorch(optimizer=torch.optim.SGD, optimizer__momentum=0.9, lr=0.005)
        net.initialize().module_.load_state_dict(case.original.state_dict())
        net.partial_fit(X[~forget], y[~forget])

    yield (
        "unlearn, fine-tuning",
        {
            "ours": lambda: tuned.unlearn(X, y, forget=forget),
            "plain": lambda: case.plain_request("FineTune", tuned),
            "skorch": with_skorch,
        },
    )
    crossing = case.unlearner(BoundaryUnlearner)
    yield (
        "unlearn, boundary",
        {
            "ours": lambda: crossing.unlearn(X, y, forget=forget),
            "plain": lambda: case.plain_request("Boundary", crossing),
        },
    )


def step(case):
    X, y = case.X, case.y
    forget = np.arange(len(X)) == 0
    tuned = FineTuneUnlearner(FrozenEstimator(case.idle.fitted_), lr=0.005, random_state=0)
    tuned.set_params(max_epochs=max(1, 6400 // len(X))).fit(X, y)
    tensors = [torch.as_tensor(part) for part in (X, y, forget)]

    def plain():
        run = Plain(case.original, *tensors, params_of(tuned))
        METHODS["FineTune"](run)
        run.forget_losses()

    def with_skorch():
        net = case.with_skorch(optimizer=torch.optim.SGD, optimizer__momentum=0.9, lr=0.005)
        net.set_params(max_epochs=tuned.max_epochs)
        net.initialize().module_.load_state_dict(case.original.state_dict())
        net.partial_fit(X[~forget], y[~forget])

    yield (
        "about 100 steps",
        {
            "ours": lambda: tuned.unlearn(X, y, forget=forget),
            "plain": plain,
            "skorch": with_skorch,
        },
    )


def search(case):
    X, y, forget = case.X, case.y, case.forget
    unlearner = RandomLabelUnlearner(clone(case.net), max_epochs=1, random_state=0)

    def accuracy(estimator, X, y):
        return estimator.score(X, y)

    def ours():
        searched = TradeoffSearchCV(
            unlearner, GRID, cv=3, scoring={"accuracy": accuracy}, refit=False
        )
        searched.fit(X, y, forget=forget)

    def plain():
        for train, test in ForgetStratifiedKFold(3).split(X, y, forget=forget):
            parts = [torch.as_tensor(part[train]) for part in (X, y, forget)]
            X_test, y_test = torch.as_tensor(X[test]), torch.as_tensor(y[test])
            torch.manual_seed(0)
            original = case.net.module(**case.net.get_params_for("module"))
            plain_training(original.train(), *parts[:2])
            for lr in GRID["lr"]:
                run = Plain(original, *parts, params_of(clone(unlearner).set_params(lr=lr)))
                torch.manual_seed(0)
                METHODS["RandomLabel"](run)
                run.forget_losses()
                with torch.no_grad():
                    (run.net(X_test).argmax(dim=1) == y_test).float().mean().item()

    yield "search, 4 x 3", {"ours": ours, "plain": plain}


def metrics(case):
    rng = np.random.default_rng(0)
    n = len(case.y)
    logits = torch.as_tensor(rng.normal(size=(n, N_CLASSES)))
    proba, other = logits.softmax(1).numpy(), (2 * logits).softmax(1).numpy()
    losses = rng.exponential(size=(2, n))
    is_member = np.repeat([1, 0], n)

    def plain_js():
        middle = (proba + other) / 2
        parts = [(p * np.log2(p / middle)).sum(axis=1) for p in (proba, other)]
        return (parts[0] / 2 + parts[1] / 2).mean()

    def plain_calibration():
        confidence, right = proba.max(axis=1), proba.argmax(axis=1) == case.y
        bins = np.minimum((confidence * 15).astype(int), 14)
        gaps = np.bincount(bins, confidence - right, minlength=15)
        return np.abs(gaps).sum() / n

    labels = list(range(N_CLASSES))
    yield (
        "cross-entropy",
        {
            "ours": lambda: cross_entropy_per_row(case.y, proba, labels=labels),
            "plain": lambda: -np.log(proba[np.arange(n), case.y]),
        },
    )
    yield (
        "membership AUC",
        {
            "ours": lambda: membership_auc(*losses),
            "plain": lambda: roc_auc_score(is_member, -losses.ravel()),
        },
    )
    yield "JS divergence", {"ours": lambda: js_divergence(proba, other), "plain": plain_js}
    yield (
        "calibration error",
        {
            "ours": lambda: expected_calibration_error(case.y, proba, labels=labels),
            "plain": plain_calibration,
        },
    )


def report(case):
    X, y, forget = case.X, case.y, case.forget
    unlearner = case.unlearner(RandomLabelUnlearner).unlearn(X, y, forget=forget)
    n_test = len(X) // 10
    X_t, all_rows = torch.as_tensor(X[:n_test]), case.tensors[0]

    def outputs():
        for module in (case.original.eval(), unlearner.net_.module_.eval()):
            with torch.no_grad():
                module(X_t).softmax(1).numpy(), module(all_rows).softmax(1).numpy()

    def ours():
        request = {"X": X, "y": y, "forget": forget}
        unlearning_report(unlearner, X[:n_test], y[:n_test], n_bootstrap=100, **request)

    yield "report", {"ours": ours, "plain": outputs}


def files(case):
    unlearner = case.unlearner(BoundaryUnlearner)
    unlearner.unlearn(case.X, case.y, forget=case.forget)
    released, module = unlearner.release(), unlearner.net_.module_
    folder = tempfile.TemporaryDirectory()
    own, theirs = Path(folder.name) / "model", Path(folder.name) / "weights"
    save_model(released, own)
    torch.save(module.state_dict(), theirs)
    params = case.net.get_params_for("module")

    def plain_load():
        new = case.net.module(**params)
        new.load_state_dict(torch.load(theirs, weights_only=True))

    with folder:
        yield "release", {"ours": unlearner.release, "plain": lambda: copy.deepcopy(module)}
        yield (
            "save",
            {
                "ours": lambda: save_model(released, own),
                "plain": lambda: torch.save(module.state_dict(), theirs),
            },
        )
        yield "load", {"ours": lambda: load_model(own), "plain": plain_load}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=2.0, help="for a line, about")
    parser.add_argument("--large", action="store_true", help="the search of 100,000 rows too")
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="groups, as fit or search")
    args = parser.parse_args()
    torch.set_num_threads(1)
    # That the candidates of the search are no good: they train for one epoch.
    warnings.filterwarnings("ignore", "The original network dominates")
    limits = {"seconds": 0.3, "most": 3} if args.quick else {"seconds": args.seconds, "most": 21}
    results = Results(["plain", "skorch"])
    sizes = SIZES[:1] if args.quick else SIZES
    for network in args.networks:
        for n_rows in sizes:
            case = Case(n_rows, network)
            groups = [fit, unlearn, report]
            if n_rows == sizes[0]:
                groups += [step, files]  # neither depends on how many rows there are
            if n_rows < SIZES[-1] or args.large:
                groups.append(search)  # that of more rows is that of its parts
            if args.only:
                groups = [group for group in groups if group.__name__ in args.only]
            for group in groups:
                for name, functions in group(case):
                    results.measure(name, network, n_rows, functions, **limits)
    for n_rows in sizes if not args.only or "metrics" in args.only else ():
        case = SimpleNamespace(y=make_data(n_rows, "MLP 64-64")[1])
        for name, functions in metrics(case):
            results.measure(name, "", n_rows, functions, **limits)
    results.write(args.json)


if __name__ == "__main__":
    main()
