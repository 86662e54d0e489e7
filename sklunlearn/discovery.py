"""Which methods there are."""

from inspect import isabstract

from sklunlearn import unlearners
from sklunlearn.base import BaseUnlearner

__all__ = ["all_unlearners"]


def all_unlearners(request_type=None):
    """All unlearners that can be used, as :func:`sklearn.utils.discovery.all_estimators` does.

    Parameters
    ----------
    request_type : {"class", "rows"} or None, default=None
        Only the methods that are made for such requests: to forget a whole class, or some rows of
        any class. None: all methods.

    Returns
    -------
    found : list of tuple of (str, type)
        Names and classes of :mod:`sklunlearn.unlearners`, sorted by name.

    Raises
    ------
    ValueError
        If `request_type` is none of these.

    Examples
    --------
    >>> from sklunlearn import all_unlearners
    >>> dict(all_unlearners("rows"))["RetrainUnlearner"]
    <class 'sklunlearn.unlearners.retrain.RetrainUnlearner'>
    """
    allowed = BaseUnlearner.request_types
    if request_type is not None and request_type not in allowed:
        raise ValueError(
            f"`request_type` must be one of {allowed}, or None for all methods, got "
            f"{request_type!r}."
        )
    named = [(name, getattr(unlearners, name)) for name in sorted(unlearners.__all__)]
    return [
        (name, found)
        for name, found in named
        if isinstance(found, type) and issubclass(found, BaseUnlearner) and not isabstract(found)
        if request_type is None or request_type in found.request_types
    ]
