"""Values as error messages show them: never longer than a few lines."""

import reprlib

__all__ = ["shown", "shown_list"]

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 200
_repr.maxlist = _repr.maxtuple = _repr.maxset = _repr.maxdict = 10


def shown(value):
    """Like `repr`, with the middle of what is long left out."""
    return _repr.repr(value)


def shown_list(values, n_max=20):
    """The first of some values, and how many more there are."""
    values = list(values)
    more = f" and {len(values) - n_max} more" if len(values) > n_max else ""
    return f"[{', '.join(shown(value) for value in values[:n_max])}]{more}"
