"""All unlearners, with small fast settings: each of them is held to the contract."""

from sklunlearn import (
    AMUNUnlearner,
    BadTeacherUnlearner,
    BoundaryExpandUnlearner,
    BoundaryUnlearner,
    CertifiedUnlearner,
    ComposedUnlearner,
    DELETEUnlearner,
    DUCKUnlearner,
    FineTuneUnlearner,
    ICUUnlearner,
    NegGradUnlearner,
    RandomLabelUnlearner,
    RetrainUnlearner,
    SalUnUnlearner,
    SCRUBUnlearner,
    SISAUnlearner,
    SSDUnlearner,
    UNSIRUnlearner,
)

MEMBERS = [
    ("forgets", BoundaryUnlearner(max_epochs=2)),
    ("retains", FineTuneUnlearner(max_epochs=2)),
]

ALL = [
    ComposedUnlearner(MEMBERS, finetune_epochs=2, random_state=0),
    CertifiedUnlearner(random_state=0),
    SISAUnlearner(n_shards=2, n_slices=2, random_state=0),
    AMUNUnlearner(max_epochs=2, radius=0.1, max_doublings=5, max_steps=10, random_state=0),
    BadTeacherUnlearner(max_epochs=2, random_state=0),
    BoundaryExpandUnlearner(retain_weight=0.1, max_epochs=2, random_state=0),
    BoundaryUnlearner(max_epochs=2, random_state=0),
    DELETEUnlearner(retain_weight=0.1, max_epochs=2, random_state=0),
    DUCKUnlearner(max_epochs=2, ratio=1, tune_epochs=1, random_state=0),
    FineTuneUnlearner(max_epochs=2, random_state=0),
    ICUUnlearner(max_epochs=2, random_state=0),
    NegGradUnlearner(max_epochs=2, random_state=0),
    RandomLabelUnlearner(max_epochs=2, random_state=0),
    RetrainUnlearner(random_state=0),
    SCRUBUnlearner(max_epochs=2, msteps=1, random_state=0),
    SSDUnlearner(dampening=0.1, max_retain_drop=1.0, random_state=0),
    SalUnUnlearner(max_epochs=2, random_state=0),
    UNSIRUnlearner(max_epochs=1, noise_steps=2, repair_epochs=1, random_state=0),
]

# What the constructor needs, with the defaults of the methods.
REQUIRED = {
    "ComposedUnlearner": {
        "estimators": [("forgets", BoundaryUnlearner()), ("retains", FineTuneUnlearner())]
    },
}

# As above, every method needs rows to retain. With these parameters it does not; the others, which
# are not named here, always do.
WITHOUT_RETAIN = {
    "AMUNUnlearner": {"retain_weight": 0},
    "BadTeacherUnlearner": {"retain_weight": 0},
    "BoundaryExpandUnlearner": {"retain_weight": 0},
    "BoundaryUnlearner": {"retain_weight": 0},
    "DELETEUnlearner": {"retain_weight": 0},
    "NegGradUnlearner": {"retain_weight": 0},
    "RandomLabelUnlearner": {"retain_weight": 0},
    "SSDUnlearner": {"max_retain_drop": None},
    "SalUnUnlearner": {"retain_weight": 0},
}

# Requests must be for whole classes.
WHOLE_CLASSES = {"UNSIRUnlearner"}

# There is no training in a request: no history, and nothing that could fail in the middle.
WITHOUT_TRAINING = {"CertifiedUnlearner", "SSDUnlearner"}

# A class is not forgotten by practising the others; the method's docstring says so.
HARDLY_FORGETS = {"FineTuneUnlearner"}

# `fit` trains more than, or other than, the net alone on all rows.
OWN_TRAINING = {"SISAUnlearner"}

# The network in use after `fit` is the one that was trained, but with another head.
OWN_HEAD = {"CertifiedUnlearner"}

# What `partial_unlearn` goes on from is more than the network.
OWN_STATE = {"CertifiedUnlearner", "ComposedUnlearner"}
