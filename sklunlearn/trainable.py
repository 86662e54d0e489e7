"""Which parameters a run may change."""

import contextlib
import numbers

from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.parametrize import is_parametrized

__all__ = [
    "TRAINABLE",
    "head_module",
    "one_value_allowed",
    "reinitialize",
    "select_parameters",
    "training_only",
]

# Constraint of a parameter `trainable`, in scikit-learn's form.
TRAINABLE = [
    StrOptions({"all", "head"}),
    Interval(numbers.Integral, 1, None, closed="left"),
    callable,
]


def select_parameters(module, trainable):
    """Names of the parameters that `trainable` matches.

    A *layer* is a submodule with parameters of its own. Layers are counted from the output
    backwards; normalisation layers and :class:`torch.nn.PReLU` are not counted, but belong to the
    selection when they stand after the beginning of the last `k` counted layers. That is the
    counting of CF-k and EU-k [1]_.

    Parameters
    ----------
    module : torch.nn.Module
        The network. The order in which its submodules are registered is taken for the order in
        which they are applied.
    trainable : {"all", "head"}, int or callable
        - ``"all"``: every parameter;
        - ``"head"``: the last counted layer, the same as ``1``;
        - int ``k >= 1``: the last `k` counted layers. All of them select every parameter, also
          those of normalisation layers before the first;
        - callable ``(name, parameter) -> bool``: every parameter for which it is true.

    Returns
    -------
    names : list of str
        Names as in ``module.named_parameters()``, in that order.

    Raises
    ------
    TypeError
        If `trainable` is none of the above.
    ValueError
        If `trainable` is an unknown string or an integer that is not between 1 and the number of
        counted layers, or if it matches no parameter.

    Notes
    -----
    A parameter that has ``requires_grad=False`` was frozen on purpose: only a callable selects it.
    A parameter that several submodules share has one name, that of its first owner, and belongs
    to a selection when any of its owners does.

    References
    ----------
    .. [1] S. Goel, A. Prabhu, A. Sanyal, S.-N. Lim, P. Torr and P. Kumaraguru (2022). Towards
       Adversarial Evaluations for Inexact Machine Unlearning. arXiv:2201.06640.

    Examples
    --------
    >>> from torch import nn
    >>> from sklunlearn.trainable import select_parameters
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 2))
    >>> select_parameters(net, "head")
    ['3.weight', '3.bias']
    >>> select_parameters(net, lambda name, parameter: parameter.ndim > 1)
    ['0.weight', '3.weight']
    """
    if callable(trainable):
        names = [name for name, p in module.named_parameters() if trainable(name, p)]
    else:
        chosen = {id(p) for p in _last_layers_parameters(module, trainable) if p.requires_grad}
        names = [name for name, p in module.named_parameters() if id(p) in chosen]
    if not names:
        raise ValueError(
            f"trainable={trainable!r} matches no parameter of {type(module).__name__} that may be "
            f"trained. Its parameters are {_describe_parameters(module)}; choose others, or set "
            "requires_grad to True on those that are meant."
        )
    return names


def head_module(module, k=1):
    """Last counted layer of a network, or the k-th last one, with its name.

    Parameters
    ----------
    module : torch.nn.Module
        The network; layers are counted as in :func:`select_parameters`.
    k : int, default=1
        Which layer, counted from the output backwards.

    Returns
    -------
    name : str
        Name of the layer, as in ``module.named_modules()``; empty if it is `module` itself.
    layer : torch.nn.Module
        The layer.

    Raises
    ------
    ValueError
        If no submodule counts as a layer, or fewer than `k` do.

    Examples
    --------
    >>> from torch import nn
    >>> from sklunlearn.trainable import head_module
    >>> head_module(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    ('2', Linear(in_features=3, out_features=2, bias=True))
    """
    counted = [(name, layer) for name, layer in _layers(module) if _is_counted(layer)]
    if not counted:
        raise ValueError(
            f"{type(module).__name__} has no head: none of its submodules has parameters of its "
            "own and is not a normalisation layer. Pass a network with at least one such layer."
        )
    if not 1 <= k <= len(counted):
        raise ValueError(
            f"{type(module).__name__} has {len(counted)} layers that count, "
            f"{[name for name, _ in counted]}: there is none that is number {k} from the output."
        )
    return counted[-k]


def reinitialize(module, names):
    """Give layers new initial weights, drawn from torch's global random state.

    Every layer of which all parameters are named is reset by its own ``reset_parameters``, in the
    order of registration; BatchNorm layers to their initial statistics too.

    Parameters
    ----------
    module : torch.nn.Module
        The network, changed in place.
    names : iterable of str
        Names as in ``module.named_parameters()``, usually from :func:`select_parameters`.

    Raises
    ------
    ValueError
        If a layer has no ``reset_parameters``, or only some of its parameters are named.

    Examples
    --------
    >>> from torch import nn
    >>> from sklunlearn.trainable import reinitialize, select_parameters
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> before = [p.clone() for p in net.parameters()]
    >>> reinitialize(net, select_parameters(net, "head"))
    >>> [bool((p == b).all()) for p, b in zip(net.parameters(), before)]
    [True, True, False, False]
    """
    parameters = dict(module.named_parameters())
    named = {id(parameters[name]) for name in names}
    everything = all(id(p) in named for p in parameters.values())
    layers = []
    for name, layer in module.named_modules():
        own = [id(p) in named for p in layer.parameters(recurse=False)]
        if not own and everything and hasattr(layer, "reset_running_stats"):
            layer.reset_running_stats()
        if not any(own):
            continue
        if not (all(own) and hasattr(layer, "reset_parameters")):
            raise ValueError(
                f"The layer {name or type(layer).__name__!r} cannot be given new initial weights: "
                "it needs a method reset_parameters, and all of its parameters must be trainable."
            )
        layers.append(layer)
    for layer in layers:
        layer.reset_parameters()


@contextlib.contextmanager
def training_only(module, names, *, freeze_batchnorm):
    """Context in which only the named parameters can be trained.

    On entry ``requires_grad`` becomes True for the named parameters and False for all others. The
    running statistics of a frozen BatchNorm layer stay as they are, although training mode moves
    them even when no parameter is trained: a hook puts the layer in evaluation mode before each of
    its forward passes, also after ``module.train()``. A layer that is not frozen is in evaluation
    mode for the pass of a batch with a single value a channel, which torch could not train on. On
    exit, also by an exception, the hooks are removed and every ``requires_grad`` and ``training``
    flag is as it was on entry.

    Parameters
    ----------
    module : torch.nn.Module
        The network, changed in place while the context lasts. A copy made inside the context
        keeps the hooks: copy before or after it.
    names : iterable of str
        Names as in ``module.named_parameters()``, usually from :func:`select_parameters`.
    freeze_batchnorm : bool
        True freezes every BatchNorm layer. False freezes those of which no parameter is named; a
        layer without parameters (``affine=False``) is frozen unless `names` holds every parameter
        of `module` that has ``requires_grad=True`` on entry.

    Yields
    ------
    module : torch.nn.Module
        The same network.

    Raises
    ------
    ValueError
        If a name is not that of a parameter of `module`.

    Examples
    --------
    >>> from torch import nn
    >>> from sklunlearn.trainable import training_only
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> with training_only(net, ["1.weight"], freeze_batchnorm=True):
    ...     print([p.requires_grad for p in net.parameters()])
    [False, False, True, False]
    >>> all(p.requires_grad for p in net.parameters())
    True
    """
    parameters = dict(module.named_parameters())
    names = set(names)
    if unknown := sorted(names - parameters.keys()):
        raise ValueError(
            f"{unknown} are not parameters of {type(module).__name__}. Its parameters are "
            f"{_describe_parameters(module)}; pass names that select_parameters returns."
        )
    named = {id(parameters[name]) for name in names}
    everything = all(id(p) in named for p in parameters.values() if p.requires_grad)

    def is_frozen(layer):
        own = [id(p) for p in layer.parameters()]
        kept_training = any(i in named for i in own) if own else everything
        return freeze_batchnorm or not kept_training

    hooks = []
    for layer in module.modules():
        if isinstance(layer, _BatchNorm) and is_frozen(layer):
            hooks.append(layer.register_forward_pre_hook(_to_evaluation_mode))
        elif isinstance(layer, _BatchNorm):
            hooks += _allow_one_value(layer)
    requires_grad = [(p, p.requires_grad) for p in parameters.values()]
    training = [(submodule, submodule.training) for submodule in module.modules()]
    try:
        for parameter, _ in requires_grad:
            parameter.requires_grad_(id(parameter) in named)
        yield module
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, flag in requires_grad:
            parameter.requires_grad_(flag)
        for submodule, flag in training:
            submodule.training = flag


@contextlib.contextmanager
def one_value_allowed(module):
    """Context in which BatchNorm takes a batch with a single value a channel in training too.

    It is then normalised as in evaluation, where torch would raise an error.

    Parameters
    ----------
    module : torch.nn.Module
        The network.

    Examples
    --------
    >>> import torch
    >>> from sklunlearn.trainable import one_value_allowed
    >>> layer = torch.nn.BatchNorm1d(2, affine=False).train()
    >>> with one_value_allowed(layer):
    ...     layer(torch.zeros(1, 2))
    tensor([[0., 0.]])
    """
    layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
    hooks = [hook for layer in layers for hook in _allow_one_value(layer)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _allow_one_value(layer):
    return [
        layer.register_forward_pre_hook(_to_evaluation_mode_for_one_value),
        layer.register_forward_hook(_back_to_training_mode),
    ]


def _to_evaluation_mode(layer, args):
    # A plain function and not a lambda: a callback may pickle the network during the run.
    layer.eval()


def _to_evaluation_mode_for_one_value(layer, args):
    # One value a channel has no spread to normalise by: torch refuses it in training mode.
    if layer.training and args[0].numel() == args[0].shape[1]:
        layer.eval()
        layer._had_one_value = True


def _back_to_training_mode(layer, args, output):
    if vars(layer).pop("_had_one_value", False):
        layer.train()


def _layers(module):
    """(name, submodule) of every submodule with parameters of its own, in registration order."""
    return [
        (name, submodule)
        for name, submodule in module.named_modules()
        if "parametrizations" not in name.split(".") and _own_parameters(submodule)
    ]


def _own_parameters(layer):
    own = list(layer.parameters(recurse=False))
    if is_parametrized(layer):  # weight_norm and the like keep the weight in a submodule
        own += layer.parametrizations.parameters()
    return own


def _is_counted(layer):
    # By name, so that the normalisation layers of other libraries (LlamaRMSNorm) are known too.
    is_norm = any(cls.__name__.rstrip("123dD").endswith("Norm") for cls in type(layer).__mro__)
    return not is_norm and not isinstance(layer, nn.PReLU)


def _last_layers_parameters(module, trainable):
    if isinstance(trainable, bool) or not isinstance(trainable, (str, numbers.Integral)):
        raise TypeError(
            "trainable must be 'all', 'head', an int or a callable (name, parameter) -> bool, "
            f"got {trainable!r}."
        )
    if isinstance(trainable, str) and trainable not in ("all", "head"):
        raise ValueError(
            f"trainable={trainable!r} is unknown: pass 'all', 'head', an int or a callable "
            "(name, parameter) -> bool."
        )
    if trainable == "all":
        return list(module.parameters())
    k = 1 if trainable == "head" else int(trainable)
    layers = [layer for _, layer in _layers(module)]
    counted = [i for i, layer in enumerate(layers) if _is_counted(layer)]
    if not 1 <= k <= len(counted):
        raise ValueError(
            f"trainable={trainable!r} asks for the last {k} layers, but {type(module).__name__} "
            f"has {len(counted)} that count (normalisation layers do not): pass an int between 1 "
            f"and {len(counted)}, or 'all'."
        )
    if k == len(counted):
        return list(module.parameters())
    return [p for layer in layers[counted[-k] :] for p in _own_parameters(layer)]


def _describe_parameters(module):
    frozen = {True: "", False: " (requires_grad=False)"}
    return [name + frozen[p.requires_grad] for name, p in module.named_parameters()]
