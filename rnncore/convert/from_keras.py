"""Models of Keras as models here: from files, without Keras, and from memory."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from rnncore import _check
from rnncore.convert import keras_files, keras_layers, keras_weights
from rnncore.convert.keras_chain import Chain
from rnncore.convert.keras_config import node_of
from rnncore.convert.keras_files import Source
from rnncore.models.activation import Activation
from rnncore.models.sequential import Sequential


def from_keras(
    path_or_model: Any, *, config: str | Mapping[str, Any] | None = None, guard: bool = True
) -> Sequential:
    """Make a model of Keras into one that needs NumPy alone.

    Parameters
    ----------
    path_or_model : a path, or a model or a layer of Keras in memory
        A file ``.keras`` or a whole model ``.h5``, of Keras 2 or 3: neither Keras nor TensorFlow is
        imported, and no code that a file holds is run.
    config : str or dict, optional
        The text of ``model.to_json()``, for a file of weights alone.
    guard : bool
        Whether a model with masks begins with a layer that refuses steps that Keras would skip;
        without it the model can be streamed, one step that is there after the other.

    Returns
    -------
    Sequential: a chain of layers named as those in Keras, all with ``batch_first=True``: x is
    (B, T, I), or (B, T) ids. What is there in training alone is left out, but for `Dropout`. Of a
    ``stateful`` model the state is handed from call to call: ``y, state = model(x, state)``.

    **Masks.** Where Keras skips steps, ``Embedding(mask_zero=True)`` or a `Masking` at the start,
    rows have lengths here: ``model(x, lengths=lengths)``. The steps of a row stand first then, and
    `rnncore.convert.without_masked` brings them there and counts them. An x with a step that Keras
    would skip within its lengths is refused. Where Keras returns something for steps that were
    skipped, y is 0.

    Layers: LSTM, GRU, SimpleRNN, CuDNNLSTM, CuDNNGRU, RNN of cells, Bidirectional, Embedding,
    Dense, Conv1D, BatchNormalization, LayerNormalization, MaxPooling1D, AveragePooling1D, both
    global ones, Masking, TimeDistributed, Activation and the layers of activations, Dropout,
    Sequential, and Functional models that are a chain. Numbers below float32 are widened, and
    computed in float32.

    Raises
    ------
    ValueError, which names the file, the layer and its class, for what does not fit and for what is
    damaged; FileNotFoundError, or another OSError, if the file cannot be read; TypeError for what
    is neither a path nor of Keras.

    Examples
    --------
    >>> model = from_keras("model.keras")  # doctest: +SKIP
    >>> y, state = model(x)  # doctest: +SKIP
    """
    guard = _check.flag("guard", guard)
    if config is not None and not isinstance(config, str | Mapping):
        raise TypeError(f"config is of type {type(config).__name__}, expected a text or a mapping")
    if isinstance(path_or_model, str | bytes | os.PathLike):
        name = os.fsdecode(path_or_model)
        if os.path.exists(path_or_model) and not os.path.isfile(path_or_model):
            raise ValueError(f"{name} is no file")  # a pipe would be waited for
        with open(path_or_model, "rb") as file, _told(name):
            return _made(keras_files.read(file, config), guard)
    if config is not None:
        raise ValueError("config is given beside a model, expected it with a file of weights")
    with _told(f"the {type(path_or_model).__name__}"):
        return _made(_of_live(path_or_model), guard)


def _made(source: Source, guarded: bool) -> Sequential:
    chain = Chain(source.version, source.weights)
    keras_layers.add(chain, source.model)
    parts = chain.mask.guarded(chain.parts) if guarded else chain.parts
    # Rows without steps have no layout, so that they can stand behind steps in a larger model.
    layout = None if chain.steps is False else True
    return Sequential(batch_first=layout, **(parts or {"identity": Activation("identity")}))


def _of_live(model: Any) -> Source:
    """A model or a layer in memory, by what it offers itself."""
    if not all(callable(getattr(model, name, None)) for name in ("get_config", "get_weights")):
        raise TypeError(
            f"path_or_model is of type {type(model).__name__}, expected a path or a model of Keras"
        )
    kind = type(model)
    told = {
        "class_name": kind.__name__,
        "module": kind.__module__,
        "config": json.loads(json.dumps(_config(model), default=_no_json)),
    }
    tree = node_of(told)
    library = sys.modules.get(kind.__module__.split(".")[0])
    version = keras_files.major_of(getattr(library, "__version__", None))
    return Source(tree, version, keras_weights.of_live(model, tree))


def _config(model: Any) -> Any:
    try:
        return model.get_config()
    except Exception as error:  # whatever a class of the user's own raises
        raise ValueError(f"does not tell what it is made of: {error}") from error


def _no_json(value: Any) -> Any:
    return f"a {type(value).__name__}"


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    """Damage can lead to almost any error."""
    try:
        yield
    except (MemoryError, TypeError) as error:
        if isinstance(error, MemoryError) or "path_or_model" in str(error):
            raise
        raise ValueError(f"{name} cannot be read: {str(error)[:300]}") from error
    except Exception as error:
        # A wrong offset in the file is an invalid argument; a disk that fails is something else.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (str(error) or type(error).__name__)[:1000]
        raise ValueError(f"{name}: {reason}") from error
