"""The layers in JAX: functions of a dict of parameters, to be used in jit, grad, vmap and scan.

`rnncore.jax.lstm` computes what `rnncore.LSTM` computes, in the same compiled core, which XLA calls
itself: no Python runs, and nothing is copied. Needs ``pip install 'rnncore[jax]'``.
"""

try:
    from jax.ffi import ffi_call, register_ffi_target  # noqa: F401
except ImportError as error:
    raise ImportError(
        "rnncore.jax needs JAX 0.5 or later, which has jax.ffi: pip install 'rnncore[jax]'"
    ) from error

from rnncore.jax.layers import gru, lstm, rnn

__all__ = ["gru", "lstm", "rnn"]
