"""A device is retired: its images are to be forgotten.

Skin lesions, naevus or other, from several devices; the images of one of them (--query) are
forgotten. --data is a folder that holds either

- ham10000_28.npz, with images X of shape (n, 28, 28, 3), uint8, and ham10000_metadata.csv, or
- images and a metadata.csv: columns "file", "dx" (the diagnosis, "nv" is a naevus), "source" (the
  device), "lesion_id" and, if you have one, "split" ("train" or "test").

Without --data, shapes as generated scanners see them: a ring or another shape. --shift 0 makes
scanners that cannot be told from each other.
"""

import numpy as np
from comparison import accuracy, auc, compare, show
from loading import hold_out, load_images, make_cnn, parse, shrink, take
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch

from sklunlearn import (
    BadTeacherUnlearner,
    BoundaryUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    forget_mask,
)
from sklunlearn.datasets import make_device_shift


def load(args):
    """Images, labels 0 and 1, the mask of the device's rows."""
    if args.data:
        columns = ["source", "lesion_id"]
        data = load_images(args.data, "ham10000", 28, label="dx", color="rgb", columns=columns)
        data.X, positive = shrink(data.X, 2), "nv"
        query = args.query or "source == 'vidir_molemax'"
    else:
        scans = make_device_shift(2400, shift=args.shift, random_state=0)
        rows = np.arange(len(scans.data))
        data = Bunch(
            X=scans.data,
            labels=np.array(scans.target_names)[scans.target],
            metadata=scans.metadata,
            groups=rows,
            is_train=hold_out(rows),
            about=f"{len(rows)} generated images, shift={args.shift}",
        )
        positive, query = "ring", args.query or "device == 'scanner_0'"
    if args.quick:
        data = take(data, slice(None, None, 8))
    print(f"{data.about}; forgotten: {query}; task: {positive} or another")
    forget = forget_mask(metadata=data.metadata, query=query)
    return data, (data.labels == positive).astype(int), forget


def recognise(X, is_device, is_train):
    """AUC, on held-out images, of a linear model that tells the device's images from the others."""
    table = X.reshape(len(X), -1)
    n_components = min(30, is_train.sum() // 4)
    model = make_pipeline(
        StandardScaler(), PCA(n_components, random_state=0), LogisticRegression(max_iter=1000)
    )
    model.fit(table[is_train], is_device[is_train])
    return roc_auc_score(is_device[~is_train], model.decision_function(table[~is_train]))


def main(argv=None):
    """Run the scenario; its table, as `compare` returns it."""
    args = parse(
        __doc__, argv, query=("", "which rows to forget"), shift=(1.0, "of generated scanners")
    )
    data, y, device = load(args)
    X, train, groups = data.X, data.is_train, data.groups
    found = recognise(X, device, train)
    print(
        f"A linear model recognises the device's held-out images with an AUC of {found:.2f}", end=""
    )
    print(": they cannot be told from the rest." if abs(found - 0.5) < 0.1 else ".")

    max_epochs = 2 if args.quick else 12
    methods = {
        "Boundary, default": BoundaryUnlearner(),
        "Boundary, gentle": BoundaryUnlearner(lr=2e-4, retain_weight=10, max_epochs=1),
        "NegGrad": NegGradUnlearner(),
        "BadTeacher": BadTeacherUnlearner(),
        "FineTune": FineTuneUnlearner(),
    }
    held_out = {"same": device & ~train, "others": ~device & ~train}
    result = compare(
        make_cnn(X, 2, max_epochs),
        methods,
        X[train],
        y[train],
        forget=device[train],
        groups=groups[train],
        held_out={kind: (X[rows], y[rows], groups[rows]) for kind, rows in held_out.items()},
        figures={
            "forget accuracy": ("forget", accuracy),
            "same, accuracy": ("same", accuracy),
            "same, AUC": ("same", auc),
            "others, AUC": ("others", auc),
        },
        seeds=args.seeds,
    )
    show(result)
    return result


if __name__ == "__main__":
    main()
