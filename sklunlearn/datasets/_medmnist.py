"""Small medical images: MedMNIST."""

import numpy as np
from sklearn.utils._param_validation import Options, StrOptions, validate_params

from sklunlearn.datasets._base import (
    FETCH_CONSTRAINTS,
    as_bunch,
    cache_folder,
    damaged,
    download,
    load_npz,
)
from sklunlearn.datasets._medmnist_info import MEDMNIST, URL

__all__ = ["fetch_medmnist"]


@validate_params(
    {
        **FETCH_CONSTRAINTS,
        "name": [StrOptions(set(MEDMNIST))],
        "size": [Options(int, {28, 64, 128, 224})],
        "subset": [StrOptions({"train", "val", "test", "all"})],
    },
    prefer_skip_nested_validation=True,
)
def fetch_medmnist(
    name,
    *,
    size=28,
    subset="all",
    data_home=None,
    download_if_missing=True,
    return_X_y=False,
    n_retries=3,
    delay=1.0,
):
    """Fetch one of the two-dimensional MedMNIST data sets.

    Parameters
    ----------
    name : {"bloodmnist", "breastmnist", "dermamnist", "octmnist", "organamnist", "organcmnist", \
            "organsmnist", "pathmnist", "pneumoniamnist", "retinamnist", "tissuemnist"}
        Which one. ``"chestmnist"`` is not offered: an image there has any number of labels, and
        the unlearners want one.
    size : {28, 64, 128, 224}, default=28
        Height and width in pixels. The larger ones are much larger downloads.
    subset : {"train", "val", "test", "all"}, default="all"
        The publishers' division, or everything in this order.
    data_home, download_if_missing, return_X_y, n_retries, delay
        As for :func:`fetch_mnist`.

    Returns
    -------
    dataset : sklearn.utils.Bunch
        With

        data : ndarray of shape (n_samples, n_channels, size, size), dtype uint8
            Grey values or red, green and blue, 0 to 255.
        target : ndarray of shape (n_samples,), dtype int64
            The class.
        target_names : list of str
            Names of the classes, in order.
        metadata : pandas.DataFrame of n_samples rows
            ``subset``: ``"train"``, ``"val"`` or ``"test"``.
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
    The files are read directly: the package ``medmnist`` would bring torchvision, which is tied to
    one version of torch. Licences differ; that of ``"dermamnist"`` excludes commercial use.

    References
    ----------
    .. [1] J. Yang, R. Shi, D. Wei, Z. Liu, L. Zhao, B. Ke, H. Pfister, B. Ni, "MedMNIST v2: A
       Large-Scale Lightweight Benchmark for 2D and 3D Biomedical Image Classification", Scientific
       Data 10, 41, 2023, doi:10.1038/s41597-022-01721-8.

    Examples
    --------
    >>> from sklunlearn.datasets import fetch_medmnist
    >>> X, y = fetch_medmnist("breastmnist", return_X_y=True)  # doctest: +SKIP
    """
    import pandas as pd

    info = MEDMNIST[name]
    filename = f"{name}.npz" if size == 28 else f"{name}_{size}.npz"
    path = download(
        f"{URL}{filename}?download=1",
        cache_folder(data_home) / filename,
        md5=info.md5[size],
        download_if_missing=download_if_missing,
        n_retries=n_retries,
        delay=delay,
    )
    subsets = ["train", "val", "test"] if subset == "all" else [subset]
    parts = [_read(path, part, info.n_channels, size) for part in subsets]
    return as_bunch(
        return_X_y,
        data=np.concatenate([X for X, _ in parts]),
        target=np.concatenate([y for _, y in parts]),
        target_names=list(info.target_names),
        metadata=pd.DataFrame({"subset": np.repeat(subsets, [len(y) for _, y in parts])}),
        DESCR=f"{name} of MedMNIST v2 (Yang et al., 2023), {size}x{size} pixels.",
    )


def _read(path, subset, n_channels, size):
    """Images of shape (n_samples, n_channels, size, size) and labels of one subset."""
    X, y = load_npz(path, [f"{subset}_images", f"{subset}_labels"])
    # Grey images come without an axis of channels, colour images with that axis last.
    expected = (len(y), size, size) if n_channels == 1 else (len(y), size, size, n_channels)
    if X.shape != expected:
        raise damaged(path, f"images of shape {X.shape} instead of {expected}")
    X = X[:, None] if n_channels == 1 else np.ascontiguousarray(X.transpose(0, 3, 1, 2))
    return X.astype(np.uint8, copy=False), y.reshape(-1).astype(np.int64)
