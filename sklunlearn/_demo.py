"""The demonstration behind ``python -m sklunlearn``: learn, forget, compare."""

import contextlib
import dataclasses
import tempfile
import time

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from tqdm import tqdm

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn._data import Rows
from sklunlearn.search import perturbed_sign_search

__all__ = ["DATASETS", "READING", "describe", "format_table", "load", "run"]

DATASETS = {"digits": load_digits, "breast_cancer": load_breast_cancer, "wine": load_wine}
READING = """\
How to read it: compare the unlearned network with the retrained one, which never saw the class;
equal accuracies do not show that the weights hold nothing of it."""

_N_SHOWN = 4


@dataclasses.dataclass
class Row:
    """One line of the table: accuracies on (train, test) rows, seconds, and times as fast."""

    name: str
    forget: tuple
    retain: tuple
    seconds: float
    speed_up: float | None = None


def load(name):
    """Data with string labels; digits as images of shape (1, 8, 8)."""
    bunch = DATASETS[name]()
    X = bunch.data.astype(np.float32)
    if name == "digits":
        X = X.reshape(-1, 1, 8, 8)
    classes = [str(label) for label in bunch.target_names]
    return Bunch(name=name, X=X, y=np.array(classes)[bunch.target], classes=classes)


def describe(data, label):
    """What will be done, in two sentences."""
    kind = "images" if data.X.ndim == 4 else "rows"
    return (
        f"{data.name}: {len(data.y)} {kind} of {len(data.classes)} classes, 30% of them held out "
        f"for testing.\nA network learns all classes, then forgets class {label!r}; another is "
        "trained without that class."
    )


def run(data, label, seed, *, progress=False):
    """Train, unlearn and retrain.

    Returns
    -------
    rows : list of Row
        Original, unlearned and retrained.
    picture : Bunch
        What `sklunlearn._demo_plot.draw` needs.
    """
    split = train_test_split(data.X, data.y, test_size=0.3, stratify=data.y, random_state=seed)
    X_train, X_test, y_train, y_test = split
    sides = [(X_train, y_train), (X_test, y_test)]
    forget = y_train == label
    # In two dimensions, for the choice of rows and for the picture of a table.
    project = make_pipeline(StandardScaler(), PCA(2)).fit(X_train.reshape(len(X_train), -1))
    plane = project.transform(X_train.reshape(len(X_train), -1))
    shown = np.flatnonzero(forget)[_pick(plane[forget])]
    probabilities = {}

    def judge(name, unlearner, seconds):
        probabilities[name] = unlearner.predict_proba(X_train[shown])
        return Row(
            name,
            forget=tuple(unlearner.score(X[y == label], y[y == label]) for X, y in sides),
            retain=tuple(unlearner.score(X[y != label], y[y != label]) for X, y in sides),
            seconds=seconds,
        )

    # The first optimizer of a process has torch import a lot, which is not training time.
    torch.optim.Adam([torch.zeros(1)])
    with (
        _one_thread(),
        tempfile.TemporaryDirectory() as memory,
        tqdm(total=3, disable=not progress, leave=False, bar_format="{desc} {bar} {n}/3") as bar,
    ):
        bar.set_description_str("training  ")
        began = time.perf_counter()
        unlearner = BoundaryUnlearner(memory=memory, random_state=seed).fit(X_train, y_train)
        rows = [judge("original", unlearner, time.perf_counter() - began)]

        bar.update()
        bar.set_description_str("unlearning")
        unlearner.unlearn(X_train, y_train, forget=forget)
        rows.append(judge("unlearned", unlearner, unlearner.unlearning_time_))

        bar.update()
        bar.set_description_str("retraining")
        # The original comes out of the memory. Frozen, it would hand on to the retrained network
        # the constants of its first layer, which are means over the forget rows too.
        retrained = RetrainUnlearner(memory=memory, random_state=seed).fit(X_train, y_train)
        retrained.unlearn(X_train, y_train, forget=forget)
        rows.append(judge("retrained", retrained, retrained.unlearning_time_))

        boundary = _find_boundary(unlearner, X_train, y_train, forget, shown)
    for row in rows[1:]:
        row.speed_up = retrained.unlearning_time_ / row.seconds
    picture = Bunch(
        data=data.name,
        label=label,
        classes=unlearner.classes_.tolist(),
        forget=forget,
        shown=shown,
        X=X_train[shown],
        boundary=boundary,
        probabilities=probabilities,
        plane=plane,
        boundary_plane=project.transform(boundary.X.reshape(len(shown), -1)),
    )
    return rows, picture


@contextlib.contextmanager
def _one_thread():
    """Context in which torch computes in one thread.

    These networks are too small for a second to help, and where another program is busy, threads
    that wait for each other take many times as long.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def _pick(plane):
    """Positions of a few rows that are typical of all, but not alike."""
    clusters = KMeans(_N_SHOWN, n_init=1, random_state=0).fit(plane)
    positions = pairwise_distances_argmin(clusters.cluster_centers_, plane)
    return positions[np.argsort(plane[positions, 0])]


def _find_boundary(unlearner, X, y, forget, shown):
    """Where the search of the unlearner takes the rows that are shown, and the class it finds."""
    codes = np.searchsorted(unlearner.classes_, y)
    parts = [Rows(X, codes, np.flatnonzero(rows)) for rows in (forget, ~forget)]
    scale, _ = unlearner._find_units(*parts)
    search = perturbed_sign_search(
        unlearner.fitted_.module_.eval(),
        torch.from_numpy(X[shown]),
        torch.from_numpy(codes[shown]),
        scale=scale,
    )
    logits = search.logits.numpy().copy()
    logits[range(len(shown)), codes[shown]] = -np.inf
    return Bunch(
        X=search.X.numpy(),
        labels=unlearner.classes_[logits.argmax(axis=1)],
        crossed=search.crossed,
    )


def format_table(rows):
    """The table, as text."""
    lines = [
        f"{'':10}{'forget accuracy':>19}{'retain accuracy':>19}{'':11}{'speed-up over':>16}",
        f"{'':10}{'train':>11}{'test':>8}{'train':>11}{'test':>8}{'seconds':>11}{'retraining':>16}",
    ]
    for row in rows:
        speed_up = "" if row.speed_up is None else f"{row.speed_up:.1f}x"
        lines.append(
            f"{row.name:10}{row.forget[0]:11.3f}{row.forget[1]:8.3f}{row.retain[0]:11.3f}"
            f"{row.retain[1]:8.3f}{row.seconds:11.2f}{speed_up:>16}".rstrip()
        )
    return "\n".join(lines)
