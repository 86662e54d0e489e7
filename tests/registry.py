"""All unlearners, with small fast settings: each of them is held to the contract."""

from sklunlearn import BoundaryUnlearner, RetrainUnlearner, SISAUnlearner

ALL = [
    BoundaryUnlearner(max_epochs=2, random_state=0),
    RetrainUnlearner(random_state=0),
    SISAUnlearner(n_shards=2, n_slices=2, random_state=0),
]

# As above, every method needs rows to retain. With these parameters it does not.
WITHOUT_RETAIN = {
    "BoundaryUnlearner": {"retain_weight": 0},
}

# `fit` trains several networks, on parts of the rows: not what the net alone would learn.
OWN_TRAINING = {"SISAUnlearner"}
