"""
Can an attacker tell which rows were forgotten?
===============================================

A network has lower losses on rows that it was trained on. A membership inference attack makes use
of that: it looks whether the losses of some rows are those of rows that were never seen.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from sklunlearn import RandomLabelUnlearner, RetrainUnlearner
from sklunlearn.inspection import LossHistogramDisplay
from sklunlearn.metrics import membership_auc

# %%
# Data on which a network learns by heart: one label in seven is wrong.
X, y = make_classification(
    2000, n_features=20, n_informative=8, n_classes=3, flip_y=0.15, random_state=0
)
X, X_test, y, y_test = train_test_split(X.astype("float32"), y, test_size=0.5, random_state=0)
forget = np.arange(len(X)) < 150

# %%
# The rows to forget are of all classes. A network that never saw them would get as many of them
# right as of the test rows, so that the run stops there.
unlearner = RandomLabelUnlearner(random_state=0).fit(X, y)
unlearner.set_params(stop_accuracy=unlearner.score(X_test, y_test))
unlearner.unlearn(X, y, forget=forget)
retrained = RetrainUnlearner(random_state=1).fit(X, y, forget=forget)

# %%
# Members are the rows to forget, non-members the test rows. The original knows every member;
# afterwards the two histograms are much alike, as they are after retraining. They are not where
# retraining puts them, though: wrong labels make the network less sure of everything.
display = LossHistogramDisplay.from_estimator(
    unlearner, X[forget], y[forget], X_test, y_test, retrained=retrained, n_bins=24, lowest=1e-4
)
plt.show()

# %%
# The same in a number, the area under the ROC curve of the attack: 0.5 if it can only guess. The
# price is in the last column.
models = {"original": unlearner.fitted_, "unlearned": unlearner, "retrained": retrained}
for name, (members, others) in display.losses.items():
    print(
        f"{name}: membership AUC {membership_auc(members, others):.2f}, "
        f"test accuracy {models[name].score(X_test, y_test):.3f}"
    )
