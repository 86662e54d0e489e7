"""A diagnosis is redefined: what was learned of the class is to be forgotten.

Skin lesions of several diagnoses, one of which (--diagnosis) is forgotten. --data is a folder as
for retired_device.py, of which "source" is not needed. Without --data, generated shapes.
"""

import numpy as np
from comparison import accuracy, balanced_accuracy, compare, show
from loading import hold_out, load_images, make_cnn, parse, shrink, take
from sklearn.utils import Bunch

from sklunlearn import (
    BoundaryExpandUnlearner,
    BoundaryUnlearner,
    DELETEUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    forget_mask,
)
from sklunlearn.datasets import make_device_shift


def load(args):
    """Images with labels, and the class to forget."""
    if args.data:
        data = load_images(
            args.data, "ham10000", 28, label="dx", color="rgb", columns=["lesion_id"]
        )
        data.X, diagnosis = shrink(data.X, 2), args.diagnosis or "bkl"
    else:
        scans = make_device_shift(2400, n_classes=6, random_state=0)
        rows = np.arange(len(scans.data))
        data = Bunch(
            X=scans.data,
            labels=np.array(scans.target_names)[scans.target],
            metadata=scans.metadata,
            groups=rows,
            is_train=hold_out(rows),
            about=f"{len(rows)} generated images",
        )
        diagnosis = args.diagnosis or "ring"
    if args.quick:
        data = take(data, slice(None, None, 6))
    print(f"{data.about}; forgotten: {diagnosis}; task: {len(np.unique(data.labels))} classes")
    return data, diagnosis


def main(argv=None):
    """Run the scenario; its table, as `compare` returns it."""
    args = parse(__doc__, argv, diagnosis=("", "which class to forget"))
    data, diagnosis = load(args)
    X, y, train, groups = data.X, data.labels, data.is_train, data.groups
    forget = forget_mask(y, classes=diagnosis)
    held_out = {"same": forget & ~train, "others": ~forget & ~train}
    methods = {
        "Boundary, default": BoundaryUnlearner(),
        "Boundary, gentle": BoundaryUnlearner(lr=5e-4, retain_weight=5, stop_accuracy=0.0),
        "BoundaryExpand": BoundaryExpandUnlearner(),
        "DELETE": DELETEUnlearner(),
        "NegGrad": NegGradUnlearner(),
        "FineTune": FineTuneUnlearner(),
    }
    result = compare(
        make_cnn(X, len(np.unique(y)), 2 if args.quick else 12),
        methods,
        X[train],
        y[train],
        forget=forget[train],
        groups=groups[train],
        held_out={kind: (X[rows], y[rows], groups[rows]) for kind, rows in held_out.items()},
        figures={
            "forget accuracy": ("forget", accuracy),
            "same, accuracy": ("same", accuracy),
            "others, balanced": ("others", balanced_accuracy),
        },
        seeds=args.seeds,
    )
    show(result)
    return result


if __name__ == "__main__":
    main()
