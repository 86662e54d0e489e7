"""One report on one request: what was forgotten, and what it cost."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sklunlearn._nets import weights_digest
from sklunlearn.inspection._judged_rows import (
    codes_of,
    forgotten_classes,
    matched_rows,
    outputs_of,
    unseen_of_forgotten,
)
from sklunlearn.inspection._per_class import per_class_table
from sklunlearn.inspection._report_models import (
    check_models,
    count_remarks,
    record_of,
    remarks_on,
)
from sklunlearn.inspection._residual import ResidualKnowledge, check_residual
from sklunlearn.inspection._scores import ScoreTable
from sklunlearn.inspection._verdict import find_verdict
from sklunlearn.metrics._checks import check_integer, check_number
from sklunlearn.requests import check_forget

__all__ = ["UnlearningReport", "unlearning_report"]


@dataclass(eq=False, repr=False)
class UnlearningReport:
    """What :func:`unlearning_report` found, as a table, a figure, a page and plain language.

    Parameters
    ----------
    scores : pandas.DataFrame
        What :meth:`to_frame` returns.
    per_class : pandas.DataFrame
        Accuracy on the test rows of each class: "label", "rows", "model", "accuracy" and "n".
        "rows" is "all"; or, where `forget_test` marks rows, "of what was forgotten" for these and
        "kept" for the others.
    losses : dict of str to (ndarray, ndarray)
        For each model, losses in nats of forget rows and of test rows with the same shares of the
        classes. Empty where there are none.
    about : dict
        What the report is about: the method, its parameters, numbers of rows and of networks.

    Attributes
    ----------
    verdict : list of Finding
        The verdict, the headline first. Each has a `level`, "good", "note", "warning" or "bad",
        and a `text`.

    Examples
    --------
    >>> from sklunlearn import BoundaryUnlearner, RetrainUnlearner, unlearning_report
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, y_train, X_test, y_test = X[::2], y[::2], X[1::2], y[1::2]
    >>> forget = y_train == 2
    >>> unlearner = BoundaryUnlearner(random_state=0).fit(X_train, y_train, forget=forget)
    >>> reference = RetrainUnlearner(random_state=1).fit(X_train, y_train, forget=forget)
    >>> report = unlearning_report(
    ...     unlearner, X_test, y_test, X=X_train, y=y_train, forget=forget, reference=reference
    ... )
    >>> frame = report.to_frame()
    >>> frame.query("metric == 'test_accuracy'")["model"].tolist()
    ['original', 'unlearned', 'retrained', 'original gap', 'unlearned gap']
    """

    scores: object
    per_class: object
    losses: dict
    about: dict
    verdict: list = field(init=False)

    def __post_init__(self):
        self.verdict = find_verdict(self.scores, self.about)

    def __repr__(self):
        lines = [f"[{finding.level}] {finding.text}" for finding in self.verdict]
        return "\n".join([f"Unlearning report, {self.about['method']}", *lines])

    def to_frame(self):
        """The numbers.

        Returns
        -------
        frame : pandas.DataFrame
            A row for each "metric" of each "model", with its "value", the ends "low" and "high" of
            its interval (nan where there is none), and the number "n" of rows that it rests on, or
            for seconds the number of runs. Models are "original", "unlearned" and "retrained", the
            mean over the retrained networks; "original gap" and "unlearned gap" are differences
            from that, and "floor" is how far a retrained network can be from the others. For
            distances, "retrained" is the mean distance of the retrained networks from each other.
            The ends of "relearn_steps" are those of the range over three orders of the rows, or
            over several retrained networks.
        """
        return self.scores.copy()

    def plot(self):
        """Draw the trade-off, the losses and the accuracy of each class.

        Returns
        -------
        figure : matplotlib Figure
        """
        import matplotlib.pyplot as plt

        from sklunlearn.inspection._report_plot import draw_all

        figure = plt.figure(figsize=(13, 9), layout="constrained")
        draw_all(self, figure)
        return figure

    def to_html(self, path=None):
        """Write one page that holds all it needs: no script, no link, nothing to load.

        Parameters
        ----------
        path : str or os.PathLike, default=None
            Where to write it. None: nowhere.

        Returns
        -------
        html : str
            The page.
        """
        from sklunlearn.inspection._html import make_page

        if path is not None and not isinstance(path, str | os.PathLike):
            raise TypeError(f"`path` must be a path to write the page to or None, got {path!r}.")
        page = make_page(self)
        if path is not None:
            Path(path).write_text(page, encoding="utf-8")
        return page

    def _repr_html_(self):
        from sklunlearn.inspection._html import make_fragment

        return make_fragment(self)


def unlearning_report(
    unlearner,
    X_test,
    y_test,
    *,
    X=None,
    y=None,
    forget=None,
    forget_test=None,
    reference=None,
    probe=True,
    relearning=False,
    n_bootstrap=1000,
    confidence=0.95,
    random_state=None,
):
    """Judge an unlearned network beside the original and retrained ones.

    Parameters
    ----------
    unlearner : BaseUnlearner
        Fitted, and after a request. A released one has no original model, which is then left out.
    X_test : array-like of shape (n_test, ...) or torch.utils.data.Dataset yielding (x, y)
        Rows that no network was trained on. Where a class was forgotten, some of its rows should
        be among them.
    y_test : array-like of shape (n_test,) or None
        Their labels. None: those of the Dataset.
    X, y : array-like of shape (n_samples, ...), array-like of shape (n_samples,), default=None
        The rows of the request, as they were given to `unlearn`: rows to forget and rows to
        retain. Without them, the report says nothing of forgetting.
    forget : array-like of shape (n_samples,), dtype bool, or of row indices, default=None
        Which of those were to be forgotten. Needed with `X`.
    forget_test : array-like of shape (n_test,), dtype bool, or of row indices, default=None
        Which test rows are of what was forgotten, such as other images of a retired device. The
        membership attack compares the forget rows with these only. None: those of the classes
        that were forgotten, and for the attack test rows of the same classes as the forget rows,
        whatever else they are.
    reference : BaseUnlearner or list of BaseUnlearner, default=None
        Networks that never saw the forget rows, such as a `RetrainUnlearner` after the same
        request. Two or more, with different seeds, tell how far retrained networks are from each
        other; a smaller distance than that cannot be told from none. None: what compares with
        retraining is left out.
    probe : bool, default=True
        Where a class is forgotten, whether a linear probe looks for it in the embeddings, what
        enters the last layer.
    relearning : bool or int, default=False
        Where a class is forgotten, whether copies of all networks are trained on all rows of `X`
        until they know the forgotten rows again. An int is the largest number of steps to try,
        batches of 256 rows; True is 300. It is repeated in three orders of the rows, which takes as
        long as so much training of all the networks.
    n_bootstrap : int, default=1000
        Number of draws of rows for the intervals.
    confidence : float, default=0.95
        Level of the intervals, between 0 and 1.
    random_state : int or None, default=None
        Seed of the draws and of the choice of the test rows that forget rows are compared with.

    Returns
    -------
    report : UnlearningReport

    Raises
    ------
    NotFittedError
        If the unlearner or a reference is not fitted.
    TypeError, ValueError
        If a parameter is not valid, the unlearner has forgotten nothing, or a reference has other
        classes.

    See Also
    --------
    compare_unlearners : Several methods, over several seeds.

    Notes
    -----
    Intervals are percentile bootstrap intervals over the rows, which are drawn together for all
    models. They tell how a figure would stray with other rows, not with another seed of the
    training; for that, pass several references. The interval of a distance lies a little high, as
    resampling adds to it; that of few rows is too narrow; and where all rows agree it has no width.

    A class is forgotten if all of its rows in `X` are. Test accuracy is then that on the test rows
    of the other classes, and with `forget_test` that on the rows that this does not mark.

    The verdict calls an accuracy different from the retrained network's if the interval of the
    difference does not hold 0 and the difference is worth more than three rows; a membership AUC,
    if it is off by two standard deviations of chance too; a distance, if it is above that of the
    retrained networks from each other. Each must also exceed the largest such figure of m
    references among themselves by the factor m / (m - 1); distances are not judged with a single
    one. A network is called useless if its test accuracy has lost more than half of what the
    reference, or else the original, has above the share of the largest class. These are
    conventions, not tests of a hypothesis: on the digits data, with two or three references, about
    one retrained network in five was told apart from the others by one figure or other.

    The probe is a logistic regression on standardised embeddings, which tells forgotten rows from
    test rows of the other classes; `probe_accuracy` is the mean of its accuracies on the two kinds,
    five-fold cross-validated, and `probe_control` that of a probe for labels that were shuffled.
    Networks that never saw a class separate it rather well too. The verdict says that the
    forgetting is in the last layer only if the probe does better than with the retrained networks:
    by the rule above, by a percentage point, and by more than half of what the original does.
    On the digits data, class by class, it said so of 2 of 240 retrained networks, and with three
    references of 14 of 20 networks of which only the last layer had been changed.
    `relearn_steps` is :func:`~sklunlearn.metrics.relearn_time` with at most 500 of the forgotten
    rows, the median of the three orders, and one more than were tried if those are not enough. The
    target is 0.95 times the original's accuracy on these rows; for a released unlearner, 0.95 times
    that of the retrained networks on the retained rows. Relearning is called quick if it takes at
    most half the steps of the fastest retrained network. Neither is judged with fewer than two
    references.

    Examples
    --------
    >>> from sklunlearn import RetrainUnlearner, unlearning_report
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> X_train, y_train, X_test, y_test = X[::2], y[::2], X[1::2], y[1::2]
    >>> unlearner = RetrainUnlearner(random_state=0)
    >>> unlearner.fit(X_train, y_train, forget=[3, 20, 60])
    RetrainUnlearner(...)
    >>> report = unlearning_report(
    ...     unlearner, X_test, y_test, X=X_train, y=y_train, forget=[3, 20, 60]
    ... )
    >>> report.verdict[0].level
    'warning'
    """
    models = check_models(unlearner, reference)
    check_integer(n_bootstrap, "n_bootstrap", 1)
    tiny = np.finfo(float).eps
    check_number(confidence, "confidence", tiny, 1 - tiny, "a number between 0 and 1")
    if random_state is not None:
        check_integer(random_state, "random_state", 0)
    seed = np.random.SeedSequence(random_state).entropy
    residual = check_residual(probe, relearning)
    if (X is None) != (forget is None) or (X is None and y is not None):
        raise ValueError(
            "`X`, `y` and `forget` belong together: pass the rows that were given to `unlearn`, "
            "their labels and the mask, or none of them."
        )
    if X is None and forget_test is not None:
        raise ValueError(
            "`forget_test` says which test rows are of what was forgotten, but not what that was: "
            "pass `X`, `y` and `forget` too."
        )
    classes = unlearner.classes_
    test = {name: [outputs_of(m, X_test, y_test) for m in of] for name, of in models.items()}
    y_test = codes_of(unlearner, X_test, y_test)
    table = ScoreTable(n_bootstrap, confidence, seed)
    about = {
        "method": type(unlearner).__name__,
        "n_references": len(models.get("retrained", ())),
        "n_test": len(y_test),
        "n_bootstrap": n_bootstrap,
        "confidence": confidence,
        "classes": [],
        "n_forget": 0,
        "n_forget_of_kept_classes": 0,
        "n_unseen_of_kept_classes": 0,
        "is_unseen_marked": forget_test is not None,
        "n_retain": 0,
        "is_unchanged": False,
        "chance": float(np.bincount(y_test).max() / len(y_test)),
        "remarks": remarks_on(models),
        **record_of(unlearner),
    }
    losses = {}
    gone = np.zeros(len(y_test), dtype=bool)
    if X is not None:
        train = {name: [outputs_of(m, X, y) for m in of] for name, of in models.items()}
        y = codes_of(unlearner, X, y)
        forget = check_forget(forget, len(y))
        gone_classes = forgotten_classes(y, forget)
        gone = unseen_of_forgotten(forget_test, y_test, gone_classes, classes)
        about |= {
            "classes": classes[gone_classes].tolist(),
            "n_forget": int(forget.sum()),
            "n_forget_of_kept_classes": int(np.sum(forget & ~np.isin(y, gone_classes))),
            "n_unseen_of_kept_classes": int(np.sum(gone & ~np.isin(y_test, gone_classes))),
            "n_retain": int((~forget).sum()),
        }
        if "original" in train:
            before, after = (train[name][0][0][forget] for name in ("original", "unlearned"))
            digests = {weights_digest(models[name][0].net_) for name in ("original", "unlearned")}
            # Votes of an ensemble can be what they were after its networks were trained anew.
            about["is_unchanged"] = np.array_equal(before, after) and len(digests) == 1
        about["remarks"] += count_remarks(models, about["n_forget"])
        if not gone.all():
            about["chance"] = float(np.bincount(y_test[~gone]).max() / (~gone).sum())
        eligible = None if forget_test is None else gone
        rng = np.random.default_rng([seed, 9])
        members, others = matched_rows(y, forget, y_test, rng, eligible)
        if len(members) and len(others):
            losses = {
                name: [
                    (of_train[1][members], of_test[1][others])
                    for of_train, of_test in zip(train[name], test[name], strict=True)
                ]
                for name in models
            }
        table.add_accuracy("forget_accuracy", train, y, forget, draw=0)
        table.add_accuracy("forget_accuracy_test", test, y_test, gone, draw=3)
        table.add_accuracy("retain_accuracy", train, y, ~forget, draw=1)
    table.add_accuracy("test_accuracy", test, y_test, ~gone, draw=2)
    if X is not None:
        table.add_distances("forget", train, forget, draw=0, with_losses=True)
    table.add_distances("test", test, np.ones(len(y_test), dtype=bool), draw=4)
    if losses:
        table.add_membership(losses, draws=(5, 6))
    if X is not None:
        residual = ResidualKnowledge(models, seed, *residual)
        residual.measure(table, about, X, y, forget, X_test, gone)
    table.add_tug_of_war()
    table.add_seconds(models)
    return UnlearningReport(
        table.frame(),
        per_class_table(test, y_test, classes, None if forget_test is None else gone),
        {name: of[0] for name, of in losses.items()},
        about,
    )
