"""Time of `unlearn` on digits, against plain PyTorch loops of the same arithmetic, for each method.

For the methods that take gradient steps and SSD, with their default parameters, an MLP and batches
of 64, one thread. A plain loop makes the same preparations, once, the same draws and the same steps
with the same optimizer, keeps the loss of each step, and at the end finds the losses of the forget
rows. `unlearn` does more in each call: it checks its input and the weights, puts down a record with
digests, and sets the net up for the run and for the next.

- once: time of a call that takes no step;
- ratio: median over runs in alternating order, of wall-clock and of process time, which is marked
  above 1.3; and of process time without what a call does once;
- differs: distance of the weights at the end, in units of how far the run has moved them. Only
  rounding is left of it: more than 1%, or another number of steps, is an error.
"""

import argparse
import copy
import math
from types import SimpleNamespace

import numpy as np
import torch
from bench_step import plain_search
from harness import interleaved
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div, normalize, one_hot
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from sklunlearn import FineTuneUnlearner, all_unlearners

FORGET = 3
BATCH_SIZE = 64
LIMIT = 1.3


class Plain:
    """One run of a plain loop: its data, its network, and the loop that all methods share."""

    def __init__(self, original, X, y, forget, params):
        self.original, self.net, self.params = original.eval(), copy.deepcopy(original), params
        self.X, self.y = X, y
        self.X_f, self.y_f, self.X_r, self.y_r = X[forget], y[forget], X[~forget], y[~forget]
        self.n_classes = original.classifier.out_features
        self.losses = []

    def train(self, epochs, loss, lr=None):
        """Take the steps of `epochs`, an iterable of those of `(forget, retain)` positions.

        `loss` is given the logits and the positions of the forget rows, then of the retain rows.
        """
        net, p = self.net, self.params
        optimizer = p.optimizer(net.parameters(), lr or p.lr, fused=True, **p.momentum)
        for steps in epochs:
            net.train()
            for f, r in steps:
                parts = [X[rows] for X, rows in ((self.X_f, f), (self.X_r, r)) if rows is not None]
                self.embedding = net.features(torch.cat(parts) if len(parts) == 2 else parts[0])
                logits = net.classifier(self.embedding)
                if f is None or r is None:
                    value = loss(logits, f, logits, r)
                else:
                    of_forget, of_retain = logits.split([len(f), len(r)])
                    value = loss(of_forget, f, of_retain, r)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                self.losses.append(value.item())
        net.eval()

    def forget_losses(self):
        with torch.no_grad():
            return cross_entropy(self.net(self.X_f).double(), self.y_f, reduction="none")


def kl(target, logits, temperature=1.0):
    """Sum over the rows of the divergence of logits from logits."""
    log_p, q = (logits / temperature).log_softmax(1), (target / temperature).softmax(1)
    return temperature**2 * kl_div(log_p, q, reduction="sum")


def ask(net, X):
    with torch.no_grad():
        return net(X)


def mean_and_spread(X):
    """Of the features, over at most 1000 rows, evenly spaced."""
    X = X[torch.linspace(0, len(X) - 1, min(len(X), 1000)).round().long()].double()
    return X.mean(dim=0).float(), X.std(dim=0, correction=0).float()


# The steps of an epoch.


def shuffled(n):
    return torch.randperm(n).tensor_split(-(-n // BATCH_SIZE))


def endless(n):
    while True:
        yield from shuffled(n)


def forget_and(beside, n):
    """Each forget row once, beside retain rows of an endless series (None: alone)."""
    for f in shuffled(n):
        yield f, next(beside) if beside else None


def retain_and(beside, n):
    """Each retain row once, beside forget rows of an endless series (None: alone)."""
    for r in shuffled(n):
        yield next(beside) if beside else None, r


def mixed(n_f, n_r):
    """Each row once, forget and retain rows in their proportion."""
    n = n_f + n_r
    slots = torch.arange(n)
    is_forget = (slots * n_f + n // 2) % n < n_f
    order = torch.empty_like(slots)
    order[is_forget], order[~is_forget] = torch.randperm(n_f), torch.randperm(n_r)
    for step in slots.tensor_split(-(-n // BATCH_SIZE)):
        yield order[step[is_forget[step]]], order[step[~is_forget[step]]]


# The methods: preparation, steps, loss.


def amun(run):
    p, scale = run.params, mean_and_spread(run.X_r)[1] * math.sqrt(run.X_f[0].numel())
    extent = run.X_r.amin(dim=0), run.X_r.amax(dim=0)
    X, y = nearest_adversarial(run.original, run.X_f, run.y_f, scale, extent, p)
    run.X_f, run.y_f = torch.cat([X, run.X_f]), torch.cat([y, run.y_f])
    epochs = (mixed(len(run.X_f), len(run.X_r)) for _ in range(p.max_epochs))
    run.train(epochs, mixed_cross_entropy(run, lambda: run.y_f))


def mixed_cross_entropy(run, labels):
    def loss(p, f, q, r):
        total = cross_entropy(p, labels()[f], reduction="sum")
        total += run.params.retain_weight * cross_entropy(q, run.y_r[r], reduction="sum")
        return total / (len(f) + len(r))

    return loss


def nearest_adversarial(net, X, y, scale, extent, params):
    found, labels = X.clone(), ask(net, X).argmax(dim=1)
    rows = (labels == y).nonzero()[:, 0]
    x, own, delta = X[rows], y[rows], torch.zeros_like(X[rows])
    reached = X.new_zeros(len(X))
    for radius in params.radius * 2.0 ** np.arange(params.max_doublings + 1):
        for _ in range(params.max_steps):
            if not len(rows):
                return found, labels
            moved = (x + scale * delta).requires_grad_()
            logits = net(moved)
            others = logits.scatter(1, own[:, None], -torch.inf).logsumexp(dim=1)
            margin = others - logits.gather(1, own[:, None])[:, 0]
            gradient = torch.autograd.grad(margin.sum(), moved)[0] * scale
            delta = delta + radius / 10 * normalize(gradient, eps=1e-38)
            delta = delta * (radius / delta.norm(dim=1, keepdim=True).clamp(min=radius))
            moved = (x + scale * delta).clamp(x.clamp(max=extent[0]), x.clamp(min=extent[1]))
            delta = torch.where(scale > 0, (moved - x) / scale, 0.0)
            now = ask(net, moved).argmax(dim=1)
            across = now != own
            found[rows[across]], labels[rows[across]] = moved[across], now[across]
            rows, x, own, delta = rows[~across], x[~across], own[~across], delta[~across]
        free = delta.norm(dim=1) > reached[rows]
        rows, x, own, delta = rows[free], x[free], own[free], delta[free]
        reached[rows] = 1.001 * delta.norm(dim=1)
    return found, labels


def bad_teacher(run):
    p = run.params
    part = torch.randperm(len(run.X_r))[: math.ceil(p.retain_fraction * len(run.X_r))]
    run.X_r = run.X_r[part]
    good, bad = ask(run.original, run.X_r), copy.deepcopy(run.original)
    for layer in bad.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    bad = ask(bad, run.X_f)

    def loss(p, f, q, r):
        total = kl(bad[f], p) + run.params.retain_weight * kl(good[r], q)
        return total / (len(f) + len(r))

    run.train((mixed(len(run.X_f), len(run.X_r)) for _ in range(p.max_epochs)), loss)


def boundary(run):
    p, scale = run.params, mean_and_spread(run.X_r)[1]
    labels = plain_search(run.original, run.X_f, run.y_f, scale, p.step_size, p.max_steps)
    beside = endless(len(run.X_r))

    def loss(p, f, q, r):
        held = cross_entropy(q, run.y_r[r])
        return cross_entropy(p, labels[f]) + run.params.retain_weight * held

    run.train((forget_and(beside, len(run.X_f)) for _ in range(p.max_epochs)), loss)


def boundary_expand(run):
    head = run.net.classifier
    wide = run.net.classifier = torch.nn.utils.skip_init(
        torch.nn.Linear, head.in_features, head.out_features + 1
    )
    torch.nn.init.xavier_normal_(wide.weight)
    with torch.no_grad():
        wide.weight[:-1], wide.bias[:-1], wide.bias[-1] = head.weight, head.bias, 0
    shadow = torch.full_like(run.y_f, run.n_classes)

    def loss(p, f, q, r):
        return cross_entropy(p, shadow[f])

    run.train((forget_and(None, len(run.X_f)) for _ in range(run.params.max_epochs)), loss)
    with torch.no_grad():
        head.weight[:], head.bias[:] = wide.weight[:-1], wide.bias[:-1]
    run.net.classifier = head


def delete(run):
    own = one_hot(run.y_f, run.n_classes).bool()
    target = ask(run.original, run.X_f).masked_fill(own, -torch.inf)

    def loss(p, f, q, r):
        return kl(target[f], p) / len(f)

    run.train((forget_and(None, len(run.X_f)) for _ in range(run.params.max_epochs)), loss)


def duck(run):
    p, embeddings = run.params, ask(run.original.features, run.X_f)
    of_retain = ask(run.original.features, run.X_r)
    centroids = torch.stack([of_retain[run.y_r == c].mean(dim=0) for c in range(run.n_classes)])
    similarities = cosine_similarity(embeddings[:, None], centroids[None], dim=2)
    # The forgotten class has no centroid: NaN.
    target = centroids[similarities.nan_to_num(nan=-2.0).argmax(dim=1)]
    forget, retain = endless(len(run.X_f)), endless(len(run.X_r))

    def loss_of(weight):
        def loss(p, f, q, r):
            pull = (1 - cosine_similarity(run.embedding[: len(f)], target[f])).mean()
            held = cross_entropy(q / run.params.temperature, run.y_r[r])
            return weight * pull + run.params.retain_weight * held

        return loss

    def repeated():
        for f, r in forget_and(retain, len(run.X_f)):
            yield f, r
            for _ in range(p.ratio):
                yield f, next(retain)

    def until_stopped(n_epochs, steps):
        for _ in range(n_epochs):
            yield steps()
            run.net.eval()
            if (ask(run.net, run.X_f).argmax(dim=1) == run.y_f).double().mean() <= p.stop_accuracy:
                break

    run.train(until_stopped(p.max_epochs, repeated), loss_of(p.forget_weight))
    tuning = (retain_and(forget, len(run.X_r)) for _ in range(p.tune_epochs))
    run.train(tuning, loss_of(p.forget_weight / 10), lr=p.tune_lr)


def finetune(run):
    def loss(p, f, q, r):
        return cross_entropy(q, run.y_r[r])

    run.train((retain_and(None, len(run.X_r)) for _ in range(run.params.max_epochs)), loss)


def icu(run):
    of_forget, of_retain = (normalize(ask(run.original.features, X)) for X in (run.X_f, run.X_r))
    nearest = (of_forget @ of_retain.T).argmax(dim=1)
    run.X_r, run.y_r = run.X_r[nearest], run.y_r[nearest]
    teacher = ask(run.original, run.X_r)

    def epochs():
        for _ in range(run.params.max_epochs):
            run.net.eval()
            own = ask(run.net, run.X_f).softmax(1).gather(1, run.y_f[:, None])[:, 0]
            right = ask(run.net, run.X_f).argmax(dim=1) == run.y_f
            active = (right & (own > run.params.threshold)).nonzero()[:, 0]
            if not len(active):
                return
            yield ((f, f) for f in (active[i] for i in shuffled(len(active))))

    def loss(p, f, q, r):
        return (
            -run.params.forget_weight * cross_entropy(p, run.y_f[f])
            + run.params.retain_weight * cross_entropy(q, run.y_r[r])
            + run.params.distill_weight * cross_entropy(q, teacher[r].softmax(1))
        )

    run.train(epochs(), loss)


def neggrad(run):
    beside = endless(len(run.X_f))

    def loss(p, f, q, r):
        up = cross_entropy(p, run.y_f[f], reduction="none").clamp(max=math.log(run.n_classes))
        held = cross_entropy(q, run.y_r[r])
        return run.params.retain_weight * held - run.params.forget_weight * up.mean()

    run.train((retain_and(beside, len(run.X_r)) for _ in range(run.params.max_epochs)), loss)


def random_label(run):
    shares = 1.0 - one_hot(run.y_f, run.n_classes)
    labels = shares.multinomial(1)

    def epochs():
        nonlocal labels
        for _ in range(run.params.max_epochs):
            labels = shares.multinomial(1)[:, 0]
            yield mixed(len(run.X_f), len(run.X_r))

    run.train(epochs(), mixed_cross_entropy(run, lambda: labels))


def gradients(run, X, y):
    """Gradient of the loss of each batch, as one vector."""
    weights = list(run.original.parameters())
    n_batches = -(-len(X) // BATCH_SIZE)
    for x, own in zip(X.tensor_split(n_batches), y.tensor_split(n_batches), strict=True):
        loss = cross_entropy(run.original(x), own)
        yield torch.cat([g.flatten() for g in torch.autograd.grad(loss, weights)])


def salun(run):
    sums = sum(gradients(run, run.X_f, run.y_f))
    chosen = torch.zeros_like(sums)
    chosen[sums.abs().topk(math.ceil(run.params.fraction * len(sums))).indices] = 1
    weights = list(run.net.parameters())
    for weight, mask in zip(weights, chosen.split([w.numel() for w in weights]), strict=True):
        weight.register_hook(mask.view_as(weight).mul)
    random_label(run)


def scrub(run):
    p = run.params
    of_forget, of_retain = ask(run.original, run.X_f), ask(run.original, run.X_r)

    def epochs():
        for epoch in range(p.max_epochs + 1):
            if 1 <= epoch <= p.msteps:
                yield forget_and(None, len(run.X_f))
            yield retain_and(None, len(run.X_r))

    def loss(p, f, q, r):
        temperature = run.params.temperature
        if r is None:
            return -kl(of_forget[f], p, temperature) / len(f)
        follow = kl(of_retain[r], q, temperature) / len(r)
        held = cross_entropy(q, run.y_r[r])
        return run.params.retain_weight * held + run.params.distill_weight * follow

    run.train(epochs(), loss)


def ssd(run):
    p, importances = run.params, []
    for rows in ((run.X_f, run.y_f), (run.X, run.y)):
        squares = [gradient.double().square() for gradient in gradients(run, *rows)]
        importances.append(sum(squares) / len(squares))
    of_forget, of_all = importances
    weights = parameters_to_vector(run.net.parameters()).detach()
    factor = (p.dampening * of_all / of_forget).clamp(max=1).float()
    changed = torch.where(of_forget > p.alpha * of_all, weights * factor, weights)
    vector_to_parameters(changed, run.net.parameters())


def unsir(run):
    p, (mean, scale) = run.params, mean_and_spread(run.X_r)
    labels = run.y_f.unique().repeat_interleave(BATCH_SIZE)
    noise = torch.randn(len(labels), *mean.shape, requires_grad=True)
    optimizer = torch.optim.Adam([noise], lr=p.noise_lr)
    run.original.requires_grad_(False)
    for _ in range(p.noise_steps):
        optimizer.zero_grad()
        size = noise.square().sum(dim=1).mean()
        ascent = cross_entropy(run.original(mean + scale * noise), labels)
        (p.noise_weight * size - ascent).backward()
        optimizer.step()
    run.original.requires_grad_(True)
    run.X_f = (mean + scale * noise.detach()).repeat(p.noise_copies, 1)
    run.y_f = labels.repeat(p.noise_copies)
    drawn = torch.cat(
        [
            of_class[torch.randperm(len(of_class))[: p.max_retain]]
            for of_class in ((run.y_r == c).nonzero()[:, 0] for c in run.y_r.unique())
        ]
    )
    run.X_r, run.y_r = run.X_r[drawn], run.y_r[drawn]

    def impair(p, f, q, r):
        return cross_entropy(torch.cat([p, q]), torch.cat([run.y_f[f], run.y_r[r]]))

    def repair(p, f, q, r):
        return cross_entropy(q, run.y_r[r])

    n_f, n_r = len(run.X_f), len(run.X_r)
    run.train((mixed(n_f, n_r) for _ in range(p.max_epochs)), impair)
    epochs = (((None, r) for _, r in mixed(0, n_r)) for _ in range(p.repair_epochs))
    run.train(epochs, repair, lr=p.repair_lr)


METHODS = {
    "AMUN": amun,
    "BadTeacher": bad_teacher,
    "Boundary": boundary,
    "BoundaryExpand": boundary_expand,
    "DELETE": delete,
    "DUCK": duck,
    "FineTune": finetune,
    "ICU": icu,
    "NegGrad": neggrad,
    "RandomLabel": random_label,
    "SCRUB": scrub,
    "SSD": ssd,
    "SalUn": salun,
    "UNSIR": unsir,
}


def params_of(unlearner):
    """Its parameters, with the optimizer that the plain loop is to build."""
    params = SimpleNamespace(**unlearner.get_params(deep=False))
    params.momentum = {}
    if getattr(params, "optimizer", None) is None:
        params.optimizer, params.momentum = torch.optim.SGD, {"momentum": 0.9}
    return params


def bench(name, unlearner, data, once, n_pairs):
    """Print the line of a method; `once` is a call that takes no step."""
    X, y, forget = data
    original = unlearner.fitted_.module_
    tensors = [torch.as_tensor(part) for part in data]

    def ours():
        return unlearner.unlearn(X, y, forget=forget)

    def plain():
        run = Plain(original, *tensors, params_of(unlearner))
        torch.manual_seed(unlearner.random_state)
        METHODS[name](run)
        run.forget_losses()
        return run

    run, history = plain(), ours().history_
    n_steps = sum(len(epoch["batches"]) for epoch in history)
    if n_steps != len(run.losses):
        raise SystemExit(f"{name}: {n_steps} steps, the plain loop {len(run.losses)}.")
    end, other, start = (
        parameters_to_vector(net.parameters()).detach()
        for net in (ours().net_.module_, run.net, original)
    )
    differs = float((end - other).norm() / (end - start).norm())
    if differs > 0.01:
        raise SystemExit(f"{name}: the plain loop ends elsewhere, by {differs:.0e} of the way.")
    times = interleaved([ours, plain, once], n_pairs)
    ours_ms, plain_ms, once_ms = np.median(times[..., 1], axis=0) * 1e3
    wall, cpu = np.median(times[:, 0] / times[:, 1], axis=0)
    step = np.median((times[:, 0, 1] - times[:, 2, 1]) / times[:, 1, 1])
    print(
        f"{name:15} {n_steps:5} {ours_ms:7.1f} {plain_ms:7.1f} {once_ms:7.1f} {wall:7.2f} "
        f"{cpu:7.2f} {step:7.2f} {differs:9.0e}",
        f" above {LIMIT}" if cpu > LIMIT else "",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=15, help="paired runs (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = {name.removesuffix("Unlearner"): cls for name, cls in all_unlearners()}
    X, y = load_digits(return_X_y=True)
    X, forget = X.astype(np.float32), y == FORGET
    idle = FineTuneUnlearner(max_epochs=0, random_state=0).fit(X, y)
    print(f"{'':21} {'process, ms':>23} {'ratio':>23}")
    print(
        f"{'method':15} {'steps':>5} {'ours':>7} {'plain':>7} {'once':>7} {'wall':>7} "
        f"{'process':>7} {'steps':>7} {'differs':>9}"
    )
    for name in args.methods:
        unlearner = found[name](FrozenEstimator(idle.fitted_), random_state=0)
        unlearner.set_params(batch_size=BATCH_SIZE).fit(X, y)
        bench(
            name, unlearner, (X, y, forget), lambda: idle.unlearn(X, y, forget=forget), args.pairs
        )
    print("Without a plain loop:", ", ".join(sorted(found.keys() - METHODS.keys())))


if __name__ == "__main__":
    main()
