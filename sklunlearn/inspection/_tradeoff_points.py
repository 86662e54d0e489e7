"""Retention and forgetting of a composition and of what it is made of."""

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sklunlearn._nets import shallow_copy
from sklunlearn.requests import check_forget

__all__ = ["points_of"]


def points_of(composed, X, y, forget):
    """Points of the composition, and by name of the original network and of the members.

    A point is the accuracy on the retain rows, and 1 less the distance of that on the forget rows
    from `forget_target` of the composition.
    """
    if not (hasattr(composed, "estimators") or hasattr(composed, "named_estimators_")):
        raise TypeError(
            f"from_composition needs a ComposedUnlearner, got a {type(composed).__name__}: "
            "from_frame shows scores of any models."
        )
    check_is_fitted(
        composed,
        "compatibility_",
        msg="This %(name)s has not carried out a request, or was released and has no members: "
        "call `unlearn` first, and `release` after this.",
    )
    y = np.asarray(y)
    forget = check_forget(forget, len(y), allow_all=False)

    def point(model):
        right = model.predict(X) == y
        distance = abs(right[forget].mean() - composed.forget_target)
        return right[~forget].mean(), 1 - distance

    original = shallow_copy(composed)
    original._restart()
    known = {"original": point(original)}
    known |= {
        name: point(member)
        for name, member in composed.named_estimators_.items()
        if member != "drop"
    }
    return point(composed), known
