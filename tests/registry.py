"""All unlearners, with small fast settings: each of them is held to the contract."""

from sklunlearn import BoundaryUnlearner, CertifiedUnlearner, RetrainUnlearner

ALL = [
    BoundaryUnlearner(max_epochs=2, random_state=0),
    CertifiedUnlearner(random_state=0),
    RetrainUnlearner(random_state=0),
]

# As above, every method needs rows to retain. With these parameters it does not.
WITHOUT_RETAIN = {
    "BoundaryUnlearner": {"retain_weight": 0},
}

# After `fit`, `net_` is not the network as it was trained, and requests do not train by epochs.
OWN_TRAINING = {"CertifiedUnlearner"}
