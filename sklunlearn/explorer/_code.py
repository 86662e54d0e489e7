"""The Python that gives what the explorer shows."""

__all__ = ["code_of"]

_SPLIT = """\
# 70% of the rows to learn from, 30% to test with.
train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=0)
X, y, X_test, y_test = X[train], y[train], X[test], y[test]
"""
_SPLIT_METADATA = "metadata, metadata_test = metadata.iloc[train], metadata.iloc[test]\n"


def code_of(run):
    """A script that loads the data, trains, forgets, retrains and reports.

    Parameters
    ----------
    run : Run
        Of one method, or a composition of two.

    Returns
    -------
    code : str
        It leaves ``unlearner``, ``retrained``, ``forget`` and ``report`` behind.
    """
    source, request = run.source, run.request
    names = {"RetrainUnlearner", "unlearning_report", *(member.method for member in run.members)}
    names |= {run.method} | ({"forget_mask"} if "forget_mask" in request.code else set())
    frozen = "from sklearn.frozen import FrozenEstimator\n" if run.members else ""
    forget_test = "" if request.code_test is None else f"    forget_test={request.code_test},\n"
    return (
        f"import numpy as np\nimport torch\n{frozen}"
        "from sklearn.model_selection import train_test_split\n\n"
        f"from sklunlearn import {', '.join(sorted(names))}\n{source.code}"
        "torch.set_num_threads(1)  # other numbers of threads round otherwise\n\n"
        f"{_SPLIT}{'' if source.metadata is None else _SPLIT_METADATA}"
        f"forget = {request.code}\n\n"
        f"{_model(run)}"
        "retrained = RetrainUnlearner(random_state=1).fit(X, y, forget=forget)\n\n"
        "report = unlearning_report(\n    unlearner, X_test, y_test, X=X, y=y, forget=forget,\n"
        f"{forget_test}    reference=retrained, probe=False, random_state=0,\n)\n"
        "print(report.to_frame())\n"
    )


def _model(run):
    if not run.members:
        return f"unlearner = {_call(run)}.fit(X, y, forget=forget)\n"
    first, second = run.members
    return (
        f"first = {_call(first)}.fit(X, y, forget=forget)\n"
        f"second = {_call(second)}.fit(X, y, forget=forget)\n"
        "members = [('first', FrozenEstimator(first)), ('second', FrozenEstimator(second))]\n"
        f"unlearner = ComposedUnlearner(members, {_arguments(run)}).fit(X, y, forget=forget)\n"
    )


def _call(run):
    return f"{run.method}({_arguments(run)})"


def _arguments(run):
    return ", ".join(
        f"{name}={value!r}" for name, value in {**run.knobs, "random_state": 0}.items()
    )
