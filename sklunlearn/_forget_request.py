"""Requests to forget, as somebody made them: what, why, who and when."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np

from sklunlearn._files import atomic_write
from sklunlearn._request_text import json_of, parse_json, parse_yaml, yaml_of
from sklunlearn._request_values import (
    check_keys,
    check_text,
    check_time,
    plain_examples,
    plain_labels,
    plain_value,
)
from sklunlearn._selection import DEFAULTS, check_criteria, select
from sklunlearn._shown import shown

__all__ = ["ForgetRequest"]

VERSION = 1
_FORMATS = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}


@dataclass(frozen=True, kw_only=True, eq=False)
class ForgetRequest:
    """Request to forget, which can be saved, carried out on any data and put on record.

    The criteria are those of :func:`sklunlearn.requests.forget_mask`, as plain values: the request
    holds no mask, so that it means the same for the data of every site.

    Parameters
    ----------
    reason : str
        Why, for example "consent withdrawn".
    requested_by : str
        Who asked.
    requested_at : str or datetime.datetime, default=None
        When, with the time zone; a string in ISO 8601. None: now, in UTC.
    classes : label or list of labels, default=None
        Labels are strings, numbers or booleans.
    query : str, default=None
        Condition on the columns of the metadata.
    groups : dict of column to value or list of values, default=None
        Values of columns of the metadata.
    outliers : float, default=None
        Share of the rows that is most extreme by the column `by`.
    by : str, default=None
        Column of the metadata. A detector cannot be put down: pass those to `forget_mask`.
    nearest : list of int, or ndarray of shape (n_examples, ...), default=None
        Indices of rows, or examples. Examples are data: only their shape is written, and whoever
        loads the request must have them.
    fraction : float, default=1.0
        Share of the selected rows.
    n_samples : int, default=None
        Number of the selected rows.
    keep_together : str, default=None
        Column of the groups for `on_leakage`.
    on_leakage : {"warn", "expand", "raise"}, default="warn"
        What to do if groups are divided.
    random_state : int or None, default=None
        Draws the rows. Required wherever rows are drawn, for the request to mean the same rows
        each time.

    Raises
    ------
    TypeError, ValueError
        If a value is not plain or not valid, nothing is asked for, or the time has no zone.

    See Also
    --------
    sklunlearn.requests.forget_mask : What each criterion means.

    Examples
    --------
    >>> from sklunlearn import ForgetRequest
    >>> request = ForgetRequest(
    ...     reason="consent withdrawn",
    ...     requested_by="data protection officer",
    ...     requested_at="2026-03-01T09:30:00+00:00",
    ...     classes="melanoma",
    ... )
    >>> request.mask(["nevus", "melanoma", "nevus"])
    array([False,  True, False])
    >>> ForgetRequest.from_json(request.to_json()) == request
    True
    """

    reason: str
    requested_by: str
    requested_at: str | datetime.datetime | None = None
    classes: object = None
    query: str | None = None
    groups: dict | None = None
    outliers: float | None = None
    by: str | None = None
    nearest: object = field(default=None, repr=False)
    fraction: float = 1.0
    n_samples: int | None = None
    keep_together: str | None = None
    on_leakage: str = "warn"
    random_state: int | None = None

    def __post_init__(self):
        for name in ("reason", "requested_by"):
            check_text(name, getattr(self, name))
        self._set("requested_at", check_time(self.requested_at))
        for name in ("query", "by", "keep_together"):
            if getattr(self, name) is not None:
                check_text(name, getattr(self, name))
        for name in ("outliers", "fraction", "n_samples", "random_state"):
            self._set(name, plain_value(name, getattr(self, name)))
        if self.classes is not None:
            self._set("classes", plain_labels("classes", self.classes))
        if isinstance(self.groups, Mapping):
            for column in self.groups:
                check_text("a column of `groups`", column)
            plain = {name: plain_labels(f"groups[{name!r}]", v) for name, v in self.groups.items()}
            self._set("groups", plain)
        if self.nearest is not None:
            self._set("nearest", plain_examples(self.nearest))
        asked = self._asked()
        check_criteria(asked)
        drawn = self.nearest is None and (self.fraction < 1 or self.n_samples is not None)
        if drawn and self.random_state is None:
            raise ValueError(
                "The request draws rows at random: pass an int as `random_state`, so that it means "
                "the same rows each time."
            )
        if not isinstance(self.random_state, int | None) or isinstance(self.random_state, bool):
            raise TypeError(
                f"`random_state` must be an int or None, got {shown(self.random_state)}."
            )

    def _set(self, name, value):
        object.__setattr__(self, name, value)  # the dataclass is frozen

    def _asked(self):
        return {name: getattr(self, name) for name in DEFAULTS}

    def __eq__(self, other):
        if not isinstance(other, ForgetRequest):
            return NotImplemented
        same_examples = np.array_equal(self.nearest, other.nearest)
        return same_examples and self.to_dict() == other.to_dict()

    __hash__ = None  # it holds lists

    def mask(self, y=None, metadata=None, X=None, *, embedding=None):
        """Boolean mask of the rows that the request means.

        Parameters
        ----------
        y : array-like of shape (n_samples,), default=None
            Class labels.
        metadata : pandas.DataFrame of n_samples rows, default=None
            What is known about each row.
        X : array-like of shape (n_samples, ...) or torch Dataset, default=None
            The data.
        embedding : fitted unlearner, fitted skorch net or callable, default=None
            What `nearest` compares.

        Returns
        -------
        mask : ndarray of shape (n_samples,), dtype bool
            True for the rows to forget: at least one, never all.

        Raises
        ------
        TypeError, ValueError
            As :func:`sklunlearn.requests.forget_mask`; also if the request was loaded without the
            examples that it is about.
        """
        if isinstance(self.nearest, dict):
            raise ValueError(
                f"The examples of `nearest`, of shape {tuple(self.nearest['shape'])}, were not "
                "stored with the request: make one with `dataclasses.replace(request, "
                "nearest=examples)`."
            )
        return select(y, metadata, X, self._asked(), embedding=embedding, stacklevel=3)

    def to_dict(self):
        """The request as plain values, without data.

        Returns
        -------
        request : dict
            "version", "forget" (a dictionary of the criteria), "reason", "requested_by" and
            "requested_at".
        """
        asked = self._asked()
        if isinstance(self.nearest, np.ndarray):
            asked["nearest"] = {"shape": list(self.nearest.shape)}
        asked = {name: value for name, value in asked.items() if value != DEFAULTS[name]}
        return {
            "version": VERSION,
            "forget": asked,
            "reason": self.reason,
            "requested_by": self.requested_by,
            "requested_at": self.requested_at,
        }

    @classmethod
    def from_dict(cls, request):
        """The request that :meth:`to_dict` describes.

        Parameters
        ----------
        request : dict
            Plain values. Unknown and missing keys are errors.

        Returns
        -------
        request : ForgetRequest

        Raises
        ------
        TypeError, ValueError
            If a key is unknown or missing, the version is another one, or a value is not valid.
        """
        about = [f.name for f in fields(cls) if f.name not in DEFAULTS]
        check_keys("A request", request, ["version", "forget", *about], required=True)
        version = request["version"]
        if isinstance(version, bool) or version != VERSION:
            raise ValueError(
                f"The request has version {shown(version)}, and this can read version {VERSION}: "
                "use the sklunlearn that wrote it."
            )
        check_keys("`forget`", request["forget"], list(DEFAULTS), required=False)
        if request["requested_at"] is None:
            raise ValueError("`requested_at` is empty: write when the request was made.")
        return cls(**{name: request[name] for name in about}, **request["forget"])

    def to_json(self):
        """The request as JSON.

        Returns
        -------
        text : str
        """
        return json_of(self.to_dict())

    @classmethod
    def from_json(cls, text):
        """The request that a JSON text describes.

        Parameters
        ----------
        text : str
            As :meth:`to_json` writes it.

        Returns
        -------
        request : ForgetRequest

        Raises
        ------
        TypeError, ValueError
            If the text is not valid JSON, repeats a key, or is not a request; see
            :meth:`from_dict`.
        """
        return cls.from_dict(parse_json(text))

    def to_yaml(self):
        """The request as YAML; needs PyYAML.

        Returns
        -------
        text : str
        """
        return yaml_of(self.to_dict())

    @classmethod
    def from_yaml(cls, text):
        """The request that a YAML text describes; needs PyYAML.

        Parameters
        ----------
        text : str
            As :meth:`to_yaml` writes it, plain values only. YAML reads ``no``, ``on`` and ``01`` as
            other things than text: quote such labels.

        Returns
        -------
        request : ForgetRequest

        Raises
        ------
        TypeError, ValueError
            If the text is not valid YAML, repeats a key, has tags or aliases, or is not a request;
            see :meth:`from_dict`.
        ImportError
            If PyYAML is not installed.
        """
        return cls.from_dict(parse_yaml(text))

    def save(self, path):
        """Write the request to a file, whole or not at all.

        Parameters
        ----------
        path : str or path-like
            Ends in .json, .yaml or .yml.

        Raises
        ------
        ValueError
            If it ends in anything else.
        OSError
            If the file cannot be written.
        """
        write = {"json": self.to_json, "yaml": self.to_yaml}[_format_of(path)]
        atomic_write(path, write())

    @classmethod
    def load(cls, path):
        """Read a request from a file.

        Parameters
        ----------
        path : str or path-like
            Ends in .json, .yaml or .yml.

        Returns
        -------
        request : ForgetRequest

        Raises
        ------
        TypeError, ValueError
            If the file does not hold a request.
        OSError
            If it cannot be read.
        """
        read = {"json": cls.from_json, "yaml": cls.from_yaml}[_format_of(path)]
        try:
            # Some editors put a mark of the encoding in front.
            return read(Path(path).read_text(encoding="utf-8-sig"))
        except (TypeError, ValueError) as error:
            error.add_note(f"This is about the file {str(path)!r}, read as UTF-8.")
            raise


def _format_of(path):
    suffix = Path(path).suffix.lower()
    if suffix not in _FORMATS:
        raise ValueError(f"{str(path)!r} must end in one of {list(_FORMATS)}: its suffix says how.")
    return _FORMATS[suffix]
