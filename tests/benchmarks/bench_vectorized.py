"""Time of TradeoffSearchCV on digits with candidates trained one by one, and as one stack.

48 candidates, which differ in five numbers (`retain_weight`, `lr`, `noise`, `closeness` and
`temperature`), in 3 folds, on an MLP whose training is not measured: each fold finds it in a cache.
One after the other in each round:

- one by one: seconds of the processor, and by the clock;
- one by one, with two workers that have been started: by the clock;
- as a stack: seconds of the processor, and by the clock;
- as stacks, one a fold, with two workers: by the clock.

All numbers are medians over the rounds, and ratios those of one round. After that, without a
clock: the largest difference between the probabilities that the two engines give of a test row,
and whether they choose the same candidate.
"""

import argparse
import os
import statistics
import tempfile
import time

import numpy as np
import torch
from bench_search import warm_up
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner, NegGradUnlearner, RandomLabelUnlearner
from sklunlearn._data import BatchLoader
from sklunlearn.model_selection import TradeoffSearchCV
from sklunlearn.model_selection._cache import NetworkCache
from sklunlearn.networks import MLP

FOLDS = 3
METHODS = {
    "boundary": (
        BoundaryUnlearner,
        {"target": "soft"},
        {
            "retain_weight": [0.1, 1.0, 10.0],
            "lr": [0.003, 0.01],
            "noise": [0.0, 0.1],
            "closeness": [0.0, 0.1],
            "temperature": [1.0, 2.0],
        },
    ),
    "neggrad": (
        NegGradUnlearner,
        {},
        {
            "retain_weight": [0.5, 1.0, 2.0],
            "forget_weight": [0.02, 0.05, 0.1, 0.2],
            "lr": [0.0005, 0.001, 0.002, 0.005],
        },
    ),
    "random labels": (
        RandomLabelUnlearner,
        {},
        {
            "retain_weight": [0.5, 1.0, 2.0],
            "lr": list(np.geomspace(0.001, 0.05, 16)),
        },
    ),
}


def make_net(X, hidden):
    """An MLP that standardises its input."""
    return NeuralNetClassifier(
        MLP,
        module__n_features=X.shape[1],
        module__n_classes=10,
        module__hidden=hidden,
        module__mean=X.mean(axis=0),
        module__scale=X.std(axis=0),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.003,
        max_epochs=20,
        batch_size=64,
        train_split=None,
        iterator_train=BatchLoader,
        iterator_train__shuffle=True,
        iterator_valid=BatchLoader,
        verbose=0,
    )


def timed(unlearner, grid, data, **params):
    """Seconds of a search by the clock and of this process, and the search."""
    search = TradeoffSearchCV(unlearner, grid, cv=FOLDS, **params)
    starts = time.perf_counter(), time.process_time()
    search.fit(data[0], data[1], forget=data[2])
    seconds = time.perf_counter() - starts[0], time.process_time() - starts[1]
    return *seconds, search


def largest_difference(unlearner, grid, data):
    """Largest difference of a probability between the two engines, over candidates and folds."""
    found = {}
    for engine in ("sequential", "vectorized"):
        seen = found[engine] = {}

        def keep(estimator, X, y, seen=seen):
            numbers = tuple(getattr(estimator, name) for name in grid)
            if estimator.records_:
                seen[numbers, X.tobytes()] = estimator.predict_proba(X)
            return 0.0

        scoring = {"none": keep}
        timed(unlearner, grid, data, engine=engine, scoring=scoring, refit=False)
    alone, stacked = found.values()
    return max(np.abs(stacked[key] - alone[key]).max() for key in alone)


def main():
    """Run the rounds and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=METHODS, default="boundary")
    parser.add_argument("--hidden", type=int, nargs="*", default=[64, 64], help="widths of layers")
    parser.add_argument("--batch-size", type=int, default=64, help="of the unlearning")
    parser.add_argument("--max-epochs", type=int, default=10, help="of the unlearning")
    parser.add_argument("--threads", type=int, default=1, help="of torch, in this process")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    X, y = load_digits(return_X_y=True)
    data = X.astype("float32"), y, y == 3
    cls, params, grid = METHODS[args.method]
    folder = tempfile.TemporaryDirectory()
    unlearner = cls(
        make_net(data[0], tuple(args.hidden)),
        max_epochs=args.max_epochs,
        batch_size=args.batch_size,
        memory=NetworkCache(folder.name),
        random_state=0,
        **params,
    )
    timed(unlearner, grid, data, refit=False)  # trains the networks
    timed(unlearner, grid, data, refit=False, engine="vectorized")
    rounds, same = [], []
    for _ in range(args.rounds):
        row = {}
        clock, cpu, alone = timed(unlearner, grid, data)
        row["one by one, processor"], row["one by one"] = cpu, clock
        warm_up(2)
        row["one by one, two workers"] = timed(unlearner, grid, data, n_jobs=2)[0]
        clock, cpu, stacked = timed(unlearner, grid, data, engine="vectorized")
        row["stacked, processor"], row["stacked"] = cpu, clock
        warm_up(2)
        row["stacked, two workers"] = timed(unlearner, grid, data, n_jobs=2, engine="vectorized")[0]
        row["ratio, processor"] = row["one by one, processor"] / row["stacked, processor"]
        row["ratio by the clock"] = row["one by one"] / row["stacked"]
        row["ratio to two workers"] = row["one by one, two workers"] / row["stacked, two workers"]
        rounds.append(row)
        same.append(alone.best_index_ == stacked.best_index_)
    print(f"{args.method}, {args.hidden}, batches of {args.batch_size}, {args.max_epochs} epochs")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"engines: {stacked.engine_['engine'].value_counts().to_dict()}")
    for name in rounds[0]:
        print(f"{name:24} {statistics.median(row[name] for row in rounds):8.2f}")
    print(f"{'max |dp|':24} {largest_difference(unlearner, grid, data):8.1e}")
    print(f"{'same candidate':24} {'yes' if all(same) else 'no':>8}")


if __name__ == "__main__":
    main()
