# %% [markdown]
# # 8. Composing models
#
# One run forgets well and damages the rest; another keeps the rest and forgets little. Must we
# choose? Networks that come from the same original can be put together: layers of one on layers of
# another, a mean of the weights, a point on the line between them, a vote. None of it needs
# training.
#
# After this notebook you can
#
# - make one model of several runs with `ComposedUnlearner`;
# - say what grafting, averaging, interpolating and voting do to the weights;
# - see in a picture whether a composition is better than its members;
# - name two conditions under which it is not.
#
# Time: 40 minutes.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklunlearn import (
    BoundaryUnlearner,
    ComposedUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    RetrainUnlearner,
)
from sklunlearn.inspection import TradeoffDisplay

torch.set_num_threads(1)

X, y = load_digits(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(
    X_rest, y_rest, test_size=0.2, stratify=y_rest, random_state=0
)
forget, forget_val, forget_test = y_train == 3, y_val == 3, y_test == 3
validation = {"X_val": X_val, "y_val": y_val, "forget_val": forget_val}


def accuracies(model):
    """Accuracy on test rows of the forgotten class, and on those of the others."""
    return (
        model.score(X_test[forget_test], y_test[forget_test]),
        model.score(X_test[~forget_test], y_test[~forget_test]),
    )


# %% [markdown]
# There are three sets of rows, not two: some compositions choose among candidates, and what is
# chosen by rows is flattered by them. They choose by validation rows, we judge by test rows.
#
# ## Two members
#
# The one that forgets is a harsh run without any retain rows; the one that retains is plain
# fine-tuning. `ComposedUnlearner` trains one network, lets each member start from it, and composes
# what they end with.

# %%
members = [
    ("forgets", BoundaryUnlearner(retain_weight=0, lr=0.02)),
    ("retains", FineTuneUnlearner()),
]
composed = ComposedUnlearner(members, method="interpolate", random_state=0)
composed.fit(X_train, y_train)
original = accuracies(composed)
composed.unlearn(X_train, y_train, forget=forget, **validation)

rows = {"original": original}
for name, member in composed.named_estimators_.items():
    rows[name] = accuracies(member)
rows["interpolate"] = accuracies(composed)
columns = ["forgotten class", "other classes"]
pd.DataFrame.from_dict(rows, orient="index", columns=columns).round(3)

# %%
TradeoffDisplay.from_composition(composed, X_test, y_test, forget=forget_test)
plt.show()

# %% [markdown]
# ## The line between two networks
#
# Interpolation takes the weights $\theta(\alpha) = (1 - \alpha)\,\theta_A + \alpha\,\theta_B$ for
# some values of $\alpha$ and looks at each network on the way. `path_` keeps what it saw.

# %%
path = pd.DataFrame(composed.path_)
fig, ax = plt.subplots(figsize=(5.5, 3.2), layout="constrained")
ax.plot(path["alpha"], path["forget_accuracy"], "o-", color="#D55E00", label="forgotten class")
ax.plot(path["alpha"], path["retain_accuracy"], "s-", color="#0072B2", label="other classes")
ax.set(xlabel="α: from “forgets” (0) to “retains” (1)", ylabel="accuracy on validation rows")
ax.legend(loc="center left")
plt.show()

# %% [markdown]
# ### Exercise 1
#
# Choose the point yourself: among those that know at most 1% of the forgotten class, the one with
# the best accuracy on the others. (A column of a DataFrame is `path["alpha"]`; `path.loc[mask]`
# takes rows, and `idxmax()` gives the index of the largest value of a column.)

# %% tags=["answer"]
forgotten = path.loc[path["forget_accuracy"] <= 0.01]
chosen_alpha = forgotten.loc[forgotten["retain_accuracy"].idxmax(), "alpha"]

# %%
if chosen_alpha is not ...:
    chosen = path.loc[path["alpha"] == chosen_alpha].iloc[0]
    assert chosen["forget_accuracy"] <= 0.01
    better = path["retain_accuracy"] > chosen["retain_accuracy"]
    assert not (better & (path["forget_accuracy"] <= 0.01)).any()
    print(f"α = {chosen_alpha:.1f}: {chosen['retain_accuracy']:.3f} of the other classes")

# %% [markdown]
# ## Five ways
#
# The members need not be trained again: in a `FrozenEstimator` they are used as they are. We draw
# each composition beside a network that was retrained without the class.

# %%
frozen = [(name, FrozenEstimator(member)) for name, member in composed.named_estimators_.items()]
ways = ("graft", "average", "task_arithmetic", "interpolate", "vote")
compositions = {
    way: ComposedUnlearner(frozen, method=way, random_state=0)
    .fit(X_train, y_train)
    .unlearn(X_train, y_train, forget=forget, **validation)
    for way in ways
}
for way, model in compositions.items():
    rows[way] = accuracies(model)
retrained = RetrainUnlearner(random_state=1).fit(X_train, y_train, forget=forget)
rows["retrained"] = accuracies(retrained)
table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
table.round(3)

# %%
fig, axes = plt.subplots(1, 2, figsize=(8, 3.4), sharey=True, layout="constrained")
for ax, column, color in zip(axes, columns, ("#D55E00", "#0072B2"), strict=True):
    ax.plot(table[column], table.index, "o", color=color)
    ax.axvline(table.loc["retrained", column], color="grey", linestyle=":")
    ax.set_xlabel(f"test accuracy, {column}")
    ax.grid(axis="y", alpha=0.3)
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# The dotted line is the retrained network. With its default weights task arithmetic *is* the
# average; it becomes another thing with other weights, as we shall see below.
#
# A *vote* averages probabilities, so that a member that still knows the class brings it back. A
# *graft* puts the last layers of "forgets" on the first ones of "retains"; `donors_` says whose
# they are. The head was trained with other features than those that it is given now.

# %%
graft = compositions["graft"]
print("encoder from, head from:", graft.donors_)
print("similarity of the embeddings:", graft.compatibility_["embedding_similarity"][0, 1].round(3))

# %% [markdown]
# ### Exercise 2: average by hand
#
# A network is a dictionary of tensors. Put the mean of the two members' weights into `average`, and
# compare with what the library does.

# %%
states = [member.net_.module_.state_dict() for member in composed.named_estimators_.values()]

# %% tags=["answer"]
average = {key: (states[0][key] + states[1][key]) / 2 for key in states[0]}

# %%
if average is not ...:
    library = compositions["average"].net_.module_.state_dict()
    assert library.keys() == average.keys()
    for key in library:
        torch.testing.assert_close(library[key], average[key])
    print("Right: averaging networks is no more than this.")

# %% [markdown]
# ## Two requests, one network
#
# Two people asked at different times, and each request was answered from the same original. The
# *task vector* of a run is what it changed, $\tau = \theta - \theta_0$. With weights of 1 all of
# both changes are added to the original.

# %%
net = composed.fitted_
answers = {
    digit: NegGradUnlearner(FrozenEstimator(net), random_state=0)
    .fit(X_train, y_train)
    .unlearn(X_train, y_train, forget=(y_train == digit))
    for digit in (3, 5)
}
both = ComposedUnlearner(
    [(f"without_{digit}", FrozenEstimator(answer)) for digit, answer in answers.items()],
    method="task_arithmetic",
    weights=[1, 1],
)
both.fit(X_train, y_train, forget=np.isin(y_train, [3, 5]))
for name, model in {**both.named_estimators_, "both": both}.items():
    of = {digit: model.score(X_test[y_test == digit], y_test[y_test == digit]) for digit in (3, 5)}
    rest = ~np.isin(y_test, [3, 5])
    print(
        f"{name:10} threes {of[3]:.3f}, fives {of[5]:.3f}, "
        f"others {model.score(X_test[rest], y_test[rest]):.3f}"
    )

# %% [markdown]
# ## When it cannot work: strangers
#
# Weights mean the same only in networks that come from the same original. Two networks that were
# trained independently may both be excellent, and the mean of their weights is not. The library
# notices that their embeddings do not agree, and warns.

# %%
stranger = FineTuneUnlearner(random_state=7).fit(X_train, y_train, forget=forget)
strangers = [("own", FrozenEstimator(composed.named_estimators_["retains"]))]
strangers += [("stranger", FrozenEstimator(stranger))]
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    mean = ComposedUnlearner(strangers, method="average").fit(X_train, y_train, forget=forget)
for warning in caught:
    print(warning.message)
for name, model in {**mean.named_estimators_, "average": mean}.items():
    print(f"{name:10} accuracy on the other classes {accuracies(model)[1]:.3f}")

# %% [markdown]
# A `"vote"` needs no agreement of weights, and works with strangers; its price is that both
# networks are kept and run.
#
# ## What we have learnt
#
# - Compositions cost milliseconds. Whether they help is a matter of the members; look, do not
#   assume.
# - Here the point on the line beats both members, and the graft loses. That is one class, one split
#   and one seed.
# - Members must come from one original; and what chooses must not be what judges.
# - Forgetting one class in the head does not forget it in the encoder, so that a graft or a later
#   fine-tuning may bring it back. Look at `scores_`, and at the probe of notebook 5.
