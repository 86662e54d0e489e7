"""Frames of the package and of what calls it are made by running code under their names."""

import warnings

from sklunlearn._stacklevel import users_stacklevel


def frame_of(name, body):
    space = {"__name__": name, "warnings": warnings, "users_stacklevel": users_stacklevel}
    exec(compile(f"def call(*others):\n    {body}", f"{name}.py", "exec"), space)
    return space["call"]


def origin(*names):
    """File that a warning of the last module is about, called from here through the others."""
    calls = [frame_of(name, "others[0](*others[1:])") for name in names[:-1]]
    calls.append(frame_of(names[-1], "warnings.warn('x', stacklevel=users_stacklevel())"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        calls[0](*calls[1:])
    return caught[0].filename


def test_innermost_frame_of_the_user():
    assert origin("sklunlearn._deep") == __file__
    assert origin("sklearn.base", "sklunlearn.base", "skorch.net", "sklunlearn._deep") == __file__
    assert origin("mine", "sklearn.base", "sklunlearn.base", "sklunlearn._deep") == "mine.py"
    assert origin("sklunlearn.base", "mine", "sklunlearn._deep") == "mine.py"
    assert origin("sklunlearnt", "sklunlearn._deep") == "sklunlearnt.py"
