"""Time of TradeoffSearchCV on digits, against its parts and against two workers.

24 candidates (`retain_weight` x `max_steps` x `lr`) in 3 folds, without the last fit to all rows:

- how often the network is trained;
- total time, against 3 trainings, 72 unlearnings and their scores, each measured in a loop by
  hand: seconds of the processor, which other programs disturb little;
- two workers, which have been started, against one: seconds by the clock.

All numbers are medians over the rounds, and ratios those of paired runs.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import ParameterGrid
from skorch.callbacks import Callback

from sklunlearn import BoundaryUnlearner
from sklunlearn.model_selection import ForgetStratifiedKFold, TradeoffSearchCV, unlearning_scorers
from sklunlearn.model_selection._workers import share_cores
from sklunlearn.networks import default_net

GRID = {"retain_weight": [0.1, 1.0, 10.0], "max_steps": [1, 5, 10, 20], "lr": [0.003, 0.01]}
FOLDS = 3


class Recorder(Callback):
    """Adds a line to a file, which processes share, for each training."""

    def __init__(self, path):
        self.path = path

    def on_train_begin(self, net, **kwargs):
        with open(self.path, "a") as file:
            file.write("trained\n")


def parts(unlearner, X, y, forget):
    """Processor seconds of the trainings, the unlearnings and the scores, in a loop by hand."""
    scorers = unlearning_scorers()
    seconds = dict.fromkeys(["training", "unlearning", "scoring"], 0.0)
    for train, test in ForgetStratifiedKFold(FOLDS).split(X, y, forget=forget):
        start = time.process_time()
        net = clone(unlearner).fit(X[train], y[train]).fitted_
        seconds["training"] += time.process_time() - start
        for params in ParameterGrid(GRID):
            candidate = clone(unlearner).set_params(estimator=FrozenEstimator(net), **params)
            candidate.fit(X[train], y[train])
            start = time.process_time()
            candidate.unlearn(X[train], y[train], forget=forget[train])
            unlearned = time.process_time()
            for scorer in scorers.values():
                scorer(candidate, X[test], y[test], forget=forget[test])
            seconds["unlearning"] += unlearned - start
            seconds["scoring"] += time.process_time() - unlearned
    return seconds


def search(unlearner, X, y, forget, n_jobs):
    """Seconds of a search without the last fit, by the clock and of this process."""
    starts = time.perf_counter(), time.process_time()
    TradeoffSearchCV(unlearner, GRID, cv=FOLDS, refit=False, n_jobs=n_jobs).fit(X, y, forget=forget)
    return time.perf_counter() - starts[0], time.process_time() - starts[1]


def warm_up(n_jobs):
    """Start the workers, and let them import what they will need."""
    with share_cores(n_jobs):
        Parallel(n_jobs)(delayed(_import_all)() for _ in range(4 * n_jobs))


def _import_all():
    time.sleep(0.2)  # so that no worker does it all
    return BoundaryUnlearner


def main():
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-epochs", type=int, default=30, help="of the network")
    args = parser.parse_args()
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X, forget = X.astype("float32"), y == 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trainings"
        net = default_net(X, 10).set_params(
            max_epochs=args.max_epochs, callbacks=[Recorder(str(path))]
        )
        unlearner = BoundaryUnlearner(net, random_state=0)
        search(unlearner, X, y, forget, 1)
        n_trained = len(path.read_text().split())
        found = []
        for _ in range(args.rounds):
            row = parts(unlearner, X, y, forget)
            by_hand = sum(row.values())
            row["one worker"], row["search"] = search(unlearner, X, y, forget, 1)
            warm_up(2)
            row["two workers"], _ = search(unlearner, X, y, forget, 2)
            row["search / parts"] = row["search"] / by_hand
            row["one worker / two"] = row["one worker"] / row["two workers"]
            found.append(row)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"trainings of the network: {n_trained}")
    for name in found[0]:
        print(f"{name:16} {statistics.median(row[name] for row in found):7.2f}")


if __name__ == "__main__":
    main()
