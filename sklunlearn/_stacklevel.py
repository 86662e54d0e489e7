"""Which line a warning is about that arises deep inside of a fit or a request."""

import sys

__all__ = ["users_stacklevel"]

# What may lie between the line that started it all and this package.
_BETWEEN = {"sklunlearn", "sklearn", "skorch", "joblib", "torch"}


def users_stacklevel():
    """The `stacklevel` with which the caller's warning names the line of the user.

    That is the innermost one outside of this package and of the libraries it is called through.
    Where all are inside, as in another process, it is the caller's caller.
    """
    # `skip_file_prefixes` of `warnings.warn` does this from Python 3.12 on.
    level, frame = 1, sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] not in _BETWEEN:
            return level
        level, frame = level + 1, frame.f_back
    return 2
