import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import EarlyStopping
from tiny import (
    BIAS,
    FORGET,
    WEIGHT,
    X,
    Y,
    arrays,
    assert_head,
    changed,
    descend,
    errors,
    linear,
    logits,
    make_net,
    network,
    unlearn,
)
from torch import nn
from torch.utils.data import TensorDataset

from sklunlearn import SCRUBUnlearner
from sklunlearn._losses import kl_divergence

X_FORGET, X_RETAIN, Y_RETAIN = X[FORGET], X[~FORGET], Y[~FORGET]


class Recorder(SCRUBUnlearner):
    """Keeps the passes of each epoch, as sizes of batches, and each step's gradient and student."""

    def _prepare(self, net, forget, retain):
        self.epochs_, self.norms_, self.students_, self.teacher_ = [], [], [], net.module_
        super()._prepare(net, forget, retain)

    def _start_epoch(self, run, epoch, forget, retain):
        self.epochs_.append([])
        super()._start_epoch(run, epoch, forget, retain)

    def _loss(self, module, forget, retain):
        assert (forget is None) != (retain is None)
        assert module.training and not self.teacher_.training
        self.epochs_[-1].append(("max", len(forget)) if retain is None else ("min", len(retain)))
        self.students_.append(module)
        loss = super()._loss(module, forget, retain)
        gradients = torch.autograd.grad(loss, list(module.parameters()), retain_graph=True)
        self.norms_.append(torch.cat([g.flatten() for g in gradients]).norm().item())
        return loss


# Steps by hand.


def divergence_gradient(weight, bias, rows, temperature):
    """Gradient of the tempered divergence of each row with respect to the student's logits."""
    student = softmax(logits(weight, bias, rows) / temperature, axis=1)
    return temperature * (student - softmax(logits(WEIGHT, BIAS, rows) / temperature, axis=1))


@pytest.mark.parametrize(
    "start, msteps, max_epochs, passes",
    [
        ("min", 0, 1, ["min", "min"]),
        ("min", 1, 1, ["min", "max", "min"]),
        ("auto", 2, 3, ["min", "max", "min", "max", "min", "min"]),
        ("max", 2, 3, ["max", "min", "max", "min", "min"]),
        ("max", 5, 2, ["max", "min", "max", "min"]),
    ],
)
@pytest.mark.parametrize(
    "retain_weight, distill_weight, temperature",
    [(1.0, 0.5, 4.0), (0.6, 0.0, 4.0), (0.8, 2.0, 0.5), (0.0, 1.0, 2.0)],
)
def test_by_hand(start, msteps, max_epochs, passes, retain_weight, distill_weight, temperature):
    params = {
        "start": start,
        "msteps": msteps,
        "max_epochs": max_epochs,
        "retain_weight": retain_weight,
        "distill_weight": distill_weight,
        "temperature": temperature,
        "lr": 0.6,
    }
    weight, bias = WEIGHT, BIAS
    for name in passes:
        if name == "max":
            up = -divergence_gradient(weight, bias, X_FORGET, temperature) / len(X_FORGET)
            weight, bias = descend(weight, bias, 0.6, (X_FORGET, up))
        else:
            error = retain_weight * errors(weight, bias, X_RETAIN, Y_RETAIN)
            error += distill_weight * divergence_gradient(weight, bias, X_RETAIN, temperature)
            weight, bias = descend(weight, bias, 0.6, (X_RETAIN, error / len(X_RETAIN)))
    unlearner = unlearn(Recorder, linear(), **params)
    assert [name for epoch in unlearner.epochs_ for name, _ in epoch] == passes
    assert_head(unlearner, weight, bias)


def test_divergence_of_a_known_pair():
    teacher, student = torch.tensor([[3.0, 1, 0]]), torch.tensor([[1.0, 1, 1]])
    assert kl_divergence(teacher, student, 4.0).item() == pytest.approx(0.807711, abs=1e-6)
    # The mean over rows, of which one agrees with its teacher.
    two = torch.cat([teacher, student]), torch.cat([student, student])
    assert kl_divergence(*two, 4.0).item() == pytest.approx(0.807711 / 2, abs=1e-6)
    assert kl_divergence(*two, 4.0, reduction="sum").item() == pytest.approx(0.807711, abs=1e-6)


class LeavingNet(nn.Module):
    """Logits (3, 1, 0) in evaluation mode and (1, 1, 1) in training mode, plus a bias."""

    def __init__(self):
        super().__init__()
        self.head = linear(np.zeros((3, 3)), np.zeros(3))

    def forward(self, x):
        said = torch.ones(3) if self.training else torch.tensor([3.0, 1.0, 0.0])
        return self.head(x) + said


@pytest.mark.parametrize("as_dataset", [False, True])
def test_known_pair_as_a_loss(as_dataset):
    rows, y = np.zeros((5, 3), np.float32), np.array([0, 0, 1, 1, 2])
    params = {"forget": [0, 1, 3], "start": "max", "msteps": 1, "batch_size": 3, "lr": 1e-6}
    if as_dataset:
        rows, y = TensorDataset(torch.tensor(rows), torch.tensor(y)), None
    weights = {"retain_weight": 0.3, "distill_weight": 0.7, "temperature": 4.0}
    history = unlearn(SCRUBUnlearner, LeavingNet(), rows, y, **params, **weights).history_
    up, down = history[0, "batches", :, "train_loss"]
    assert up == pytest.approx(-0.807711, abs=1e-4)
    assert down == pytest.approx(0.3 * np.log(3) + 0.7 * 0.807711, abs=1e-4)


# The teacher and the start.


@pytest.mark.parametrize("module", [linear, network])
def test_teacher_is_the_network_as_it_was(module):
    module = module()
    before = arrays(module)
    unlearner = unlearn(Recorder, module, batch_size=5, max_epochs=4, lr=0.1)
    assert unlearner.teacher_ is module
    assert all(student is not module for student in unlearner.students_)
    assert unlearner.net_.module_ is not module
    assert changed(before, module) == []
    assert "weight" in " ".join(changed(before, unlearner.net_.module_))


def test_teacher_is_in_evaluation_mode_right_after_its_training():
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))  # it is asked anew for each batch
    net = make_net(network()).set_params(max_epochs=1)
    unlearner = Recorder(net, max_epochs=2, lr=0.01, random_state=0).fit(rows, forget=FORGET)
    assert len(unlearner.norms_) == 4


@pytest.mark.parametrize("start", ["auto", "max", "min"])
@pytest.mark.parametrize("module", [linear, network])
def test_no_epochs_leave_the_network(module, start):
    module = module()
    unlearner = unlearn(SCRUBUnlearner, module, max_epochs=0, start=start, rewind=(X, Y))
    assert changed(arrays(module), unlearner.net_.module_) == []
    assert unlearner.net_.module_ is not module
    assert unlearner.rewound_to_ is None


class Double(nn.Module):
    """A network of float64, without BatchNorm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 4)).double()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(generator=generator)

    def forward(self, x):
        return self.layers(x.double())


def test_first_gradient_is_zero_without_batchnorm():
    norms = unlearn(Recorder, Double(), start="max", msteps=1).norms_
    assert len(norms) == 2
    assert norms[0] < 1e-14
    assert norms[1] > 0.1


def test_first_gradient_with_batchnorm():
    assert unlearn(Recorder, network(), start="max").norms_[0] > 0.01
    assert unlearn(Recorder, network(), start="max", freeze_batchnorm=True).norms_[0] < 1e-5


# The order of the passes.


def with_dropout(p=0.2):
    return nn.Sequential(nn.Dropout(p), linear())


def without_parameters():
    return nn.Sequential(nn.BatchNorm1d(3, affine=False), linear())


@pytest.mark.parametrize(
    "module, params, first",
    [
        (linear, {}, "min"),
        (linear, {"start": "max"}, "max"),
        (network, {}, "max"),
        (network, {"start": "min"}, "min"),
        (without_parameters, {}, "max"),
        (with_dropout, {}, "max"),
        (with_dropout, {"start": "min"}, "min"),
        # Of those that could differ from the teacher, none does.
        (network, {"freeze_batchnorm": True}, "min"),
        (network, {"trainable": "head"}, "min"),
        (network, {"trainable": 2}, "max"),
        (lambda: with_dropout(0.0), {}, "min"),
    ],
)
def test_which_pass_comes_first(module, params, first):
    params = {"msteps": 2, "max_epochs": 3, "lr": 0.01, **params}
    if "trainable" in params:  # the recorder takes the gradient of all parameters
        module = module()
        unlearner = unlearn(SCRUBUnlearner, module, **params)
        sizes = unlearner.history_[:, "train_batch_count"]
    else:
        epochs = unlearn(Recorder, module(), **params).epochs_
        both, alone = [("max", 7), ("min", 13)], [("min", 13)]
        assert epochs == ([alone] if first == "min" else []) + [both, both, alone]
        sizes = list(map(len, epochs))
    assert sizes == ([1] if first == "min" else []) + [2, 2, 1]


@pytest.mark.parametrize(
    "params, forget_sizes",
    [
        ({"batch_size": 5}, [4, 3]),
        ({"batch_size": 5, "forget_batch_size": 3}, [3, 2, 2]),
        ({"batch_size": 5, "forget_batch_size": 100}, [7]),
        ({"batch_size": 5, "msteps": 0}, []),
    ],
)
def test_batches_of_the_two_passes(params, forget_sizes):
    params = {"start": "max", "msteps": 1, "max_epochs": 2, **params}
    first, second = unlearn(Recorder, linear(), **params).epochs_
    retain = [("min", 5), ("min", 4), ("min", 4)]
    assert first == [("max", size) for size in forget_sizes] + retain
    assert second == retain


def test_rows_once_a_pass():
    class Seen(SCRUBUnlearner):
        def _prepare(self, net, forget, retain):
            self.seen_ = []
            super()._prepare(net, forget, retain)

        def _loss(self, module, forget, retain):
            self.seen_.append((retain or forget).X.numpy())
            return super()._loss(module, forget, retain)

    params = {"start": "max", "batch_size": 4, "max_epochs": 2, "msteps": 2, "lr": 0.01}
    seen = np.concatenate(unlearn(Seen, linear(), **params).seen_)
    for epoch in seen.reshape(2, 20, 3):
        for rows, expected in [(epoch[:7], X_FORGET), (epoch[7:], X_RETAIN)]:
            order = np.argsort(rows[:, 0]), np.argsort(expected[:, 0])
            np.testing.assert_array_equal(rows[order[0]], expected[order[1]])


@pytest.mark.parametrize(
    "module, forget", [(linear, [8]), (linear, Y == 1), (network, Y == 1), (network, [8, 9])]
)
def test_dataset_is_as_arrays(module, forget):
    rows = TensorDataset(torch.tensor(X), torch.tensor(Y))
    params = {"forget": forget, "batch_size": 6, "max_epochs": 3, "lr": 0.1}
    of_arrays = unlearn(SCRUBUnlearner, module(), **params)
    of_dataset = unlearn(SCRUBUnlearner, module(), rows, None, **params)
    expected = arrays(of_arrays.net_.module_)
    assert changed(arrays(module()), of_dataset.net_.module_) != []
    for name, value in of_dataset.net_.module_.state_dict().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-4, err_msg=name)


def test_retain_rows_are_needed_whatever_their_weight():
    net = make_net(linear())
    unlearner = SCRUBUnlearner(FrozenEstimator(net), retain_weight=0, max_epochs=1).fit(X, Y)
    with pytest.raises(ValueError, match="forget"):
        unlearner.unlearn(X, Y, forget=np.ones(20, dtype=bool))


def test_stop_accuracy():
    labels = logits(WEIGHT, BIAS, X).argmax(axis=1)
    arguments = {"y": labels, "forget": labels == 3, "lr": 0.3, "msteps": 99, "max_epochs": 99}
    unlearner = unlearn(SCRUBUnlearner, linear(), stop_accuracy=0.5, **arguments)
    accuracies = unlearner.history_[:, "forget_accuracy"]
    assert 1 < len(accuracies) < 100
    assert accuracies[-1] <= 0.5 < min(accuracies[:-1])
    after = [p.detach().numpy() for p in unlearner.net_.module_.parameters()]
    last = np.mean(logits(*after, X[labels == 3]).argmax(axis=1) == 3)
    assert accuracies[-1] == pytest.approx(last)


# Rewinding.

N_EPOCHS = 8
REWOUND = {"start": "max", "msteps": 6, "max_epochs": N_EPOCHS, "batch_size": 8, "lr": 0.3}


@pytest.fixture(scope="module")
def rows():
    """Rows that a network is right about, but for a fifth of them."""
    X = np.random.default_rng(2).normal(size=(60, 3)).astype(np.float32)
    with torch.no_grad():
        y = network()(torch.tensor(X)).argmax(dim=1).numpy()
    y[::5] = (y[::5] + 1) % 4
    return X, y, np.arange(60) < 30


@pytest.fixture(scope="module")
def states(rows):
    """The student at the end of 1, 2, ... epochs."""
    modules = []
    for n in range(1, N_EPOCHS + 1):
        unlearner = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND | {"max_epochs": n})
        modules.append(unlearner.net_.module_.eval())
    return modules


def error(module, X, y):
    with torch.no_grad():
        return np.mean(module(torch.tensor(X)).argmax(dim=1).numpy() != y)


def held_out(wrong, rows, states):
    """Rows of which the last student gets a share wrong."""
    X = rows[0][30:]
    with torch.no_grad():
        said = states[-1](torch.tensor(X)).argmax(dim=1).numpy()
    y = np.where(np.arange(30) < 30 * wrong, (said + 1) % 4, said)
    return X, y


@pytest.mark.parametrize("wrong", [0.0, 0.2, 0.4, 0.6, 1.0])
def test_rewinds_to_the_epoch_of_the_closest_error(rows, states, wrong):
    X, y, forget = rows
    forget_errors = [error(module, X[forget], y[forget]) for module in states]
    assert len(set(forget_errors)) > 4
    expected = int(np.argmin([abs(e - wrong) for e in forget_errors]))  # the first of equals
    rewind = held_out(wrong, rows, states)
    unlearner = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, rewind=rewind)
    assert unlearner.rewound_to_ == expected + 1
    assert changed(arrays(states[expected]), unlearner.net_.module_) == []
    assert len(unlearner.history_) == N_EPOCHS


def test_no_rewinding_ends_at_the_last_epoch(rows, states):
    unlearner = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND)
    assert unlearner.rewound_to_ is None
    assert changed(arrays(states[-1]), unlearner.net_.module_) == []


def test_rows_held_out_of_other_classes_do_not_count(rows):
    X, y, forget = rows[0], rows[1], (rows[1] == 1) & rows[2]
    runs = [
        unlearn(SCRUBUnlearner, network(), X, y, forget, **REWOUND | {"max_epochs": n})
        for n in range(1, N_EPOCHS + 1)
    ]
    modules = [run.net_.module_.eval() for run in runs]
    forget_errors = np.array([error(module, X[forget], y[forget]) for module in modules])
    X_held, y_held = X[30:], np.arange(30) % 4
    references = [error(modules[-1], X_held[k], y_held[k]) for k in (y_held == 1, y_held < 4)]
    expected, of_all = (abs(forget_errors - reference).argmin() for reference in references)
    assert expected != of_all
    rewind = [X_held.tolist(), y_held.tolist()]
    unlearner = unlearn(SCRUBUnlearner, network(), X, y, forget, **REWOUND, rewind=rewind)
    assert unlearner.rewound_to_ == expected + 1


@pytest.mark.parametrize("start, n_before", [("max", 0), ("min", 1)])
def test_earliest_of_equals(start, n_before):
    # At so low a learning rate no answer changes, though the weights do.
    params = {"start": start, "lr": 1e-4}
    one = unlearn(SCRUBUnlearner, linear(), max_epochs=1, msteps=0, **params | {"start": "max"})
    unlearner = unlearn(SCRUBUnlearner, linear(), max_epochs=3, msteps=0, rewind=(X, Y), **params)
    assert unlearner.rewound_to_ == 1
    assert len(unlearner.history_) == 3 + n_before
    assert changed(arrays(one.net_.module_), unlearner.net_.module_) == []
    assert changed(arrays(linear()), unlearner.net_.module_) == ["weight", "bias"]


def test_string_labels(rows, states):
    X, y, forget = rows
    names = np.array(["ape", "bee", "cow", "dog"])
    rewind = held_out(0.4, rows, states)
    as_numbers = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, rewind=rewind)
    net = make_net(network()).set_params(classes=names)
    params = {"optimizer": torch.optim.SGD, "random_state": 0, **REWOUND}
    unlearner = SCRUBUnlearner(
        FrozenEstimator(net), rewind=(rewind[0], names[rewind[1]].tolist()), **params
    )
    unlearner.fit(X, names[y], forget=forget)
    assert 1 < unlearner.rewound_to_ == as_numbers.rewound_to_
    assert changed(arrays(as_numbers.net_.module_), unlearner.net_.module_) == []


def test_pipeline(rows, states):
    X, y, forget = rows
    X_held, y_held = held_out(0.4, rows, states)
    # The scaler undoes what was done to the rows, but for rounding.
    scaler = StandardScaler().fit([[-9.0, 1, 0], [11.0, 9, 4]])
    pipeline = make_pipeline(scaler, make_net(network()))
    params = {"optimizer": torch.optim.SGD, "random_state": 0, **REWOUND}
    raw, raw_held = (scaler.inverse_transform(part.astype(float)) for part in (X, X_held))
    unlearner = SCRUBUnlearner(FrozenEstimator(pipeline), rewind=(raw_held, y_held), **params)
    unlearner.fit(raw, y, forget=forget)
    as_arrays = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, rewind=(X_held, y_held))
    assert 1 < unlearner.rewound_to_ == as_arrays.rewound_to_
    expected = arrays(as_arrays.net_.module_)
    for name, value in unlearner.net_.module_.state_dict().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-3, err_msg=name)


def test_rows_held_out_in_a_dataset(rows, states):
    X, y = held_out(0.4, rows, states)
    of_arrays = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, rewind=(X, y))
    rewind = TensorDataset(torch.tensor(X), torch.tensor(y)), None
    unlearner = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, rewind=rewind)
    assert 1 < unlearner.rewound_to_ == of_arrays.rewound_to_


def test_rewinds_after_a_stop(rows, states):
    X, y, forget = rows
    stopping = EarlyStopping("train_loss", patience=4, threshold=1e9, threshold_mode="abs")
    params = {"rewind": (X, y), "callbacks": [stopping]}
    unlearner = unlearn(SCRUBUnlearner, network(), *rows, **REWOUND, **params)
    n = len(unlearner.history_)
    known = np.isin(y, y[forget])
    reference = error(states[n - 1], X[known], y[known])
    distances = [abs(error(module, X[forget], y[forget]) - reference) for module in states[:n]]
    assert 1 < n < N_EPOCHS
    assert unlearner.rewound_to_ == np.argmin(distances) + 1


@pytest.mark.parametrize(
    "rewind, message",
    [
        ((X, Y, Y), r"`rewind` must be a pair \(X, y\) .*, got a tuple of length 3"),
        ([X], r"`rewind` must be a pair \(X, y\) .*, got a list of length 1"),
        ((X, Y[:5]), "inconsistent numbers of samples"),
        ((X[:, :2], Y), "X has 2 features, but SCRUBUnlearner is expecting 3"),
        ((X, Y + 7), "holds the labels .*, which are not classes of the network"),
        ((X[Y == 2], Y[Y == 2]), "`rewind` holds no row of the classes of the forget rows"),
        ((np.full((2, 3), np.nan), [0, 1]), "contains NaN"),
        ((X, np.stack([Y, Y], axis=1)), "y should be a 1d array"),
        (X, "rewind"),
    ],
)
def test_wrong_rewind(rewind, message):
    module = network()
    before = arrays(module)
    unlearner = SCRUBUnlearner(FrozenEstimator(make_net(module)), max_epochs=1, random_state=0)
    unlearner.fit(X, Y)
    attributes = set(vars(unlearner))
    unlearner.set_params(rewind=rewind)
    with pytest.raises(ValueError, match=message):
        unlearner.unlearn(X, Y, forget=(Y == 0) | (Y == 1))
    assert unlearner.net_.module_ is module
    assert changed(before, module) == []
    assert set(vars(unlearner)) == attributes
