"""What the networks of a stack say of rows."""

import numpy as np
import torch
from torch.func import functional_call, vmap

from sklunlearn._devices import device_of, outputs_in_evaluation
from sklunlearn._nets import probabilities_of
from sklunlearn._stacked_layout import RowsLast

__all__ = ["each_row_by_itself", "forward_stacked"]

# Of the largest value: what rounding makes of a row in batches of other sizes is less.
_TOLERANCE = 1e-3


def each_row_by_itself(run, X):
    """Whether a net says of a row the same whatever rows are beside it, from a batch of rows.

    BatchNorm without statistics of its own, for one, does not. Then an answer belongs to the
    batches in which the rows are asked.
    """
    pairs = []
    for asked in (X, X[:1]):
        output = outputs_in_evaluation(run, asked)
        output = output[0] if isinstance(output, tuple) else output
        with torch.no_grad():
            pairs.append([output, probabilities_of(run, output)])
    return all(
        (alone - among[:1]).abs().max() <= _TOLERANCE * among.abs().max()
        for among, alone in zip(*pairs, strict=True)
    )


def forward_stacked(run, weights, rows, batch_size, function):
    """``function(net, output, batch)`` of each network for all rows, in evaluation mode.

    Parameters
    ----------
    run : skorch.NeuralNetClassifier
        With a module like those of the stack.
    weights : dict of str to tensor of shape (n_networks, ...)
        What the networks have in place of the module's parameters of these names.
    rows : Rows
        All networks are given the same.
    batch_size : int
        How many rows to take at once.
    function : callable
        As for :func:`sklunlearn._nets.forward`; it is called for all networks at once, as if their
        rows were those of one batch.

    Returns
    -------
    values : ndarray of shape (n_networks, n_rows, ...)
    """
    n_networks = len(next(iter(weights.values())))

    def output_of(weights, X):
        output = functional_call(run.module_, weights, (X,))
        return output[0] if isinstance(output, tuple) else output

    run._set_training(False)
    results = []
    for batch in rows.batches(batch_size, device_of(run)):
        with torch.no_grad(), RowsLast():
            outputs = vmap(output_of, (dict.fromkeys(weights, 0), None))(weights, batch.X)
            batch.y = batch.y.repeat(n_networks)
            values = function(run, outputs.flatten(0, 1), batch)
        results.append(values.unflatten(0, (n_networks, -1)).cpu().numpy())
    return np.concatenate(results, axis=1)
