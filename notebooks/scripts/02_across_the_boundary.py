# %% [markdown]
# # 2. Across the boundary
#
# `BoundaryUnlearner` asks of each row to forget: if you were not what you are, what would you be? It walks the row across its
# nearest decision boundary and looks what the network says on the other side. That answer is what the network is then taught
# (notebook 3).
#
# After this notebook you can
#
# - write the search by hand, one sign-gradient step after the other;
# - say what step size, its decay, noise and closeness do to the path;
# - do the same with the library, and read its diagnostics.
#
# Time: 40 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits

from sklunlearn import BoundaryUnlearner
from sklunlearn.datasets import make_moons_blobs
from sklunlearn.inspection import PerturbationDisplay, SearchDisplay
from sklunlearn.search import perturbed_sign_search

torch.set_num_threads(1)

# %% [markdown]
# ## A network to walk in

# %%
points = make_moons_blobs(600, random_state=0)
X, y = points.data, points.target
unlearner = BoundaryUnlearner(random_state=0).fit(X, y)
module = unlearner.net_.module_.eval()  # a torch module: rows in, logits out
print(module)

# %% [markdown]
# ## One step
#
# Take one row $x$ of class $y$. The cross-entropy $\mathrm{CE}(x, y)$ says how badly the network does on it. Its gradient with
# respect to $x$ (not to the weights!) points to where the network does worse. We only take the *sign* of each entry: every
# feature moves by the same length, whatever the scale of the gradient. The step is
#
# $$\delta \leftarrow \delta + \varepsilon \, \mathrm{sign}(\nabla_x \mathrm{CE}(x + \delta, y)).$$

# %%
x = torch.from_numpy(X[y == 2][:1])
label = torch.tensor([2])


def gradient(x, label):
    """Gradient of the cross-entropy with respect to the rows."""
    x = x.detach().requires_grad_()
    loss = torch.nn.functional.cross_entropy(module(x), label)
    return torch.autograd.grad(loss, x)[0]


print("the row       ", x.numpy().round(3))
print("gradient      ", gradient(x, label).numpy())
print("its sign      ", gradient(x, label).sign().numpy())

# %% [markdown]
# The gradient is tiny: the network is certain, and there is next to nothing to descend. Its sign is as good as ever. That is the first
# reason for sign steps. (If the probability of the class is 1 up to rounding, even the sign is lost; the library therefore
# uses the gradient of the margin, which has the same direction.)
#
# ## The walk
#
# Repeat until the network prefers another class. With a constant $\varepsilon$ the last step may overshoot; steps of length
# $\varepsilon/\sqrt{t}$ become finer.

# %%
step_size, max_steps = 0.3, 50


def walk(x, label, noise=0.0, closeness=0.0, seed=0):
    """Places that a row visits until it is across, of shape (n_steps + 1, n_features)."""
    generator = torch.Generator().manual_seed(seed)
    delta, places = torch.zeros_like(x), [x]
    for t in range(1, max_steps + 1):
        slope = gradient(x + delta, label)
        slope = slope / slope.abs().mean()  # so that noise and closeness mean the same everywhere
        z = torch.randn(x.shape, generator=generator)
        direction = (slope - closeness * delta + noise * z).sign()
        delta = delta + step_size / t**0.5 * direction
        places.append(x + delta)
        if module(places[-1]).argmax() != label:
            break
    return torch.cat(places)


path = walk(x, label)
print(
    f"across after {len(path) - 1} steps: it would be {points.target_names[module(path[-1:]).argmax()]}"
)

# %%
axes = np.meshgrid(np.linspace(-3.5, 3.5, 200), np.linspace(-4, 4, 200))
grid = np.column_stack([axis.ravel() for axis in axes]).astype("float32")
regions = unlearner.predict(grid).reshape(axes[0].shape)


def draw(ax, paths, title):
    ax.contourf(
        *axes,
        regions,
        levels=np.arange(-0.5, 4),
        colors=["#b3d4e8", "#f6e3b4", "#b5e2d3", "#efd7e5"],
    )
    for label, name in enumerate(points.target_names):
        ax.text(*np.median(grid[regions.ravel() == label], axis=0), name, ha="center", alpha=0.6)
    for path in paths:
        ax.plot(*path.detach().numpy().T, "-", color="black", lw=0.8, marker=".", ms=4)
        ax.plot(*path[0].detach().numpy(), "o", color="black", ms=6)
    ax.set(title=title, xlabel="first feature", ylabel="second feature")


figure, ax = plt.subplots(figsize=(5, 4), layout="constrained")
draw(ax, [path], "one row walks out of its class")
plt.show()

# %% [markdown]
# In two dimensions a sign step goes to one of four diagonals (or along an axis), so that the path is a staircase.
#
# ## Noise and closeness
#
# **Noise** $\gamma z$ is added before the sign is taken: single signs flip, and the row explores. **Closeness** $-\lambda\delta$ pulls back
# toward the row, so that the place found stays near.

# %%
rows = torch.from_numpy(X[y == 2][:12])
settings = {"plain": {}, "noise 1": {"noise": 1.0}, "closeness 0.8": {"closeness": 0.8}}
figure, panels = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharey=True)
for ax, (title, options) in zip(panels, settings.items(), strict=True):
    paths = [walk(rows[i : i + 1], label, **options) for i in range(len(rows))]
    draw(ax, paths, title)
    ax.label_outer()
    lengths = [float((path[-1] - path[0]).norm()) for path in paths]
    print(
        f"{title:14} steps {np.mean([len(p) - 1 for p in paths]):5.1f}, distance {np.mean(lengths):.2f}"
    )
plt.show()

# %% [markdown]
# ### Exercise 1
#
# Constant steps. Write `n_steps`, a function that says how many steps of *constant* length `step_size` a row needs until it is
# across (without noise and closeness).


# %% tags=["answer"]
def n_steps(x, label, step_size):
    """Number of steps of constant length until the network prefers another class."""
    for t in range(1, 201):
        x = x + step_size * gradient(x, label).sign()
        if module(x).argmax() != label:
            return t
    return None


# %%
if (found := n_steps(x, label, 0.1)) is not None:
    reached = perturbed_sign_search(module, x, label, step_size=0.1, step_decay=None, max_steps=200)
    assert found == reached.n_steps[0]
    for size in (0.05, 0.1, 0.3):
        print(f"step size {size}: {n_steps(x, label, size)} steps")

# %% [markdown]
# ## The same with the library
#
# `perturbed_sign_search` does this for all rows at once, each stopping when it is across. Without noise it must agree with ours.

# %%
search = perturbed_sign_search(
    module, rows, torch.full((len(rows),), 2), step_size=step_size, max_steps=max_steps
)
ours = torch.cat([walk(rows[i : i + 1], label)[-1:] for i in range(len(rows))])
assert torch.allclose(search.X, ours, atol=1e-5)
print("the same places; steps:", search.n_steps)

# %% [markdown]
# `BoundaryUnlearner` runs the search before it trains, with steps in units of each feature's spread (`step_units="data"`), and keeps its
# diagnostics in `search_`.

# %%
unlearner.unlearn(X, y, forget=(y == 2))
SearchDisplay.from_estimator(unlearner)
plt.show()

# %% [markdown]
# ## In 64 dimensions
#
# The rows of digits are images of 8 x 8 pixels. Where is the boundary of a "3"?

# %%
X_digits, y_digits = load_digits(return_X_y=True)
digits = BoundaryUnlearner(random_state=0).fit(X_digits, y_digits)
digits.unlearn(X_digits, y_digits, forget=(y_digits == 3))
PerturbationDisplay.from_estimator(
    digits, X_digits, y_digits, forget=(y_digits == 3), n_images=5, image_shape=(8, 8)
)
plt.show()

# %% [markdown]
# To our eyes most of them are still threes: the nearest boundary of a network in 64 dimensions is near, and little of what we would call the
# shape has to change. The rows only tell *which* class is nearest.
#
# ### Exercise 2
#
# What would the threes be? `crossed` holds the places that the library finds for all threes, and what the original network
# says there. Count in `neighbours`, an array of ten numbers, how often each digit has the largest logit. The digit 3 itself
# must not occur where a row went across.

# %%
threes = torch.from_numpy(X_digits[y_digits == 3]).float()
spread = threes.std(
    dim=0
)  # steps in units of the spread of each pixel; pixels that never change stay
crossed = perturbed_sign_search(
    digits.fitted_.module_.eval(),
    threes,
    torch.full((len(threes),), 3),
    scale=spread,
    step_size=0.1,
)
print(f"{crossed.crossed.mean():.0%} of {len(threes)} went across")

# %% tags=["answer"]
neighbours = np.bincount(crossed.logits.argmax(dim=1).numpy(), minlength=10)

# %%
if neighbours is not ...:
    assert neighbours.sum() == len(threes)
    assert neighbours[3] == np.sum(~crossed.crossed)
    figure, ax = plt.subplots(figsize=(5, 2.6), layout="constrained")
    ax.bar(range(10), neighbours)
    ax.set(xlabel="digit on the other side", ylabel="threes", xticks=range(10))
    plt.show()

# %% [markdown]
# ## What we have learnt
#
# - The **inner problem** is to find, for each row to forget, a place nearby where the network prefers another class. The walk finds one
#   that is near, not always the nearest.
# - Sign steps do not depend on the scale of the gradient, which vanishes where a network is certain.
# - $\varepsilon/\sqrt{t}$ takes long steps first and fine ones later; noise explores; closeness keeps the place near.
# - The search changes no weight. It yields labels: what the row would be.
#
# Next: [what the network is taught with them](03_the_outer_problem.ipynb).
