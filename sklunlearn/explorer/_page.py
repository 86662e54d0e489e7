"""What a page of the explorer knows: its session, the rows that are picked, the run that is chosen.

Nothing here knows Gradio.
"""

from sklunlearn.explorer import _pictures
from sklunlearn.explorer._requests import (
    CLASS,
    QUERY,
    ask_class,
    ask_query,
    ask_rows,
    parse_rows,
)

__all__ = ["EXPECTED", "Page"]

# What the user's values can raise; the message is shown.
EXPECTED = (ValueError, TypeError, ArithmeticError, RuntimeError, OSError)


class Page:
    """What one page shows: its session, the rows that are picked, and the run that is chosen."""

    def __init__(self, session):
        self.session = session
        self._begin()

    def _begin(self):
        self.picked, self.chosen = set(), None
        # The class that a session asks for first, of which the sheet shows rows.
        self.label = str(self.session.source.classes[-1])

    def take_data(self, name, path=None):
        """Bundled data by name, or an uploaded file."""
        if path is None:
            self.session.choose(name)
        else:
            self.session.upload(path)
        self._begin()

    def ask(self, how, label, query, rows):
        """Put the request that the page describes; says in one line what it is."""
        source = self.session.source
        if how == CLASS:
            request = ask_class(source, label)
        elif how == QUERY:
            request = ask_query(source, query)
        else:
            request = ask_rows(source, parse_rows(rows, len(source.y)))
        if request.key != self.session.request.key or request.code != self.session.request.code:
            self.session.ask(request)
            self.chosen = None
        return f"To forget: {request.title}, {request.mask.sum()} of {len(request.mask)} rows."

    def toggle(self, x, y):
        """Pick the row at a pixel, or put it back; all picked rows as a text."""
        row = _pictures.row_at(self.session.source, self.label, x, y)
        if row is not None:
            self.picked ^= {row}
        return ", ".join(map(str, sorted(self.picked)))

    def click_front(self, x, y):
        """Go back to the run at a pixel of the trade-off; None if there is none near."""
        run = _pictures.run_at(self.session.runs, self.chosen, x, y)
        if run is not None:
            self.chosen = run
        return run

    def close(self):
        """The page is gone."""
        self.session.close()
        self.chosen = None
