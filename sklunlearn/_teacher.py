"""What a network that is not trained says of the rows that another one is trained on."""

import torch
from torch.utils.data import Dataset

from sklunlearn._nets import forward, logits_of

__all__ = ["Teacher"]


class Teacher:
    """Logits of a fixed network for batches of rows. No two teachers may share rows.

    Parameters
    ----------
    net : skorch.NeuralNetClassifier
        The network, which is put in evaluation mode.
    *rows : sklunlearn._data.Rows
        Rows that will be asked for repeatedly. Their logits are computed once, unless they come
        from a torch Dataset, which may give a row another look each time.
    """

    def __init__(self, net, *rows):
        net._set_training(False)
        self.net = net
        for some in rows:
            if not isinstance(some.source, Dataset) and len(some):
                logits = forward(net, some, lambda net, output, batch: logits_of(net, output))
                some["teacher"] = torch.from_numpy(logits)

    def __call__(self, batch):
        """Logits of shape (n_samples, n_classes), without a gradient."""
        if "teacher" in batch.columns:
            return batch["teacher"]
        if not len(batch):  # not every network takes no rows: ``x.view(len(x), -1)`` fails
            return batch.logits.detach()
        with torch.no_grad():
            return logits_of(self.net, self.net.infer(batch.X))
