"""Perturbed sign-gradient search: from a row to its nearest decision boundary."""

from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
import torch
from torch.nn.functional import softplus

__all__ = ["BoundarySearch", "perturbed_sign_search"]

_NOISE = {
    "normal": lambda z, generator: z.normal_(generator=generator),
    "uniform": lambda z, generator: z.uniform_(-1, 1, generator=generator),
    # The difference of two exponential variables has a Laplace distribution.
    "laplace": lambda z, generator: (
        z.exponential_(generator=generator) - torch.empty_like(z).exponential_(generator=generator)
    ),
    "cauchy": lambda z, generator: z.cauchy_(generator=generator),
}
_CLOSENESS_DECAY = {
    None: lambda t, max_steps: 1.0,
    "inverse": lambda t, max_steps: 1 / t,
    "exponential": lambda t, max_steps: np.exp(-0.01 * t),
    "linear": lambda t, max_steps: 1 - t / max_steps,
}


@dataclass
class BoundarySearch:
    """What a boundary search found, and how it went.

    Attributes
    ----------
    X : tensor of shape (n_samples, ...)
        The points where the rows stopped, in the units of the data.
    logits : tensor of shape (n_samples, n_classes)
        What the network says there.
    crossed : ndarray of shape (n_samples,), dtype bool
        Whether the row met the stopping rule.
    n_steps : ndarray of shape (n_samples,), dtype int
        Number of steps that the row took.
    loss : ndarray of shape (n_steps + 1,)
        Mean cross-entropy of all rows in nats after 0, 1, ... steps; rows that have stopped
        count with the last value.
    fraction_crossed : ndarray of shape (n_steps + 1,)
        Share of the rows that have met the stopping rule.
    gradient_norm : ndarray of shape (n_steps,)
        Mean L1 norm of the gradient of the cross-entropy with respect to ``x / scale``, over the
        rows that took the step.

    Examples
    --------
    See :func:`perturbed_sign_search`.
    """

    X: torch.Tensor
    logits: torch.Tensor
    crossed: np.ndarray
    n_steps: np.ndarray
    loss: np.ndarray
    fraction_crossed: np.ndarray
    gradient_norm: np.ndarray


def perturbed_sign_search(
    logits_of,
    X,
    y,
    *,
    step_size=0.1,
    max_steps=50,
    step_decay="sqrt",
    scale=1.0,
    closeness=0.0,
    closeness_decay=None,
    noise=0.0,
    noise_distribution="normal",
    normalize_gradient=True,
    threshold=None,
    clip=None,
    generator=None,
):
    r"""Walk rows across their nearest decision boundary by perturbed sign-gradient steps.

    With :math:`u = x / s` and :math:`\delta` the displacement of :math:`u` so far, a row takes
    the steps, for :math:`t = 1, \dots, T` [1]_,

    .. math::
        \delta \leftarrow \delta + \frac{\varepsilon}{\sqrt t}\,
        \mathrm{sign}\left(\nabla_u \mathrm{CE} - \lambda_t \delta + \gamma z_t\right)

    and stops after the first step at which the network prefers another class.

    Parameters
    ----------
    logits_of : callable
        Maps a tensor of shape (n, ...) to logits of shape (n, n_classes), each row by itself: a
        :class:`torch.nn.Module` in evaluation mode.
    X : tensor of shape (n_samples, ...), dtype float
        Rows to start from.
    y : tensor of shape (n_samples,), dtype int64
        Their classes, which the search walks away from.
    step_size : float, default=0.1
        :math:`\varepsilon`, in units of `scale`.
    max_steps : int, default=50
        :math:`T`, at least 1.
    step_decay : {"sqrt", None}, default="sqrt"
        None: every step has length `step_size`, instead of ``step_size / sqrt(t)``.
    scale : float or tensor that broadcasts against a row, default=1.0
        :math:`s`, the unit of each feature. A feature with scale 0 is not moved.
    closeness : float, default=0.0
        :math:`\lambda`, pull back toward the row. A negative value pushes away from it.
    closeness_decay : {None, "inverse", "exponential", "linear"}, default=None
        :math:`\lambda_t` is `closeness` times 1, ``1 / t``, ``exp(-t / 100)`` or
        ``1 - t / max_steps``.
    noise : float, default=0.0
        :math:`\gamma`, the scale of the noise :math:`z_t`.
    noise_distribution : {"normal", "uniform", "laplace", "cauchy"}, default="normal"
        Distribution of each entry of :math:`z_t`: standard normal, uniform on (-1, 1), or Laplace
        or Cauchy with location 0 and scale 1.
    normalize_gradient : bool, default=True
        Divide the gradient of each row by its mean absolute value, so that `closeness` and `noise`
        mean the same on any network. False: the gradient as it is.
    threshold : float, default=None
        A row stops once another class wins and the probability of its own is at most this.
        None: once another class wins.
    clip : pair of float or of tensors that broadcast against a row, default=None
        Lowest and highest value of the features after each step, in the units of the data.
    generator : torch.Generator, default=None
        Draws the noise; None: torch's global random state.

    Returns
    -------
    search : BoundarySearch
        The points that were reached, what the network says there, and diagnostics.

    Raises
    ------
    ValueError
        If an option is unknown or `max_steps` is below 1.

    Notes
    -----
    Every row takes at least one step, also one that is misclassified where it stands: so one step
    without noise and closeness is the fast gradient sign method that Boundary Shrink uses [2]_.

    The direction is computed from the margin :math:`\log \sum_{k \ne y} e^{z_k} - z_y`. Its
    gradient is that of the cross-entropy divided by :math:`1 - p_y > 0`: the same direction, but
    it does not vanish in rounding where the network is certain. Without normalisation, the
    factor is multiplied back.

    References
    ----------
    .. [1] G. R. Nahass, Z. Wang, H. Rashid et al. (2025). Targeted Unlearning Using Perturbed
       Sign Gradient Methods With Applications On Medical Images. arXiv:2505.21872.
    .. [2] M. Chen, W. Gao, G. Liu, K. Peng and C. Wang (2023). Boundary Unlearning: Rapid
       Forgetting of Deep Networks via Shifting the Decision Boundary. CVPR, 7766-7775.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.search import perturbed_sign_search
    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> net.weight.data = torch.eye(2)
    >>> search = perturbed_sign_search(
    ...     net, torch.tensor([[1.0, 0.0]]), torch.tensor([0]), step_size=0.3, step_decay=None
    ... )
    >>> search.n_steps, search.X
    (array([2]), tensor([[0.4000, 0.6000]]))
    """
    _check_options(max_steps, step_decay, closeness_decay, noise_distribution)
    scale = torch.as_tensor(scale, dtype=X.dtype, device=X.device)
    if clip is not None:
        clip = [torch.as_tensor(bound, dtype=X.dtype, device=X.device) for bound in clip]
    X, n_samples = X.detach(), len(X)
    walking = torch.arange(n_samples, device=X.device)
    start, x, own = X, X.detach(), y  # `x` asks for gradients, `X` must not
    found = torch.empty_like(X)
    logits, n_steps = None, torch.zeros_like(y)
    crossed = torch.zeros_like(y, dtype=torch.bool)
    stopped_loss = torch.zeros((), device=X.device)
    loss, n_crossed, gradient_norm = [], [], []

    for t in range(max_steps + 1):
        x.requires_grad_()
        with torch.enable_grad():
            output = logits_of(x)
        z = output.detach()
        others = z.scatter(1, own[:, None], -torch.inf)
        log_sum = others.logsumexp(dim=1, keepdim=True)
        margin = (log_sum - z.gather(1, own[:, None]))[:, 0]
        ce = softplus(margin)
        if logits is None:
            logits = torch.empty(n_samples, z.shape[1], dtype=z.dtype, device=z.device)
        loss.append(stopped_loss + ce.sum())
        stops = z.argmax(dim=1) != own
        if t == 0:
            stops.fill_(False)
        elif threshold is not None:
            stops &= torch.exp(-ce) <= threshold
        leave = stops.nonzero()[:, 0]
        n_crossed.append(len(leave) + (n_crossed[-1] if n_crossed else 0))
        is_last = t == max_steps or len(leave) == len(stops)
        if is_last:
            leave = torch.arange(len(stops), device=X.device)
        if len(leave):
            rows = walking.index_select(0, leave)
            found[rows] = x.detach().index_select(0, leave)
            logits[rows] = z.index_select(0, leave)
            crossed[rows] = stops.index_select(0, leave)
            n_steps[rows] = t
            stopped_loss = stopped_loss + ce.index_select(0, leave).sum()
        if is_last:
            break

        # The derivative of the margin by the logits: softmax over the others, and -1.
        slope = (others - log_sum).exp().scatter(1, own[:, None], -1.0)
        (gradient,) = torch.autograd.grad(output, x, slope)
        x = x.detach()
        if len(leave):
            stay = (~stops).nonzero()[:, 0]
            walking, start, own, x, gradient, margin = (
                tensor.index_select(0, stay)
                for tensor in (walking, start, own, x, gradient, margin)
            )
        gradient = gradient * scale
        # The gradient of the cross-entropy is that of the margin times 1 - p_y.
        size, doubt = gradient.abs().flatten(1), torch.sigmoid(margin).to(x.dtype)
        gradient_norm.append(size.sum(dim=1).dot(doubt) / len(size))
        direction = gradient
        if closeness or noise:
            mean_size = size.mean(dim=1)
            # A row without gradient: the noise alone decides.
            factor = 1 / mean_size.where(mean_size > 0, 1.0) if normalize_gradient else doubt
            direction = gradient * factor.reshape(-1, *[1] * (x.ndim - 1))
        if closeness:
            decay = _CLOSENESS_DECAY[closeness_decay](t + 1, max_steps)
            displacement = torch.where(scale > 0, (x - start) / scale, 0.0)
            direction = direction - closeness * decay * displacement
        if noise:
            draw = _NOISE[noise_distribution](torch.empty_like(x), generator)
            direction = direction + noise * draw
        length = step_size / (t + 1) ** 0.5 if step_decay == "sqrt" else step_size
        x = x + length * scale * direction.sign()
        if clip is not None:
            x = x.clamp(*clip)

    return BoundarySearch(
        X=found,
        logits=logits,
        crossed=crossed.cpu().numpy(),
        n_steps=n_steps.cpu().numpy(),
        loss=torch.stack(loss).cpu().numpy() / n_samples,
        fraction_crossed=np.array(n_crossed) / n_samples,
        gradient_norm=torch.stack(gradient_norm).cpu().numpy(),
    )


def merge_searches(searches):
    """Search of all rows from the searches of their batches, without the points."""
    if len(searches) == 1:
        return replace(searches[0], X=None, logits=searches[0].logits.cpu())
    weights = np.array([len(search.n_steps) for search in searches], dtype=float)
    length = max(len(search.loss) for search in searches)

    def extend(values):  # a batch whose rows have all stopped stays as it is
        return np.pad(values, (0, length - len(values)), mode="edge")

    loss = np.array([extend(search.loss) for search in searches])
    fraction_crossed = np.array([extend(search.fraction_crossed) for search in searches])
    norms = np.zeros((len(searches), length - 1))
    for row, search in zip(norms, searches, strict=True):
        row[: len(search.gradient_norm)] = search.gradient_norm
    n_walking = weights[:, None] * (1 - fraction_crossed[:, :-1])
    return BoundarySearch(
        X=None,
        logits=torch.cat([search.logits for search in searches]).cpu(),
        crossed=np.concatenate([search.crossed for search in searches]),
        n_steps=np.concatenate([search.n_steps for search in searches]),
        loss=np.average(loss, axis=0, weights=weights),
        fraction_crossed=np.average(fraction_crossed, axis=0, weights=weights),
        gradient_norm=(norms * n_walking).sum(axis=0) / n_walking.sum(axis=0),
    )


def _check_options(max_steps, step_decay, closeness_decay, noise_distribution):
    if max_steps < 1:
        raise ValueError(f"`max_steps` must be at least 1, got {max_steps!r}.")
    for name, value, allowed in [
        ("step_decay", step_decay, ["sqrt", None]),
        ("closeness_decay", closeness_decay, list(_CLOSENESS_DECAY)),
        ("noise_distribution", noise_distribution, list(_NOISE)),
    ]:
        if value not in allowed:
            raise ValueError(f"`{name}` must be one of {allowed}, got {value!r}.")


def check_clip(clip):
    """Raise a ValueError unless `clip`, a parameter of an unlearner, is a range of values."""
    if clip is None or clip == "data":
        return
    is_pair = len(clip) == 2 and all(isinstance(bound, Real) for bound in clip)
    if not is_pair or not clip[0] < clip[1]:
        raise ValueError(
            f"`clip` must be None, 'data' or (low, high) with low < high, got {clip!r}."
        )
