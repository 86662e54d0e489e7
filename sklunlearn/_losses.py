"""Losses and targets that several methods share, and what a loss has to be."""

import torch
from torch.nn.functional import one_hot

__all__ = ["check_loss", "kl_divergence", "other_classes", "retained_classes"]


def check_loss(loss, method, names):
    """A loss that can be descended; `method` made it, and may change the parameters `names`."""
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1:
        given = type(loss).__name__
        if isinstance(loss, torch.Tensor):
            given = f"one of shape {tuple(loss.shape)}"
        raise TypeError(
            f"`_loss` of {method} must return a tensor with a single value, got {given}: take the "
            "mean over the rows, and return it."
        )
    if not loss.requires_grad:
        raise ValueError(
            f"The loss of {method} does not depend on any of the parameters that the run may "
            f"change, {names}: choose others with `trainable`. If they are the right ones, `_loss` "
            "has no gradient: it must not detach the logits, nor use their argmax alone."
        )
    return loss


def kl_divergence(target_logits, logits, temperature=1.0, reduction="batchmean"):
    r"""Tempered divergence of the network's probabilities from a target.

    :math:`T^2 \sum_k q_k \log(q_k / p_k)` with :math:`q = \mathrm{softmax}(t / T)` of the target
    logits and :math:`p = \mathrm{softmax}(s / T)`; the mean over the rows, or with
    ``reduction="sum"`` the sum. The factor keeps the gradient at one scale for every temperature.
    A target logit of minus infinity takes its class out of the target.
    """
    target = (target_logits / temperature).softmax(dim=1)
    log_p = (logits / temperature).log_softmax(dim=1)
    # As torch's kl_div, which torch.func.vmap knows no rule for.
    total = (torch.xlogy(target, target) - target * log_p).sum()
    return temperature**2 * (total / len(logits) if reduction == "batchmean" else total)


def retained_classes(retain, n_classes):
    """Mask of shape (n_classes,) of the classes of which a row is retained.

    All classes if no row is retained at all.
    """
    if not len(retain):
        return torch.ones(n_classes, dtype=torch.bool)
    return retain.has_class(n_classes)


def other_classes(y, allowed):
    """Mask of shape (n_samples, n_classes) of the classes that a row may be moved to.

    Those that are allowed, without the row's own. Where that leaves none, as for a row whose own
    class is the only one that is retained, all but its own.
    """
    own = one_hot(y, len(allowed)).bool()
    others = ~own & allowed.to(y.device)
    return torch.where(others.any(dim=1, keepdim=True), others, ~own)
