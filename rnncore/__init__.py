"""RNN, GRU and LSTM layers for the CPU: forward and backward, compiled, on NumPy alone."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

from rnncore._version import __version__ as __version__

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Bidirectional",
    "Conv1d",
    "CosineDecay",
    "Dropout",
    "Embedding",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "LSTMCell",
    "LayerNorm",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "Linear",
    "OnPlateau",
    "OneCycle",
    "Pool",
    "RMSprop",
    "RNNCell",
    "Residual",
    "Reverse",
    "Sequential",
    "StepDecay",
    "WarmUp",
    "bce_with_logits",
    "clip_grad_norm",
    "clip_grad_value",
    "fit",
    "from_keras",
    "from_onnx",
    "from_safetensors",
    "from_torch",
    "get_num_threads",
    "gradcheck",
    "gradient_flow",
    "huber",
    "load",
    "mae",
    "mse",
    "num_threads",
    "predict",
    "rng_state",
    "set_num_threads",
    "set_rng_state",
    "show_config",
    "sigmoid",
    "softmax",
    "softmax_cross_entropy",
]

_MODULES = ("agreement", "course", "functional", "parallel", "reference", "tasks")
# What is imported when it is used first: the readers are many, and most programs need none.
_READERS = ("from_keras", "from_onnx", "from_safetensors", "from_torch")
_reason = ""

try:
    from rnncore import _core as _core
except ImportError as error:
    # Not built, or not for this processor. rnncore.reference needs no core, and importing it
    # imports this file: so the error waits until a name that needs the core is used.
    _reason = str(error)
    warnings.warn(_reason, RuntimeWarning, stacklevel=2)
else:
    from rnncore._engine.config import show_config
    from rnncore._engine.threads import get_num_threads, num_threads, set_num_threads
    from rnncore.convert.loading import load
    from rnncore.fitting.fit import fit
    from rnncore.fitting.predict import predict
    from rnncore.layers import GRU, LSTM, RNN, IndRNN, LayerNormLSTM
    from rnncore.layers.cells import GRUCell, IndRNNCell, LayerNormLSTMCell, LSTMCell, RNNCell
    from rnncore.look.gradcheck import gradcheck
    from rnncore.look.gradient_flow import gradient_flow
    from rnncore.models.activation import Activation
    from rnncore.models.batch_norm import BatchNorm
    from rnncore.models.bidirectional import Bidirectional
    from rnncore.models.conv import Conv1d
    from rnncore.models.dropout import Dropout
    from rnncore.models.embedding import Embedding
    from rnncore.models.layer_norm import LayerNorm
    from rnncore.models.linear import Linear
    from rnncore.models.pool import Pool
    from rnncore.models.residual import Residual
    from rnncore.models.reverse import Reverse
    from rnncore.models.sequential import Sequential
    from rnncore.train.clipping import clip_grad_norm, clip_grad_value
    from rnncore.train.functions import sigmoid, softmax
    from rnncore.train.generators import rng_state, set_rng_state
    from rnncore.train.losses import bce_with_logits, huber, mae, mse, softmax_cross_entropy
    from rnncore.train.optim import SGD, Adam, AdamW, RMSprop
    from rnncore.train.plateau import OnPlateau
    from rnncore.train.schedules import CosineDecay, OneCycle, StepDecay, WarmUp

    if TYPE_CHECKING:  # see `__getattr__`
        from rnncore.convert.from_keras import from_keras
        from rnncore.convert.from_onnx import from_onnx
        from rnncore.convert.from_safetensors import from_safetensors
        from rnncore.convert.from_torch import from_torch


def __getattr__(name: str) -> object:
    """Modules that are imported when they are used first, and what there is not without a core."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if _reason and name in __all__:
        raise ImportError(_reason, name=name)
    if name in _READERS:
        return getattr(import_module(f"{__name__}.convert.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
