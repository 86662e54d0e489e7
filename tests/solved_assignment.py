"""A solution of the assignment of docs/teaching; not shown to students."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from sklunlearn.gradient import GradientUnlearner


def walk_across(module, X, y, step_size, n_steps):
    x, labels = X.clone(), torch.full_like(y, -1)
    for step in range(n_steps + 1):
        x.requires_grad_()
        logits = module(x)
        others = logits.detach().scatter(1, y[:, None], -torch.inf).argmax(dim=1)
        across = (logits.argmax(dim=1) != y) & (step > 0)
        arrived = (labels < 0) & (across | (step == n_steps))
        labels[arrived] = others[arrived]
        (gradient,) = torch.autograd.grad(cross_entropy(logits, y, reduction="sum"), x)
        x = x.detach() + step_size * gradient.sign()
    return labels


class ConfusingUnlearner(GradientUnlearner):
    def _loss(self, module, forget, retain):
        log_p = forget.logits.log_softmax(dim=1)
        loss = -log_p.mean() - np.log(log_p.shape[1])
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss


def membership_auc(member_losses, other_losses):
    member_losses = np.asarray(member_losses)[:, None]
    return (member_losses < other_losses).mean() + 0.5 * (member_losses == other_losses).mean()


def gap_and_floor(unlearned, retrained):
    def distance(p, q):
        return 0.5 * np.abs(p - q).sum(axis=1).mean()

    gap = np.mean([distance(unlearned, proba) for proba in retrained])
    pairs = [distance(p, q) for i, p in enumerate(retrained) for q in retrained[:i]]
    return gap, np.mean(pairs)
