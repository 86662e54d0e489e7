"""Unlearners made of named members."""

import numpy as np
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.metaestimators import _BaseComposition

from sklunlearn._members import (
    check_members,
    check_same_architecture,
    check_same_classes,
    check_same_features,
    is_frozen,
)
from sklunlearn._nets import shallow_copy
from sklunlearn._training import hash_of
from sklunlearn.base import BaseUnlearner

try:
    from sklearn.utils._repr_html.estimator import _VisualBlock
except ImportError:  # scikit-learn 1.6
    from sklearn.utils._estimator_html_repr import _VisualBlock

__all__ = ["BaseComposition"]


class BaseComposition(BaseUnlearner, _BaseComposition):
    """Base class of an unlearner made of members, which are given as a list of (name, unlearner).

    Parameters of a member are ``name__parameter``. The original network is trained once, and each
    member that is not frozen starts from it.
    """

    def get_params(self, deep=True):
        """Parameters of the composition and, by ``name__parameter``, of its members.

        Parameters
        ----------
        deep : bool, default=True
            Whether those of the members are returned too.

        Returns
        -------
        params : dict
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params):
        """Set parameters of the composition, or of members; a member's name sets the member.

        Parameters
        ----------
        **params : dict
            Values by name, such as ``method="average"``, ``forgets__lr=0.01`` or
            ``forgets="drop"``.

        Returns
        -------
        self : object
        """
        self._set_params("estimators", **params)
        return self

    def _sk_visual_block_(self):
        named = [*self.estimators]
        if self.estimator is not None:
            named = [("estimator", self.estimator), *named]
        names, shown = [name for name, _ in named], [member for _, member in named]
        return _VisualBlock("parallel", shown, names=names)

    def _base_estimator(self):
        if self.estimator is not None or not self.estimators:
            return self.estimator
        members = [member for _, member in check_members(self.estimators)]
        own = [member.estimator for member in members if not is_frozen(member)]
        brought = [estimator for estimator in own if estimator is not None]
        if brought:
            return brought[0]
        # The others start where a frozen member did: else there would be nothing to merge.
        frozen = [member.estimator for member in members if is_frozen(member)]
        frozen.sort(key=lambda member: not hasattr(member, "fitted_"))  # released ones last
        return FrozenEstimator(_original_of(frozen[0])) if frozen else None

    def _complete_fit(self, X, y):
        """Give each member the original network that it starts from."""
        random = None if self.random_state is None else check_random_state(self.random_state)
        members, originals = [], {_key(self._base_estimator()): self.fitted_}
        for _, member in check_members(self.estimators):
            if is_frozen(member):
                members.append(member.estimator)
                continue
            member = clone(member)
            own = self._base_estimator() if member.estimator is None else member.estimator
            key = _key(own)
            if key not in originals:
                originals[key] = self._train_another(own, X, y)
            member.set_params(estimator=FrozenEstimator(originals[key]))
            if member.random_state is None and random is not None:
                member.set_params(random_state=random.randint(np.iinfo(np.int32).max))
            members.append(member.fit(X, self.classes_[y]))
        self._set_members(members)
        named = check_members(self.estimators)
        self._frozen_at_fit = [name for name, member in named if is_frozen(member)]

    def _train_another(self, estimator, X, y):
        if isinstance(estimator, FrozenEstimator):
            return estimator.estimator
        other = shallow_copy(self)
        other.estimator = estimator
        return BaseUnlearner._train(other, X, y)

    def _check_composition(self):
        """Raise an error unless there are members, with suitable names."""
        if not self.estimators or not all(
            isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str)
            for item in self.estimators
        ):
            raise ValueError(
                "`estimators` must be a list of (name, unlearner), with at least one; got "
                f"{self.estimators!r}."
            )
        self._validate_names([name for name, _ in self.estimators])

    def _restart(self):
        super()._restart()
        if hasattr(self, "estimators_"):  # not yet during the fit
            self._check_composition()
            self._change_members(lambda member: member._restart())

    def _update_members(self):
        """Take over what was set since the last request."""
        self._change_members(lambda member: None)

    def _unlearn_members(self, X, y, forget):
        """Make the members that are not frozen forget, each from where it is."""
        labels = self.classes_[y]
        self._change_members(lambda member: member.partial_unlearn(X, labels, forget=forget))

    def _change_members(self, change):
        """Apply a function to copies of the members that are not frozen."""
        named = check_members(self.estimators)
        fitted = [name for name, member in self.named_estimators_.items() if member != "drop"]
        if fitted != self._get_names():
            raise ValueError(
                f"The members are {self._get_names()}, but those that were fitted are {fitted}: "
                "call `fit` again."
            )
        members = []
        for (name, given), member in zip(named, self.estimators_, strict=True):
            if is_frozen(given):
                members.append(given.estimator)
                continue
            if type(given) is not type(member) or name in self._frozen_at_fit:
                raise ValueError(
                    f"The member {name!r} is now {given!r}, but was "
                    f"{'frozen' if name in self._frozen_at_fit else repr(member)} when the "
                    "composition was fitted: call `fit` again."
                )
            member = shallow_copy(member)
            # A parameter may have been set since the fit, as it may of any unlearner.
            params = clone(given).get_params(deep=False)
            kept = {"estimator"} | ({"random_state"} if given.random_state is None else set())
            vars(member).update({k: v for k, v in params.items() if k not in kept})
            change(member)
            members.append(member)
        self._set_members(members)

    def _set_members(self, members):
        """Keep fitted members, if their networks suit each other."""
        names = self._get_names()
        check_same_classes(names, members, self.classes_)
        check_same_features(names, members, self)
        if self.method != "vote":
            check_same_architecture(names, members)
        self.estimators_ = members
        self.named_estimators_ = Bunch(**dict(self.estimators))
        self.named_estimators_.update(zip(names, members, strict=True))

    def _get_names(self):
        return [name for name, _ in check_members(self.estimators)]

    def _released_params(self):
        return {**super()._released_params(), "estimators": []}


def _key(estimator):
    """Equal for estimators of which one training serves all."""
    if estimator is None:
        return None
    if isinstance(estimator, FrozenEstimator):
        return id(estimator.estimator)
    return hash_of(clone(estimator))


def _original_of(unlearner):
    """The original model of a fitted unlearner; of one that was released, the current one."""
    if hasattr(unlearner, "fitted_"):
        return unlearner.fitted_
    steps = unlearner.preprocessing_
    return unlearner.net_ if steps is None else Pipeline([*steps.steps, ("net", unlearner.net_)])
