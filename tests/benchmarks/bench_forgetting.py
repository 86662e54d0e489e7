"""How well each class is forgotten, and what it costs, against retraining.

Digits (as a table and as images), wine and breast cancer with default parameters, 30% of the rows
held out, each class in turn; then rows of digits drawn at random. With --cifar also the CIFAR-10
subset of the data folder and an
AllCNN of a quarter of the width: Boundary Shrink, the published settings and the defaults.
"""

import argparse
import time

import numpy as np
import torch
from benchlib import accuracies, cifar_net, load_cifar, split
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.frozen import FrozenEstimator

from sklunlearn import BoundaryUnlearner, RetrainUnlearner


def digits_images(return_X_y):
    X, y = load_digits(return_X_y=return_X_y)
    return X.reshape(-1, 1, 8, 8), y


BUNDLED = {
    "digits": load_digits,
    "digits, images": digits_images,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
}
# What the published code does; its retain weight is 0 or small.
PUBLISHED = {
    "max_steps": 1,
    "step_size": 0.1,
    "step_units": "absolute",
    "clip": (0, 1),
    "uncrossed": "keep",
    "normalize_gradient": False,
    "noise": 1e-4,
    "relabel": "batch",
    "lr": 1e-5,
    "max_epochs": 10,
    "batch_size": 64,
}
RANDOM_ROWS = {
    "default": {},
    "stop_accuracy=0.97, lr=2e-4": {"stop_accuracy": 0.97, "lr": 2e-4},
}
SETTINGS = {
    "Boundary Shrink": {"max_steps": 1, "uncrossed": "keep", "retain_weight": 0},
    "with retain rows": {"max_steps": 1, "uncrossed": "keep"},
    "published": {**PUBLISHED, "retain_weight": 0},
    "published, retain 0.5": {**PUBLISHED, "retain_weight": 0.5},
    "default": {},
}


def bench_bundled(name, load, seed):
    train, test = split(load)
    unlearner = BoundaryUnlearner(random_state=seed).fit(*train)
    retrained = RetrainUnlearner(random_state=seed).fit(*train)
    rows = []
    for label in np.unique(train[1]):
        forget = train[1] == label
        unlearner.unlearn(*train, forget=forget)
        retrained.unlearn(*train, forget=forget)
        ours = accuracies(unlearner, train, test, forget, label)
        theirs = accuracies(retrained, train, test, forget, label)
        rows.append((*ours, theirs[3], unlearner.unlearning_time_, retrained.unlearning_time_))
    forget_train, forget_test, _, retain, retain_retrained, ours, theirs = np.array(rows).T
    gap = 100 * (retain_retrained - retain)
    print(
        f"{name:15} {len(rows):7} {forget_train.max():13.3f} {forget_test.max():12.3f} "
        f"{retain.mean():11.3f} {retain_retrained.mean():9.3f} {gap.mean():8.2f} {gap.max():9.2f} "
        f"{np.median(ours):9.3f} {np.median(theirs):9.3f} {np.median(theirs / ours):8.1f}",
        flush=True,
    )


def bench_random_rows(seed, n_draws=4):
    """Rows of digits drawn at random, which a retrained network mostly gets right all the same."""
    (X_train, y_train), (X_test, y_test) = split(load_digits)
    original = BoundaryUnlearner(random_state=seed).fit(X_train, y_train)
    print(f"\nrandom rows of digits; original test accuracy {original.score(X_test, y_test):.3f}")
    for name, settings in RANDOM_ROWS.items():
        unlearner = BoundaryUnlearner(
            FrozenEstimator(original.fitted_), random_state=seed, **settings
        ).fit(X_train, y_train)
        for n_rows in (1, 5, 20, 60):
            scores = []
            for draw in range(n_draws):
                rows = np.random.default_rng(draw).choice(len(y_train), n_rows, replace=False)
                unlearner.unlearn(X_train, y_train, forget=rows)
                scores.append(
                    [
                        unlearner.score(X_train[rows], y_train[rows]),
                        unlearner.score(X_test, y_test),
                    ]
                )
            forget, test = np.mean(scores, axis=0)
            print(f"{name:32} {n_rows:3} rows: forget {forget:.3f}  test {test:.3f}", flush=True)


def bench_cifar(labels, max_epochs, memory):
    train, test = load_cifar()
    net = cifar_net(train[0], max_epochs)
    began = time.perf_counter()
    retrained = RetrainUnlearner(net, random_state=0, memory=memory).fit(*train)
    original = FrozenEstimator(retrained.fitted_)
    seconds = time.perf_counter() - began
    print(f"\nCIFAR-10 subset, AllCNN(width=0.25), {max_epochs} epochs")
    print(f"{'':24} {'class':>5} {'forget train':>13} {'test':>6} {'retain train':>13} {'test':>6}")
    for label in labels:
        forget = train[1] == label
        scores = accuracies(retrained, train, test, forget, label)
        show_cifar("original", label, scores, seconds)
        for name, settings in SETTINGS.items():
            unlearner = BoundaryUnlearner(original, random_state=0, **settings).fit(*train)
            unlearner.unlearn(*train, forget=forget)
            scores = accuracies(unlearner, train, test, forget, label)
            show_cifar(name, label, scores, unlearner.unlearning_time_)
        again = RetrainUnlearner(net, random_state=0, memory=memory).fit(*train)
        again.unlearn(*train, forget=forget)
        scores = accuracies(again, train, test, forget, label)
        show_cifar("retrained", label, scores, again.unlearning_time_)


def show_cifar(name, label, scores, seconds):
    a, b, c, d = scores
    print(f"{name:24} {label:5} {a:13.3f} {b:6.3f} {c:13.3f} {d:6.3f} {seconds:8.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--cifar", type=int, nargs="*", metavar="CLASS", help="classes to forget")
    parser.add_argument("--epochs", type=int, default=15, help="of CIFAR; default: %(default)s")
    parser.add_argument("--memory", help="folder that keeps the trained CIFAR networks")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        f"{'data':15} {'classes':>7} {'forget train':>13} {'forget test':>12} {'retain test':>11} "
        f"{'retrained':>9} {'mean gap':>8} {'worst gap':>9} {'seconds':>9} {'retrained':>9} "
        f"{'speed-up':>8}"
    )
    for name, load in BUNDLED.items():
        bench_bundled(name, load, arguments.seed)
    print("forget: worst class; retain: mean over the classes; gaps in points; seconds: median")
    bench_random_rows(arguments.seed)
    if arguments.cifar is not None:
        torch.set_num_threads(2)
        bench_cifar(arguments.cifar or range(10), arguments.epochs, arguments.memory)


if __name__ == "__main__":
    main()
