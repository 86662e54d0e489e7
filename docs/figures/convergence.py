"""Stationarity of the perturbed sign-gradient search on digits; see theory.md.

    python docs/figures/convergence.py

Prints the figures that the page quotes and writes convergence.png beside this file.
"""

from pathlib import Path

import matplotlib
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn
from torch.nn.functional import cross_entropy

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.search import perturbed_sign_search

NEVER = -1.0  # as a threshold: no probability is as low, so that no row stops


class Smooth(nn.Module):
    """A network with a continuous second derivative, as the theorem asks for."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))

    def forward(self, x):
        return self.layers(x / 16)


def trained_nets(X, y):
    """The default network, which has ReLUs, and a smooth one."""
    smooth = NeuralNetClassifier(
        Smooth,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.Adam,
        lr=0.003,
        max_epochs=40,
        train_split=None,
        verbose=0,
    )
    nets = {"ReLU": None, "tanh": smooth}
    return {
        name: RetrainUnlearner(net, random_state=0).fit(X, y).fitted_ for name, net in nets.items()
    }


def walk(module, X, y, scale, closeness, **params):
    """L1 norm of the gradient of CE - closeness/2 ||delta||^2 before each step: mean over rows."""
    points = []

    def logits_of(x):
        points.append(x.detach())
        return module(x)

    perturbed_sign_search(
        logits_of,
        X,
        y,
        scale=scale,
        closeness=closeness,
        normalize_gradient=False,
        threshold=NEVER,
        **params,
    )
    norms = []
    for x in points[:-1]:
        x = x.requires_grad_()
        (gradient,) = torch.autograd.grad(cross_entropy(module(x), y, reduction="sum"), x)
        delta = torch.where(scale > 0, (x.detach() - X) / scale, 0.0)
        norms.append((gradient * scale - closeness * delta).abs().sum(dim=1).mean().item())
    return np.array(norms)


def decaying(norms):
    """Means of the norms, weighted by the steps 1/sqrt(t), over the first T steps, for each T."""
    weights = 1 / np.sqrt(np.arange(1, len(norms) + 1))
    return np.cumsum(weights * norms) / np.cumsum(weights)


def slope(horizons, values):
    return np.polyfit(np.log(horizons), np.log(values), 1)[0]


def measure(module, X, y, scale, horizons, closeness, noise=0.0):
    """Stationarity at each horizon: with steps that decay, and with steps fixed for the horizon."""
    torch.manual_seed(0)
    common = {"closeness": closeness, "noise": noise}
    norms = walk(module, X, y, scale, max_steps=horizons[-1], step_size=0.1, **common)
    fixed = [
        walk(module, X, y, scale, max_steps=T, step_size=T**-0.5, step_decay=None, **common).mean()
        for T in horizons
    ]
    return decaying(norms)[np.array(horizons) - 1], np.array(fixed)


def data():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32), y


def main(horizons=(32, 64, 128, 256, 512, 1024, 2048, 4096)):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    X, y = data()
    nets = trained_nets(X, y)
    scale = torch.from_numpy(X[y != 3].std(axis=0))
    threes, label = torch.from_numpy(X[y == 3]), torch.full((int((y == 3).sum()),), 3)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")

    search = (
        BoundaryUnlearner(FrozenEstimator(nets["ReLU"]), random_state=0)
        .fit(X, y)
        .unlearn(X, y, forget=(y == 3))
        .search_
    )
    on = walk(nets["ReLU"].module_.eval(), threes, label, scale, 0.0, max_steps=300)
    print("search_: rows across", search.crossed.mean(), "median steps", np.median(search.n_steps))
    print("  most steps", search.n_steps.max(), "CE", search.loss[[0, 1, -1]].round(5))
    print("  gradient norm", search.gradient_norm[[0, 1, 3]].round(4))
    print("  walked on: norm", on[[0, 3, 30, 100, 299]].round(3))
    steps = np.arange(1, len(search.gradient_norm) + 1)
    left.loglog(steps, search.gradient_norm, "o-", ms=3, label="rows stop when across")
    left.loglog(np.arange(1, 301), on, label="rows walk on")
    left.set(xlabel="step t", ylabel=r"mean $\|\nabla\mathrm{CE}\|_1$", title="no pull")
    left.legend()

    for name, net in nets.items():
        module = net.module_.eval()
        for closeness, noise in [(0.3, 0), (1.0, 0), (3.0, 0), (1.0, 1.0)]:
            results = measure(module, threes, label, scale, horizons, closeness, noise)
            slopes = [slope(horizons, values) for values in results]
            print(f"{name} pull {closeness} noise {noise}: decaying {slopes[0]:.2f}", end=" ")
            print(f"fixed {slopes[1]:.2f}; last {results[0][-1]:.3f} {results[1][-1]:.3f}")
            if closeness == 1.0 and not noise:
                for values, style, kind in zip(results, ("-", "--"), ("ε/√t", "1/√T"), strict=True):
                    right.loglog(
                        horizons,
                        values,
                        style,
                        color={"ReLU": "C0", "tanh": "C1"}[name],
                        marker="o",
                        ms=3,
                        label=f"{name}, steps {kind}: {slope(horizons, values):.2f}",
                    )
    ends = np.array([horizons[0], horizons[-1]])
    right.loglog(ends, 20 * (ends / ends[0]) ** -0.5, "k:", label="slope -1/2")
    right.set(xlabel="steps T", ylabel=r"mean $\|\nabla F\|_1$", title="pull λ = 1")
    right.legend(fontsize="small")
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=80)


if __name__ == "__main__":
    main()
