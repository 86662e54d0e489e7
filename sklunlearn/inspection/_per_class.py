"""Accuracy of each class, in a report."""

import numpy as np

from sklunlearn.metrics import per_class_accuracy

__all__ = ["per_class_table"]


def per_class_table(test, y_test, classes, marked=None):
    """Accuracy on the test rows of each class, of marked rows and of the others by themselves.

    Parameters
    ----------
    test : dict of str to list of (ndarray of shape (n_test, n_classes), ndarray)
        For each model, what its networks say of the rows; the mean over the networks is taken.
    y_test : ndarray of shape (n_test,)
        Class indices.
    classes : ndarray of shape (n_classes,)
        What the user calls the classes.
    marked : ndarray of shape (n_test,), dtype bool, default=None
        The rows of what was forgotten. None: all rows are taken together.

    Returns
    -------
    table : pandas.DataFrame
        "label", "rows", "model", "accuracy" and "n"; no line where n is 0.
    """
    import pandas as pd

    groups = {"all": np.ones(len(y_test), dtype=bool)}
    if marked is not None:
        groups = {"kept": ~marked, "of what was forgotten": marked}
    parts = []
    for name, networks in test.items():
        for rows, chosen in groups.items():
            labels, counts = np.unique(y_test[chosen], return_counts=True)
            accuracies = [
                per_class_accuracy(y_test[chosen], proba[chosen].argmax(axis=1), labels=labels)
                for proba, _ in networks
            ]
            accuracy = np.mean(accuracies, axis=0)
            columns = {"label": classes[labels], "accuracy": accuracy, "n": counts}
            parts.append(pd.DataFrame(columns).assign(model=name, rows=rows))
    return pd.concat(parts, ignore_index=True)[["label", "rows", "model", "accuracy", "n"]]
