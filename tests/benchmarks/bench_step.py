"""Time of `unlearn` on digits, against plain PyTorch loops and retraining, in paired runs.

For an MLP and a CNN, batches of 64 and 10 epochs, one thread:

- same arithmetic: a hand-written loop with the same spread of the features, search, batches and
  losses, which it keeps for each step and at the end for each forget row;
- published structure: labels are searched again for every batch, and forget and retain rows go
  through the network one after the other; with the default search, and with one step;
- retraining without the rows;
- peak memory of a run above that of the data, in copies of the network's weights.

Ratios are medians over the pairs.
"""

import argparse
import copy
import statistics
import time

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch.nn.functional import cross_entropy

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.networks import MLP

FORGET = 3
BATCH_SIZE = 64
EPOCHS = 10


def spread(X):
    """Standard deviation of each feature of a table or channel of images."""
    return X.std(dim=(0, *range(2, X.ndim)), keepdim=True)[0]


def plain_search(net, X, y, scale, step_size, max_steps):
    """Labels across the boundary, by sign steps of decreasing length."""
    labels = torch.empty_like(y)
    rows, x, own = torch.arange(len(X)), X, y
    for t in range(max_steps + 1):
        x = x.detach().requires_grad_()
        logits = net(x)
        others = logits.scatter(1, own[:, None], -torch.inf)
        labels[rows] = others.argmax(dim=1)
        if t == max_steps:
            break
        # The direction of the cross-entropy's gradient, which itself would round to 0.
        margin = others.logsumexp(dim=1) - logits.gather(1, own[:, None]).squeeze(1)
        (gradient,) = torch.autograd.grad(margin.sum(), x)
        if t > 0:
            going = logits.detach().argmax(dim=1) == own
            rows, x, own, gradient = rows[going], x[going], own[going], gradient[going]
            if len(rows) == 0:
                break
        x = x.detach() + step_size / (t + 1) ** 0.5 * scale * gradient.sign()
    return labels


def plain_loop(original, X, y, forget, unlearner):
    """The same arithmetic as the library: one search, then one forward pass a step."""
    net = copy.deepcopy(original)
    optimizer = torch.optim.SGD(net.parameters(), lr=unlearner.lr, momentum=0.9)
    X_f, y_f, X_r, y_r = X[forget], y[forget], X[~forget], y[~forget]
    scale = spread(X_r)
    history = []
    original.eval()
    labels = plain_search(original, X_f, y_f, scale, unlearner.step_size, unlearner.max_steps)
    net.train()
    retain_batches = iter(())
    n_batches = -(-len(X_f) // BATCH_SIZE)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X_f)).tensor_split(n_batches):
            retain = next(retain_batches, None)
            if retain is None:
                retain_batches = iter(torch.randperm(len(X_r)).split(BATCH_SIZE))
                retain = next(retain_batches)
            logits = net(torch.cat([X_f[rows], X_r[retain]]))
            loss = cross_entropy(logits[: len(rows)], labels[rows])
            loss = loss + unlearner.retain_weight * cross_entropy(logits[len(rows) :], y_r[retain])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss.item())
    net.eval()
    with torch.no_grad():
        forget_loss = cross_entropy(net(X_f), y_f, reduction="none")
    return net, history, forget_loss


def published_loop(original, X, y, forget, unlearner):
    """The structure of the published code: a search for every batch, two forward passes."""
    net = copy.deepcopy(original)
    optimizer = torch.optim.SGD(net.parameters(), lr=unlearner.lr, momentum=0.9)
    X_f, y_f, X_r, y_r = X[forget], y[forget], X[~forget], y[~forget]
    scale = spread(X_r)
    original.eval()
    retain_batches = iter(())
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(X_f)).split(BATCH_SIZE):
            labels = plain_search(
                original, X_f[rows], y_f[rows], scale, unlearner.step_size, unlearner.max_steps
            )
            retain = next(retain_batches, None)
            if retain is None:
                retain_batches = iter(torch.randperm(len(X_r)).split(BATCH_SIZE))
                retain = next(retain_batches)
            net.train()
            optimizer.zero_grad()
            loss = cross_entropy(net(X_f[rows]), labels)
            loss = loss + unlearner.retain_weight * cross_entropy(net(X_r[retain]), y_r[retain])
            loss.backward()
            optimizer.step()
    return net


def seconds(function, *args, **kwargs):
    began = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - began


def paired(ours, other, n_pairs):
    """Median seconds of both and median ratio, from pairs of runs in alternating order."""
    pairs = []
    for i in range(n_pairs + 1):
        if i % 2:
            b, a = seconds(other), seconds(ours)
        else:
            a, b = seconds(ours), seconds(other)
        if i:  # the first pair warms up
            pairs.append((a, b))
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        statistics.median(a / b for a, b in pairs),
    )


def bench_time(name, X, y, n_pairs):
    forget = y == FORGET
    unlearner = BoundaryUnlearner(random_state=0, batch_size=BATCH_SIZE, max_epochs=EPOCHS)
    unlearner.fit(X, y)
    one_step = BoundaryUnlearner(
        FrozenEstimator(unlearner.fitted_),
        random_state=0,
        batch_size=BATCH_SIZE,
        max_epochs=EPOCHS,
        max_steps=1,
    ).fit(X, y)
    retrained = RetrainUnlearner(FrozenEstimator(unlearner.fitted_), random_state=0).fit(X, y)
    original = copy.deepcopy(unlearner.fitted_.module_)
    data = torch.as_tensor(X), torch.as_tensor(y), torch.as_tensor(forget)

    def library(estimator=unlearner):
        estimator.unlearn(X, y, forget=forget)

    rows = [
        ("same arithmetic", library, lambda: plain_loop(original, *data, unlearner)),
        ("published structure", library, lambda: published_loop(original, *data, unlearner)),
        (
            "published structure, one step",
            lambda: library(one_step),
            lambda: published_loop(original, *data, one_step),
        ),
    ]
    for other, ours, theirs in rows:
        print_row(name, other, *paired(ours, theirs, n_pairs))
    print_row(
        name, "retraining", *paired(library, lambda: library(retrained), max(3, n_pairs // 8))
    )


def print_row(name, other, ours, theirs, ratio):
    print(f"{name:4} {other:30} {ours * 1e3:10.1f} {theirs * 1e3:10.1f} {ratio:10.3f}")


def bench_memory():
    """Peak resident memory of `unlearn` above that before it, in copies of the weights."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    net = NeuralNetClassifier(
        MLP,
        module__n_features=64,
        module__n_classes=10,
        module__hidden=(5000, 5000),
        criterion=torch.nn.CrossEntropyLoss,
        classes=list(range(10)),
    ).initialize()
    n_bytes = sum(p.numel() * p.element_size() for p in net.module_.parameters())
    unlearner = BoundaryUnlearner(FrozenEstimator(net), max_epochs=2, max_steps=2).fit(X, y)
    unlearner.unlearn(X, y, forget=y == FORGET)  # what is loaded once is loaded now
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    unlearner.unlearn(X, y, forget=y == FORGET)
    copies = (resident("VmHWM") - before) / n_bytes
    print(f"peak memory: {copies:.2f} copies of {n_bytes / 1e6:.0f} MB of weights")


def resident(field):
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=41, help="paired runs (default: %(default)s)")
    n_pairs = parser.parse_args().pairs
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X = X.astype(np.float32)
    print(f"{'net':4} {'against':30} {'ours, ms':>10} {'its, ms':>10} {'ratio':>10}")
    bench_time("MLP", X, y, n_pairs)
    bench_time("CNN", X.reshape(-1, 1, 8, 8), y, n_pairs)
    bench_memory()


if __name__ == "__main__":
    main()
