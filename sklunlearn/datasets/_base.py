"""Files that are downloaded once and then read from a folder."""

import contextlib
import hashlib
import os
import tempfile
import time
import zipfile
import zlib
from numbers import Integral, Real
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlretrieve

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval

__all__ = [
    "FETCH_CONSTRAINTS",
    "as_bunch",
    "atomic_path",
    "cache_folder",
    "damaged",
    "download",
    "load_npz",
    "offline",
    "save_npz",
]

# What every fetcher takes, besides parameters of its own.
FETCH_CONSTRAINTS = {
    "data_home": [str, os.PathLike, None],
    "download_if_missing": ["boolean"],
    "return_X_y": ["boolean"],
    "n_retries": [Interval(Integral, 1, None, closed="left")],
    "delay": [Interval(Real, 0, None, closed="neither")],
}


def as_bunch(return_X_y, **content):
    """A Bunch, or of it only ``(data, target)``."""
    return (content["data"], content["target"]) if return_X_y else Bunch(**content)


def cache_folder(data_home):
    """The package's own folder below scikit-learn's data folder, made if it is missing."""
    folder = Path(get_data_home(data_home)) / "sklunlearn"
    folder.mkdir(exist_ok=True)
    return folder


@contextlib.contextmanager
def atomic_path(path):
    """A temporary path beside `path`, which takes its place only if all goes well.

    So nobody ever reads half a file, and two processes that write the same file do no harm.
    """
    handle, name = tempfile.mkstemp(prefix=path.name + ".part_", dir=path.parent)
    os.close(handle)
    try:
        yield name
        # mkstemp makes the file for its owner only; a shared folder is to be read by others too.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)


def download(url, path, *, md5=None, download_if_missing=True, n_retries=3, delay=1.0):
    """Download a file unless it is there already.

    Parameters
    ----------
    url : str
        Where from.
    path : pathlib.Path
        Where to. A file that is there is taken as it is.
    md5 : str, default=None
        Checksum, where the publisher states one. It tells a broken transfer from a good one.
    download_if_missing : bool, default=True
        Whether the network may be used.
    n_retries : int, default=3
        How often to try again.
    delay : float, default=1.0
        Seconds between two tries.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    OSError
        If the file is neither there nor can be downloaded, or what came has another checksum.
    """
    if path.exists():
        return path
    if not download_if_missing:
        raise FileNotFoundError(
            f"{path} is missing and `download_if_missing` is False: set it to True, or put there "
            f"the file from {url} ."
        )
    with atomic_path(path) as name:
        _retrieve(url, name, path, n_retries, delay)
        if md5 is not None:
            with open(name, "rb") as file:
                found = hashlib.file_digest(file, "md5").hexdigest()
            if found != md5:
                raise OSError(
                    f"What came from {url} has the MD5 checksum {found} instead of {md5}: the "
                    "transfer broke off, or the file was replaced. Nothing was kept; try again "
                    "later."
                )
    return path


def _retrieve(url, name, path, n_retries, delay):
    for attempt in range(n_retries + 1):
        try:
            urlretrieve(url, name)  # noqa: S310 - only addresses that are written in this package
            return
        except (URLError, TimeoutError, ConnectionError) as error:
            if attempt == n_retries:
                raise offline(url, error, f"save the file as {path}") from error
            time.sleep(delay)


def offline(url, error, remedy):
    """The error of a download that failed, and what can be done without a network."""
    return OSError(
        f"{url} could not be downloaded ({error}). Without a network, {remedy} on this machine, or "
        "point `data_home` to a folder that has it already. load_digits_images and the make_... "
        "functions need no network."
    )


def damaged(path, error):
    """The error of a cached file that cannot be read."""
    return OSError(
        f"{path} is damaged ({error}). Delete this file and call again: it is then fetched anew."
    )


def save_npz(path, **arrays):
    """Write arrays to a compressed .npz file, all of it or nothing."""
    with atomic_path(path) as name, open(name, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_npz(path, names):
    """The arrays of these names from a .npz file, whose checksums are verified by reading.

    Raises
    ------
    OSError
        If the file cannot be read or an array is missing: it says which file to delete.
    """
    try:
        # Of a file that NumPy opens itself, it forgets to close what is no archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return [arrays[name] for name in names]
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from error
