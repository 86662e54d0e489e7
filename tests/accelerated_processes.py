"""What each of several processes that train one net finds; run by `test_accelerate.py`."""

import json
import sys

import torch
from accelerate import Accelerator
from sklearn.datasets import load_iris
from skorch import NeuralNetClassifier
from skorch.hf import AccelerateMixin
from torch import nn

from sklunlearn import BoundaryUnlearner, RetrainUnlearner
from sklunlearn._nets import weights_digest


class CPUAccelerator(Accelerator):
    """Leaves a criterion without weights as it is, which torch would refuse to wrap."""

    def prepare_model(self, model, **kwargs):
        has_weights = any(True for _ in model.parameters())
        return super().prepare_model(model, **kwargs) if has_weights else model


class AcceleratedNet(AccelerateMixin, NeuralNetClassifier):
    """A net for accelerate."""


def make_net(accelerator, cls=AcceleratedNet, **params):
    """A net with statistics of batches and with dropout, in which processes could differ."""
    layers = nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)
    given = {"criterion": nn.CrossEntropyLoss, "train_split": None, "max_epochs": 3, "lr": 0.1}
    if accelerator is not None:
        params["accelerator"] = accelerator
    return cls(Layers, module__layers=layers, batch_size=20, verbose=0, **given, **params)


class Layers(nn.Sequential):
    """Copies of layers, with new weights."""

    def __init__(self, layers):
        super().__init__(*layers)
        for layer in self:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()


def main(folder):
    """Write down the digests of the weights after training and after each request."""
    torch.set_num_threads(1)
    X, y = load_iris(return_X_y=True)
    X = X.astype("float32")
    accelerator = CPUAccelerator(cpu=True)
    found = {"n_processes": accelerator.num_processes}
    for seed in (0, None):
        for cls in (BoundaryUnlearner, RetrainUnlearner):
            # Not unwrapped by skorch: the unlearner does it.
            net = make_net(accelerator, unwrap_after_train=False)
            unlearner = cls(net, random_state=seed).fit(X, y)
            digests = [weights_digest(unlearner.net_)]
            unlearner.unlearn(X, y, forget=(y == 0))
            digests.append(weights_digest(unlearner.net_))
            n_rows = len(unlearner.predict(X)), len(unlearner.forget_loss_)
            found[f"{cls.__name__}, seed {seed}"] = [*digests, *n_rows]
    with open(f"{folder}/{accelerator.process_index}.json", "w") as file:
        json.dump(found, file)
    accelerator.end_training()


if __name__ == "__main__":
    main(sys.argv[1])
