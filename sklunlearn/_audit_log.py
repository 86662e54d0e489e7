"""Lines of JSON, each of which holds the digest of the one before."""

import contextlib
import hashlib
import itertools
import json
import os
import warnings
from pathlib import Path

from sklunlearn._files import sync_folder
from sklunlearn.exceptions import AuditLogError

try:
    import fcntl
except ImportError:  # Windows: one process at a time
    fcntl = None

__all__ = ["START", "append_lines", "read_lines"]

START = "0" * 64


def append_lines(path, make_bodies):
    """Add entries to a log, all or none, while no other process does.

    Parameters
    ----------
    path : str or path-like
        The log; made if it does not exist.
    make_bodies : callable
        Given the entries that are there, the new ones: dictionaries without `id`.

    Returns
    -------
    digest : str
        That of the last line.
    """
    is_new = not os.path.exists(path)
    with open(path, "ab+", buffering=0) as file, _locked(file):
        file.seek(0)
        content = file.read()
        whole, dropped = _split_tail(content)
        entries = check_lines(whole, path)
        digest = entries[-1]["digest"] if entries else START
        new = b""
        for i, body in enumerate(make_bodies(entries), start=len(entries) + 1):
            if dropped and not new:
                body = {**body, "dropped_bytes": dropped}
            line, digest = _make_line({"id": i, **body, "previous": digest})
            new += line
        if not new:
            return digest
        size = len(content) - dropped
        try:
            if dropped:
                file.truncate(size)
            # What `_split_tail` has completed is completed in the file too.
            _write(file, whole[size:] + new)
            os.fsync(file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                file.truncate(size)
            raise
    if is_new:
        sync_folder(Path(path).resolve().parent)
    if dropped:
        warnings.warn(
            f"The last line of {path} was cut short, as by a crash: its {dropped} bytes were taken "
            "away. What it should have recorded is not in the log; append it again if you still "
            "have it.",
            UserWarning,
            stacklevel=3,
        )
    return digest


def read_lines(path):
    """Entries of a log, when no process is writing; as `check_lines`."""
    with open(path, "rb", buffering=0) as file, _locked(file, shared=True):
        return check_lines(file.read(), path)


def check_lines(content, path):
    """Entries of a log's content, or an AuditLogError that names every line that is wrong."""
    problems, entries, first_seen = [], [], {}
    *lines, tail = content.split(b"\n")
    previous, following = START, 1
    for number, line in enumerate(lines, start=1):
        entry = _parse(line)
        if entry is None:
            problems.append(f"line {number} was edited: its content does not have its digest")
            previous, following = None, None
            continue
        digest = entry["digest"]
        if digest in first_seen:
            problems.append(f"line {number} repeats line {first_seen[digest]}")
            continue
        if previous is None or entry["previous"] == previous:
            if following is not None and entry["id"] != following:
                problems.append(f"line {number} has id {entry['id']}, expected {following}")
        else:
            problems.append(
                f"line {number}, which has id {entry['id']} where {following} is expected, does "
                "not follow the line before it: lines were dropped, inserted or put in another "
                "order here"
            )
        first_seen[digest] = number
        entries.append(entry)
        previous, following = digest, entry["id"] + 1
    if gaps := _gaps({entry["id"] for entry in entries}):
        problems.append(f"no whole line has id {', '.join(gaps)}")
    if tail:
        problems.append(
            f"line {len(lines) + 1} is incomplete, as after a crash or on a full disk; the next "
            "append_records takes it away and notes how long it was"
        )
    if problems:
        raise AuditLogError(
            f"{path} is not as append_records wrote it: {'; '.join(problems)}. Keep the file for "
            "whoever looks into it, and go on in a copy of a whole one or in a new file."
        )
    return entries


def _gaps(ids):
    """What is missing from 1 to the largest, in runs: a forged id may be as large as it likes."""
    bounds = [0, *sorted(i for i in ids if i > 0)]
    missing = [(a + 1, b - 1) for a, b in itertools.pairwise(bounds) if b - a > 1]
    return [str(a) if a == b else f"{a} to {b}" for a, b in missing]


def _parse(line):
    """The entry of a line, or None if the line is not as it was made."""
    try:
        entry = json.loads(line)
        body = {key: value for key, value in entry.items() if key != "digest"}
        again, _ = _make_line(body)
        is_whole = again == line + b"\n" and type(entry["id"]) is int
        is_whole = is_whole and {"record", "previous"} <= set(body)
        is_whole = is_whole and ("rows" not in body or _are_digests(body["rows"]))
        return entry if is_whole else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _are_digests(rows):
    """Whether they are what `was_forgotten` reads."""
    bytes.fromhex(rows["salt"])
    return isinstance(rows["digests"], list) and all(type(d) is str for d in rows["digests"])


def _make_line(body):
    digest = hashlib.sha256(json.dumps(body, allow_nan=False).encode()).hexdigest()
    return json.dumps({**body, "digest": digest}).encode() + b"\n", digest


def _split_tail(content):
    """Whole lines, and how many bytes of a line that was cut short follow them."""
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    if not tail:
        return content, 0
    if _parse(tail) is not None:  # only the end of the line is missing
        return content + b"\n", 0
    return content[:end], len(tail)


def _write(file, data):
    """In one call where the system allows it; a disk that is full takes a part first."""
    while data:
        data = data[file.write(data) :]


@contextlib.contextmanager
def _locked(file, shared=False):
    if fcntl is None:
        yield
        return
    fcntl.flock(file, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
