"""Training of a model with data: batches, steps, validation, early stopping, checkpoints."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.fitting import given as given_
from rnncore.fitting.batches import Rows
from rnncore.fitting.checkpoint import check_path
from rnncore.fitting.history import History
from rnncore.fitting.layout import layout_of, whole
from rnncore.fitting.scores import Loss, metrics_of
from rnncore.fitting.training import Options, Training


def fit(
    model: Any,
    data: Any,
    *,
    loss: Any,
    epochs: int = 1,
    batch_size: int = 32,
    optimizer: Any = "adam",
    lr: float = 1e-3,
    schedule: Any = None,
    clip_norm: float | None = 1.0,
    accumulate: int = 1,
    validation: Any = None,
    patience: int | None = None,
    metrics: Any = (),
    checkpoint: str | os.PathLike[str] | None = None,
    rng: int | np.random.Generator | None = 0,
    callbacks: Any = (),
    progress: bool = True,
    window: int | None = None,
    weight_decay: float = 0.0,
) -> History:
    """Train a model in place.

    Parameters
    ----------
    model : a layer or model, or anything with their ``forward``, ``backward`` and ``params``
    data : what to learn from, one of
        ``(X, Y)`` or ``(X, Y, lengths)``, arrays in the model's layout: X (T, B, ...), or (B, T,
        ...) with `batch_first`, which may be `numpy.memmap`; Y (T, B, ...), or (B, ...) where the
        model has one output a row;
        ``(X, Y)``, lists of sequences (T_i, ...); Y one target a step, or one a sequence;
        an iterable, but no tuple, of batches ``(x, y)`` or ``(x, y, lengths)``, which come as they
        are.
        Of the first two, rows of like length go together, in an order drawn anew in each epoch.
    loss : "cross_entropy", "bce", "mse", "mae", "huber", or a function ``(y, target) -> (loss,
        dy)`` such as ``functools.partial(rnncore.softmax_cross_entropy, ignore_index=-100)``
        A mean over what counts: never over padding. Where rows have lengths, a function gets
        ``lengths=`` and ``batch_first=`` too.
    epochs, batch_size : how often all data is seen, and how many rows at a step
    optimizer : "adam", "adamw", "sgd", "rmsprop", or an optimiser of the model's parameters
    lr : learning rate, where `optimizer` is a name
    schedule : function of the number of steps taken, such as `rnncore.OneCycle`, or
        `rnncore.OnPlateau`, which sees the validation loss after each epoch
    clip_norm : the longest norm of all gradients together; None: as they come
    accumulate : batches whose gradients make one step, as if they were one batch
    validation : data like `data`; or the share of its rows that is held back, 0 to 1
    patience : epochs without a better validation loss before the training ends
        The model has the parameters of the best epoch in the end.
    metrics : "accuracy", "mse", "mae", or functions ``(y, target) -> float`` of the outputs and
        targets that count, with positions as rows
    checkpoint : path of a .npz or .safetensors file, optional
        Written whole after each epoch. Where it exists, the training goes on from it, and ends
        with the same bits as one that was never interrupted.
    rng : None, int or numpy.random.Generator
        Of the order of rows. Layers draw from generators of their own.
    callbacks : functions called with a `Training` after each epoch; True ends the training
    progress : whether to show what is going on, on stderr
    window : steps, optional
        Truncated backpropagation: rows are cut into windows of so many steps, each of which makes a
        step of the optimiser and begins with the state that the one before left.
    weight_decay : of "adam" and "adamw"

    Returns
    -------
    History : a column for each thing that was measured

    Raises
    ------
    TypeError, ValueError for an argument that is not what is described above, before anything is
    changed; FloatingPointError where gradients are infinite or NaN, and are to be clipped.

    Examples
    --------
    >>> from rnncore import GRU, Linear, Sequential
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.standard_normal((steps, 1)) for steps in rng.integers(3, 9, 64)]
    >>> Y = [x.cumsum(0) for x in X]
    >>> model = Sequential(GRU(1, 16, rng=0), Linear(16, 1, rng=0))
    >>> history = fit(model, (X, Y), loss="mse", epochs=30, lr=0.01, progress=False)
    >>> bool(history.loss[-1] < 0.1 * history.loss[0])
    True
    """
    own = whole(model)
    for name in ("forward", "backward", "params"):
        if not hasattr(own, name):
            raise TypeError(f"model is of type {type(model).__name__}, which has no {name}")
    options = Options(
        epochs=_check.size("epochs", epochs),
        batch_size=_check.size("batch_size", batch_size),
        accumulate=_check.size("accumulate", accumulate),
        clip_norm=None if clip_norm is None else _check.positive("clip_norm", clip_norm),
        patience=None if patience is None else _check.size("patience", patience, minimum=0),
        window=None if window is None else _check.size("window", window),
        progress=_check.flag("progress", progress),
        checkpoint=checkpoint,
        callbacks=given_.functions_of("callbacks", callbacks),
    )
    if checkpoint is not None:
        check_path(checkpoint)
    generator = _check.generator("rng", rng)
    pair = given_.pair_of(data)
    layout = layout_of(own, *(reversed(pair[:2]) if pair else ()))
    if window is not None:
        given_.check_windows(own, layout)
        if accumulate > 1:
            raise ValueError(f"accumulate is {accumulate} beside window, each of which is a step")
    train = given_.data_of("data", data, layout, again=epochs > 1)
    held = given_.validation_of(train, validation, layout, generator)
    if patience is not None and held is None:
        raise ValueError("patience is given without validation, whose loss it watches")
    of_loss = Loss(loss, layout)
    if isinstance(train, Rows) and layout.per_step and train.lengths is not None:
        of_loss.check_lengths()
    return Training(
        own,
        train,
        held,
        of_loss,
        metrics_of(metrics),
        given_.optimizer_of(optimizer, own, lr, weight_decay),
        given_.schedule_of(schedule),
        generator,
        options,
    ).run()
