import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

from sklunlearn import BoundaryUnlearner
from sklunlearn.exceptions import ReleasedModelError
from sklunlearn.inspection._models import as_array, find_models, losses_of, original_of


def test_models_that_there_are(unlearner, retrained, flowers):
    X, y, _ = flowers
    names = ["original", "unlearned", "retrained"]
    assert list(find_models(unlearner, retrained)) == names
    assert list(find_models(unlearner)) == names[:2]
    assert list(find_models(unlearner.release(), retrained)) == names[1:]
    before = BoundaryUnlearner(random_state=0, max_epochs=1).fit(X, y)
    assert list(find_models(before)) == names[:1]


def test_original_predicts_as_the_fitted_net(unlearner, flowers):
    X, _, _ = flowers
    now = unlearner.predict_proba(X)
    original = original_of(unlearner)
    assert np.array_equal(original.predict_proba(X), unlearner.fitted_.predict_proba(X))
    assert np.array_equal(unlearner.predict_proba(X), now)
    with pytest.raises(ReleasedModelError, match="carries no original model to draw"):
        original_of(unlearner.release())


def test_losses_are_the_logarithms_of_the_probabilities(unlearner, flowers):
    X, y, forget = flowers
    own = unlearner.predict_proba(X)[np.arange(len(y)), np.searchsorted(unlearner.classes_, y)]
    keep = own > 1e-3
    losses = losses_of(unlearner, X, y)
    assert np.allclose(losses[keep], -np.log(own[keep]), atol=1e-5)
    assert np.allclose(losses[forget], unlearner.forget_loss_, rtol=1e-5)


def test_only_fitted_unlearners():
    with pytest.raises(TypeError, match=r"`unlearner` must be a fitted unlearner.*LogisticReg"):
        find_models(LogisticRegression())
    with pytest.raises(NotFittedError):
        find_models(BoundaryUnlearner())


def test_retrained_must_be_an_unlearner(unlearner):
    with pytest.raises(TypeError, match="`retrained` must be a fitted unlearner"):
        find_models(unlearner, LogisticRegression())


def test_arrays_of_all_kinds(flowers):
    pd = pytest.importorskip("pandas")
    X, _, _ = flowers
    kinds = [X, X.tolist(), pd.DataFrame(X), torch.from_numpy(X)]
    kinds.append(torch.utils.data.TensorDataset(torch.from_numpy(X), torch.zeros(len(X))))
    for kind in kinds:
        assert np.array_equal(as_array(kind, np.array([2, 0])), X[[2, 0]])
