"""Adversarial examples close to a row."""

import torch

__all__ = ["nearest_adversarial"]


def nearest_adversarial(
    logits_of,
    X,
    y,
    *,
    radius,
    scale=1.0,
    max_steps=50,
    max_doublings=20,
    clip=None,
):
    r"""Find close points of which a network says another class, by L2 projected gradient steps.

    With :math:`u = x / s` and a radius :math:`\varepsilon`, a row takes steps

    .. math::
        \delta \leftarrow \Pi_{\lVert\delta\rVert \le \varepsilon} \left(\delta +
        \frac{\varepsilon}{10} \frac{\nabla_u \mathrm{CE}}{\lVert\nabla_u \mathrm{CE}\rVert}\right)

    until the network prefers another class than `y`. After `max_steps` of them without success the
    radius doubles, and the row goes on from where it is [1]_; or ends, if it came no farther
    than at the radius before.

    Parameters
    ----------
    logits_of : callable
        Maps a tensor of shape (n, ...) to logits of shape (n, n_classes), each row by itself: a
        :class:`torch.nn.Module` in evaluation mode.
    X : tensor of shape (n_samples, ...), dtype float
        Rows to start from.
    y : tensor of shape (n_samples,), dtype int64
        Their classes.
    radius : float
        :math:`\varepsilon` of the beginning, in units of `scale`.
    scale : float or tensor that broadcasts against a row, default=1.0
        :math:`s`, the unit of each feature. A feature with scale 0 is not moved.
    max_steps : int, default=50
        Steps at each radius.
    max_doublings : int, default=20
        Largest number of doublings.
    clip : pair of float or of tensors that broadcast against a row, default=None
        Lowest and highest value of the features after each step, in the units of the data. A value
        of the row itself that lies outside stays possible.

    Returns
    -------
    X : tensor of shape (n_samples, ...)
        The points that were found; the row itself where the network prefers another class there
        already, or where nothing was found.
    labels : tensor of shape (n_samples,), dtype int64
        What the network prefers at these points.
    distances : tensor of shape (n_samples,)
        L2 norm of :math:`\delta`.

    References
    ----------
    .. [1] A. Ebrahimpour-Boroojeny, H. Sundaram and V. Chandrasekaran (2025). Not All Wrong is Bad:
       Using Adversarial Examples for Unlearning. ICML.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.attacks import nearest_adversarial
    >>> net = torch.nn.Linear(2, 2, bias=False)
    >>> net.weight.data = torch.eye(2)  # the larger feature wins
    >>> X, labels, distances = nearest_adversarial(
    ...     net, torch.tensor([[1.0, 0.5]]), torch.tensor([0]), radius=0.1
    ... )
    >>> labels, distances.numpy().round(2)
    (tensor([1]), array([0.36], dtype=float32))
    """
    scale = torch.as_tensor(scale, dtype=X.dtype, device=X.device).expand_as(X[:1])
    if clip is not None:
        clip = [torch.as_tensor(bound, dtype=X.dtype, device=X.device) for bound in clip]
    found, distances = X.clone(), X.new_zeros(len(X))
    with torch.no_grad():
        labels = logits_of(X).argmax(dim=1)
    rows = torch.nonzero(labels == y)[:, 0]
    x, delta, own = X[rows], torch.zeros_like(X[rows]), y[rows]
    reached = X.new_zeros(len(X))
    for _ in range(max_doublings + 1):
        for _ in range(max_steps):
            if not len(rows):
                return found, labels, distances
            gradient = _loss_direction(logits_of, x + scale * delta, own) * scale
            norm = _norm(gradient)
            delta = delta + radius / 10 * gradient / norm.clamp(min=torch.finfo(X.dtype).tiny)
            delta = delta * (radius / _norm(delta).clamp(min=radius))
            moved = x + scale * delta
            if clip is not None:
                moved = moved.clamp(x.minimum(clip[0]), x.maximum(clip[1]))
            with torch.no_grad():
                now = logits_of(moved).argmax(dim=1)
            delta = torch.where(scale > 0, (moved - x) / scale, 0.0)
            across = now != own
            found[rows[across]], labels[rows[across]] = moved[across], now[across]
            distances[rows[across]] = _norm(delta[across]).flatten()
            rows, x, delta, own = (part[~across] for part in (rows, x, delta, own))
        # The others are held by `clip`, or at a point without a gradient.
        free = _norm(delta).flatten() > reached[rows]
        rows, x, delta, own = (part[free] for part in (rows, x, delta, own))
        reached[rows] = 1.001 * _norm(delta).flatten()
        radius *= 2
    return found, labels, distances


def _loss_direction(logits_of, x, y):
    """Direction of the gradient of the cross-entropy, which itself could round to 0."""
    x = x.detach().requires_grad_()
    logits = logits_of(x)
    own = logits.gather(1, y[:, None])[:, 0]
    others = logits.scatter(1, y[:, None], -torch.inf).logsumexp(dim=1)
    return torch.autograd.grad((others - own).sum(), x)[0]


def _norm(x):
    """L2 norm of each row, of a shape that broadcasts against the rows."""
    return x.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
