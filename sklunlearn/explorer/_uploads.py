"""Uploaded files as data: read with limits, and never run."""

import csv
import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np

from sklunlearn.explorer._sources import split_source

__all__ = ["LIMITS", "UploadError", "read_upload"]

MB = 10**6
LIMITS = {
    "bytes": 20 * MB,
    "unpacked_bytes": 100 * MB,
    "ratio": 200,  # unpacked to packed: more than images or numbers give
    "rows": 5000,
    "features": 200,
    "side": 64,  # pixels
    "classes": 20,
}
_MIN_OF_CLASS = 5  # so that every class is both trained on and tested
_IMAGES = (".png", ".jpg", ".jpeg")


class UploadError(ValueError):
    """The file cannot be used; the message says why and what to do."""


def read_upload(path, folder, name=None):
    """Data from a .csv file, an .npz file or a .zip file of images.

    Parameters
    ----------
    path : str or path-like
        The file.
    folder : str or path-like
        An empty folder that belongs to the session; images are unpacked there.
    name : str, default=None
        Name of the file as the user knows it. None: that of `path`.

    Returns
    -------
    source : Source

    Raises
    ------
    UploadError
        If the file is too large, of another kind, or not as expected.
    """
    path = Path(path)
    name = Path(name or path).name
    size = path.stat().st_size
    if size > LIMITS["bytes"]:
        raise UploadError(
            f"{name} has {size / MB:.0f} MB, the explorer takes {LIMITS['bytes'] / MB:.0f} MB: "
            "take fewer rows, or use the library itself, which has no such limit."
        )
    readers = {".csv": _read_csv, ".npz": _read_npz, ".zip": _read_zip}
    reader = readers.get(Path(name).suffix.lower())
    if reader is None:
        raise UploadError(
            f"{name} is neither .csv, .npz nor .zip. Upload a table with a column `label`, an "
            "archive of NumPy with arrays X and y, or a zip file of images."
        )
    X, y, metadata, code = reader(path, name, Path(folder))
    X, y = _check(X, y, name)
    return split_source(name, X, y, metadata, code)


def _check(X, y, name):
    """Arrays that a network can learn from, within the limits."""
    if len(X) != len(y):
        raise UploadError(f"{name} has {len(X)} rows, but {len(y)} labels: give one a row.")
    if len(X) > LIMITS["rows"]:
        raise UploadError(
            f"{name} has {len(X)} rows, the explorer takes {LIMITS['rows']}: take some of them."
        )
    if X.ndim == 4:
        if X.shape[1] not in (1, 3) or max(X.shape[2:]) > LIMITS["side"] or min(X.shape[2:]) < 8:
            raise UploadError(
                f"{name} has images of shape {X.shape[1:]}: expected 1 or 3 channels first, then "
                f"8 to {LIMITS['side']} pixels in height and width. Resize them."
            )
    elif X.ndim != 2 or not 1 <= X.shape[1] <= LIMITS["features"]:
        raise UploadError(
            f"{name} has X of shape {X.shape}: expected (rows, features) with at most "
            f"{LIMITS['features']} features, or (rows, channels, height, width)."
        )
    if X.dtype.kind not in "buif":
        raise UploadError(f"{name} has X of dtype {X.dtype}: expected numbers.")
    if not np.isfinite(X).all():
        raise UploadError(
            f"{name} holds missing or infinite values: fill them in or leave them out."
        )
    if np.abs(X).max(initial=0) > np.finfo(np.float32).max:
        raise UploadError(f"{name} holds values beyond float32: scale the columns.")
    classes, counts = np.unique(y, return_counts=True)
    if not 2 <= len(classes) <= LIMITS["classes"]:
        raise UploadError(
            f"{name} has {len(classes)} different labels, expected 2 to {LIMITS['classes']}: "
            "labels are classes, not measurements."
        )
    if counts.min() < _MIN_OF_CLASS:
        rare = str(classes[counts.argmin()])
        raise UploadError(
            f"{name} has {counts.min()} rows of class {rare!r}, expected {_MIN_OF_CLASS} or more "
            "of each: leave the class out, or add rows."
        )
    return np.ascontiguousarray(X, dtype=np.float32), y


def _read_csv(path, name, folder):
    import pandas as pd

    try:
        text = path.read_text(encoding="utf-8-sig")
        header = next(csv.reader(io.StringIO(text)))
    except (UnicodeDecodeError, StopIteration, csv.Error) as error:
        raise UploadError(
            f"{name} is no CSV file in UTF-8 ({error}): save it with commas, a header and UTF-8."
        ) from error
    if len(header) > 2 * LIMITS["features"]:
        raise UploadError(
            f"{name} has {len(header)} columns, the explorer takes {LIMITS['features']} features."
        )
    if len(set(header)) < len(header):
        raise UploadError(f"{name} names a column twice: give each a name of its own.")
    if "label" not in header:
        raise UploadError(
            f"{name} has no column `label` among {', '.join(header[:8])}: name the column of the "
            "classes so. A file with semicolons must be saved with commas."
        )
    try:
        frame = pd.read_csv(io.StringIO(text), nrows=LIMITS["rows"] + 1, dtype={"label": str})
    except (ValueError, pd.errors.ParserError) as error:
        raise UploadError(f"{name} cannot be read: {error}") from error
    if frame.empty:
        raise UploadError(f"{name} has a header, but no rows.")
    if frame["label"].isna().any():
        raise UploadError(f"{name} has rows without a label: fill them in or leave them out.")
    about = [column for column in frame if column.startswith("meta_")]
    features = frame.drop(columns=["label", *about])
    for column in features:
        if features[column].dtype.kind not in "buif":
            numbers = pd.to_numeric(features[column], errors="coerce")
            row = int(np.argmax((numbers.isna() & features[column].notna()).to_numpy()))
            raise UploadError(
                f"{name}, column {column!r}, line {row + 2}: {features[column].iloc[row]!r} is no "
                f"number. Name the column 'meta_{column}' to ask for rows by it, or leave it out."
            )
    code = (
        "import pandas as pd\n"
        f"data = pd.read_csv({name!r}, dtype={{'label': str}})\n"
        "metadata = data.filter(regex='^meta_')\n"
        "y = data['label'].to_numpy(dtype=str)\n"
        "X = data.drop(columns=['label', *metadata]).to_numpy(dtype=np.float32)\n"
    )
    y = frame["label"].to_numpy(dtype=str)
    return features.to_numpy(dtype=np.float64), y, frame[about] if about else None, code


def _read_npz(path, name, folder):
    with _opened(path, name) as archive:
        inside = [entry.filename for entry in archive.infolist()]
    wanted = {"X.npy", "y.npy"}
    if not wanted <= set(inside):
        raise UploadError(
            f"{name} holds {', '.join(inside[:8]) or 'nothing'}: expected arrays X and y, as "
            "np.savez('data.npz', X=X, y=y) writes them."
        )
    try:
        with np.load(path, allow_pickle=False) as arrays:
            X, y = arrays["X"], arrays["y"]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
        raise UploadError(
            f"{name} cannot be read ({error}): save arrays of numbers, not of Python objects."
        ) from error
    if y.ndim != 1 or y.dtype.kind not in "buiU":
        raise UploadError(
            f"{name} has y of dtype {y.dtype} and shape {y.shape}: expected one integer or text "
            "a row."
        )
    code = (
        f"data = np.load({name!r}, allow_pickle=False)\n"
        "X, y, metadata = data['X'].astype(np.float32), data['y'].astype(str), None\n"
    )
    return X, y.astype(str), None, code


def _read_zip(path, name, folder):
    from sklunlearn.datasets import load_image_folder

    with _opened(path, name) as archive:
        files = [entry for entry in archive.infolist() if not entry.is_dir()]
        images = [entry for entry in files if entry.filename.lower().endswith(_IMAGES)]
        if len(images) > LIMITS["rows"]:
            raise UploadError(
                f"{name} has {len(images)} images, the explorer takes {LIMITS['rows']}."
            )
        for entry in files:
            is_table = entry.filename == "metadata.csv"
            if not is_table and not entry.filename.lower().endswith(_IMAGES):
                raise UploadError(
                    f"{name} holds {entry.filename!r}: expected only .png and .jpg images, and "
                    "metadata.csv beside them."
                )
        try:
            archive.extractall(folder)
        except (RuntimeError, OSError, zipfile.BadZipFile, NotImplementedError) as error:
            raise UploadError(f"{name} cannot be unpacked: {error}") from error
    has_table = (folder / "metadata.csv").is_file()
    _check_sides(folder, images, name)
    try:
        data = load_image_folder(folder, metadata="metadata.csv" if has_table else None)
    except (ValueError, TypeError, OSError) as error:
        message = str(error).replace(str(folder), name)
        raise UploadError(f"{name} cannot be read as images: {message}") from error
    table = ", metadata='metadata.csv'" if has_table else ""
    code = (
        "import zipfile\n"
        "from sklunlearn.datasets import load_image_folder\n"
        f"zipfile.ZipFile({name!r}).extractall('images')\n"
        f"data = load_image_folder('images'{table})\n"
        "X, y, metadata = data.data, data.target.astype(str), data.metadata\n"
    )
    return data.data, np.asarray(data.target).astype(str), data.metadata, code


def _check_sides(folder, images, name):
    """Read the heads of the images alone: a small file may unpack to a huge picture."""
    from PIL import Image

    for entry in images:
        try:
            with Image.open(folder / entry.filename) as image:
                sides = image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UploadError(f"{name}: {entry.filename} is no image.") from error
        if max(sides) > LIMITS["side"]:
            raise UploadError(
                f"{name}: {entry.filename} has {sides[0]} x {sides[1]} pixels, the explorer takes "
                f"{LIMITS['side']} on a side. Resize the images."
            )


def _opened(path, name):
    """An archive whose entries stay in their folder and are not much larger than they look."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UploadError(f"{name} is no archive, or it is damaged ({error}).") from error
    try:
        entries = archive.infolist()
        if len(entries) > 2 * LIMITS["rows"]:
            raise UploadError(f"{name} has {len(entries)} entries, too many for the explorer.")
        for entry in entries:
            place = PurePosixPath(entry.filename.replace("\\", "/"))
            is_link = (entry.external_attr >> 16) & 0o170000 == 0o120000
            # A colon begins a drive of Windows.
            if place.is_absolute() or ".." in place.parts or ":" in entry.filename or is_link:
                raise UploadError(
                    f"{name} holds {entry.filename!r}, which leads out of the archive: pack the "
                    "files with paths of their own folder."
                )
        packed = max(1, sum(entry.compress_size for entry in entries))
        unpacked = sum(entry.file_size for entry in entries)
        if unpacked > LIMITS["unpacked_bytes"] or unpacked > LIMITS["ratio"] * packed:
            raise UploadError(
                f"{name} unpacks from {packed} to {unpacked} bytes, the explorer takes "
                f"{LIMITS['unpacked_bytes']} and {LIMITS['ratio']} times as many: take less."
            )
    except UploadError:
        archive.close()
        raise
    return archive
