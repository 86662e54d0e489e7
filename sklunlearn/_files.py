"""Files that are written whole or not at all."""

import contextlib
import os
import secrets
from pathlib import Path

__all__ = ["atomic_write", "sync_folder"]


def atomic_write(path, data, *, private=False):
    """Put `data` into a file, of which at any time either the old or the new content is there.

    Parameters
    ----------
    path : str or path-like
        File to write or replace. A symbolic link is followed: what it points to is replaced.
        The mode of an existing file is kept.
    data : bytes or str
        Content; a string is encoded as UTF-8, its line ends as they are.
    private : bool, default=False
        Whether the file is for its owner only, whatever the umask and the mode of an existing one.

    Raises
    ------
    OSError
        If the folder does not exist or may not be written to, or the disk is full. Whatever the
        error, also a KeyboardInterrupt, the old file is whole and no temporary file is left.

    Notes
    -----
    A process killed outright may leave a temporary file, named ``.NAME.*.tmp``, in the folder.
    """
    path = Path(os.path.realpath(path))
    data = data.encode() if isinstance(data, str) else data
    # In the same folder, as a file can be renamed only within one file system. Its name is known
    # before there is a file: an interrupt in between leaves none behind. With what is added, the
    # longest name that a file can have would be too long.
    temporary = path.with_name(f".{path.name[:48]}.{secrets.token_hex(6)}.tmp")
    try:
        mode = 0o600 if private else _mode(path)
        # What a new file may be, the system takes from the umask. Until it has all its content,
        # one that replaces another is for its owner only.
        first = 0o666 if mode is None else 0o600
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, first)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_folder(path.parent)


def sync_folder(folder):
    """Put a folder's entries on the disk, so that a file new in it survives a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows does not open folders
        return
    try:
        # Some network file systems cannot; the file itself is on the disk already.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mode(path):
    """Mode of the file; None if there is none."""
    try:
        return path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None
