"""What certified heads cost in accuracy, and which requests stay within their budget.

Bundled data with default parameters, a quarter of the rows held out, means of several networks:
requests for random rows, ten of each size and network, and for each class in turn, against
retraining.
"""

import argparse

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklunlearn import CertifiedUnlearner, RetrainUnlearner

BUNDLED = {
    "digits": load_digits,
    "wine": load_wine,
    "breast cancer": load_breast_cancer,
    "iris": load_iris,
}


def bench(name, load, n_seeds, params):
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.25, stratify=y, random_state=0
    )
    n = len(y_train)
    plain, certified, of_class, steps, fits = [], [], [], [], []
    within = {size: [] for size in (1, 10, n // 10)}
    for seed in range(n_seeds):
        retrained = RetrainUnlearner(random_state=seed).fit(X_train, y_train)
        frozen = FrozenEstimator(retrained.fitted_)
        unlearner = CertifiedUnlearner(frozen, random_state=seed, **params).fit(X_train, y_train)
        plain.append(retrained.score(X_test, y_test))
        certified.append(unlearner.score(X_test, y_test))
        rng = np.random.default_rng(seed)
        for size, kept in within.items():
            for _ in range(10):
                rows = rng.choice(n, size, replace=False)
                unlearner.unlearn(X_train, y_train, forget=rows)
                kept.append(not unlearner.refitted_)
                (fits if unlearner.refitted_ else steps).append(unlearner.unlearning_time_)
        for label in np.unique(y):
            scores = []
            for one in (unlearner, retrained):
                one.unlearn(X_train, y_train, forget=y_train == label)
                for rows in (y_test == label, y_test != label):
                    scores.append(one.score(X_test[rows], y_test[rows]))
            of_class.append([not unlearner.refitted_, *scores])
    class_within, forget, retain, _, retrained_retain = np.array(of_class).T
    shares = " ".join(f"{np.mean(kept):7.2f}" for kept in within.values())
    print(
        f"{name:14} {np.mean(plain):6.3f} {np.mean(certified):9.3f} {shares} "
        f"{class_within.mean():7.2f} {forget.max():7.3f} {retain.mean():7.3f} "
        f"{retrained_retain.mean():9.3f} {100 * (retrained_retain - retain).max():9.2f} "
        f"{np.median(steps):8.3f} {np.median(fits) if fits else np.nan:8.3f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3, help="networks; default: %(default)s")
    parser.add_argument("--l2", type=float)
    parser.add_argument("--noise", type=float)
    arguments = parser.parse_args()
    params = {k: v for k in ("l2", "noise") if (v := getattr(arguments, k)) is not None}
    torch.set_num_threads(1)
    print(
        f"{'data':14} {'plain':>6} {'certified':>9} {'1 row':>7} {'10 rows':>7} {'10 %':>7} "
        f"{'a class':>7} {'forget':>7} {'retain':>7} {'retrained':>9} {'worst gap':>9} "
        f"{'step, s':>8} {'refit, s':>8}"
    )
    for name, load in BUNDLED.items():
        bench(name, load, arguments.seeds, params)
    print(
        "plain, certified: test accuracy before a request; then shares of requests within the "
        "budget;\nforget (worst), retain (mean): test accuracy without a class; gap in points"
    )


if __name__ == "__main__":
    main()
