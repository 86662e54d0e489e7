"""Several networks that answer as one."""

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline
from torch import nn

from sklunlearn._nets import shallow_copy
from sklunlearn._training import transform

__all__ = ["Ensemble", "SideBySide", "make_ensemble"]


def make_ensemble(preprocessings, nets, aggregation, X, weights=None):
    """One trained estimator of several.

    Parameters
    ----------
    preprocessings : list of sklearn.pipeline.Pipeline, or of None
        The fitted steps before each of the nets.
    nets : list of skorch.NeuralNetClassifier
        Trained nets, with the same classes and one module each. They are not changed, but the
        ensemble shares their weights.
    aggregation : {"mean", "vote"}
        See `Ensemble`.
    X : array-like or torch Dataset
        At least one row, before the preprocessing.
    weights : list of float, default=None
        See `Ensemble`.

    Returns
    -------
    ensemble : skorch.NeuralNetClassifier or sklearn.pipeline.Pipeline
        A Pipeline if the nets have preprocessing. Its net is a copy of the first one, with all
        modules. A clone of this net is a net like the first, not trained, but without its
        `predict_nonlinearity`.
    """
    net = shallow_copy(nets[0])
    if net._modules != ["module"]:
        raise TypeError(
            f"A net of several modules, {net._modules}, cannot be part of an ensemble: put them "
            "into one module."
        )
    widths = None
    if any(steps is not None for steps in preprocessings):
        widths = [transform(steps, X).shape[1] for steps in preprocessings]
    nonlinearities = [each._get_predict_nonlinearity() for each in nets]
    module = Ensemble([each.module_ for each in nets], nonlinearities, aggregation, widths, weights)
    # What it gives out are probabilities already, which skorch takes NLLLoss for a sign of.
    own = {"module_": module.eval(), "criterion_": nn.NLLLoss(), "optimizer_": None}
    vars(net).update(own, predict_nonlinearity="auto", callbacks_=[])
    return net if widths is None else make_pipeline(SideBySide(preprocessings), net)


class Ensemble(nn.Module):
    """Class probabilities of several networks together.

    Parameters
    ----------
    constituents : list of torch.nn.Module
        The networks.
    nonlinearities : list of callable
        What makes class probabilities of the output of each.
    aggregation : {"mean", "vote"}
        "mean": the mean of their probabilities. "vote": each votes for its likeliest class, ties
        for the first of them, and the probability of a class is its share of the votes.
    widths : list of int, default=None
        How many entries of the input along axis 1 each network is given, in turn. None: each is
        given all of it.
    weights : list of float, default=None
        Weight of each network. None: all have the same.
    """

    def __init__(self, constituents, nonlinearities, aggregation, widths=None, weights=None):
        super().__init__()
        self.constituents = nn.ModuleList(constituents)
        self.nonlinearities = nonlinearities
        self.aggregation = aggregation
        self.widths = widths
        self.weights = [1] * len(constituents) if weights is None else weights

    def forward(self, x):
        """Probabilities of shape (n_samples, n_classes)."""
        inputs = [x] * len(self.constituents) if self.widths is None else x.split(self.widths, 1)
        answers = []
        for module, nonlinearity, each in zip(
            self.constituents, self.nonlinearities, inputs, strict=True
        ):
            output = module(each)
            probabilities = nonlinearity(output[0] if isinstance(output, tuple) else output)
            if self.aggregation == "vote":
                votes = probabilities.argmax(dim=1)
                votes = nn.functional.one_hot(votes, probabilities.shape[1])
                probabilities = votes.to(probabilities.dtype)
            answers.append(probabilities)
        # One after the other: the rounding of `torch.mean` depends on where in the batch a row is.
        weighted = [w * answer for w, answer in zip(self.weights, answers, strict=True)]
        return sum(weighted) / sum(self.weights)


class SideBySide(TransformerMixin, BaseEstimator):
    """What several fitted preprocessings make of the rows, beside each other along axis 1.

    As a FeatureUnion, which takes nothing but tables.

    Parameters
    ----------
    preprocessings : list of sklearn.pipeline.Pipeline
        Fitted.
    """

    def __init__(self, preprocessings):
        self.preprocessings = preprocessings

    def fit(self, X, y=None):
        """Not possible: which rows belong to which preprocessing is not known here."""
        raise TypeError(
            "The pipeline of an ensemble cannot be fitted as one: fit the pipeline that its "
            "networks were made from."
        )

    def transform(self, X):
        """Float32 array of shape (n_samples, sum of all widths, ...)."""
        return np.concatenate([transform(steps, X) for steps in self.preprocessings], axis=1)

    def __sklearn_is_fitted__(self):
        return True
