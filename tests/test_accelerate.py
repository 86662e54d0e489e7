"""Nets that are trained with accelerate."""

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.exceptions import DeviceWarning

import sklunlearn
from sklunlearn import BoundaryUnlearner
from sklunlearn._devices import device_of

accelerate = pytest.importorskip("accelerate", reason="needs the package accelerate")
# After it, as it imports it.
from accelerated_processes import make_net  # noqa: E402


@pytest.fixture
def accelerator():
    from accelerate.state import AcceleratorState, GradientState

    yield accelerate.Accelerator(cpu=True)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


def weights(unlearner):
    return {k: v.numpy() for k, v in unlearner.net_.module_.state_dict().items()}


@pytest.mark.parametrize("unwrap", [True, False])
def test_one_process_gives_what_a_plain_net_gives(accelerator, unwrap, X, y):
    forget = y == 0
    net = make_net(accelerator, unwrap_after_train=unwrap)
    assert net.device is None
    accelerated = BoundaryUnlearner(net, random_state=0).fit(X, y)
    plain = BoundaryUnlearner(make_net(None, NeuralNetClassifier), random_state=0).fit(X, y)
    for unlearner in (accelerated, plain):
        unlearner.unlearn(X, y, forget=forget)
    assert weights(accelerated).keys() == weights(plain).keys()
    for name, value in weights(plain).items():
        np.testing.assert_allclose(weights(accelerated)[name], value, atol=1e-6)
    with pytest.warns(DeviceWarning, match="was not specified"):  # skorch's, of what is loaded
        again = pickle.loads(pickle.dumps(accelerated))
    np.testing.assert_array_equal(again.predict_proba(X), accelerated.predict_proba(X))
    assert clone(accelerated).estimator.accelerator is not None


def test_gradients_that_are_scaled_are_scaled_back(accelerator, X, y):
    """As with half precision, where small ones would vanish otherwise."""
    net = BoundaryUnlearner(make_net(accelerator), random_state=0).fit(X, y).fitted_

    def unlearned():
        unlearner = BoundaryUnlearner(FrozenEstimator(net), random_state=0).fit(X, y)
        return weights(unlearner.unlearn(X, y, forget=(y == 0)))

    expected = unlearned()
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for name, value in unlearned().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)


def test_a_frozen_net_that_is_still_wrapped(accelerator, X, y):
    net = make_net(accelerator, unwrap_after_train=False).fit(X, y)
    with pytest.raises(ValueError, match=r"still wrapped by accelerate.*unwrap_after_train=True"):
        BoundaryUnlearner(FrozenEstimator(net)).fit(X, y)


def test_device_of_a_net(trained_net):
    assert device_of(trained_net) == torch.device("cpu")
    trained_net.module_.to("meta")
    assert device_of(trained_net) == torch.device("cpu"), "where the net puts its batches"
    trained_net.device = None
    assert device_of(trained_net) == torch.device("meta")
    trained_net.module_ = torch.nn.Identity()
    assert device_of(trained_net) == torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="two processes, with gloo")
def test_two_processes_have_the_same_weights(tmp_path):
    here = os.path.dirname(__file__)
    package = os.path.dirname(os.path.dirname(sklunlearn.__file__))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen(
        [sys.executable, *launch, os.path.join(here, "accelerated_processes.py"), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": package},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=180)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, output
    one, other = (json.loads((tmp_path / f"{i}.json").read_text()) for i in (0, 1))
    assert one == other
    assert one.pop("n_processes") == 2
    assert len(one) == 4
    for before, after, n_predicted, n_forgotten in one.values():
        assert before != after
        # Of the process's own rows: none is gathered from the other process.
        assert (n_predicted, n_forgotten) == (150, 50)
