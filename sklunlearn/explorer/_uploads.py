"""Uploaded files as data: read with limits, and never run."""

import csv
import io
from pathlib import Path

import numpy as np

from sklunlearn.explorer._archives import DAMAGED, LIMITS, MB, UploadError, opened, read_array
from sklunlearn.explorer._sources import split_source

__all__ = ["LIMITS", "UploadError", "read_upload"]

_MIN_OF_CLASS = 5  # so that every class is both trained on and tested
_IMAGES = (".png", ".jpg", ".jpeg")


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
    if X.size > LIMITS["values"]:
        raise UploadError(
            f"{name} has {X.size} values, the explorer takes {LIMITS['values']}: take fewer "
            "rows or smaller images."
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
    if max(map(len, classes)) > LIMITS["characters"]:
        raise UploadError(_long_label(name))
    if counts.min() < _MIN_OF_CLASS:
        rare = str(classes[counts.argmin()])
        raise UploadError(
            f"{name} has {counts.min()} rows of class {rare!r}, expected {_MIN_OF_CLASS} or more "
            "of each: leave the class out, or add rows."
        )
    return np.ascontiguousarray(X, dtype=np.float32), y


def _long_label(name):
    return (
        f"{name} has a label of more than {LIMITS['characters']} characters: labels are names of "
        "classes. Shorten them."
    )


def _read_table(path, name):
    """Text and header of a CSV file whose rows are even; pandas would shift or stretch others."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if "\0" in text:
            raise csv.Error("it holds NUL bytes")
        reader = csv.reader(io.StringIO(text))
        header = next(reader)
        if len(header) > 2 * LIMITS["features"]:
            raise UploadError(
                f"{name} has {len(header)} columns, the explorer takes {LIMITS['features']} "
                "features."
            )
        place = header.index("label") if "label" in header else None
        for n_rows, row in enumerate(reader):
            if n_rows > LIMITS["rows"]:
                break  # refused later, by their number
            if row and len(row) != len(header):
                raise UploadError(
                    f"{name}, line {reader.line_num}: {len(row)} values, expected "
                    f"{len(header)} as in the header. Put texts with commas in quotation marks."
                )
            if row and place is not None and len(row[place]) > LIMITS["characters"]:
                raise UploadError(_long_label(name))  # NumPy gives every label that length
    except (UnicodeDecodeError, StopIteration, csv.Error) as error:
        raise UploadError(
            f"{name} is no CSV file in UTF-8 ({error}): save it with commas, a header and UTF-8."
        ) from error
    return text, header


def _read_csv(path, name, folder):
    import pandas as pd

    text, header = _read_table(path, name)
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
    with opened(path, name) as archive:
        inside = archive.namelist()
        # np.load gives another entry of the name X precedence.
        if not {"X.npy", "y.npy"} <= set(inside) or {"X", "y"} & set(inside):
            raise UploadError(
                f"{name} holds {', '.join(inside[:8]) or 'nothing'}: expected arrays X and y, as "
                "np.savez('data.npz', X=X, y=y) writes them."
            )
        try:
            X, y = (read_array(archive, f"{key}.npy") for key in "Xy")
        except DAMAGED as error:
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

    with opened(path, name) as archive:
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
        except DAMAGED as error:
            raise UploadError(f"{name} cannot be unpacked: {error}") from error
    has_table = (folder / "metadata.csv").is_file()
    if has_table:
        _read_table(folder / "metadata.csv", f"metadata.csv of {name}")
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
            # By its content a file may be of a format whose reader starts another program.
            with Image.open(folder / entry.filename, formats=("PNG", "JPEG")) as image:
                sides = image.size
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise UploadError(f"{name}: {entry.filename} is no image.") from error
        if max(sides) > LIMITS["side"]:
            raise UploadError(
                f"{name}: {entry.filename} has {sides[0]} x {sides[1]} pixels, the explorer takes "
                f"{LIMITS['side']} on a side. Resize the images."
            )
