"""What composing gains: two members, each composition of them, and retraining.

Both members start from one network. "forgets" is a BoundaryUnlearner without a retain loss, which
on digits also takes steps ten times as large as by default; "retains" is a FineTuneUnlearner, three
epochs on CIFAR. A class is forgotten. On digits always; with --cifar on the CIFAR-10 subset of the
data folder, with an AllCNN of a quarter of the width. A tenth of the training rows is held out from
everything, for the compositions to choose by.

Forget and retain are accuracies on test rows. Membership AUC: the attack by the loss, the forgotten
training rows against test rows of their class. A composition is a gain where it forgets at least as
well and retains at least as well as each member, and one of the two better.
"""

import argparse
import time

import joblib
import numpy as np
import pandas as pd
import torch
from benchlib import cifar_net, load_cifar, split
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklunlearn import (
    BoundaryUnlearner,
    ComposedUnlearner,
    FineTuneUnlearner,
    RetrainUnlearner,
)
from sklunlearn.metrics import cross_entropy_per_row, membership_auc
from sklunlearn.networks import AllCNN

LABEL = 3
COMPOSITIONS = {
    "graft": {},
    "average": {"method": "average"},
    "average, no recalibration": {"method": "average", "recalibrate": False},
    "task arithmetic": {"method": "task_arithmetic"},
    "task arithmetic, signs elected": {
        "method": "task_arithmetic",
        "trim": 0.8,
        "elect_sign": True,
    },
    "interpolate": {"method": "interpolate"},
    "vote": {"method": "vote"},
    "graft, head tuned": {"finetune_epochs": 5, "trainable": "head"},
    "graft, all tuned": {"finetune_epochs": 5},
}


def scores(unlearner, train, test, forget):
    """Forget and retain accuracy on test rows, and membership AUC of the forgotten rows."""
    of_class = test[1] == LABEL
    right = unlearner.predict(test[0]) == test[1]
    losses = [
        cross_entropy_per_row(y, unlearner.predict_proba(X), labels=unlearner.classes_)
        for X, y in ((train[0][forget], train[1][forget]), (test[0][of_class], test[1][of_class]))
    ]
    return right[of_class].mean(), right[~of_class].mean(), membership_auc(*losses)


def run_seed(data, seed, max_epochs):
    """One row of the table each for the original, retraining, the members and compositions."""
    train, test = load_cifar() if data == "cifar" else split(load_digits, seed)
    X, X_val, y, y_val = train_test_split(
        *train, test_size=0.1, stratify=train[1], random_state=seed
    )
    is_cifar = data == "cifar"
    net = cifar_net(X, max_epochs) if is_cifar else None
    forget, forget_val = y == LABEL, y_val == LABEL
    retrained = RetrainUnlearner(net, random_state=seed).fit(X, y)
    original = FrozenEstimator(retrained.fitted_)
    rows = {"original": (*scores(retrained, (X, y), test, forget), np.nan)}
    retrained.unlearn(X, y, forget=forget)
    rows["retrained"] = (*scores(retrained, (X, y), test, forget), retrained.unlearning_time_)
    unlearners = {
        "forgets": BoundaryUnlearner(retain_weight=0, lr=0.002 if is_cifar else 0.02),
        "retains": FineTuneUnlearner(max_epochs=3 if is_cifar else 10),
    }
    members = []
    for name, member in unlearners.items():
        member.set_params(estimator=original, random_state=seed).fit(X, y, forget=forget)
        rows[name] = (*scores(member, (X, y), test, forget), member.unlearning_time_)
        members.append((name, FrozenEstimator(member)))
    for name, params in COMPOSITIONS.items():
        composed = ComposedUnlearner(members, random_state=seed, **params)
        composed.fit(X, y, forget=forget, X_val=X_val, y_val=y_val, forget_val=forget_val)
        rows[name] = (*scores(composed, (X, y), test, forget), composed.unlearning_time_)
        rows[name] += (composed.compatibility_["embedding_similarity"],)
    return rows


def table(data, seeds, max_epochs, memory):
    cached = joblib.Memory(memory, verbose=0).cache(run_seed)
    runs = []
    for seed in range(seeds):
        rows = cached(data, seed, max_epochs)
        pair = [rows["forgets"], rows["retains"]]
        for name, (forget, retain, auc, seconds, *similarity) in rows.items():
            better = [(forget <= f, retain >= r, (forget, retain) != (f, r)) for f, r, *_ in pair]
            gain = float(np.all(better)) if name in COMPOSITIONS else np.nan
            least = np.min(similarity[0]) if similarity and similarity[0] is not None else np.nan
            runs.append((name, forget, retain, auc, seconds, least, gain))
    columns = ["model", "forget", "retain", "membership", "seconds", "similarity", "gain"]
    frame = pd.DataFrame(runs, columns=columns)
    grouped = frame.groupby("model", sort=False)
    mean = grouped.mean()
    mean["seconds"] = grouped["seconds"].median()
    mean["gain"] = grouped["gain"].sum(min_count=1)
    lowest = grouped[["retain"]].min().rename(columns={"retain": "worst retain"})
    print(f"\n{data}: means of {seeds} seeds (seconds: median; gain: number of seeds)\n")
    print(mean.join(lowest).to_string(float_format="{:.3f}".format, na_rep="-"), flush=True)


def time_of_composing(n_runs=7):
    """Seconds to compose two fitted members of the full width, without fine-tuning."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(256, 3, 32, 32)).astype(np.float32), np.arange(256) % 10
    net = cifar_net(X, 1).set_params(module__width=1.0, max_epochs=1)
    assert net.module is AllCNN
    members = []
    for weight in (0, 1):
        member = BoundaryUnlearner(net, retain_weight=weight, max_epochs=1, random_state=0)
        members.append(member.fit(X, y, forget=(y == LABEL)))
        net = FrozenEstimator(members[0].fitted_)
    named = [(name, FrozenEstimator(m)) for name, m in zip("ab", members, strict=True)]
    print("\nAllCNN(width=1), two fitted members, 256 rows: seconds of composing (goal <= 0.5)\n")
    for method in ("graft", "average", "task_arithmetic", "vote"):
        params = {"encoder": "a", "head": "b", "recalibrate": False, "method": method}
        composed = ComposedUnlearner(named, random_state=0, **params).fit(X, y)
        seconds = []
        for _ in range(n_runs):
            began = time.process_time(), time.perf_counter()
            composed.unlearn(X, y, forget=(y == LABEL))
            seconds.append((composed.unlearning_time_, time.perf_counter() - began[1]))
        alone, whole = np.median(seconds, axis=0)
        print(f"{method:16} {alone:.3f} (with checks, digests and losses {whole:.3f})", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cifar", action="store_true", help="CIFAR-10 too")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of training on CIFAR")
    parser.add_argument("--memory", help="folder that keeps what has been run")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for data in ("digits", *(["cifar"] if arguments.cifar else [])):
        table(data, arguments.seeds, arguments.epochs, arguments.memory)
    time_of_composing()


if __name__ == "__main__":
    main()
