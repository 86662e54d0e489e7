"""The methods that can be chosen, and their parameters in words."""

import ast
import inspect
import re
from typing import NamedTuple

from sklearn.utils._param_validation import Interval, StrOptions

from sklunlearn import SISAUnlearner, all_unlearners

__all__ = ["Knob", "knobs_of", "methods_for", "parse_knobs"]

# They start from the trained network; SISA has to train an ensemble of its own beforehand.
_EXCLUDED = (SISAUnlearner,)
_FIRST = ("max_epochs", "lr", "retain_weight")  # what moves the trade-off most
_GREEK = dict(
    alpha="α", beta="β", gamma="γ", delta="δ", varepsilon="ε", varphi="φ", lambda_="λ", kappa="κ",
    tau="τ",
)  # fmt: skip
_MAX_EPOCHS = 200
_SHORT = 12  # characters
_TURNABLE = (Interval, StrOptions)


class Knob(NamedTuple):
    """A parameter: its name, default, and the first sentence of its description."""

    name: str
    default: object
    sentence: str


def methods_for(request_type):
    """Methods for a "class" or for "rows", by name; no more than the library lists."""
    found = all_unlearners(request_type)
    return {name: method for name, method in found if method not in _EXCLUDED}


def knobs_of(method):
    """Parameters of a method that a number, a word or a switch can set, the common ones first."""
    parameters = inspect.signature(method).parameters
    order = [name for name in _FIRST if name in parameters]
    knobs = []
    for name in [*order, *(name for name in parameters if name not in _FIRST)]:
        kinds = method._parameter_constraints.get(name, ())
        kinds = kinds if isinstance(kinds, list) else ()
        if not any(isinstance(kind, _TURNABLE) or kind == "boolean" for kind in kinds):
            continue
        if name in ("verbose", "random_state"):
            continue
        knobs.append(Knob(name, parameters[name].default, _sentence(method, name)))
    return knobs


def _sentence(method, name):
    """First sentence of what a docstring, or that of a base class, says of a parameter."""
    for owner in method.__mro__:
        text = inspect.cleandoc(owner.__doc__ or "").partition("Attributes\n---")[0]
        match = re.search(
            rf"^(?:\w+, )*{name}(?:, \w+)* : .*\n(?:.*\\\n.*\n)?((?:    .*\n|\n)+)",
            text + "\n",
            re.M,
        )
        if match is None:
            continue
        words = " ".join(match[1].split())
        words = re.sub(r":\w+:`~?([^`]*)`", r"\1", words).replace("``", "").replace("`", "")
        if not words.startswith("See "):
            words = re.sub(r"\\(\w+)", lambda found: _letter(found[1]), words)
            first, *others = re.split(r"(?<=[^.][.])\s(?=[A-Z0-9])", words)
            # A symbol alone says little.
            return " ".join([first, *others[: len(first) < _SHORT]])
    return ""


def _letter(name):
    return _GREEK.get(name, _GREEK.get(f"{name}_", name))


def parse_knobs(method, texts):
    """Values of parameters from what was typed; empty means the default.

    Parameters
    ----------
    method : type
        The unlearner.
    texts : dict of str to str
        What was typed, by name of the parameter.

    Returns
    -------
    values : dict
        Those that differ from the default, checked by the method's own constraints.

    Raises
    ------
    ValueError
        If a parameter is unknown or its value is not valid.
    """
    known = {knob.name: knob for knob in knobs_of(method)}
    values = {}
    for name, text in texts.items():
        if name not in known:
            raise ValueError(
                f"{method.__name__} has no parameter {name!r} to set: choose among "
                f"{', '.join(known)}."
            )
        text = str(text).strip()
        if not text:
            continue
        if len(text) > 100:
            raise ValueError(f"The value of {name} has {len(text)} characters, expected a number.")
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            value = text  # a word, without quotation marks
        if value != known[name].default or type(value) is not type(known[name].default):
            values[name] = value
    method(**values)._validate_params()
    if values.get("max_epochs", 0) > _MAX_EPOCHS:
        raise ValueError(
            f"max_epochs is {values['max_epochs']}, the explorer runs at most {_MAX_EPOCHS}."
        )
    return values
