"""What the scenarios share: arguments, data and networks."""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import Bunch

from sklunlearn.datasets import load_image_folder
from sklunlearn.networks import default_net


def parse(doc, argv, **options):
    """Arguments of a scenario; `options` are (default, help) of others than those of all."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of the data; without it, see above")
    parser.add_argument("--seeds", type=int, default=3, help="number of retrained networks")
    parser.add_argument("--quick", action="store_true", help="few rows and epochs: a smoke test")
    for name, (default, text) in options.items():
        parser.add_argument(f"--{name}", default=default, type=type(default), help=text)
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error(f"--seeds is {args.seeds}: two retrained networks, at least, are compared.")
    torch.set_num_threads(1)  # more gain nothing on nets this small, and change the last digits
    return args


def load_images(folder, name, size, *, label, color, columns):
    """Images of `folder`: `name`_`size`.npz with `name`_metadata.csv, or files and metadata.csv.

    `columns` of the table must be there; the last one tells which images belong together. Labels
    are texts. Where the table has no column "split", a fifth of the groups is held out.
    """
    arrays = folder / f"{name}_{size}.npz"
    if arrays.is_file():
        table = pd.read_csv(folder / f"{name}_metadata.csv")
        with np.load(arrays, allow_pickle=False) as data:
            X = data["X"] / np.float32(255)
        X = X.transpose(0, 3, 1, 2) if X.ndim == 4 else X[:, None]
        images = Bunch(data=X, target=table[label], metadata=table)
    elif (folder / "metadata.csv").is_file():
        images = load_image_folder(
            folder, metadata="metadata.csv", label=label, size=size, color=color
        )
    else:
        raise SystemExit(f"{folder} has neither {arrays.name} nor a metadata.csv: see --help.")
    if lacking := sorted(set(columns) - set(images.metadata)):
        raise SystemExit(f"The table in {folder} lacks the columns {lacking}: see --help.")
    table = images.metadata
    groups = table[columns[-1]].to_numpy().astype(str)
    is_train = (table["split"] == "train").to_numpy() if "split" in table else hold_out(groups)
    return Bunch(
        X=images.data,
        labels=np.asarray(images.target).astype(str),
        metadata=table,
        groups=groups,
        is_train=is_train,
        about=f"{len(groups)} images from {folder.name}/",
    )


def hold_out(groups):
    """Mask of the rows to train on: those of all but a fifth of the groups."""
    split = GroupShuffleSplit(1, test_size=0.2, random_state=0)
    mask = np.zeros(len(groups), dtype=bool)
    mask[next(split.split(groups, groups=groups))[0]] = True
    return mask


def take(data, rows):
    """The data of some rows; a mask or a slice."""
    arrays = {name: data[name][rows] for name in ("X", "labels", "groups", "is_train")}
    return Bunch(**arrays, metadata=data.metadata[rows].reset_index(drop=True), about=data.about)


def shrink(X, factor):
    """Images, with blocks of `factor` x `factor` pixels averaged."""
    n, channels, height, width = X.shape
    blocks = X.reshape(n, channels, height // factor, factor, width // factor, factor)
    return np.ascontiguousarray(blocks.mean(axis=(3, 5)))


def make_cnn(X, n_classes, max_epochs, **params):
    """Unfitted network for images, whose constants are not computed from rows to be forgotten."""
    n = X.shape[1]
    return default_net(X[:2], n_classes).set_params(
        module__mean=[0.5] * n,
        module__scale=[0.25] * n,
        max_epochs=max_epochs,
        **{"lr": 0.005, "batch_size": 128, **params},
    )
