"""Networks so small that a step of theirs can be computed by hand, and runs on them."""

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset


def linear(*layers):
    """Linear layers, one after the other, each from its weights and its bias or None."""
    module = nn.Sequential()
    for weight, bias in layers:
        layer = nn.Linear(*np.shape(weight)[::-1], bias=bias is not None)
        layer.weight.data = torch.tensor(weight, dtype=torch.float32)
        if bias is not None:
            layer.bias.data = torch.tensor(bias, dtype=torch.float32)
        module.append(layer)
    return module.eval()


def batchnorm_network():
    """Three features, four classes, dropout, and BatchNorm with statistics of its own."""
    module = nn.Sequential(
        nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4)
    )
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=generator)
        module[1].running_mean.normal_(generator=generator)
        module[1].running_var.uniform_(0.5, 2.0, generator=generator)
    return module.eval()


def make_net(module, n_classes):
    """A net that counts as trained."""
    return NeuralNetClassifier(
        module,
        criterion=nn.CrossEntropyLoss,
        classes=np.arange(n_classes),
        train_split=None,
        verbose=0,
    ).initialize()


def unlearn(make, module, X, y, forget, n_classes=3, as_dataset=False, **params):
    """Forget rows; gradient methods by steps of SGD without momentum, of all rows at once."""
    X, y = np.asarray(X, dtype=np.float32), np.asarray(y)
    defaults = {"batch_size": 1000, "random_state": 0}
    if "optimizer" in make().get_params():
        defaults.update(optimizer=torch.optim.SGD, lr=1.0, max_epochs=1)
    unlearner = make(FrozenEstimator(make_net(module, n_classes)), **{**defaults, **params})
    data = (TensorDataset(torch.tensor(X), torch.tensor(y)),) if as_dataset else (X, y)
    return unlearner.fit(*data).unlearn(*data, forget=forget)


def arrays(module):
    """Copies of parameters and buffers, by name."""
    return {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}


def assert_arrays_equal(module, expected):
    """Parameters and buffers are bit for bit as expected."""
    assert arrays(module).keys() == expected.keys()
    for name, value in arrays(module).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
