"""A log of what was forgotten, to which lines can only be added."""

import datetime
import hmac
import json
import secrets
import warnings
from numbers import Real

import numpy as np
from sklearn.utils.validation import _num_samples
from torch.utils.data import Dataset

from sklunlearn._audit_log import START, append_lines, read_lines
from sklunlearn._data import take
from sklunlearn._partition import rows_as_bytes
from sklunlearn.exceptions import AuditLogError
from sklunlearn.requests import check_forget

__all__ = ["append_records", "verify_records", "was_forgotten"]


def append_records(path, unlearner, X=None, *, forget=None, metrics=None):
    r"""Add the records of an unlearner that a log does not have yet.

    The log is a text file, one JSON object a line, in order: `id` from 1, `appended_at`, `record`
    (an entry of `records_`), `rows` and `metrics` if they are given, `previous`, the digest of the
    line before, and `digest`, the SHA-256 digest of all of this line but itself. So a line cannot
    be changed without changing every line after it.

    Parameters
    ----------
    path : str or path-like
        The log; made if it does not exist.
    unlearner : BaseUnlearner, dict or list of dict
        An unlearner with `records_`, or records themselves.
    X : array-like of shape (n_samples, ...) or torch Dataset, default=None
        What the last request was given. With it, `rows` has a digest of each forgotten row
        :math:`x`, HMAC-SHA256 of the float32 values of :math:`x` under a salt that is drawn for
        the record; :func:`was_forgotten` then finds the row again. None: no digests.
    forget : array-like of shape (n_samples,), dtype bool, or of row indices, default=None
        Which rows of X the last request was to forget.
    metrics : dict, default=None
        Of the last request: ``{"before": {name: number}, "after": {name: number}}``, either part
        or both.

    Returns
    -------
    digest : str
        Digest of the last line of the log. Keep it elsewhere: see :func:`verify_records`.

    Raises
    ------
    AuditLogError
        If the log is not as it was written. Nothing is added.
    TypeError, ValueError
        If a parameter is not valid, or X, `forget` or `metrics` are given and the last record is
        in the log already.
    OSError
        If the file cannot be written, as on a full disk. The log is then as it was.

    Warns
    -----
    UserWarning
        If the last line was cut short by a crash. It is taken away, and the new line notes it.

    Notes
    -----
    Several processes may append to one log at once where there is `fcntl` (not on Windows).

    The log has no rows, but its digests can be tested against guesses: who has the log and can
    list all values that a row may have, as of a few categories, learns which were forgotten. Keep
    it from those who should not know.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import NegGradUnlearner
    >>> from sklunlearn.audit import append_records, verify_records, was_forgotten
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = NegGradUnlearner(random_state=0).fit(X, y, forget=[3, 7])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = os.path.join(folder, "requests.jsonl")
    ...     digest = append_records(log, unlearner, X, forget=[3, 7])
    ...     verify_records(log, last_digest=digest) == digest
    ...     was_forgotten(log, X[[7, 8]])
    True
    [[1], []]
    """
    records = getattr(unlearner, "records_", unlearner)
    records = [records] if isinstance(records, dict) else records
    if not isinstance(records, list) or not all(isinstance(r, dict) for r in records):
        raise TypeError(
            "`unlearner` must have `records_`, which a fitted one that was not released has, or be "
            f"a record or a list of records; got {unlearner!r}."
        )
    # As they will be read again, to be compared with what is there.
    records = json.loads(json.dumps(records, allow_nan=False))
    extra = {}
    if (X is None) != (forget is None):
        raise ValueError("`X` and `forget` say only together which rows were forgotten: pass both.")
    if X is not None:
        forget = check_forget(forget, _num_samples(X))
        if records and records[-1].get("n_forget", forget.sum()) != forget.sum():
            raise ValueError(
                f"`forget` marks {forget.sum()} rows, but the last request was to forget "
                f"{records[-1]['n_forget']}: pass what that request was given."
            )
        extra["rows"] = _digest_rows(take(X, np.flatnonzero(forget)))
    if metrics is not None:
        extra["metrics"] = _check_metrics(metrics)

    def make_bodies(entries):
        known = {json.dumps(entry["record"], sort_keys=True) for entry in entries}
        new = [r for r in records if json.dumps(r, sort_keys=True) not in known]
        if extra and (not new or new[-1] is not records[-1]):
            raise ValueError(
                f"{path} has the last record already, or there is none: what belongs to a record "
                "must be given when it is appended."
            )
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        bodies = [{"appended_at": now, "record": record} for record in new]
        if extra:
            bodies[-1].update(extra)
        return bodies

    return append_lines(path, make_bodies)


def verify_records(path, *, last_digest=None):
    """Check that nothing in a log was edited, dropped, inserted, repeated or put in another order.

    Parameters
    ----------
    path : str or path-like
        A log of :func:`append_records`.
    last_digest : str, default=None
        What this function or :func:`append_records` returned at an earlier time. Lines that were
        dropped at the end leave a log that is whole in itself, and so does a log that someone has
        written anew from beginning to end: only a digest that was kept elsewhere tells. None: that
        is not checked.

    Returns
    -------
    digest : str
        Digest of the last line now; 64 zeros for an empty log.

    Raises
    ------
    AuditLogError
        If something is wrong; the message names the lines.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    See :func:`append_records`.
    """
    entries = read_lines(path)
    digests = [START, *(entry["digest"] for entry in entries)]
    if last_digest is not None and last_digest not in digests:
        raise AuditLogError(
            f"{path} has no line with the digest {last_digest}: its end was dropped, or it was "
            f"written anew. It has {len(entries)} lines, each of which follows the one before."
        )
    return digests[-1]


def was_forgotten(path, X):
    """For each row, the records of the requests that were to forget it.

    Parameters
    ----------
    path : str or path-like
        A log of :func:`append_records`, whose records were given their rows.
    X : array-like of shape (n_samples, ...) or torch Dataset
        Rows, before any preprocessing. They are compared as float32.

    Returns
    -------
    ids : list of list of int
        For each row, the `id` of every record with a digest of it, in order.

    Raises
    ------
    AuditLogError
        If the log is not as it was written.
    ValueError
        If X is a single row instead of several.

    Warns
    -----
    UserWarning
        If there are records without digests, of which this cannot be known.

    Examples
    --------
    See :func:`append_records`.
    """
    entries = read_lines(path)
    rows = _as_bytes(X)
    found = [[] for _ in rows]
    if silent := [entry["id"] for entry in entries if "rows" not in entry]:
        warnings.warn(
            f"The records {silent} of {path} have no digests of rows: whether they were of these "
            "rows is not known.",
            UserWarning,
            stacklevel=2,
        )
    for entry in entries:
        if "rows" in entry:
            salt = bytes.fromhex(entry["rows"]["salt"])
            digests = set(entry["rows"]["digests"])
            for ids, row in zip(found, rows, strict=True):
                if _digest(salt, row) in digests:
                    ids.append(entry["id"])
    return found


def _digest_rows(X):
    salt = secrets.token_bytes(16)
    # Sorted, so that nothing is said of where in the data the rows were.
    digests = sorted({_digest(salt, row) for row in _as_bytes(X)})
    return {"method": "HMAC-SHA256", "salt": salt.hex(), "digests": digests}


def _digest(salt, row):
    return hmac.digest(salt, row, "sha256").hex()


def _as_bytes(X):
    if not isinstance(X, Dataset) and np.ndim(X) == 1 and np.asarray(X).dtype.kind in "biuf":
        raise ValueError(
            f"X has shape {np.shape(X)}, expected (n_samples, ...): for one row pass [x]."
        )
    n = _num_samples(X)
    blocks = (rows_as_bytes(X, np.arange(i, min(i + 1024, n))) for i in range(0, n, 1024))
    return [bytes(row) for block in blocks for row in block]


def _check_metrics(metrics):
    if not isinstance(metrics, dict) or not metrics or not set(metrics) <= {"before", "after"}:
        raise ValueError(
            f'`metrics` must be {{"before": {{...}}, "after": {{...}}}}, got {metrics!r}.'
        )
    checked = {}
    for when, values in metrics.items():
        checked[when] = {}
        for name, value in dict(values).items():
            if not isinstance(value, Real) or not np.isfinite(value):
                raise ValueError(
                    f"`metrics[{when!r}][{name!r}]` must be a finite number, got {value!r}: leave "
                    "out what could not be computed."
                )
            checked[when][str(name)] = float(value)
    return checked
