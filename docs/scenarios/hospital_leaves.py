"""A hospital leaves: its patients are to be forgotten.

A table with gaps and categories, from several hospitals, of which one (--site) leaves; the network
is the last step of a Pipeline. --data is a folder that holds heart_disease.csv (13 features, "num",
which is above 0 for the diseased, and "site"), or "fetch": then scikit-learn's data folder is used,
into which the data are fetched once. Without --data, a generated table.
"""

import numpy as np
import pandas as pd
from comparison import accuracy, auc, compare, show
from loading import parse
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sklunlearn import (
    BoundaryUnlearner,
    DUCKUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    forget_mask,
)
from sklunlearn.datasets import fetch_heart_disease, make_patients
from sklunlearn.networks import default_net

CATEGORIES = ["cp", "restecg", "slope", "thal"]


def load(args):
    """Table X with columns of numbers and of categories, y, the hospital of each row, groups."""
    if args.data:
        path = args.data / "heart_disease.csv"
        if str(args.data) == "fetch":
            heart = fetch_heart_disease(as_frame=True)
            X, y, sites = heart.data, heart.target.to_numpy(), heart.metadata["site"]
        elif path.is_file():
            table = pd.read_csv(path)
            y, sites = (table["num"] > 0).to_numpy().astype(int), table["site"]
            X = table.drop(columns=["num", "site"])
            # Nobody alive has either: a 0 was written where the value was not known.
            X[["chol", "trestbps"]] = X[["chol", "trestbps"]].replace(0, np.nan)
        else:
            raise SystemExit(f"{args.data} has no heart_disease.csv: see --help.")
        X = X.assign(**{name: X[name].astype("category") for name in CATEGORIES})
        return X, y, sites.to_numpy(), np.arange(len(y)), f"{len(y)} patients, heart disease"
    visits = make_patients(60 if args.quick else 300, mean_visits=3, random_state=0)
    X = pd.DataFrame(visits.data, columns=visits.feature_names)
    X["measurement_0"] = pd.cut(X["measurement_0"], [-9, -1, 1, 9], labels=[0, 1, 2])
    sites = visits.metadata["site"].to_numpy()
    X.loc[sites == "site_1", "measurement_1"] = np.nan  # one hospital does not measure it
    groups = visits.metadata["patient_id"].to_numpy()
    return X, visits.target, sites, groups, f"{len(X)} generated visits"


def make_pipe(X, max_epochs):
    """Imputation with indicators and scaling, categories as columns of 0 and 1, the network."""
    category = make_column_selector(dtype_include="category")
    known = [X[name].cat.categories for name in category(X)]
    prepare = make_column_transformer(
        (
            make_pipeline(
                # An indicator for every column: no retraining may change what the net is given.
                SimpleImputer(strategy="median", keep_empty_features=True),
                StandardScaler(),
            ),
            make_column_selector(dtype_include="number"),
        ),
        (FunctionTransformer(pd.isna), list(X)),
        (OneHotEncoder(categories=known, handle_unknown="ignore"), category),
    )
    steps = [prepare, FunctionTransformer(np.float32)]
    n_columns = make_pipeline(*steps).fit_transform(X).shape[1]
    # The steps before it scale: the network has no constants of its own.
    net = default_net(np.zeros((2, n_columns)), 2).set_params(
        module__mean=None,
        module__scale=None,
        module__hidden=(32,),
        max_epochs=max_epochs,
        batch_size=32,
        lr=0.005,
    )
    return make_pipeline(*steps, net)


def main(argv=None):
    """Run the scenario; its table, as `compare` returns it."""
    args = parse(__doc__, argv, site=("", "the hospital that leaves"))
    X, y, sites, groups, about = load(args)
    site = args.site or ("switzerland" if args.data else "site_1")
    print(f"{about}; forgotten: {site}; task: diseased or not")
    leaves = forget_mask(metadata=pd.DataFrame({"site": sites}), query=f"site == {site!r}")

    patients, first = np.unique(groups, return_index=True)
    kind = [f"{sites[i]} {y[i]}" for i in first]
    split = StratifiedShuffleSplit(1, test_size=0.3, random_state=0)
    train = np.isin(groups, patients[next(split.split(patients, kind))[0]])

    of_site = leaves & train

    def told(method):
        """A method that stops where a network that never saw the rows is."""
        return lambda retrained: method.set_params(
            stop_accuracy=retrained.score(X[of_site], y[of_site])
        )

    methods = {
        "Boundary, default": BoundaryUnlearner(),
        "Boundary, told": told(BoundaryUnlearner(lr=0.001)),
        "DUCK": DUCKUnlearner(),
        "NegGrad, 30 epochs": NegGradUnlearner(max_epochs=30),
        "FineTune": FineTuneUnlearner(),
    }
    held_out = {"same": leaves & ~train, "others": ~leaves & ~train}
    result = compare(
        make_pipe(X, 2 if args.quick else 25),
        methods,
        X[train],
        y[train],
        forget=leaves[train],
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
