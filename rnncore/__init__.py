"""RNN, GRU and LSTM layers for the CPU: forward and backward, compiled, on NumPy alone."""

import warnings
from importlib import import_module

from rnncore._version import __version__ as __version__

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "SGD",
    "Adam",
    "Embedding",
    "GRUCell",
    "IndRNN",
    "IndRNNCell",
    "LSTMCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "Linear",
    "RNNCell",
    "clip_grad_norm",
    "clip_grad_value",
    "get_num_threads",
    "gradcheck",
    "gradient_flow",
    "load",
    "mse",
    "num_threads",
    "set_num_threads",
    "show_config",
    "softmax_cross_entropy",
]

_MODULES = ("agreement", "course", "functional", "reference", "tasks")
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
    from rnncore.layers import GRU, LSTM, RNN, IndRNN, LayerNormLSTM
    from rnncore.layers.cells import GRUCell, IndRNNCell, LayerNormLSTMCell, LSTMCell, RNNCell
    from rnncore.layers.storage import load
    from rnncore.look.gradcheck import gradcheck
    from rnncore.look.gradient_flow import gradient_flow
    from rnncore.train.clipping import clip_grad_norm, clip_grad_value
    from rnncore.train.heads import Embedding, Linear
    from rnncore.train.losses import mse, softmax_cross_entropy
    from rnncore.train.optim import SGD, Adam


def __getattr__(name: str) -> object:
    """Modules that are imported when they are used first, and what there is not without a core."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if _reason and name in __all__:
        raise ImportError(_reason, name=name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
