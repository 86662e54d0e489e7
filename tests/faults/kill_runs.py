"""Kill training and unlearning runs at random moments, start them again, and compare the weights.

Run as ``python tests/faults/kill_runs.py N_KILLS``; prints the counts as JSON.
``python tests/faults/kill_runs.py once CASE FOLDER`` is one such program, and prints its weights.
"""

import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler
from torch import nn

from sklunlearn import (
    BoundaryUnlearner,
    DUCKUnlearner,
    NegGradUnlearner,
    RetrainUnlearner,
    SISAUnlearner,
)
from sklunlearn import _checkpoints as module
from sklunlearn._nets import weights_digest


class Net(nn.Module):
    """With what has a state of its own in training: dropout and running statistics."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
        )

    def forward(self, x):
        return self.layers(x / 16)


def make_net():
    return NeuralNetClassifier(
        Net,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.003,
        max_epochs=8,
        batch_size=64,
        callbacks=[
            ("rate", LRScheduler("StepLR", step_size=3, gamma=0.5)),
            ("accuracy", EpochScoring("accuracy", on_train=True, name="train_acc")),
            ("stop", EarlyStopping(patience=5, load_best=True)),
        ],
        verbose=0,
    )


# Beside the base fit, what comes after it.
CASES = {
    "fit": None,
    "boundary": BoundaryUnlearner(noise=0.1, relabel="epoch", max_epochs=10),
    "neggrad": NegGradUnlearner(max_epochs=8, lr=0.001),
    "phases": DUCKUnlearner(max_epochs=6, ratio=1, stop_accuracy=None, tune_epochs=3),
    "retrain": RetrainUnlearner(),
    "shards": SISAUnlearner(n_shards=2, n_slices=2),
}


def program(case, folder):
    """What is to be killed; returns the digest of the weights. Without a folder, uninterrupted."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:400].astype("float32"), y[:400]
    method = CASES[case]
    unlearner = clone(BoundaryUnlearner() if method is None else method)
    unlearner.set_params(estimator=make_net(), random_state=3)

    def work():
        unlearner.fit(X, y)
        if method is not None:
            unlearner.unlearn(X, y, forget=y == 7)
        return weights_digest(unlearner.net_)

    if folder is None:
        return work()
    with module.checkpoints(folder):
        return work()


def run_forked(case, folder, n_epochs=None, delay=0.0):
    """Run the program in a process, killed some seconds after it has run so many epochs.

    Returns the digest (None: it was killed) and the number of epochs that it ran.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(read)
            keep = module._Stage.keep

            def counted(stage):
                keep(stage)
                os.write(write, b".\n")

            module._Stage.keep = counted
            os.write(write, program(case, folder).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as reports:
        lines = [reports.readline() for _ in range(n_epochs or 0)]
        if n_epochs is not None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        lines += reports.readlines()
    os.waitpid(child, 0)
    digest = next((line for line in lines if len(line) == 64), None)
    return digest, lines.count(".\n")


def kill_until_done(case, folder, n_kills, rng):
    """Digest at the end, and how many kills and epochs it took."""
    n_done = n_epochs = 0
    while True:
        last = n_done == n_kills
        digest, n = run_forked(
            case, folder, *([] if last else [rng.randint(1, 5), rng.random() / 50])
        )
        n_epochs += n
        if digest is not None:
            return digest, n_done, n_epochs
        n_done += 1


def main(n_kills):
    rng, total, n_kills = random.Random(0), {}, n_kills // len(CASES)
    for case in CASES:
        counts = dict.fromkeys(["rounds", "kills", "epochs", "equal", "files_left"], 0)
        expected = program(case, None)
        while counts["kills"] < n_kills:
            # Half of the rounds write after each epoch.
            module._PAUSE = 20 * (counts["rounds"] % 2)
            with tempfile.TemporaryDirectory() as folder:
                digest, kills, epochs = kill_until_done(case, folder, min(5, n_kills), rng)
                counts["files_left"] += len(list(Path(folder).iterdir()))
            counts["rounds"] += 1
            counts["equal"] += digest == expected
            counts["kills"] += kills
            counts["epochs"] += epochs
        total[case] = counts
    return total


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "once":
        print(program(*sys.argv[2:]), flush=True)
    else:
        print(json.dumps(main(int(sys.argv[1]))))
