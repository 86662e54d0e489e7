"""A sentence of the verdict of a report."""

from dataclasses import dataclass

__all__ = ["Finding"]


@dataclass(frozen=True)
class Finding:
    """One sentence or two of the verdict.

    Parameters
    ----------
    level : {"good", "note", "warning", "bad"}
        How to take it.
    text : str
        The sentences.
    """

    level: str
    text: str
