"""Which image files a folder holds, and with what labels."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["ImageList", "list_class_folders", "list_metadata", "some"]

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


@dataclass
class ImageList:
    """Files relative to a folder, with their labels.

    `metadata` has one row a file; `missing` are (file, reason) of what is listed but not there;
    `ignored` are files that are no images.
    """

    files: list
    target: np.ndarray
    metadata: object
    missing: list = field(default_factory=list)
    ignored: list = field(default_factory=list)


def some(names, n=20):
    """Names for an error message: all, or the first of very many."""
    shown = ", ".join(str(name) for name in names[:n])
    return shown if len(names) <= n else f"{shown} and {len(names) - n} more"


def list_class_folders(folder):
    """Images of a folder that has one folder a class, in the order of their paths."""
    import pandas as pd

    files, labels, ignored, empty = [], [], [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            ignored.append(entry.name)
            continue
        found, others = _walk(folder, entry.name)
        ignored += others
        files += found
        labels += [entry.name] * len(found)
        if not found:
            empty.append(entry.name)
    if not files:
        hint = f" It holds {some(ignored, 5)}." if ignored else ""
        raise ValueError(
            f"{folder} has no images in folders of its own: expected one folder a class, such as "
            f"{folder / 'benign' / '1.png'}, or pass `metadata`, a CSV file with a row an "
            f"image.{hint}"
        )
    if empty:
        raise ValueError(
            f"In {folder}, these folders hold no image: {some(empty)}. Every folder counts as a "
            f"class: move them away. Images end in {', '.join(EXTENSIONS)}, in either case."
        )
    target = np.array(labels)
    metadata = pd.DataFrame({"file": files, "label": target})
    return ImageList(files, target, metadata, ignored=ignored)


def _walk(folder, name):
    """Images and other files below a class folder, hidden ones left out."""
    found, others = [], []
    for root, folders, files in os.walk(os.path.join(folder, name), followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        prefix = Path(root).relative_to(folder).as_posix()
        for file in sorted(f for f in files if not f.startswith(".")):
            is_image = file.lower().endswith(EXTENSIONS)
            (found if is_image else others).append(f"{prefix}/{file}")
    return found, others


def list_metadata(folder, metadata, file, label):
    """Images that a table names, in its order."""
    import pandas as pd

    table, name = _read_table(folder, metadata)
    for column, parameter in [(file, "file"), (label, "label")]:
        if column not in table.columns:
            names = list(table.columns)
            whole = len(names) == 1 and any(mark in str(names[0]) for mark in ";\t|")
            hint = " Columns of a CSV file are divided by commas." if whole else ""
            raise ValueError(
                f"{name} has no column {column!r}, only {some(names)}: say with `{parameter}` "
                f"which one holds the {parameter}s.{hint}"
            )
        if list(table.columns).count(column) > 1:
            raise ValueError(f"{name} has several columns {column!r}: rename all but one.")
    if len(table) == 0:
        raise ValueError(f"{name} has no rows: expected one an image.")
    for column, parameter in [(file, "file"), (label, "label")]:
        gaps = np.flatnonzero(table[column].isna())
        if len(gaps):
            raise ValueError(
                f"{name} has no {parameter} in rows {some(gaps.tolist())} (counted from 0): fill "
                "them in or drop the rows. In a CSV file, texts such as 'NA' and 'None' count as "
                "missing too; pass a DataFrame where they are meant."
            )
    files = [_inside(folder, str(f), name) for f in table[file]]
    repeated = pd.Series(files)[pd.Series(files).duplicated()].unique().tolist()
    if repeated:
        raise ValueError(
            f"{name} lists some files more than once: {some(repeated)}. One row would be forgotten "
            "and the other retained: drop the copies."
        )
    missing = [(f, "is missing") for f in files if not os.path.isfile(os.path.join(folder, f))]
    labels = table[label].tolist()
    # NumPy would turn the number 1 among texts into the text '1'.
    if len({isinstance(value, str) for value in labels}) > 1:
        raise ValueError(
            f"The labels of {name} are numbers in some rows and texts in others: write all of "
            "them as numbers or all as texts."
        )
    target = np.array(labels)
    return ImageList(files, target, table.reset_index(drop=True), missing=missing)


def _read_table(folder, metadata):
    """The table and what to call it in errors."""
    import pandas as pd

    if isinstance(metadata, pd.DataFrame):
        return metadata, "`metadata`"
    if not isinstance(metadata, str | os.PathLike):
        raise TypeError(
            f"`metadata` must be a DataFrame or the path of a CSV file, got {metadata!r}."
        )
    path = folder / metadata
    if not path.is_file():
        others = sorted(p.name for p in folder.glob("*.csv"))
        hint = f" {folder} has {some(others)}." if others else ""
        raise FileNotFoundError(
            f"There is no file {path}: `metadata` is a path relative to the folder, or an absolute "
            f"one.{hint}"
        )
    try:
        return _with_codes(pd.read_csv(path, encoding="utf-8-sig"), path), path
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} cannot be read as a CSV file: {error}") from error


def _with_codes(table, path):
    """The table with codes such as '007', which pandas reads as numbers, as they are written."""
    import pandas as pd

    numbers = [c for c in table if table[c].dtype.kind in "if"]
    written = pd.read_csv(path, encoding="utf-8-sig", usecols=numbers, dtype=str)
    codes = [c for c in numbers if written[c].str.fullmatch(r"0\d+", na=False).any()]
    return table.assign(**{c: written[c] for c in codes})


def _inside(folder, file, name):
    """The path relative to the folder, in one spelling, refused if it leads out of it."""
    # By the text: what links inside the folder point to is its owner's business.
    relative = os.path.normpath(file.replace("\\", "/"))
    if os.path.isabs(relative):
        relative = os.path.relpath(relative, os.path.abspath(folder))
    if relative.split(os.sep)[0] == os.pardir:
        raise ValueError(
            f"{name} names {file!r}, which lies outside of {folder}: files are given relative to "
            "that folder."
        )
    return Path(relative).as_posix()
