"""House numbers seen from the street: SVHN."""

import numpy as np
from scipy.io import loadmat
from sklearn.utils._param_validation import StrOptions, validate_params

from sklunlearn.datasets._base import (
    FETCH_CONSTRAINTS,
    as_bunch,
    cache_folder,
    damaged,
    download,
)

__all__ = ["fetch_svhn"]

_URL = "http://ufldl.stanford.edu/housenumbers/"
# Checksums as torchvision states them: the publisher's page has none.
_MD5 = {
    "train": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test": "eb5a983be6a315427106f1b164d9cef3",
}


@validate_params(
    {**FETCH_CONSTRAINTS, "subset": [StrOptions({"train", "test", "all"})]},
    prefer_skip_nested_validation=True,
)
def fetch_svhn(
    *,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Fetch SVHN: 99,289 digits of house numbers, cropped, 32x32 colour.

    Parameters
    ----------
    subset : {"train", "test", "all"}, default="all"
        73,257 images to train on, 26,032 to test on, or both in this order.
    data_home, download_if_missing, return_X_y, n_retries, delay
        As for :func:`fetch_mnist`.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_samples, 3, 32, 32), dtype uint8
            Red, green and blue, 0 to 255.
        target : ndarray of shape (n_samples,), dtype int64
            The digit in the middle.
        target_names : list of str
            Names of the classes, in order.
        metadata : pandas.DataFrame of n_samples rows
            ``subset``: ``"train"`` or ``"test"``.
        DESCR : str
            Description.

    Raises
    ------
    OSError
        If there is no network, or a file is damaged: it says what to do.
    ValueError
        If an argument is not one of those above.

    Notes
    -----
    The files are those of the publisher (cropped digits), rather than OpenML's copy, which does not
    say in which order the pixels of a row stand.

    References
    ----------
    .. [1] Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, "Reading Digits in Natural
       Images with Unsupervised Feature Learning", NIPS Workshop on Deep Learning and Unsupervised
       Feature Learning, 2011.

    Examples
    --------
    >>> from sklunlearn.datasets import fetch_svhn
    >>> X, y = fetch_svhn(subset="test", return_X_y=True)  # doctest: +SKIP
    """
    import pandas as pd

    subsets = ["train", "test"] if subset == "all" else [subset]
    folder = cache_folder(data_home)
    parts = []
    for name in subsets:
        path = download(
            f"{_URL}{name}_32x32.mat",
            folder / f"svhn_{name}_32x32.mat",
            md5=_MD5[name],
            download_if_missing=download_if_missing,
            n_retries=n_retries,
            delay=delay,
        )
        parts.append(_read(path))
    return as_bunch(
        return_X_y,
        data=np.concatenate([X for X, _ in parts]),
        target=np.concatenate([y for _, y in parts]),
        target_names=list("0123456789"),
        metadata=pd.DataFrame({"subset": np.repeat(subsets, [len(y) for _, y in parts])}),
        DESCR="SVHN: digits of house numbers (Netzer et al., 2011), cropped to 32x32.",
    )


def _read(path):
    """Images of shape (n_samples, 3, 32, 32) and labels from one of the files."""
    try:
        with open(path, "rb") as file:
            content = loadmat(file, variable_names=["X", "y"])
        X, y = content["X"], content["y"].ravel()
        X = np.ascontiguousarray(X.transpose(3, 2, 0, 1), dtype=np.uint8)
        if len(y) != len(X):
            raise ValueError(f"{len(X)} images and {len(y)} labels")
    except MemoryError:
        raise
    except Exception as error:  # scipy does not check what it reads: it may stumble anywhere
        raise damaged(path, error) from error
    # Matlab counts from 1: the digit 0 is written as class 10.
    return X, y.astype(np.int64) % 10
