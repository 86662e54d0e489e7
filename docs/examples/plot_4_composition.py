"""
On the line between two networks
================================

One run forgets well and damages the rest; another keeps the rest and forgets nothing. Both start
from the same network, so that the weights in between are networks too, and one of these may be
better than both ends.
"""

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklunlearn import BoundaryUnlearner, ComposedUnlearner, FineTuneUnlearner

X, X_test, y, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)

# %%
# The composition goes along the line in 21 steps and keeps the point that it finds best. Its
# judgement takes rows of the request.
composed = ComposedUnlearner(
    [
        ("forgets", BoundaryUnlearner(retain_weight=0, lr=0.02)),
        ("retains", FineTuneUnlearner()),
    ],
    method="interpolate",
    n_points=21,
    random_state=0,
)
composed.fit(X, y).unlearn(X, y, forget=(y == 3))
path = pd.DataFrame(composed.path_)
chosen = path.alpha[(path.retain_accuracy - path.forget_accuracy).idxmax()]

# %%
# The class is known again only near the end of the line that never forgot it, while the damage
# of the other end heals on the way.
fig, axes = plt.subplots(2, 1, figsize=(6.4, 4.6), sharex=True, layout="constrained")
axes[0].plot(path.alpha, path.retain_accuracy, "o-", color="#0072B2")
axes[0].set_ylabel("accuracy\non retain rows")
axes[1].plot(path.alpha, path.forget_accuracy, "s-", color="#D55E00")
axes[1].set_ylabel("accuracy\non forget rows")
axes[1].set_xlabel("position on the line")
axes[1].set_xticks([0, 0.25, 0.5, 0.75, 1], ["0\n“forgets”", 0.25, 0.5, 0.75, "1\n“retains”"])
for ax in axes:
    ax.axvline(chosen, color="black", linestyle="--", linewidth=1, label="chosen")
    ax.spines[["top", "right"]].set_visible(False)
axes[1].legend(loc="center left", frameon=False)
plt.show()

# %%
# On test rows:
for name, model in [*composed.named_estimators_.items(), ("composed", composed)]:
    kept = y_test != 3
    print(
        f"{name}: accuracy on the class {model.score(X_test[~kept], y_test[~kept]):.3f}, "
        f"on the others {model.score(X_test[kept], y_test[kept]):.3f}"
    )
