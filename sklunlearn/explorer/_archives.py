"""Archives that people upload, opened and read within limits."""

import lzma
import math
import tokenize
import zipfile
import zlib
from pathlib import PurePosixPath

import numpy as np

__all__ = ["DAMAGED", "LIMITS", "UploadError", "opened", "read_array"]

MB = 10**6
LIMITS = {
    "bytes": 20 * MB,
    "unpacked_bytes": 100 * MB,
    "ratio": 200,  # unpacked to packed: more than images or numbers give
    "rows": 5000,
    "features": 200,
    "side": 64,  # pixels
    "classes": 20,
    "values": 15 * MB,  # four bytes each
    "characters": 60,  # of a label
}
# What reading from an archive can raise that is not as it says.
DAMAGED = (
    ValueError, OSError, EOFError, RuntimeError, MemoryError, ArithmeticError, SyntaxError,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class UploadError(ValueError):
    """The file cannot be used; the message says why and what to do."""


def opened(path, name):
    """An archive whose entries stay in their folder and are not much larger than they look."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise UploadError(f"{name} is no archive, or it is damaged ({error}).") from error
    try:
        entries = archive.infolist()
        if len(entries) > 2 * LIMITS["rows"]:
            raise UploadError(f"{name} has {len(entries)} entries, too many for the explorer.")
        if len({entry.filename for entry in entries}) < len(entries):
            raise UploadError(f"{name} holds two entries of one name: pack the files again.")
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


def read_array(archive, key):
    """An array of an .npz file, whose header is compared with what there is before any is read.

    NumPy reserves the memory that a header asks for.
    """
    with archive.open(key) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{key} has version {version} of NumPy's format")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{key} holds Python objects")
        n_bytes = math.prod(shape) * dtype.itemsize
        if min(shape, default=1) < 0 or n_bytes > archive.getinfo(key).file_size:
            raise ValueError(f"{key} says that it has shape {shape} of {dtype}, but it is shorter")
    with archive.open(key) as file:
        return np.lib.format.read_array(file, allow_pickle=False)
