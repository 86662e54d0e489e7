"""What is to be forgotten: a class, the rows of a query, or rows that were picked."""

import re
from typing import NamedTuple

import numpy as np

from sklunlearn import forget_mask
from sklunlearn.requests import check_forget

__all__ = [
    "CLASS",
    "QUERY",
    "ROWS",
    "Request",
    "ask_class",
    "ask_query",
    "ask_rows",
    "parse_rows",
]

CLASS, QUERY, ROWS = "class", "metadata query", "picked rows"  # as the page offers them
_MAX_CHARACTERS, _MAX_QUERY = 50_000, 2000


class Request(NamedTuple):
    """Rows to forget, and the Python that marks them.

    `kind` is "class" or "rows", the kinds of :func:`sklunlearn.all_unlearners`; `mask_test` marks
    test rows like them, or is None.
    """

    title: str
    kind: str
    mask: np.ndarray
    mask_test: np.ndarray | None
    code: str
    code_test: str | None

    @property
    def key(self):
        """Equal for equal rows."""
        return np.packbits(self.mask).tobytes()


def ask_class(source, label):
    """All rows of a class."""
    mask = forget_mask(source.y, classes=str(label))
    code = f"forget_mask(y, classes={str(label)!r})"
    return Request(f"class {label}", "class", mask, None, code, None)


def ask_query(source, query):
    """The rows for which a query on the metadata holds."""
    if source.metadata is None:
        raise ValueError(
            f"{source.name} has no metadata to ask by: forget a class or rows, or choose "
            "device_shift or a file of your own with columns named meta_..."
        )
    query = query.strip()
    if len(query) > _MAX_QUERY:
        raise ValueError(f"The query has {len(query)} characters, expected at most {_MAX_QUERY}.")
    mask = forget_mask(metadata=source.metadata, query=query)
    try:
        mask_test = forget_mask(metadata=source.metadata_test, query=query)
    except ValueError:  # none of the test rows, or all
        mask_test = None
    code = f"forget_mask(metadata=metadata, query={query!r})"
    code_test = None if mask_test is None else code.replace("=metadata", "=metadata_test", 1)
    return Request(f"rows where {query}", _kind(source, mask), mask, mask_test, code, code_test)


def ask_rows(source, rows):
    """Some rows by their numbers."""
    rows = sorted(int(row) for row in rows)
    mask = check_forget(rows, len(source.y), allow_all=False)
    title = f"{len(rows)} picked row{'s' * (len(rows) > 1)}"
    return Request(title, _kind(source, mask), mask, None, f"np.array({rows})", None)


def _kind(source, mask):
    """A class is forgotten if no row of it is retained; methods for classes need that."""
    return "rows" if np.isin(source.y[mask], source.y[~mask]).any() else "class"


def parse_rows(text, n_rows):
    """Numbers of rows from a text such as "3, 17, 20-40".

    Raises
    ------
    ValueError
        If something else stands there, or a number is too large.
    """
    if len(text) > _MAX_CHARACTERS:
        raise ValueError(f"{len(text)} characters of rows, expected at most {_MAX_CHARACTERS}.")
    chosen = np.zeros(n_rows, dtype=bool)
    for part in filter(None, re.split(r"[,;\s]+", text.strip())):
        match = re.fullmatch(r"(\d{1,7})(?:-(\d{1,7}))?", part)
        if match is None:
            raise ValueError(f"{part!r} is no row: type numbers and ranges, such as 3, 17, 20-40.")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < n_rows:
            raise ValueError(f"{part!r} is out of range: rows go from 0 to {n_rows - 1}.")
        chosen[first : last + 1] = True
    return np.flatnonzero(chosen).tolist()
