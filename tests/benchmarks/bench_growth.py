"""Time and peak memory of `unlearn` against the rows to forget, the rows to retain and the network.

Each is varied alone, the others being 1,000 rows to forget, 10,000 to retain, and an MLP of two
layers of 64 for 64 features. Time is that of the process, the least of several calls, with one
thread; memory is the peak of the resident size in a call above the size before it. Each point has a
process of its own.

The first methods take a batch of retain rows beside each of forget rows; the last sweeps all retain
rows. `assume_finite` is scikit-learn's option to leave out the search for NaN in X, which reads all
of it.

Slopes are those of log time by log size, from the last two points: 0 where it does not matter, 1
where it is proportional.
"""

import argparse
import json
import multiprocessing
import time
from pathlib import Path

import numpy as np
import sklearn
import torch
from harness import add_arguments
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier

from sklunlearn import BoundaryUnlearner, DELETEUnlearner, FineTuneUnlearner
from sklunlearn.networks import MLP

BASE = {"n_forget": 1_000, "n_retain": 10_000, "width": 64}
VARIED = {
    "n_forget": [250, 1_000, 4_000, 16_000],
    "n_retain": [1_000, 10_000, 100_000, 1_000_000],
    "width": [64, 256, 1024, 2048],
}
METHODS = {
    "Boundary": (BoundaryUnlearner, False),
    "Boundary, assume_finite": (BoundaryUnlearner, True),
    "DELETE": (DELETEUnlearner, False),
    "FineTune": (FineTuneUnlearner, False),
}
SHOWN = {  # FineTune takes the same steps as the others, but one for every 64 retain rows
    "n_forget": ["Boundary", "DELETE", "FineTune"],
    "n_retain": list(METHODS),
    "width": ["Boundary", "DELETE"],
}
LABELS = {
    "n_forget": "rows to forget",
    "n_retain": "rows to retain",
    "width": "weights of the network",
}


def make_net(width):
    net = NeuralNetClassifier(
        MLP,
        module__n_features=64,
        module__n_classes=10,
        module__hidden=(width, width),
        criterion=torch.nn.CrossEntropyLoss,
        classes=list(range(10)),
        train_split=None,
        verbose=0,
    )
    torch.manual_seed(0)
    return net.initialize()


def resident(field):
    """Of this process, in bytes: VmRSS now, VmHWM the peak."""
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith(field))
    return int(line.split()[1]) * 1024


def request(method, n_forget, n_retain, width):
    """An unlearner, and what its `unlearn` is given."""
    cls, assume_finite = METHODS[method]
    sklearn.set_config(assume_finite=assume_finite)
    n = n_forget + n_retain
    rng = np.random.default_rng(0)
    X, y = rng.random((n, 64), dtype=np.float32), rng.integers(10, size=n)
    forget = np.zeros(n, dtype=bool)
    forget[rng.choice(n, n_forget, replace=False)] = True
    net = FrozenEstimator(make_net(width))
    return cls(net, max_epochs=1, random_state=0).fit(X, y), X, y, forget


def measure(connection, method, n_runs, sizes):
    """Send the number of weights, seconds and bytes of a request, from a process of its own."""
    unlearner, X, y, forget = request(method, n_forget=70, n_retain=200, width=8)
    unlearner.unlearn(X, y, forget=forget)  # what is loaded once is loaded now
    unlearner, X, y, forget = request(method, **sizes)
    before = resident("VmRSS")
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts again from here
    unlearner.unlearn(X, y, forget=forget)
    peak = resident("VmHWM") - before
    seconds = []
    while len(seconds) < n_runs and sum(seconds) < 3:
        began = time.process_time()
        unlearner.unlearn(X, y, forget=forget)
        seconds.append(time.process_time() - began)
    n_weights = sum(p.numel() for p in unlearner.net_.module_.parameters())
    connection.send((n_weights, min(seconds), peak))


def point(method, n_runs, **sizes):
    """As `measure`, in a fork, which has the imports but none of what other points allocated."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(theirs, method, n_runs, sizes))
    process.start()
    theirs.close()
    result = ours.recv()
    process.join()
    return result


def slope(x, values):
    """Of the last two points, of logarithms."""
    return float(np.log(values[-1] / values[-2]) / np.log(x[-1] / x[-2]))


def plot(curves, path):
    import matplotlib.pyplot as plt

    colors = {method: f"C{i}" for i, method in enumerate(METHODS)}
    figure, axes = plt.subplots(2, len(VARIED), figsize=(11, 6), sharex="col", sharey="row")
    for column, name in enumerate(VARIED):
        for method, curve in curves[name].items():
            for row, kind in enumerate(("seconds", "megabytes")):
                label = f"{method} ({curve['slopes'][kind]:.2f})" if row == 0 else None
                axes[row, column].plot(
                    curve["x"], curve[kind], "o-", color=colors[method], label=label, markersize=4
                )
        axes[0, column].legend(fontsize=7, title="slope at the end", title_fontsize=7)
        axes[1, column].set_xlabel(LABELS[name])
    for row, kind in enumerate(("seconds", "peak memory, MB")):
        axes[row, 0].set_ylabel(kind)
    for axis in axes.flat:
        axis.set(xscale="log", yscale="log")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--plot", metavar="FILE", help="write a figure to this file")
    parser.add_argument(
        "--large", action="store_true", help="ten million rows to retain too, of 2.6 GB"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)
    n_runs = 1 if args.quick else 3
    curves = {}
    print(f"{'varied':10}{'method':26}{'size':>10}{'seconds':>10}{'MB':>9}")
    for name in VARIED:
        curves[name] = {}
        for method in SHOWN[name]:
            found, values = [], VARIED[name]
            if args.large and name == "n_retain" and method != "FineTune":  # of 70 s an epoch
                values = [*values, 10_000_000]
            for value in values[:2] if args.quick else values:
                n_weights, seconds, peak = point(method, n_runs, **{**BASE, name: value})
                x = n_weights if name == "width" else value
                # A page, the least that can be seen, so that there is a logarithm.
                found.append((x, seconds, max(peak, 4096) / 1e6))
                print(f"{name:10}{method:26}{x:10}{seconds:10.4f}{found[-1][2]:9.1f}", flush=True)
            x, seconds, megabytes = map(list, zip(*found, strict=True))
            slopes = {"seconds": slope(x, seconds), "megabytes": slope(x, megabytes)}
            curves[name][method] = {
                "x": x,
                "seconds": seconds,
                "megabytes": megabytes,
                "slopes": slopes,
            }
            told = ", ".join(f"{kind} {value:.2f}" for kind, value in slopes.items())
            print(f"{name:10}{method:26} slope: {told}", flush=True)
    if args.json:
        Path(args.json).write_text(json.dumps(curves, indent=1))
    if args.plot:
        plot(curves, args.plot)


if __name__ == "__main__":
    main()
