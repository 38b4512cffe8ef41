"""Training of a model with data: batches, steps, validation, early stopping, checkpoints."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from rnncore import _check
from rnncore.fitting import given as given_
from rnncore.fitting.batches import Given, Rows
from rnncore.fitting.before import Before
from rnncore.fitting.checkpoint import place_of
from rnncore.fitting.history import History
from rnncore.fitting.layout import Layout, layout_of
from rnncore.fitting.scores import Loss, metrics_of
from rnncore.fitting.team import Team
from rnncore.fitting.told import TOLD, model_of, name_of, plain, told_of
from rnncore.fitting.training import Options, Training
from rnncore.train.generators import generators_of


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
    weight_decay: float | None = None,
    comm: Any = None,
    ordered: int = False,
) -> History:
    """Train a model in place.

    Parameters
    ----------
    model : a layer or model, or anything with their ``forward``, ``backward`` and ``params``
        One of one's own may have a ``dtype``, to which data are cast, and ``batch_first``.
    data : what to learn from, one of
        ``(X, Y)`` or ``(X, Y, lengths)``, arrays in the model's layout: X (T, B, ...), or (B, T,
        ...) with `batch_first`, which may be `numpy.memmap`; Y (T, B, ...), or (B, ...) where the
        model has one output a row;
        ``(X, Y)``, lists of sequences (T_i, ...); Y one target a step, or one a sequence;
        an iterable, but no tuple, of batches ``(x, y)`` or ``(x, y, lengths)``, which come as they
        are.
        Of the first two, rows of like length go together, in an order drawn anew in each epoch.
        What other libraries hand over as arrays (tensors, columns) is read by the places of items.
        Numbers are cast to the model's dtype, batch by batch: lists of float64 train a model of
        float32. That is what `fit` and `predict` do for data; a layer itself refuses it.
    loss : "cross_entropy", "bce", "mse", "mae", "huber", or a function ``(y, target) -> (loss,
        dy)`` such as ``functools.partial(rnncore.softmax_cross_entropy, ignore_index=-100)``
        A mean over what counts: never over padding. Where rows have lengths, a function gets
        ``lengths=`` and ``batch_first=`` too.
    epochs, batch_size : how often all data is seen, and how many rows at a step
        The last batch may have fewer; with `BatchNorm`, which wants two, one row joins the others.
    optimizer : "adam", "adamw", "sgd", "rmsprop", or an optimiser of the model's parameters
    lr : learning rate, where `optimizer` is a name and no schedule gives it
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
        with the same bits as one that was never interrupted. All else has to be told as before, or
        is refused: `epochs` may be more, `progress` and `callbacks` others. Of the data, shapes and
        some rows are compared, of functions their names; nothing of a generator, whose state is in
        the file, nor of batches that come as they are, unless in a list.
    rng : None, int or numpy.random.Generator
        Of the order of rows. Layers draw from generators of their own.
    callbacks : functions called with a `Training` after each epoch; True ends the training, also
        where it is resumed
    progress : whether to show what is going on, on stderr
    window : steps, optional
        Truncated backpropagation: rows are cut into windows of so many steps, each of which makes a
        step of the optimiser and begins with the state that the one before left.
    weight_decay : float, optional
        Of "adam", "adamw" and "rmsprop"; without it the optimiser's own: 0.01 of "adamw", else 0.
    comm : communicator of mpi4py, optional
        Its ranks train one model: each makes this call, with the same model, data, `rng` and
        options, and computes its share of the rows of every batch; what is measured, and the end,
        are the same on all. What differs is refused, and an error of one rank ends all. Rank 0
        writes the checkpoint and shows progress. See the page on data and machines.
    ordered : bool, or int
        Gradients of blocks of 8 rows, or of so many, are computed one by one and added in their
        order: the same bits for any number of ranks, and without `comm`. Then, or with more than
        one rank, dropout is drawn for each block, or share, from a place of its own that `rng`
        gives, and `BatchNorm` sees one at a time.

    Returns
    -------
    History : a column for each thing that was measured

    Raises
    ------
    TypeError, ValueError for an argument that is not what is described above, or a target of any
    row that is no class. What ends the training before its first step leaves all as it was: `rng`,
    what layers draw from and what they keep too. What comes up in its middle leaves the model with
    what it had learned, and the checkpoint with the last whole epoch: FloatingPointError where
    gradients are infinite or NaN and are to be clipped, an error of the data, the loss or a
    callback, Ctrl-C.

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
    team = Team(comm, ordered)
    with team.together():
        own = given_.model_of(model)
        options = Options(
            epochs=_check.size("epochs", epochs),
            batch_size=_check.size("batch_size", batch_size),
            accumulate=_check.size("accumulate", accumulate),
            clip_norm=None if clip_norm is None else _check.positive("clip_norm", clip_norm),
            patience=None if patience is None else _check.size("patience", patience, minimum=0),
            window=None if window is None else _check.size("window", window),
            progress=_check.flag("progress", progress),
            checkpoint=None if checkpoint is None else place_of(checkpoint),
            callbacks=given_.functions_of("callbacks", callbacks),
        )
        generator = _check.generator("rng", rng)
        seed = int(rng) if isinstance(rng, int | np.integer) else None
        # What a model of one's own draws from, and keeps, where nobody knows of it is not found.
        before = Before([generator, *generators_of(own)], getattr(own, "buffers", {}).values())
        train, held, layout = _data(own, data, validation, options, generator, team)
        of_loss, of_metrics = Loss(loss, layout), metrics_of(metrics)
        if isinstance(train, Rows) and layout.per_step and train.lengths is not None:
            of_loss.check_lengths()
        steps = given_.optimizer_of(optimizer, own, lr, weight_decay)
        rates = given_.schedule_of(schedule)
        at_first = steps.options  # before a step

        def told() -> dict[str, Any]:
            how = {name: getattr(options, name) for name in TOLD}
            return plain(
                {"model": model_of(own), **told_of(train, held, validation), **how}
                | {"loss": name_of(loss), "metrics": list(of_metrics), "schedule": name_of(rates)}
                | {"optimizer": type(steps).__name__, **at_first}
                | {"ordered": team.block, "rng": seed}
            )

        return Training(
            own, train, held, of_loss, of_metrics, steps, rates, generator, options, told, team
        ).run(before)


def _data(
    model: Any,
    data: Any,
    validation: Any,
    options: Options,
    rng: np.random.Generator,
    team: Team,
) -> tuple[Rows | Given, Rows | Given | None, Layout]:
    """What is trained with, and what the validation reads."""
    pair = given_.pair_of(data)
    layout = layout_of(model, *(reversed(pair[:2]) if pair else ()))
    if options.window is not None:
        given_.check_windows(model, layout)
        if options.accumulate > 1:
            raise ValueError(
                f"accumulate is {options.accumulate} beside window, each of which is a step"
            )
    if options.patience is not None and validation is None:
        raise ValueError("patience is given without validation, whose loss it watches")
    train = given_.data_of("data", pair or data, layout, again=options.epochs > 1)
    if options.window is not None:
        given_.check_ends(train, layout, options.window, whole=team.plain)
    held = given_.validation_of(train, validation, layout, rng)
    return train, held, layout
