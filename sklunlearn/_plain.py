"""Values that hold no data."""

from numbers import Number

__all__ = ["is_plain"]


def is_plain(value):
    """Whether a value cannot hold data: a number, a string, None, a class, or a tuple of them."""
    if isinstance(value, tuple):
        return all(is_plain(element) for element in value)
    return value is None or isinstance(value, (Number, str, type))
