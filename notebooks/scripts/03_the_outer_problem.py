# %% [markdown]
# # 3. The outer problem and its knobs
#
# The search of notebook 2 found, for each row to forget, what it would be on the other side of its nearest boundary. Now the
# network is trained to say so. At the same time it must not lose the rest. Both together are the **outer problem**:
#
# $$\min_\theta \; \mathrm{CE}(f_\theta(x_{\text{forget}}), \text{target}) + \varphi \, \mathrm{CE}(f_\theta(x_{\text{retain}}), y_{\text{retain}})$$
#
# $\varphi$ is `retain_weight`. This notebook turns it and the other knobs.
#
# After this notebook you can
#
# - write one step of the outer problem by hand;
# - choose a target, a retain weight and a learning rate, and say what each of them costs;
# - read a forgetting curve, and stop a run in time.
#
# Time: 40 minutes.

# %%
import copy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn.inspection import ForgettingCurveDisplay
from sklunlearn.metrics import js_divergence
from sklunlearn.search import perturbed_sign_search

torch.set_num_threads(1)

# %% [markdown]
# ## One network for all runs
#
# We train once. `FrozenEstimator` says that the network is to be used as it is: every unlearner below starts from the same weights, and none of
# them is trained again.

# %%
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
forget = y_train == 3
original = RetrainUnlearner(random_state=0).fit(X_train, y_train)
net = FrozenEstimator(original.fitted_)
print(f"test accuracy {original.score(X_test, y_test):.3f}, {forget.sum()} rows to forget")

# %% [markdown]
# ## A step by hand
#
# A batch of forget rows with the labels that the search found, a batch of retain rows with their own, one loss, one step on the weights.

# %%
module = copy.deepcopy(original.net_.module_).eval()
tensor = torch.from_numpy(X_train).float()
labels = torch.from_numpy(y_train)

rows = tensor[forget]
search = perturbed_sign_search(module, rows, labels[forget], scale=rows.std(dim=0))
logits = search.logits.clone()
logits[:, 3] = -torch.inf  # the class itself is never a target
targets = logits.argmax(dim=1)

optimizer = torch.optim.SGD(module.parameters(), lr=0.002, momentum=0.9)
generator = torch.Generator().manual_seed(0)
kept = torch.from_numpy(np.flatnonzero(~forget))
for step in range(31):
    batch = torch.randperm(len(rows), generator=generator)[:64]
    retained = kept[torch.randint(len(kept), (64,), generator=generator)]
    forget_loss = torch.nn.functional.cross_entropy(module(rows[batch]), targets[batch])
    retain_loss = torch.nn.functional.cross_entropy(module(tensor[retained]), labels[retained])
    loss = forget_loss + 2.0 * retain_loss
    if step % 10 == 0:
        known = (module(rows).argmax(dim=1) == 3).double().mean()
        print(
            f"step {step:2}: forget loss {forget_loss:6.3f}, retain loss {retain_loss:.3f}, threes known {known:.2f}"
        )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

# %% [markdown]
# That is the whole method. `BoundaryUnlearner` does the same, with checks, records, callbacks, and without touching the network that it
# started from.
#
# ## The forgetting curve
#
# Each epoch is a pass over the forget rows. `history_` holds the losses, and the display draws them.

# %%
unlearner = BoundaryUnlearner(net, random_state=0).fit(X_train, y_train, forget=forget)
ForgettingCurveDisplay.from_estimator(unlearner)
plt.show()

# %% [markdown]
# ## Knob 1: the retain weight
#
# What does a run cost, if the retain rows count little or much? We measure on test rows: accuracy on the forgotten class and on the others, and
# how far the probabilities are from those of a retrained network (Jensen-Shannon divergence in bits: 0 are the same, 1 have nothing in
# common). With the default learning rate little happens here; we take one ten times as large, so that the knob shows what it does.

# %%
reference = RetrainUnlearner(random_state=1).fit(X_train, y_train, forget=forget)
three = y_test == 3


def judge(model):
    """Accuracies on test rows, and the distance of all probabilities there from retraining."""
    return {
        "test, threes": model.score(X_test[three], y_test[three]),
        "test, others": model.score(X_test[~three], y_test[~three]),
        "distance from retrained": js_divergence(
            model.predict_proba(X_test), reference.predict_proba(X_test)
        ),
    }


def run(**options):
    unlearner = BoundaryUnlearner(net, random_state=0).set_params(**options)
    return judge(unlearner.fit(X_train, y_train, forget=forget))


weights = [0, 0.1, 1, 2, 10, 100]
table = {weight: run(retain_weight=weight, lr=0.02) for weight in weights}
pd.DataFrame(table).T.rename_axis("retain_weight").round(3)

# %% [markdown]
# With weight 0 nothing holds the other classes, and they suffer. In the middle lies a wide range in which both goals are met: a good sign, as the best
# value need not be known exactly. And with weight 100? The loss is a hundred times as large, and so are the steps: the run breaks the
# network, which is worse than too little. A large weight wants a smaller learning rate.
#
# ## Knob 2: what the network is taught
#
# - "hard": the one class found on the other side;
# - "soft": the probabilities found there, without the class itself; "topk": the largest of them;
# - "tilted": no search; the original network's own probabilities over the other classes.

# %%
table = {target: run(target=target) for target in ["hard", "soft", "topk", "tilted"]}
table["(another retrained)"] = judge(
    RetrainUnlearner(random_state=2).fit(X_train, y_train, forget=forget)
)
pd.DataFrame(table).T.rename_axis("target").round(3)

# %% [markdown]
# On digits the choice hardly matters. The last line is the yardstick: two retrained networks, which differ in their seed alone, are that far from
# each other. The unlearned networks are farther away, whatever they were taught. How sure are the networks about test threes, which they must call something else? Here, too, the picture
# of the unlearned networks is about that of the retrained one:

# %%
figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for target in ["hard", "soft", "tilted"]:
    unlearner = BoundaryUnlearner(net, target=target, random_state=0)
    unlearner.fit(X_train, y_train, forget=forget)
    ax.ecdf(unlearner.predict_proba(X_test[three]).max(axis=1), label=target)
sure = reference.predict_proba(X_test[three]).max(axis=1)
ax.ecdf(sure, label="retrained", color="black", ls="--")
ax.set(xlabel="largest probability", ylabel="share of test threes\nthat is at most so sure")
ax.legend()
plt.show()

# %% [markdown]
# ## Knob 3: how fast, how long
#
# A large learning rate forgets in an epoch and breaks what it touches; a small one takes many. `stop_accuracy` ends a run when the forget
# rows are known no better than that.
#
# ### Exercise 1
#
# Fill `rates` with a DataFrame that has a row for each of the learning rates .0002, .002 and .02, and the columns of `judge`.

# %% tags=["answer"]
rates = pd.DataFrame({lr: run(lr=lr) for lr in (0.0002, 0.002, 0.02)}).T

# %%
if rates is not ...:
    assert rates.shape == (3, 3)
    assert set(rates.columns) == set(judge(reference))
    print(rates.round(3))

# %% [markdown]
# ### Exercise 2
#
# `stop_accuracy=0` stops after the first epoch in which no forget row is known any more. Make such an unlearner in `stopped`, with at most 50 epochs,
# fit it with the request, and look how many epochs it took: `len(stopped.history_)`.

# %% tags=["answer"]
stopped = BoundaryUnlearner(net, stop_accuracy=0, max_epochs=50, random_state=0).fit(
    X_train, y_train, forget=forget
)

# %%
if stopped is not ...:
    assert stopped.get_params()["stop_accuracy"] == 0
    assert stopped.score(X_train[forget], y_train[forget]) == 0
    print(
        f"{len(stopped.history_)} epochs, test accuracy of the others {judge(stopped)['test, others']:.3f}"
    )

# %% [markdown]
# ## What we have learnt
#
# - The **outer problem** teaches the network what the search found, while a weighted retain loss holds the rest.
# - `retain_weight` trades one for the other; `target` says what the network is taught; `lr` and `max_epochs` how far it goes.
# - A table of knobs needs a yardstick: how far retrained networks are from each other.
#
# Next: [searching the trade-off](04_the_trade_off.ipynb).
