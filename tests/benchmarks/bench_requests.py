"""Time of forget_mask, and of the check for divided groups, on the metadata of a million rows.

The goal is under a second for classes, queries and groups. All numbers are medians over the rounds.
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd

from sklunlearn.requests import check_group_leakage, forget_mask


def make_data(n_rows):
    """Labels of five kinds and metadata, of a fifth as many patients as rows."""
    rng = np.random.default_rng(0)
    names = np.array([f"class {i}" for i in range(7)])[rng.integers(7, size=n_rows)]
    labels = {
        "str": names,
        "object": names.astype(object),
        "category": pd.Series(names, dtype="category"),
        "int": rng.integers(7, size=n_rows),
        "list": names.tolist(),
    }
    patients = np.array([f"p{i}" for i in range(n_rows // 5)], dtype=object)
    metadata = pd.DataFrame(
        {
            "patient": patients[rng.integers(len(patients), size=n_rows)],
            "device": np.array(["molemax", "iphone", "other"])[rng.integers(3, size=n_rows)],
            "age": rng.uniform(0, 90, size=n_rows),
            "site id": rng.integers(20, size=n_rows),
        }
    )
    return labels, metadata


def calls(labels, metadata):
    """What is timed: a name and a function for each."""
    some = metadata["patient"].unique()[:1000].tolist()
    young = metadata["age"].to_numpy() < 30
    queries = [
        "device == 'molemax' and age < 30",
        "device in ['molemax', 'iphone'] and not `site id` % 2 == 1",
    ]
    for kind, y in labels.items():
        wanted = 3 if kind == "int" else "class 3"
        yield f"classes, {kind}", lambda y=y, wanted=wanted: forget_mask(y, classes=wanted)
    for query in queries:
        yield f"query, {query}", lambda query=query: forget_mask(metadata=metadata, query=query)
    criteria = {
        "groups, 1 device": {"groups": {"device": "molemax"}},
        "groups, 1000 patients": {"groups": {"patient": some}},
        "groups, kept together": {"groups": {"patient": some}, "keep_together": "patient"},
        "outliers by a column": {"outliers": 0.02, "by": "age"},
        "n_samples": {"n_samples": 1000, "random_state": 0},
    }
    for name, asked in criteria.items():
        yield name, lambda asked=asked: forget_mask(metadata=metadata, **asked)
    yield (
        "check_group_leakage, expand",
        lambda: check_group_leakage(young, metadata["patient"], on_leakage="expand"),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    labels, metadata = make_data(options.rows)
    print(f"{options.rows} rows, median of {options.rounds} rounds, seconds")
    for name, call in calls(labels, metadata):
        seconds = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        print(f"  {statistics.median(seconds):6.3f}  {name}")


if __name__ == "__main__":
    main()
