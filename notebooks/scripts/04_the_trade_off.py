# %% [markdown]
# # 4. The trade-off
#
# Forgetting more may cost accuracy elsewhere. Which setting is best then depends on what one cares for, and there are many knobs. So we
# search: with scikit-learn's own tools, and with `TradeoffSearchCV`, which knows that there are two sides.
#
# After this notebook you can
#
# - search settings with `TradeoffSearchCV`, and read the Pareto front and its knee;
# - do the same with a plain `GridSearchCV`;
# - choose under a constraint: "the others must keep 96%";
# - say why the winner of a search looks better than it is.
#
# Time: 40 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split

from sklunlearn import BoundaryUnlearner, NegGradUnlearner
from sklunlearn.inspection import TradeoffDisplay
from sklunlearn.model_selection import (
    ForgetStratifiedKFold,
    TradeoffSearchCV,
    select_constrained,
    unlearning_scorers,
)

torch.set_num_threads(1)

# %%
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
forget, forget_test = y_train == 3, y_test == 3

# %% [markdown]
# ## A method with a real conflict
#
# `NegGradUnlearner` goes *up* the loss of the forget rows and down that of the retain rows. Too little, and the class is still known; too much, and
# the network breaks. Fifteen candidates, each in three folds; a fold trains its network once.

# %%
grid = {"lr": [0.0003, 0.0005, 0.001, 0.01, 0.02], "retain_weight": [0.1, 1.0, 5.0]}
search = TradeoffSearchCV(
    NegGradUnlearner(max_epochs=3, random_state=0),
    grid,
    cv=ForgetStratifiedKFold(3, shuffle=True, random_state=0),
    engine="vectorized",
)
search.fit(X_train, y_train, forget=forget)
columns = ["params", "mean_test_forgetting", "mean_test_retention", "mean_test_membership"]
pd.DataFrame(search.cv_results_)[columns].round(3)

# %% [markdown]
# Greater is better in all columns: *forgetting* is one less the accuracy on held-out rows of the class, *retention* the accuracy on the
# others, and *membership* is 1 if an attacker cannot tell the rows that were forgotten from those that were never seen (notebook 5). No candidate need be best in both. One is **dominated** if another is at least as good in everything and better in something. What
# is left is the **Pareto front**; its **knee** is where giving up a little of one side no longer buys much of the other.

# %%
TradeoffDisplay.from_search(search)
plt.show()
print(search.verdict_)

# %% [markdown]
# The front belongs to all three scores, the picture shows two. A point of the front that looks dominated here has a better *membership* than those that seem to dominate it.

# %%
search.pareto_front_.round(4)

# %% [markdown]
# `search.best_estimator_` is the knee, fitted to all training rows. A test set that the search has never seen has the last word:


# %%
def judge(model):
    """Accuracy on test rows of the forgotten class, and of the others."""
    return pd.Series(
        {
            "test, threes": model.score(X_test[forget_test], y_test[forget_test]),
            "test, others": model.score(X_test[~forget_test], y_test[~forget_test]),
        }
    )


print(search.best_params_)
print(judge(search.best_estimator_).round(3).to_string())

# %% [markdown]
# ## With scikit-learn alone
#
# An unlearner is a classifier whose `fit` takes the mask, so that `GridSearchCV` can search it. It must be told to pass the mask on: that is
# *metadata routing*. `memory` keeps the network that each fold trains, so that it is trained once and not for every candidate.

# %%
import tempfile

with tempfile.TemporaryDirectory() as folder, sklearn.config_context(enable_metadata_routing=True):
    plain = GridSearchCV(
        NegGradUnlearner(max_epochs=3, memory=folder, random_state=0),
        grid,
        scoring=unlearning_scorers(),
        cv=ForgetStratifiedKFold(3, shuffle=True, random_state=0),
        refit=False,
        error_score="raise",
    )
    plain.fit(X_train, y_train, forget=forget)

difference = plain.cv_results_["mean_test_retention"] - search.cv_results_["mean_test_retention"]
print("largest difference from TradeoffSearchCV:", np.abs(difference).max())

# %% [markdown]
# ## Under a constraint
#
# A hospital says: the other classes must keep an accuracy of at least 96% in cross-validation; of what fulfils this, take what forgets best. `refit=` takes
# such a rule.
#
# ### Exercise 1
#
# Make `rule` with `select_constrained`, and ask it for the index of the candidate that it chooses: `chosen = rule(search.cv_results_)`.

# %% tags=["answer"]
rule = select_constrained(min_retain=0.96)
chosen = rule(search.cv_results_)

# %%
if chosen is not ...:
    results = pd.DataFrame(search.cv_results_)
    enough = results[results["mean_test_retention"] >= 0.96]
    assert results.loc[chosen, "mean_test_forgetting"] == enough["mean_test_forgetting"].max()
    print(results.loc[chosen, columns].to_string())

# %% [markdown]
# ## The winner's curse
#
# Let us search something that does not matter: the seed. Twelve candidates that differ in nothing but luck, and only a few rows to judge by. The best of
# them looks good, as it was chosen for looking good.

# %%
few = np.random.default_rng(0).permutation(len(X_train))[:300]
seeds = TradeoffSearchCV(
    BoundaryUnlearner(lr=0.02, retain_weight=0.2),
    {"random_state": list(range(12))},
    cv=ForgetStratifiedKFold(3, shuffle=True, random_state=0),
    refit=False,
)
seeds.fit(X_train[few], y_train[few], forget=forget[few])
looks = seeds.cv_results_["mean_test_retention"]

is_test = []
for seed in range(12):
    unlearner = BoundaryUnlearner(lr=0.02, retain_weight=0.2, random_state=seed)
    unlearner.fit(X_train[few], y_train[few], forget=forget[few])
    is_test.append(judge(unlearner)["test, others"])
is_test = np.array(is_test)

figure, ax = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
best = looks.argmax()
ax.scatter(looks, is_test, label="seeds")
ax.scatter(looks[best], is_test[best], color="C1", s=80, label="winner of the search")
ax.axhline(is_test.mean(), color="grey", lw=1, label="mean of all on test rows")
ax.set(xlabel="retention in cross-validation", ylabel="retention on test rows")
figure.legend(loc="outside right upper")
plt.show()

# %% [markdown]
# ### Exercise 2
#
# How much does the winner promise too much? Compute `optimism`: its retention in cross-validation beyond the mean of all twelve candidates there, less the same on test
# rows.

# %% tags=["answer"]
optimism = (looks[best] - looks.mean()) - (is_test[best] - is_test.mean())

# %%
if optimism is not ...:
    ahead = looks[best] - looks.mean(), is_test[best] - is_test.mean()
    assert np.isclose(optimism, ahead[0] - ahead[1])
    print(f"ahead of the others by {ahead[0]:.3f} in the search, by {ahead[1]:+.3f} on test rows")

# %% [markdown]
# ## What we have learnt
#
# - A setting is a compromise. The **Pareto front** lists those that are worth a thought; the **knee** is one way to choose, a **constraint** another.
# - `TradeoffSearchCV` turns metadata routing on for itself; for `GridSearchCV` we do.
# - The score of the winner flatters it. Report what an untouched test set says.
#
# Next: [is it really forgotten?](05_is_it_really_forgotten.ipynb)
