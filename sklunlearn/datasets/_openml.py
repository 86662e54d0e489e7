"""Small images from OpenML: MNIST, Fashion-MNIST and CIFAR-10."""

import zipfile
from dataclasses import dataclass

import numpy as np
from sklearn.datasets import fetch_openml
from sklearn.utils._param_validation import validate_params

from sklunlearn.datasets._base import (
    FETCH_CONSTRAINTS,
    as_bunch,
    cache_folder,
    load_npz,
    offline,
    save_npz,
)

__all__ = ["fetch_cifar10", "fetch_fashion_mnist", "fetch_mnist"]


@dataclass(frozen=True)
class _Source:
    """A data set of OpenML whose rows are images, channel by channel and row by row."""

    name: str
    data_id: int
    shape: tuple
    n_samples: int
    target_names: tuple
    description: str


_MNIST = _Source(
    name="mnist",
    data_id=554,
    shape=(1, 28, 28),
    n_samples=70_000,
    target_names=tuple("0123456789"),
    description="MNIST: handwritten digits (LeCun et al., 1998), from OpenML 554.",
)
_FASHION_MNIST = _Source(
    name="fashion_mnist",
    data_id=40996,
    shape=(1, 28, 28),
    n_samples=70_000,
    target_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    description="Fashion-MNIST: clothes (Xiao et al., 2017), from OpenML 40996.",
)
_CIFAR10 = _Source(
    name="cifar10",
    data_id=40927,
    shape=(3, 32, 32),
    n_samples=60_000,
    target_names=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    description="CIFAR-10: photographs (Krizhevsky, 2009), from OpenML 40927.",
)


@validate_params(FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_mnist(
    *, data_home=None, download_if_missing=True, return_X_y=False, n_retries=3, delay=1.0
):
    """Fetch MNIST from OpenML: 70,000 handwritten digits, 28x28 grey.

    The first call downloads and parses a text file, which takes a while; later ones read what
    it kept, ``sklunlearn/mnist.npz`` in the data folder.

    Parameters
    ----------
    data_home : str or path-like, default=None
        Where downloads are kept. None: scikit-learn's data folder,
        :func:`sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        Whether the network may be used.
    return_X_y : bool, default=False
        Return ``(data, target)`` instead of a Bunch.
    n_retries : int, default=3
        How often to try again where the network fails.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (70000, 1, 28, 28), dtype uint8
            Grey values, 0 to 255.
        target : ndarray of shape (70000,), dtype int64
            The digit.
        target_names : list of str
            Names of the classes, in order.
        DESCR : str
            Description.

    Raises
    ------
    OSError
        If there is no network, or a file is damaged: it says what to do.
    ValueError
        If an argument has the wrong type, or OpenML holds something else than expected.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
       Recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from sklunlearn.datasets import fetch_mnist
    >>> X, y = fetch_mnist(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(_MNIST, data_home, download_if_missing, return_X_y, n_retries, delay)


@validate_params(FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_fashion_mnist(
    *, data_home=None, download_if_missing=True, return_X_y=False, n_retries=3, delay=1.0
):
    """Fetch Fashion-MNIST from OpenML: 70,000 pieces of clothing, 28x28 grey.

    The first call downloads and parses a text file, which takes a while; later ones read what
    it kept, ``sklunlearn/fashion_mnist.npz`` in the data folder.

    Parameters
    ----------
    data_home, download_if_missing, return_X_y, n_retries, delay
        As for :func:`fetch_mnist`.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        As of :func:`fetch_mnist`; the target names are those of the clothes.

    Raises
    ------
    OSError, ValueError
        As :func:`fetch_mnist`.

    References
    ----------
    .. [1] H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking
       Machine Learning Algorithms", arXiv:1708.07747, 2017.

    Examples
    --------
    >>> from sklunlearn.datasets import fetch_fashion_mnist
    >>> X, y = fetch_fashion_mnist(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(_FASHION_MNIST, data_home, download_if_missing, return_X_y, n_retries, delay)


@validate_params(FETCH_CONSTRAINTS, prefer_skip_nested_validation=True)
def fetch_cifar10(
    *, data_home=None, download_if_missing=True, return_X_y=False, n_retries=3, delay=1.0
):
    """Fetch CIFAR-10 from OpenML: 60,000 photographs of 10 kinds of things, 32x32 colour.

    The first call downloads and parses a text file, which takes a while and several times
    the memory of the images; later ones read what it kept, ``sklunlearn/cifar10.npz`` in the data
    folder.

    Parameters
    ----------
    data_home, download_if_missing, return_X_y, n_retries, delay
        As for :func:`fetch_mnist`.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        As of :func:`fetch_mnist`, with data of shape (60000, 3, 32, 32).

    Raises
    ------
    OSError, ValueError
        As :func:`fetch_mnist`.

    References
    ----------
    .. [1] A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", technical
       report, University of Toronto, 2009.

    Examples
    --------
    >>> from sklunlearn.datasets import fetch_cifar10
    >>> X, y = fetch_cifar10(return_X_y=True)  # doctest: +SKIP
    """
    return _fetch(_CIFAR10, data_home, download_if_missing, return_X_y, n_retries, delay)


def _fetch(source, data_home, download_if_missing, return_X_y, n_retries, delay):
    path = cache_folder(data_home) / f"{source.name}.npz"
    if path.exists():
        X, y = load_npz(path, ["X", "y"])
    elif download_if_missing:
        X, y = _download(source, data_home, n_retries, delay)
        save_npz(path, X=X, y=y)
    else:
        raise FileNotFoundError(
            f"{path} is missing and `download_if_missing` is False: set it to True, or point "
            "`data_home` to a folder that has the file."
        )
    return as_bunch(
        return_X_y,
        data=X,
        target=y,
        target_names=list(source.target_names),
        DESCR=source.description,
    )


def _download(source, data_home, n_retries, delay):
    """Images of shape (n_samples, *source.shape), dtype uint8, and int64 labels from OpenML."""
    n_pixels = int(np.prod(source.shape))
    try:
        bunch = fetch_openml(
            data_id=source.data_id,
            data_home=data_home,
            as_frame=False,
            parser="pandas",
            n_retries=n_retries,
            delay=delay,
            # float32 holds the pixels exactly, also where the file writes them as 12.0.
            read_csv_kwargs={"dtype": dict.fromkeys(range(n_pixels), np.float32)},
        )
    except (EOFError, zipfile.BadZipFile, ValueError) as error:
        raise OSError(
            f"The file of {source.name} that scikit-learn keeps is damaged ({error}). Delete the "
            f"folder 'openml' in {cache_folder(data_home).parent} and call again: it is then "
            "fetched anew."
        ) from error
    except OSError as error:
        url = f"https://www.openml.org/d/{source.data_id}"
        remedy = f"run this once where there is one and copy the file sklunlearn/{source.name}.npz"
        raise offline(url, error, remedy) from error

    X, y = bunch.data, np.asarray(bunch.target)
    expected = (source.n_samples, n_pixels)
    if X.shape != expected or not _is_bytes(X):
        raise ValueError(
            f"OpenML's data set {source.data_id} should hold whole numbers from 0 to 255 of shape "
            f"{expected}, but has shape {X.shape} and values of type {X.dtype}: it is no longer "
            f"the {source.name} that this version knows. Please report it."
        )
    if y.dtype.kind not in "iuf":
        y = np.array([str(label).strip("'") for label in y])  # quoted, as ARFF writes classes
    return X.astype(np.uint8).reshape(-1, *source.shape), y.astype(np.int64)


def _is_bytes(X, rows_at_once=4096):
    # A block at a time: a comparison of everything would need as much memory again.
    blocks = (X[i : i + rows_at_once] for i in range(0, len(X), rows_at_once))
    return all(
        block.min() >= 0 and block.max() <= 255 and (block == np.rint(block)).all()
        for block in blocks
    )
