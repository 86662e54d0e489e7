"""A stream of requests for one row each, on the digits: what it costs, and where it leads.

Every method is given the same rows in the same order, and after each request only the rows that are
still held. Two gradient methods and a certified head go on from where they are, SISA trains the
part that the row was in, and retraining trains all again. Accuracies are those at the end; "worst"
is the lowest on the retain rows that a record of the stream has. "Forgotten" is the accuracy on the
rows that were forgotten; rows like these, that no model has seen, are the test rows. The distance
is relative to the norm of the fitted weights. Seconds are those of the process, one thread, and do
not include the measurement of the drift.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from benchlib import split
from harness import add_arguments
from sklearn.datasets import load_digits

from sklunlearn import (
    BoundaryUnlearner,
    CertifiedUnlearner,
    NegGradUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
)

METHODS = {
    "NegGrad": NegGradUnlearner(max_epochs=1, lr=0.001, random_state=0),
    "NegGrad, defaults": NegGradUnlearner(random_state=0),
    "Boundary": BoundaryUnlearner(max_epochs=1, lr=0.001, random_state=0),
    "Boundary, defaults": BoundaryUnlearner(random_state=0),
    "Certified": CertifiedUnlearner(random_state=0),
    "SISA, 5 x 1": SISAUnlearner(random_state=0),
    "SISA, 10 x 3": SISAUnlearner(n_shards=10, n_slices=3, random_state=0),
    "Retrain": RetrainUnlearner(random_state=0),
}


def stream(unlearner, train, test, order, tracked):
    """What 200 requests in a row cost, and what the model is like after them."""
    (X, y), held = train, np.arange(len(train[0]))
    unlearner.fit(X, y)
    before = unlearner.score(*test)
    seconds, n_tracked = [], 0
    for i, row in enumerate(order):
        bound = 1 if i % tracked == 0 or i == len(order) - 1 else None
        began = time.process_time()
        unlearner.partial_unlearn(X[held], y[held], forget=held == row, max_retain_drop=bound)
        if bound is None:
            seconds.append(time.process_time() - began)
        n_tracked += bound is not None
        held = held[held != row]
    drifts = [record["drift"] for record in unlearner.records_]
    accuracies = [d["retain_accuracy_after"] for d in drifts if "n_rows" in d]
    return {
        "test_before": before,
        "test": unlearner.score(*test),
        "retain": unlearner.score(X[held], y[held]),
        "worst": min(accuracies),
        "forgotten": unlearner.score(X[order], y[order]),
        "distance": drifts[-1]["relative_distance"],
        "seconds": float(np.median(seconds)),
        "slowest": max(seconds),
        "n_requests": len(order),
        "n_tracked": n_tracked,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    train, test = split(load_digits)
    n_requests = 20 if args.quick else 200
    order = np.random.default_rng(0).choice(len(train[0]), n_requests, replace=False)
    print(
        f"{'':20}{'test':>16}{'retain':>9}{'worst':>9}{'forgotten':>11}{'distance':>10}"
        f"{'s/request':>11}{'slowest':>9}"
    )
    results = {}
    for name, unlearner in METHODS.items():
        row = results[name] = stream(unlearner, train, test, order, tracked=10)
        distance = "-" if row["distance"] is None else f"{row['distance']:.4f}"
        print(
            f"{name:20}{row['test_before']:8.4f}{row['test']:8.4f}{row['retain']:9.4f}"
            f"{row['worst']:9.4f}{row['forgotten']:11.4f}{distance:>10}{row['seconds']:11.4f}"
            f"{row['slowest']:9.4f}",
            flush=True,
        )
    if args.json:
        Path(args.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
