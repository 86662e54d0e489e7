"""The training run that the gradient methods share."""

import itertools
import math
from abc import abstractmethod
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils._param_validation import Interval
from skorch.callbacks import GradientNormClipping

from sklunlearn._checkpoints import run_stage
from sklunlearn._data import Rows, on_device
from sklunlearn._devices import device_of, prepare_optimizers
from sklunlearn._lean import lean_steps
from sklunlearn._losses import check_loss
from sklunlearn._net_params import check_callbacks, check_net_params
from sklunlearn._nets import (
    copy_net,
    forward,
    logits_of,
    resume_training,
    stopped_by_callback,
)
from sklunlearn._positions import others
from sklunlearn._progress import trange
from sklunlearn._steps import StepBatches
from sklunlearn._training import transform
from sklunlearn.base import BaseUnlearner
from sklunlearn.exceptions import DivergenceError
from sklunlearn.saliency import SaliencyMask, updating_only
from sklunlearn.trainable import TRAINABLE, select_parameters, training_only

__all__ = ["GradientUnlearner"]

# Optimizers with an implementation that takes half the time for small networks.
_FUSED = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)


class GradientUnlearner(BaseUnlearner):
    """Base class of the methods that take gradient steps on batches of forget and retain rows.

    A step takes one batch of forget rows and one of retain rows, puts both through the network in
    one forward pass, and descends the loss that :meth:`_loss` makes of the logits. Unless a method
    says otherwise in :meth:`_steps`, an epoch is a pass over the forget rows, and retain rows are
    cycled with fresh shuffling. The run goes through skorch, so that its callbacks, its history
    and a net's own `infer` and `train_step` work; the net's own criterion and `get_loss` give way
    to the method's loss.

    Hooks of a method are `_loss` and, with a default each, `_begin`, `_prepare`, `_steps`,
    `_start_epoch`, `_run` and `_finish`. ``help(GradientUnlearner._prepare)`` shows what one of
    them is given and returns.

    Parameters
    ----------
    estimator : skorch classifier, Pipeline, FrozenEstimator or None, default=None
        What learns; see :class:`sklunlearn.base.BaseUnlearner`.
    lr : float, default=0.01
        Learning rate of the run.
    max_epochs : int, default=10
        Passes over the forget rows.
    batch_size : int, default=64
        Largest number of forget rows in a step, and number of retain rows beside them.
    optimizer : class or None, default=None
        A torch optimizer, with its own defaults. None: SGD with momentum 0.9.
    retain_weight : float, default=1.0
        Weight of the loss on retain rows. 0: retain rows do not take part.
    trainable : {"all", "head"}, int, callable or saliency mask, default="all"
        Parameters that the run may change; see
        :func:`sklunlearn.trainable.select_parameters`, and
        :func:`sklunlearn.saliency.saliency_mask` for a choice of single weights.
    freeze_batchnorm : bool, default=False
        Keep the running statistics of BatchNorm layers, and normalise by them.
    stop_accuracy : float or None, default=None
        Stop after the epoch in which the accuracy on the forget rows is at or below it: 0 for a
        class, the accuracy on unseen rows for a random sample. None: never.
    max_grad_norm : float or None, default=None
        Clip the gradient to this L2 norm.
    callbacks : list of skorch callbacks or None, default=None
        Callbacks of the run. Its training set is that of the forget rows; a batch holds retain
        rows too. The net cannot be pickled during the run.
    net_params : dict or None, default=None
        Other parameters of the net for the run, by skorch's names, for example
        ``{"optimizer__weight_decay": 1e-4}``.
    data_on_device : bool, default=False
        Move all of `X` to the device of the net before a run, where it must fit beside the
        network. False: a batch at a time. A torch Dataset is then read once, so that a row looks
        the same in all steps; of a memory map, all rows are read. The training in :meth:`fit` is
        the net's own affair.
    memory : str or object with the joblib.Memory interface, default=None
        Caches trained networks.
    random_state : int, RandomState instance or None, default=None
        Seed of everything that is drawn.
    verbose : int, default=0
        1: a progress bar; 2 and more: skorch's log of each epoch too.

    Attributes
    ----------
    classes_, n_features_in_, feature_names_in_, fitted_, net_, preprocessing_
        See :class:`sklunlearn.base.BaseUnlearner`.
    history_, forget_loss_, unlearning_time_, records_
        See :class:`sklunlearn.base.BaseUnlearner`.
    updated_params_ : list of str
        Names of the parameters that the run was allowed to change.
    """

    _parameter_constraints = {
        **BaseUnlearner._parameter_constraints,
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [Interval(Integral, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [type, None],
        "retain_weight": [Interval(Real, 0, None, closed="left")],
        "trainable": [*TRAINABLE, SaliencyMask],
        "freeze_batchnorm": ["boolean"],
        "stop_accuracy": [Interval(Real, 0, 1, closed="both"), None],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither"), None],
        "callbacks": [list, tuple, None],
        "net_params": [dict, None],
        "data_on_device": ["boolean"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        lr=0.01,
        max_epochs=10,
        batch_size=64,
        optimizer=None,
        retain_weight=1.0,
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
        super().__init__(estimator, memory=memory, random_state=random_state, verbose=verbose)
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.retain_weight = retain_weight
        self.trainable = trainable
        self.freeze_batchnorm = freeze_batchnorm
        self.stop_accuracy = stop_accuracy
        self.max_grad_norm = max_grad_norm
        self.callbacks = callbacks
        self.net_params = net_params
        self.data_on_device = data_on_device

    def _begin(self, net):
        """The network that the run trains: a copy of the one that it starts from.

        Parameters
        ----------
        net : skorch.NeuralNetClassifier
            The network as it is before the run. Not to be changed.

        Returns
        -------
        run : skorch.NeuralNetClassifier
        """
        return copy_net(net)

    def _prepare(self, net, forget, retain):
        """Before the run: store what each row needs, with ``forget["name"] = tensor``.

        Parameters
        ----------
        net : skorch.NeuralNetClassifier
            The network as it is before the run.
        forget, retain : sklunlearn._data.Rows
            The rows, a torch Dataset of pairs (x, class number): ``len(forget)``, ``forget.y``,
            and ``net.predict_proba(forget)`` for what the network says of them.

        Returns
        -------
        rows : pair of sklunlearn._data.Rows or None
            What to train on in place of `forget` and `retain`. None: those themselves.
        """

    def _run(self, run, forget, retain):
        """What the run consists of: `max_epochs` epochs, unless a method has phases."""
        self._train_epochs(run, forget, retain, self.max_epochs)

    def _start_epoch(self, run, epoch, forget, retain):
        """Before each epoch; `run` is the network that is trained, `epoch` counts from 1."""

    def _steps(self, epoch, forget, retain):
        """Which rows the steps of an epoch take. An epoch without a step ends the run.

        By default, all forget rows once, and beside each batch of them one of retain rows.

        Yields
        ------
        positions : pair of tensors of dtype int64
            Positions of the step's forget rows and of its retain rows. None in place of one: such
            rows take no part, and `_loss` is given None.
        """
        for positions in forget.shuffled(self.batch_size):
            beside = retain.next_positions(self.batch_size) if self.retain_weight > 0 else None
            yield positions, beside

    @abstractmethod
    def _loss(self, module, forget, retain):
        """Scalar to descend, a tensor that depends on the network's weights.

        Parameters
        ----------
        module : torch.nn.Module
            The network that is trained.
        forget : sklunlearn._data.Batch or None
            Forget rows: ``forget.X``, ``forget.y``, ``forget.logits``, ``forget["name"]``.
        retain : sklunlearn._data.Batch or None
            Retain rows; None if they do not take part.
        """

    def _finish(self, run):
        """After the run: a last change of the network that was trained."""

    def _needs_retain(self):
        return self.retain_weight > 0

    def _unlearn(self, start, X, y, forget):
        run, rows, masks = self._open(start, self._inputs(start, X), y, forget)
        frozen = self.freeze_batchnorm
        with (
            training_only(run.module_, self.updated_params_, freeze_batchnorm=frozen),
            updating_only(run.module_, masks) as self._restore,
            lean_steps(run),
            stopped_by_callback(),
        ):
            run.notify("on_train_begin", X=rows[0], y=rows[0].y)
            self._run(run, *rows)
        run.notify("on_train_end", X=rows[0], y=rows[0].y)
        self._finish(run)
        return resume_training(run, start)

    def _inputs(self, net, X):
        """What the network takes, of all rows; on its device, if they are to be there."""
        X = transform(self.preprocessing_, X)
        return on_device(X, device_of(net)) if self.data_on_device else X

    def _open(self, start, X, y, forget):
        """All that comes before the run: what is trained, on which rows, and which weights stay.

        X is what `_inputs` gives.
        """
        forget_rows = Rows(X, y, np.flatnonzero(forget))
        retain_rows = Rows(X, y, others(forget))
        run = self._begin(start)
        masks = self._select(run, start, forget_rows)
        self._configure(run)
        self._requested = forget_rows
        rows = self._prepare(start, forget_rows, retain_rows)
        if rows is None:
            rows = forget_rows, retain_rows
        elif not (
            isinstance(rows, tuple | list)
            and len(rows) == 2
            and all(isinstance(some, Rows) for some in rows)
        ):
            raise TypeError(
                f"`_prepare` of {type(self).__name__} must return a pair, the forget rows and the "
                f"retain rows to train on, or None, got {type(rows).__name__}: what each row needs "
                'is stored with `forget["name"] = tensor`.'
            )
        if self.data_on_device:
            for some in rows:  # a method may have made rows of its own
                some.source = on_device(some.source, device_of(start))
        return run, rows, masks

    def _select(self, run, start, forget):
        """Find what may change: names of parameters, and masks of those that may in part."""
        trainable = self._get_trainable()
        masks = {}
        if isinstance(trainable, SaliencyMask):
            masks = trainable.find(start, forget, self.batch_size)
            self.updated_params_ = list(masks)
        else:
            self.updated_params_ = select_parameters(run.module_, trainable)
        return masks

    def _get_trainable(self):
        return self.trainable

    def _configure(self, run):
        """Give the net this run's training set-up in place of its own."""
        for name in list(vars(run)):
            if name.startswith(("optimizer__", "callbacks__")):
                del vars(run)[name]
        params = {"optimizer": self.optimizer}
        if self.optimizer is None:
            params = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9}
        if params["optimizer"] in _FUSED and device_of(run).type in ("cpu", "cuda"):
            params["optimizer__fused"] = True
        # What these would do is not needed here, or done by the run itself, at a lower cost.
        idle = ["train_loss", "valid_loss", "valid_acc", *(["print_log"] * (self.verbose < 2))]
        params.update({f"callbacks__{name}": None for name in idle})
        callbacks = check_callbacks(self.callbacks or [])
        if self.max_grad_norm is not None:
            callbacks.append(("max_grad_norm", GradientNormClipping(self.max_grad_norm)))
        vars(run).update(
            **params,
            lr=self.lr,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            callbacks=callbacks,
            verbose=max(0, int(self.verbose) - 1),
        )
        vars(run).update(check_net_params(self.net_params or {}, run))
        run.initialize_callbacks()
        run.initialize_optimizer()
        prepare_optimizers(run)

    def _train_epochs(self, run, forget, retain, max_epochs, *, may_stop=True):
        """Train for some epochs; a method with phases calls this once for each.

        A phase that follows the forgetting may not stop: it begins where `stop_accuracy` is met.
        """
        batches = StepBatches(forget, retain, device_of(run))

        def get_loss(y_pred, y_true, X=None, training=True):
            loss = self._loss(run.module_, *batches.split(logits_of(run, y_pred)))
            return check_loss(loss, type(self).__name__, self.updated_params_)

        def step(batch):
            result = run.train_step(batch)
            self._restore()
            loss = result["loss"].item()
            losses.append(loss)
            sizes.append(batch[1].shape[0])
            if not math.isfinite(loss):
                raise DivergenceError(
                    f"The loss of {type(self).__name__} is no longer finite in epoch "
                    f"{len(run.history)}; the model is as it was. Lower `lr`={self.lr!r}, or set "
                    "`max_grad_norm`."
                )
            return result

        # On the instance: the net may be of a user's class, and keep its own train_step.
        vars(run)["get_loss"] = get_loss
        stage = run_stage(self, run, forget, retain, max_epochs, may_stop=may_stop)
        before = run.history[-stage.n_done :, "train_loss"] if stage.n_done else []
        losses, sizes, lowest = [], [], min(before, default=math.inf)
        datasets = {"dataset_train": forget, "dataset_valid": None}
        first = max_epochs + 1 if stage.ended else stage.n_done + 1
        progress = trange(
            first, max_epochs + 1, desc=type(self).__name__, unit="epoch", disable=not self.verbose
        )
        try:
            for epoch in progress:
                self._start_epoch(run, epoch, forget, retain)
                steps = iter(self._steps(epoch, forget, retain))
                step_1 = next(steps, None)
                if step_1 is None:
                    break
                batches.steps = itertools.chain([step_1], steps)
                run.notify("on_epoch_begin", **datasets)
                losses.clear()
                sizes.clear()
                run.run_single_epoch(batches, training=True, prefix="train", step_fn=step)
                loss = np.dot(losses, sizes) / sum(sizes)
                run.history.record("train_loss", loss)
                run.history.record("train_loss_best", bool(loss < lowest))
                lowest = min(lowest, loss)
                if self.stop_accuracy is not None:
                    accuracy = float(np.mean(forward(run, self._requested, self._is_correct)))
                    run.history.record("forget_accuracy", accuracy)
                run.notify("on_epoch_end", **datasets)
                if may_stop and self.stop_accuracy is not None and accuracy <= self.stop_accuracy:
                    break
                stage.keep()
            stage.end()
        finally:
            progress.close()
            del vars(run)["get_loss"]  # it refers to `run`, whose optimizer would live on

    def _restart_optimizer(self, run, lr):
        """For another phase: the optimizer as if it were new, with another learning rate."""
        # The object stays, as callbacks may hold it.
        run.optimizer_.state.clear()
        for group in run.optimizer_.param_groups:
            group["lr"] = lr

    def _is_correct(self, net, output, batch):
        # Of the classes alone: during a run the network may have an output that stands for none.
        logits = logits_of(net, output)[:, : len(self.classes_)]
        return logits.argmax(dim=1) == batch.y
