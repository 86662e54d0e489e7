"""
Forgetting a class in the plane
===============================

Two moons and two blobs are learned; then one blob is to be forgotten. With two features, everything
that happens can be seen: where the decision boundaries were, where they went, and where they would
be had the class never been seen.
"""

import matplotlib.pyplot as plt

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.datasets import make_moons_blobs
from sklunlearn.inspection import BoundaryDisplay

X, y = make_moons_blobs(random_state=0, return_X_y=True)
forget = y == 2

# %%
# `fit` learns and `unlearn` forgets. Retraining without the class is the yardstick: it is what an
# unlearned network should be like.
unlearner = BoundaryUnlearner(random_state=0).fit(X, y).unlearn(X, y, forget=forget)
retrained = RetrainUnlearner(random_state=1).fit(X, y).unlearn(X, y, forget=forget)

# %%
# The boundary points are where a walk from each forget row first met another class. The network was
# trained to say of the row what it said there.
BoundaryDisplay.from_estimator(unlearner, X, y, forget=forget, retrained=retrained, s=12)
plt.show()

# %%
# The region of the forgotten class is gone, and the other boundaries have hardly moved. Both
# networks give the empty place to the upper moon; no row says that they should, so that other data
# or another seed may divide it otherwise.
for name, model in [("unlearned", unlearner), ("retrained", retrained)]:
    print(
        f"{name}: accuracy on the forget rows {model.score(X[forget], y[forget]):.3f}, "
        f"on the others {model.score(X[~forget], y[~forget]):.3f}, "
        f"{model.unlearning_time_:.2f} s"
    )

# sphinx_gallery_thumbnail_path = "_static/plane.png"
