"""Optimizers of many networks at once, each with settings of its own."""

import torch

__all__ = ["make_stacked_optimizer"]


def make_stacked_optimizer(kind, weights, settings):
    """Optimizer of a stack of networks, with the arithmetic of torch's own for each.

    Parameters
    ----------
    kind : class
        Of the optimizer in torch.
    weights : tensor of shape (n_networks, n_weights)
        Changed in place by ``step(gradient)``.
    settings : list of dict
        Of each network, as in the `param_groups` of its optimizer.

    Returns
    -------
    optimizer : object
        With a method ``step(gradient)``.

    Raises
    ------
    ValueError
        If there is no stacked form of the optimizer, or of one of its settings.
    """
    if kind not in _KINDS:
        names = ", ".join(cls.__name__ for cls in _KINDS)
        raise ValueError(f"optimizer {kind.__name__}: only {names} can be stacked")
    for name in ("maximize", "amsgrad", "dampening", "differentiable"):
        if any(given.get(name) for given in settings):
            raise ValueError(f"optimizer {kind.__name__} with {name!r}")
    flags = {name: {given.get(name, False) for given in settings} for name in _FLAGS}
    for name, values in flags.items():
        if len(values) > 1:
            raise ValueError(f"optimizer {kind.__name__} with different values of {name!r}")
    # In double precision until they meet the weights, as torch's own.
    columns = {
        name: torch.tensor(
            [given[name] for given in settings], dtype=torch.float64, device=weights.device
        ).reshape(len(settings), -1)
        for name in _COLUMNS
        if name in settings[0]
    }
    return _KINDS[kind](weights, columns, **{name: values.pop() for name, values in flags.items()})


class _StackedSGD:
    def __init__(self, weights, columns, nesterov, **_):
        self.weights, self.nesterov = weights, nesterov
        columns = {name: values.to(weights.dtype) for name, values in columns.items()}
        self.lr, self.factor, self.decay = (
            columns[name] for name in ("lr", "momentum", "weight_decay")
        )
        # Whether any is needed, asked once: asked of a GPU, it takes as long as a step.
        self.decays, self.moves = bool(self.decay.any()), bool(self.factor.any())
        self.momentum = None

    def step(self, gradient):
        """One step down a gradient of shape (n_networks, n_weights)."""
        if self.decays:
            gradient = torch.addcmul(gradient, self.decay, self.weights)
        if self.moves:
            if self.momentum is None:
                self.momentum = gradient.clone()
            else:
                self.momentum.mul_(self.factor).add_(gradient)
            if self.nesterov:
                gradient = torch.addcmul(gradient, self.factor, self.momentum)
            else:
                gradient = self.momentum
        self.weights.addcmul_(gradient, self.lr, value=-1)


class _StackedAdam:
    def __init__(self, weights, columns, decoupled_weight_decay, **_):
        self.weights, self.decoupled = weights, decoupled_weight_decay
        self.lr, self.beta = columns["lr"], columns["betas"]
        self.decay, self.eps = columns["weight_decay"], columns["eps"].to(weights.dtype)
        self.decays = bool(self.decay.any())
        self.new_mean, self.new_square = (1 - self.beta).to(weights.dtype).split(1, dim=1)
        self.old_square = self.beta[:, 1:].to(weights.dtype)
        self.mean, self.square = torch.zeros_like(weights), torch.zeros_like(weights)
        self.n_steps = 0

    def step(self, gradient):
        """One step down a gradient of shape (n_networks, n_weights)."""
        self.n_steps += 1
        dtype = self.weights.dtype
        if self.decays and self.decoupled:
            self.weights.mul_((1 - self.lr * self.decay).to(dtype))
        elif self.decays:
            gradient = torch.addcmul(gradient, self.decay.to(dtype), self.weights)
        self.mean.lerp_(gradient, self.new_mean.expand_as(gradient))
        self.square.mul_(self.old_square).addcmul_(gradient * self.new_square, gradient)
        of_mean, of_square = (1 - self.beta**self.n_steps).split(1, dim=1)
        spread = self.square.sqrt().div_(of_square.sqrt().to(dtype)).add_(self.eps)
        self.weights.addcdiv_(self.mean * (-self.lr / of_mean).to(dtype), spread)


_COLUMNS = ("lr", "momentum", "weight_decay", "betas", "eps")
_FLAGS = ("nesterov", "decoupled_weight_decay")
_KINDS = {
    torch.optim.SGD: _StackedSGD,
    torch.optim.Adam: _StackedAdam,
    torch.optim.AdamW: _StackedAdam,
}
