"""Gradients of the loss at a network that is not trained."""

import torch
from torch.nn.functional import cross_entropy

from sklunlearn._devices import device_of
from sklunlearn._nets import logits_of
from sklunlearn.trainable import training_only

__all__ = ["loss_gradients"]


def loss_gradients(net, rows, names, batch_size):
    """Gradient of the mean cross-entropy of each batch of rows, in evaluation mode.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        The network, which is put in evaluation mode.
    rows : sklunlearn._data.Rows
        The rows, taken in order.
    names : list of str
        Names of the parameters.
    batch_size : int
        Largest number of rows in a batch.

    Yields
    ------
    gradients : list of tensors
        One for each name, of the shape of the parameter; zeros where the loss does not depend on
        it.
    """
    net._set_training(False)
    parameters = dict(net.module_.named_parameters())
    with training_only(net.module_, names, freeze_batchnorm=False):
        for batch in rows.batches(batch_size, device_of(net)):
            loss = cross_entropy(logits_of(net, net.infer(batch.X)), batch.y)
            yield torch.autograd.grad(
                loss, [parameters[name] for name in names], materialize_grads=True
            )
