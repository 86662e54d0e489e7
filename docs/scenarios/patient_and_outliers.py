"""A patient withdraws, and outliers turn out to be errors.

Chest X-rays, COVID-19 or other; two requests, one after the other, each to the network that was
trained on all: all images of one patient (--patient), and what an outlier detector finds. --data is
a folder that holds either

- covid_cxr_64.npz, with images X of shape (n, 64, 64), uint8, and covid_cxr_metadata.csv, or
- images and a metadata.csv: columns "file", "diagnosis" ("covid19" or another), "patientid" and, if
  you have one, "split" ("train" or "test").

Without --data, generated visits of patients.
"""

import numpy as np
from comparison import accuracy, auc, compare, show
from loading import hold_out, load_images, make_cnn, parse, shrink
from sklearn.ensemble import IsolationForest
from sklearn.utils import Bunch

from sklunlearn import (
    BoundaryUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    SalUnUnlearner,
    forget_mask,
)
from sklunlearn.datasets import make_patients
from sklunlearn.networks import default_net

SHARE = 0.08  # of the rows that are outliers


def load(args):
    """Data with labels 0 and 1, and an unfitted network."""
    max_epochs = 2 if args.quick else 25
    if args.data:
        data = load_images(
            args.data, "covid_cxr", 64, label="diagnosis", color="grey", columns=["patientid"]
        )
        data.X = shrink(data.X, 2)
        data.y, data.column = (data.labels == "covid19").astype(int), "patientid"
        net = make_cnn(data.X, 2, max_epochs, module__channels=(8, 16, 16), batch_size=32)
        return data, net
    visits = make_patients(60 if args.quick else 120, random_state=0)
    groups = visits.metadata["patient_id"].to_numpy()
    data = Bunch(
        X=visits.data,
        y=visits.target,
        metadata=visits.metadata,
        column="patient_id",
        groups=groups,
        is_train=hold_out(groups),
        about=f"{len(groups)} generated visits",
    )
    return data, default_net(data.X, 2).set_params(max_epochs=max_epochs, module__hidden=(32,))


def main(argv=None):
    """Run both requests; their tables by name, as `compare` returns them."""
    args = parse(__doc__, argv, patient=("", "who withdraws; else who has most images"))
    data, net = load(args)
    X, y, train, groups = data.X, data.y, data.is_train, data.groups
    names, counts = np.unique(groups[train], return_counts=True)
    patient = args.patient or names[counts.argmax()]
    of_patient = forget_mask(
        metadata=data.metadata.assign(who=groups), query=f"who == {str(patient)!r}"
    )
    if not (of_patient & train).any():
        raise SystemExit(f"Patient {patient} is not among those that the network is trained on.")
    table = X.reshape(len(X), -1)
    detector = IsolationForest(random_state=0).fit(table[train])
    oddness = -detector.score_samples(table)
    odd = oddness > np.quantile(oddness[train], 1 - SHARE)

    requests = {
        # Held-out rows of the same kind: of other patients with the same diagnosis.
        f"patient {patient} withdraws": (of_patient, np.isin(y, y[of_patient]), None),
        f"the {SHARE:.0%} most odd rows are errors": (odd, odd, ~odd),
    }
    results = {}
    for title, (forget, same, others) in requests.items():
        print(f"\n{data.about}; request: {title}")
        of_kind = {"same": same & ~train, "others": ~train if others is None else others & ~train}
        known = forget & train

        def told(method, known=known):
            """A method that stops where a network that never saw the rows is."""
            return lambda retrained: method.set_params(
                stop_accuracy=retrained.score(X[known], y[known])
            )

        methods = {
            "Boundary, default": BoundaryUnlearner(),
            "Boundary, told": told(BoundaryUnlearner(lr=5e-4)),
            "NegGrad": NegGradUnlearner(),
            "SalUn": SalUnUnlearner(),
            "FineTune": FineTuneUnlearner(),
        }
        results[title] = compare(
            net,
            methods,
            X[train],
            y[train],
            forget=forget[train],
            groups=groups[train],
            held_out={kind: (X[rows], y[rows], groups[rows]) for kind, rows in of_kind.items()},
            figures={
                "forget accuracy": ("forget", accuracy),
                "same, accuracy": ("same", accuracy),
                "others, AUC": ("others", auc),
            },
            seeds=args.seeds,
        )
        show(results[title])
    return results


if __name__ == "__main__":
    main()
