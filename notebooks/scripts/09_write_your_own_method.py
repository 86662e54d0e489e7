# %% [markdown]
# # 9. Write your own method
#
# A method of unlearning is an idea about one step: what should the network learn from a row that it
# is to forget? In this notebook you write that idea down in some thirty lines, and let the library
# do what all methods have in common: batches, the training loop, labels, records, the way back
# after a failure.
#
# After this notebook you can
#
# - write a method as a class with one hook, `_loss`;
# - give it a parameter of its own that behaves as scikit-learn's do;
# - run scikit-learn's checks on it, and a contract that every unlearner should keep;
# - compare it with other methods without fooling yourself.
#
# Time: 60 minutes.

# %%
import pickle
from numbers import Real

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from sklearn.utils._param_validation import Interval
from sklearn.utils.estimator_checks import check_estimator
from torch.nn.functional import cross_entropy

from sklunlearn import (
    BoundaryUnlearner,
    FineTuneUnlearner,
    NegGradUnlearner,
    RetrainUnlearner,
    compare_unlearners,
)
from sklunlearn.gradient import GradientUnlearner
from sklunlearn.inspection import ForgettingCurveDisplay, TradeoffDisplay
from sklunlearn.utils import check_unlearner

torch.set_num_threads(1)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)
forget = y_train == 3

# %% [markdown]
# ## The idea: lose by a margin
#
# A row $x$ with label $y$ is forgotten as a member of its class when another class wins. Gradient
# ascent pushes the loss of the row up without end, also long after another class has won. A *hinge*
# stops when the work is done. With the logits $z$ of the row,
#
# $$\ell(x, y) = \max\Bigl(0,\; z_y - \max_{k \neq y} z_k + m\Bigr),$$
#
# which is zero as soon as some other class leads by the margin $m$. The rows to retain are
# practised beside it by the cross-entropy, as in most methods.
#
# Let us try the formula on paper before we put it into a class: three rows of the same class, which
# wins clearly, wins narrowly, and loses by more than $m = 1$.


# %%
def margin_loss(logits, y, margin):
    """Hinge of each row: 0 where another class leads by the margin."""
    own = logits.gather(1, y[:, None]).squeeze(1)
    others = logits.scatter(1, y[:, None], -torch.inf).amax(dim=1)
    return (own - others + margin).relu()


logits = torch.tensor([[5.0, 1.0, 0.0], [2.0, 1.5, 0.0], [0.0, 3.0, 0.0]])
margin_loss(logits, torch.tensor([0, 0, 0]), margin=1.0)

# %% [markdown]
# $5 - 1 + 1 = 5$, $2 - 1.5 + 1 = 1.5$, and $0 - 3 + 1 < 0$, hence $0$: as it should be.
#
# ## The class
#
# `GradientUnlearner` asks for one hook, `_loss(module, forget, retain)`. Both batches have `logits`
# and `y`; `retain` is `None` where no retain rows take part. What `_loss` returns is descended.
#
# The constructor follows scikit-learn's rules: every parameter by name, stored as it is, no work
# and no `**kwargs`, as `get_params` and `clone` read its signature. It need not repeat all
# parameters of the base class: those that are left out keep the defaults that the base class gives
# them. What values are allowed is written in `_parameter_constraints`, and checked by `fit`.
#
# The base class's own default, SGD with momentum, would carry the weights on after the hinge is at
# zero; Adam with a small rate stops sooner. Try the other one later: it is one argument.


# %%
class MarginUnlearner(GradientUnlearner):
    """Forget rows lose to another class by a margin.

    Parameters
    ----------
    margin : float, default=1.0
        By how much another class shall lead, in units of the logits.
    """

    _parameter_constraints = {
        **GradientUnlearner._parameter_constraints,
        "margin": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        estimator=None,
        *,
        margin=1.0,
        retain_weight=1.0,
        lr=0.001,
        max_epochs=10,
        optimizer=torch.optim.Adam,
        random_state=None,
    ):
        super().__init__(
            estimator,
            retain_weight=retain_weight,
            lr=lr,
            max_epochs=max_epochs,
            optimizer=optimizer,
            random_state=random_state,
        )
        self.margin = margin

    def _loss(self, module, forget, retain):
        loss = margin_loss(forget.logits, forget.y, self.margin).mean()
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss


unlearner = MarginUnlearner(random_state=0).fit(X_train, y_train)
before = unlearner.score(X_test[y_test == 3], y_test[y_test == 3])
unlearner.unlearn(X_train, y_train, forget=forget)
after = unlearner.score(X_test[y_test == 3], y_test[y_test == 3])
others = unlearner.score(X_test[y_test != 3], y_test[y_test != 3])
print(f"test accuracy on the threes: {before:.3f} before, {after:.3f} after; others: {others:.3f}")

# %% [markdown]
# `fit`, `unlearn`, `score`, the history and the records are there, although we wrote none of them.
# The history has the loss of each epoch, and there is a picture of it.

# %%
ForgettingCurveDisplay.from_estimator(unlearner)
plt.show()

# %% [markdown]
# ## The checks of scikit-learn
#
# `check_estimator` tries an estimator with data of many kinds: lists, float32, text labels, one
# row, missing values, wrong shapes. It tells what was passed, skipped or failed.

# %%
results = check_estimator(MarginUnlearner(max_epochs=2, random_state=0), on_skip=None, on_fail=None)
for status in ("passed", "skipped", "failed"):
    names = [check["check_name"] for check in results if check["status"] == status]
    print(status, len(names), names if status != "passed" else "")

# %% [markdown]
# ## The contract of an unlearner
#
# scikit-learn knows nothing of forgetting. What should every unlearner keep to? Here are five
# promises, each a few lines:
#
# 1. The same seed gives the same model.
# 2. A network in a `FrozenEstimator` is never changed.
# 3. `unlearn` starts from the fitted model every time: twice is the same as once.
# 4. A run that fails leaves the model as it was.
# 5. The model that is given away, `release()`, predicts the same, and survives pickling.


# %%
def check_contract(unlearner, X, y, forget):
    """Raise an AssertionError at the first promise that is not kept."""
    first = clone(unlearner).fit(X, y).unlearn(X, y, forget=forget)
    again = clone(unlearner).fit(X, y).unlearn(X, y, forget=forget)
    np.testing.assert_array_equal(first.predict_proba(X), again.predict_proba(X))

    net = clone(unlearner).fit(X, y).fitted_
    before = net.predict_proba(X.astype(np.float32))
    frozen = clone(unlearner).set_params(estimator=FrozenEstimator(net)).fit(X, y)
    frozen.unlearn(X, y, forget=forget)
    np.testing.assert_array_equal(net.predict_proba(X.astype(np.float32)), before)

    once = first.predict_proba(X)
    np.testing.assert_array_equal(first.unlearn(X, y, forget=forget).predict_proba(X), once)

    try:
        first.unlearn(X, y, forget=np.ones(len(y), dtype=bool))  # nothing would be left
    except ValueError as error:
        print("refused, rightly:", error)
    else:
        raise AssertionError("A request to forget everything was not refused.")
    np.testing.assert_array_equal(first.predict_proba(X), once)

    released = pickle.loads(pickle.dumps(first.release()))
    np.testing.assert_array_equal(released.predict_proba(X), once)
    print(type(unlearner).__name__, "keeps the five promises.")


check_contract(MarginUnlearner(max_epochs=2, random_state=0), X_train, y_train, forget)

# %% [markdown]
# In the tests of your own method you need not write these down again. `check_unlearner` has the
# library's list, and runs scikit-learn's checks too unless told not to. It returns the names of the
# checks that were passed.

# %%
check_unlearner(MarginUnlearner(max_epochs=2), sklearn_checks=False)

# %% [markdown]
# A method that is to join the library needs four places: its file, a line in
# `sklunlearn/unlearners/__init__.py`, a row in the registry of the tests, and a section of the user
# guide. `CONTRIBUTING.md` has the details.
#
# ## Exercise 1: another idea
#
# "A network that knows nothing of a row gives all classes the same probability." The *uniform
# target* makes a loss of that: the cross-entropy of the predicted probabilities $p$ with the
# uniform distribution over $K$ classes, $-\frac{1}{K}\sum_k \log p_k$, averaged over the rows. Fill
# in the blank. What is the loss of a network that does say the same of all classes?


# %% tags=["answer"]
def uniform_loss(logits):
    """Mean cross-entropy with the uniform distribution."""
    return -logits.log_softmax(dim=1).mean()


# %%
answer = uniform_loss(torch.zeros(4, 10))
if answer is not None:
    torch.testing.assert_close(answer, torch.tensor(10.0).log())  # log K: its lowest value
    assert uniform_loss(torch.eye(10)) > answer
    print("Right: log K is the lowest value, and reached by equal logits only.")

# %% [markdown]
# The class around it is as short as the sentence. (As long as the blank is empty, it uses the
# margin.)


# %%
class UniformUnlearner(MarginUnlearner):
    """Forget rows get equal probabilities."""

    def _loss(self, module, forget, retain):
        loss = uniform_loss(forget.logits)
        if loss is None:
            return super()._loss(module, forget, retain)
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss


# %% [markdown]
# ## Side by side
#
# `compare_unlearners` trains one network for each seed, which all methods start from, and retrains
# one without the rows. The row "retrained" is the yardstick: how far retrained networks are from
# each other. A class was forgotten, so that an accuracy of 0 on its test rows is right.

# %%
methods = {
    "margin": MarginUnlearner(),
    "uniform": UniformUnlearner(),
    "boundary": BoundaryUnlearner(),
    "ascent": NegGradUnlearner(),
    "fine-tuning": FineTuneUnlearner(),
}
frame = compare_unlearners(
    methods, X_train, y_train, forget=forget, X_test=X_test, y_test=y_test, seeds=3
)
columns = ["forget_accuracy_test", "test_accuracy", "js_forget", "js_test", "speed_up"]
table = frame.groupby("method", sort=False)[columns].mean()
table.round(3)

# %% [markdown]
# Read it by columns. A uniform target does not ask that another class wins: where all classes are
# nearly equal, the old label may still be ahead by a little, and accuracy counts that in full. The
# *Jensen-Shannon divergence* on the forget rows looks at the probabilities, and is harder to
# please: it asks whether the network says of these rows what a retrained one would say. So what
# does a retrained network say of threes, which it never saw?

# %%
retrained = RetrainUnlearner(random_state=0).fit(X_train, y_train, forget=forget)
proba = retrained.predict_proba(X_train[forget])
labels, counts = np.unique(retrained.classes_[proba.argmax(axis=1)], return_counts=True)
print("labels and how often:", dict(zip(labels.tolist(), counts.tolist(), strict=True)))
print(f"probability of the label that is given, mean: {proba.max(axis=1).mean():.2f}")

# %% [markdown]
# It is sure of itself, and says nine or two or eight. To teach "I do not know", as the uniform
# target does, is a policy that one may want, but it is not what retraining does.

# %%
candidates = table.drop(index=["original", "retrained"])
TradeoffDisplay.from_frame(
    candidates,
    x="test_accuracy",
    y="js_forget",
    names=candidates.index,
    x_good="as retrained",
    y_good="low",
    baselines={
        name: tuple(table.loc[name, ["test_accuracy", "js_forget"]])
        for name in ("original", "retrained")
    },
)
plt.show()

# %% [markdown]
# ## Exercise 2: what does the margin do?
#
# With the margin at 0, a row is left alone as soon as another class ties. Unlearn with margins of
# 0, 1 and 10, and keep for each the mean probability that the network gives the label 3 on the
# forget rows (`predict_proba(X_train[forget])[:, 3].mean()`).

# %%
fitted = MarginUnlearner(random_state=0).fit(X_train, y_train).fitted_


# %% tags=["answer"]
def forgotten_probability(margin):
    """Mean probability of the label 3 on the forget rows, after unlearning from `fitted`."""
    member = MarginUnlearner(FrozenEstimator(fitted), margin=margin, random_state=0)
    member.fit(X_train, y_train).unlearn(X_train, y_train, forget=forget)
    return float(member.predict_proba(X_train[forget])[:, 3].mean())


# %%
probabilities = {margin: forgotten_probability(margin) for margin in (0, 1, 10)}
if probabilities[0] is not None:
    print(probabilities)
    assert probabilities[0] > probabilities[1] > probabilities[10]
    plt.figure(figsize=(4.5, 3), layout="constrained")
    names = [str(margin) for margin in probabilities]
    plt.plot(names, list(probabilities.values()), "o--", color="#D55E00")
    plt.ylim(bottom=0)
    plt.xlabel("margin, in units of the logits")
    plt.ylabel("mean probability of\nthe forgotten label")
    plt.show()

# %% [markdown]
# The margin is a dial between "another class just wins" and "this label is out of the question".
# Which is right is not a matter of taste: it is what the retrained network says.
#
# ## What we have learnt
#
# - A method is a loss: a class with `_loss`, and a constructor in scikit-learn's manner.
# - `check_estimator` finds mistakes about data, `check_unlearner` those about forgetting. What only
#   your method promises, write down as a check of your own, before the method.
# - That a new method works on one class of one data set with three seeds is a start, not a result.
#   How to make more of it is the subject of the last notebook.
