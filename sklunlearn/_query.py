"""Boolean masks from queries on a DataFrame, without running code.

The text is parsed to a syntax tree and the tree is walked here, node by node, over a closed list
of node types: nothing is handed to an evaluator that knows calls or names.
"""

import ast
import difflib
import functools
import numbers
import operator
import re

import numpy as np

from sklunlearn._shown import shown, shown_list

__all__ = ["mask_of_query"]

# What is read grows at most with the square of this, what is kept with this.
_MAX_LENGTH = 10_000
_OUTSIDE_STRINGS = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`([^`]*)`|([&|@#\n])""")
_COMPARE = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ARITHMETIC = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_WORDS = {
    ast.Call: "a function call",
    ast.Attribute: "an attribute",
    ast.Subscript: "a subscript",
    ast.Lambda: "a lambda",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "an f-string",
}


def mask_of_query(metadata, query):
    """Boolean mask of the rows of `metadata` for which `query` is true.

    Raises TypeError or ValueError if the query is not allowed or does not suit the columns.
    """
    if not isinstance(query, str):
        raise TypeError(f"`query` must be a str, got {type(query).__name__}.")
    if len(query) > _MAX_LENGTH:
        raise ValueError(
            f"query {shown(query)} has {len(query)} characters, and may have {_MAX_LENGTH}: pass "
            "long lists of values as `groups`, or compute a column first."
        )
    try:
        tree, quoted = _parse(query)
        return _Query(query, metadata, quoted).boolean(tree)
    except TypeError as error:
        raise TypeError(
            f"query {shown(query)} cannot be evaluated: {error}. Compare columns with values of "
            "their own type."
        ) from error
    except ArithmeticError as error:
        raise ValueError(f"query {shown(query)} cannot be evaluated: {error}.") from error
    except (RecursionError, MemoryError) as error:  # of Python's parser too
        raise ValueError(
            f"query {shown(query)} is nested too deeply: split it, and combine the masks."
        ) from error


def _parse(query):
    """Syntax tree of a query, and the column that each stand-in for backticks means."""
    quoted = {}

    def replace(match):
        string, column, symbol = match.groups()
        if string is not None:
            return string
        if column is not None:
            stand_in = f"__quoted_{len(quoted)}__"
            quoted[stand_in] = column
            return f" {stand_in} "
        if symbol in "@#":
            what = {"@": "Python variables: write their value", "#": "comments: leave them out"}
            raise ValueError(
                f"query {shown(query)} holds {symbol!r}, but cannot hold {what[symbol]}."
            )
        # As in pandas, & and | bind as loosely as the words do.
        return {"&": " and ", "|": " or ", "\n": " "}[symbol]

    text = _OUTSIDE_STRINGS.sub(replace, query).strip()
    try:
        return ast.parse(text, mode="eval").body, quoted
    except (SyntaxError, ValueError) as error:  # ValueError: a null byte, half a surrogate pair
        why = getattr(error, "msg", error)
        raise ValueError(
            f"query {shown(query)} is not a valid expression ({why}): write for example "
            "\"device == 'a' and age < 30\"; column names with spaces go in backticks."
        ) from error


class _Query:
    """Evaluation of one query on one DataFrame; a method for each kind of value."""

    def __init__(self, text, metadata, quoted):
        self.text = shown(text)
        self.metadata = metadata
        self.quoted = quoted

    def boolean(self, node):
        """Boolean ndarray of shape (n_rows,)."""
        if isinstance(node, ast.BoolOp):
            combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return functools.reduce(combine, [self.boolean(value) for value in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.Invert)):
            return ~self.boolean(node.operand)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides[:-1], node.ops, sides[1:], strict=True)
            return functools.reduce(np.logical_and, [self.compare(*pair) for pair in pairs])
        return self.as_boolean(self.value(node), node)

    def compare(self, left, op, right):
        a, b = self.value(left), self.value(right)
        if not (_is_column(a) or _is_column(b)):
            raise ValueError(
                f"query {self.text} compares {self.source(left)} and {self.source(right)}, of "
                "which neither is a column."
            )
        if isinstance(a, list):
            a, b = b, a  # `['x', 'y'] == column`
        negated = isinstance(op, (ast.NotEq, ast.NotIn))
        if isinstance(op, (ast.In, ast.NotIn)) or isinstance(b, list):
            if not isinstance(op, (ast.In, ast.NotIn, ast.Eq, ast.NotEq)) or not _is_column(a):
                raise ValueError(
                    f"query {self.text}: a list can only follow ==, !=, `in` or `not in`, with a "
                    "column before it."
                )
            return (self.contained(a, b) ^ negated) & a.notna().to_numpy()
        if type(op) not in _COMPARE:
            raise self.refused(op)
        result = _COMPARE[type(op)](a, b)
        known = np.logical_and(_is_known(a), _is_known(b))
        return result.fillna(False).to_numpy(dtype=bool) & known

    def contained(self, column, members):
        """Which entries of a column are among some values: boolean ndarray of shape (n_rows,)."""
        if not isinstance(members, list) and not _is_column(members):
            members = [members]
        if column.dtype.kind in "mM" and isinstance(members, list):
            # Times may be written as texts, which only comparisons read.
            equal = [(column == member).to_numpy(dtype=bool) for member in members]
            return functools.reduce(np.logical_or, equal, np.zeros(len(column), dtype=bool))
        return column.isin(members).to_numpy(dtype=bool)

    def value(self, node):
        """A column (pandas Series), a constant, or a list of constants."""
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, type(None))):
            return node.value
        if isinstance(node, ast.Name):
            return self.column(self.quoted.get(node.id, node.id))
        if isinstance(node, (ast.List, ast.Tuple)):
            elements = [self.value(element) for element in node.elts]
            if any(_is_column(element) for element in elements):
                raise ValueError(f"query {self.text}: a list may hold constants only.")
            return elements
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            operand = self.numeric(self.number(node.operand), node.operand)
            return -operand if isinstance(node.op, ast.USub) else operand
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            a, b = self.number(node.left), self.number(node.right)
            if isinstance(node.op, ast.Pow) and not _is_column(a):
                # 9 ** 9 ** 9 would never end.
                raise ValueError(f"query {self.text}: only a column can be raised to a power.")
            a, b = self.numeric(a, node.left), self.numeric(b, node.right)
            try:
                return _ARITHMETIC[type(node.op)](a, b)
            except ValueError as error:  # NumPy: integers to negative powers
                raise ValueError(
                    f"query {self.text} cannot be evaluated: {self.source(node)}: {error}"
                ) from error
        if isinstance(node, (ast.BoolOp, ast.Compare, ast.UnaryOp)):
            import pandas as pd

            return pd.Series(self.boolean(node))
        raise self.refused(node)

    def column(self, name):
        names = list(self.metadata.columns)
        if names.count(name) > 1:
            raise ValueError(f"query {self.text}: {names.count(name)} columns are named {name!r}.")
        if name not in names:
            close = difflib.get_close_matches(name, map(str, names), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"query {self.text} names {name!r}, which is not a column of `metadata`. Its "
                f"columns are {shown_list(names)}.{hint}"
            )
        return self.metadata[name].reset_index(drop=True)

    def number(self, node):
        value = self.value(node)
        if not _is_column(value) and not isinstance(value, numbers.Real):
            raise ValueError(
                f"query {self.text}: arithmetic needs columns and numbers, got {shown(value)}."
            )
        return value

    def numeric(self, column, node):
        """The value as one whose arithmetic ends: objects that are numbers are converted.

        Python's objects have operators of their own: a text times a billion fills the memory, a
        Python integer to the power of a billion is never done.
        """
        import pandas as pd

        if not _is_column(column):
            return column
        if column.dtype.kind == "O" and not isinstance(column.dtype, pd.CategoricalDtype):
            try:
                column = pd.to_numeric(column)
            except (TypeError, ValueError):
                pass
        if column.dtype.kind not in "biufmM":
            raise TypeError(f"{self.source(node)} does not hold numbers, but {column.dtype}")
        return column

    def as_boolean(self, value, node):
        if _is_column(value):
            known = value.dropna()
            if known.dtype == bool or all(isinstance(v, (bool, np.bool_)) for v in known):
                return value.isin([True]).to_numpy(dtype=bool)
        raise ValueError(
            f"query {self.text}: {self.source(node)} does not give one boolean a row. Compare it "
            "with something."
        )

    def refused(self, node):
        kind = _WORDS.get(type(node), type(node).__name__)
        where = f": {self.source(node)}" if isinstance(node, ast.expr) else ""
        return ValueError(
            f"query {self.text} holds {kind}{where}. Allowed are column names, constants, lists, "
            "comparisons, and/or/not and arithmetic; compute anything else as a column first."
        )

    def source(self, node):
        text = ast.unparse(node)[:200]
        for stand_in, column in self.quoted.items():
            text = text.replace(stand_in, f"`{column}`")
        return text


def _is_column(value):
    return hasattr(value, "isin")


def _is_known(value):
    return value.notna().to_numpy() if _is_column(value) else value is not None
