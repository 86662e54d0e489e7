"""The networks of a report: which there are, and what the reader should know of them."""

from sklunlearn.base import BaseUnlearner
from sklunlearn.inspection._models import check_unlearner, find_models

__all__ = ["check_models", "count_remarks", "record_of", "remarks_on"]


def check_models(unlearner, reference):
    """Networks of each name, in lists."""
    models = {name: [model] for name, model in find_models(unlearner).items()}
    if "unlearned" not in models:
        raise ValueError(
            f"This {type(unlearner).__name__} has not forgotten anything: call `unlearn`, then "
            "report."
        )
    if references := _check_references(reference, unlearner):
        models["retrained"] = references
    return models


def _check_references(reference, unlearner):
    """List of the references, each fitted and with the same classes."""
    if reference is None:
        return []
    if isinstance(reference, BaseUnlearner):
        reference = [reference]
    if not isinstance(reference, list | tuple) or not reference:
        raise TypeError(
            "`reference` must be a fitted unlearner, such as RetrainUnlearner, or a list of them, "
            f"got {reference!r}."
        )
    for model in reference:
        check_unlearner(model, "reference")
        if model is unlearner:
            raise ValueError(
                "`reference` is the unlearner itself, which every figure would call perfect: pass "
                "another one, such as a RetrainUnlearner with another seed."
            )
        if model.classes_.tolist() != unlearner.classes_.tolist():
            raise ValueError(
                f"`reference` has the classes {model.classes_.tolist()}, but the unlearner has "
                f"{unlearner.classes_.tolist()}: retrain with RetrainUnlearner, which keeps the "
                "output of a class that is gone."
            )
    return list(reference)


def record_of(unlearner):
    """When the last request was, and with which parameters, where that is known."""
    record = (getattr(unlearner, "records_", None) or [{}])[-1]
    return {name: record[name] for name in ("requested_at", "parameters") if name in record}


def remarks_on(models):
    """What the reader should know about the models themselves."""
    remarks = []
    if "original" not in models:
        remarks.append(
            "The unlearner was released and carries no original model: what the original says of "
            "the rows, and how long the request took, is not known."
        )
    silent = [m for m in models.get("retrained", ()) if not getattr(m, "records_", None)]
    if silent:
        remarks.append(
            f"{len(silent)} of the networks given as retrained has no record of a request; that it "
            "was trained without the forget rows is taken on trust."
        )
    return remarks


def count_remarks(models, n_forget):
    """Remarks on requests that had another number of rows than the report."""
    remarks = []
    for name, text in [("unlearned", "The unlearner"), ("retrained", "A retrained network")]:
        for model in models.get(name, ()):
            records = getattr(model, "records_", None)
            if records and records[-1]["n_forget"] != n_forget:
                n = records[-1]["n_forget"]
                remarks.append(
                    f"{text} was last asked to forget {n} rows, this report is about {n_forget}."
                )
    return remarks
