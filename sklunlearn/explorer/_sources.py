"""The data that the explorer brings, and the form that all its data takes."""

import dataclasses
import functools

import numpy as np
from sklearn.model_selection import train_test_split

__all__ = ["BUNDLED", "Source", "load_bundled", "split_source"]

# What a page of the explorer can choose: title, import and code that makes X, y and metadata.
BUNDLED = {
    "digits": (
        "Handwritten digits, 8 x 8 pixels",
        "from sklunlearn.datasets import load_digits_images\n"
        "data = load_digits_images()\n"
        "X, y = data.data, np.array(data.target_names)[data.target]\n"
        "metadata = None\n",
    ),
    "moons_blobs": (
        "Two moons and two blobs, in the plane",
        "from sklunlearn.datasets import make_moons_blobs\n"
        "data = make_moons_blobs(600, n_domains=3, shift=0.4, random_state=0)\n"
        "X, y = data.data, np.array(data.target_names)[data.target]\n"
        "metadata = data.metadata\n",
    ),
    "breast_cancer": (
        "Breast cancer, a table of 30 features",
        "from sklearn.datasets import load_breast_cancer\n"
        "data = load_breast_cancer()\n"
        "X, y = data.data.astype(np.float32), np.array(data.target_names)[data.target]\n"
        "metadata = None\n",
    ),
    "device_shift": (
        "Shapes seen by three scanners, 16 x 16 pixels",
        "from sklunlearn.datasets import make_device_shift\n"
        "data = make_device_shift(900, random_state=0)\n"
        "X, y = data.data, np.array(data.target_names)[data.target]\n"
        "metadata = data.metadata\n",
    ),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """Rows to learn from and rows to test with. Nothing changes them: sessions share them.

    Parameters
    ----------
    name : str
        Name in the list of choices.
    X, y, X_test, y_test : ndarray
        Training and test rows, and their labels.
    metadata, metadata_test : pandas.DataFrame or None
        A row for each of those.
    code : str
        Python that makes ``X``, ``y`` and ``metadata`` before they are divided.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    metadata: object
    metadata_test: object
    code: str

    @property
    def classes(self):
        """The labels, sorted."""
        return np.unique(self.y)

    @property
    def kind(self):
        """What can be drawn of it: "images", "points" of the plane, or a "table"."""
        if self.X.ndim == 4:
            return "images"
        return "points" if self.X.shape[1] == 2 else "table"


def split_source(name, X, y, metadata, code):
    """Divide rows into 70% for training and 30% for testing, with equal shares of the classes."""
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=0)
    arrays = X[train], y[train], X[test], y[test]
    for array in arrays:
        array.setflags(write=False)
    tables = [None if metadata is None else metadata.iloc[rows] for rows in (train, test)]
    return Source(name, *arrays, *tables, code)


@functools.cache
def load_bundled(name):
    """Data of :data:`BUNDLED` by name, made once a process.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if name not in BUNDLED:
        raise ValueError(f"There is no data named {name!r}: choose one of {', '.join(BUNDLED)}.")
    code = BUNDLED[name][1]
    made = {"np": np}
    exec(code, made)  # noqa: S102 - the constant above, so that what is shown is what was run
    return split_source(name, made["X"], made["y"], made["metadata"], code)
