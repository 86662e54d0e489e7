"""A shadow class for the forget rows (Boundary Expanding, Chen et al. 2023)."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils.parametrize import is_parametrized

from sklunlearn.gradient import GradientUnlearner
from sklunlearn.trainable import head_module

__all__ = ["BoundaryExpandUnlearner"]


class BoundaryExpandUnlearner(GradientUnlearner):
    r"""Boundary Expanding: move the forget rows to a class that does not exist, then drop it.

    The head, a linear layer, gets one more output, with new weights (Xavier) and a bias of 0, which
    stands for a shadow class :math:`K`. The widened network :math:`g_\theta` is trained with [1]_

    .. math::
        \min_\theta\ \mathrm{CE}(g_\theta(x), K) + \varphi\, \mathrm{CE}(g_\theta(x_r), y_r)

    on forget rows :math:`x` and retain rows :math:`(x_r, y_r)`; then the output is dropped.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    retain_weight : float, default=0.0
        :math:`\varphi`, weight of the loss on retain rows. 0, as published: they do not take part.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Passes over the forget rows.
    batch_size : int, default=64
        Largest number of forget rows in a step, and number of retain rows beside them.
    optimizer : class or None, default=None
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    trainable, freeze_batchnorm, stop_accuracy, max_grad_norm
        See :class:`sklunlearn.gradient.GradientUnlearner`.
    callbacks, net_params, data_on_device
        See :class:`sklunlearn.gradient.GradientUnlearner`.
    memory, random_state, verbose
        See :class:`sklunlearn.base.BaseUnlearner`.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`.
    updated_params_ : list of str
        Names of the parameters that the run was allowed to change.

    Notes
    -----
    Without the shadow class a forget row gets its second choice, which may be its own class again.
    `stop_accuracy` and `forget_loss_` look at the classes that remain.

    References
    ----------
    .. [1] M. Chen, W. Gao, G. Liu, K. Peng and C. Wang (2023). Boundary Unlearning: Rapid
       Forgetting of Deep Networks via Shifting the Decision Boundary. CVPR, 7766-7775.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklunlearn import BoundaryExpandUnlearner
    >>> X, y = load_iris(return_X_y=True)
    >>> unlearner = BoundaryExpandUnlearner(lr=0.01, random_state=0).fit(X, y)
    >>> unlearner.unlearn(X, y, forget=(y == 2)).score(X[y == 2], y[y == 2])
    0.0
    """

    request_types = ("class",)

    _stackable = ("retain_weight",)

    def __init__(
        self,
        estimator=None,
        *,
        retain_weight=0.0,
        lr=0.001,
        max_epochs=10,
        batch_size=64,
        optimizer=None,
        trainable="all",
        freeze_batchnorm=False,
        stop_accuracy=None,
        max_grad_norm=None,
        callbacks=None,
        net_params=None,
        data_on_device=False,
        memory=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            estimator,
            retain_weight=retain_weight,
            lr=lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            trainable=trainable,
            freeze_batchnorm=freeze_batchnorm,
            stop_accuracy=stop_accuracy,
            max_grad_norm=max_grad_norm,
            callbacks=callbacks,
            net_params=net_params,
            data_on_device=data_on_device,
            memory=memory,
            random_state=random_state,
            verbose=verbose,
        )

    def _begin(self, net):
        run = super()._begin(net)
        name, head = head_module(run.module_)
        if not isinstance(head, nn.Linear) or is_parametrized(head):
            raise ValueError(
                f"The head {name!r} is a {type(head).__name__}, to which no output can be "
                "added: Boundary Expanding needs a network that ends in a torch.nn.Linear."
            )
        if head.out_features != len(self.classes_):
            raise ValueError(
                f"The head {name!r} has {head.out_features} outputs for "
                f"{len(self.classes_)} classes: the last layer that the network registers must be "
                "the one that gives the logits."
            )
        _change_outputs(head, _add_output)
        return run

    def _select(self, run, start, forget):
        masks = super()._select(run, start, forget)
        # Masks are made of the network before the run: of the shadow class, every weight may move.
        for name, mask in masks.items():
            if mask.shape != run.module_.get_parameter(name).shape:
                masks[name] = torch.cat([mask, torch.ones_like(mask[:1])])
        return masks

    def _loss(self, module, forget, retain):
        shadow = torch.full_like(forget.y, len(self.classes_))
        loss = cross_entropy(forget.logits, shadow)
        if retain is not None:
            loss = loss + self.retain_weight * cross_entropy(retain.logits, retain.y)
        return loss

    def _finish(self, run):
        _change_outputs(head_module(run.module_)[1], lambda values: values[:-1].clone())


def _change_outputs(head, change):
    """Put new values in the place of the weights and the biases of a linear layer."""
    for name in ("weight", "bias"):
        old = getattr(head, name)
        if old is not None:
            setattr(head, name, nn.Parameter(change(old.detach()), old.requires_grad))
    head.out_features = len(head.weight)


def _add_output(values):
    """Weights or biases with one more output, whose weights are drawn and whose bias is 0."""
    widened = torch.cat([values, torch.zeros_like(values[:1])])
    if widened.ndim == 2:
        widened[-1] = nn.init.xavier_normal_(torch.empty_like(widened))[-1]
    return widened
