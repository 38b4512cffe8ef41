"""The layers RNN, GRU and LSTM: what each adds to a `RecurrentLayer`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncore import _check
from rnncore._engine import core_cells
from rnncore.layers import storage
from rnncore.layers.recurrent import RecurrentLayer

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rnncore.layers.recurrent import CommonOptions

__all__ = ["GRU", "LSTM", "RNN"]


@storage.savable
class RNN(RecurrentLayer):
    """The basic recurrent layer, (R0) to (R1) of docs/equations.md::

        h[t+1] = tanh(W_ih x[t] + b_ih + W_hh h[t] + b_hh)

    Parameters
    ----------
    nonlinearity : "tanh" or "relu"
    input_size, hidden_size, num_layers, **common
        As for every `RecurrentLayer`: bias, batch_first, dropout, bidirectional, rng and so on.

    Examples
    --------
    With relu and weights of 1, the layer adds up what it reads:

    >>> import numpy as np
    >>> layer = RNN(1, 1, nonlinearity="relu", bias=False)
    >>> layer.load_params({name: np.ones_like(value) for name, value in layer.params.items()})
    >>> y, h = layer(np.array([[1.0], [2.0], [3.0]], np.float32))
    >>> y[:, 0], h[0, 0]
    (array([1., 3., 6.], dtype=float32), np.float32(6.0))
    """

    _gates = "h"
    _own_options = ("nonlinearity",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        **common: Unpack[CommonOptions],
    ) -> None:
        self.nonlinearity = _check.choice("nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, num_layers, **common)

    def _core_cell(self):
        return core_cells.rnn_cell(self.nonlinearity, self.activations, self.clip)


@storage.savable
class GRU(RecurrentLayer):
    """The gated recurrent unit, (G0) to (G4) of docs/equations.md::

        r = sigmoid(W_ir x[t] + b_ir + W_hr h[t] + b_hr)
        z = sigmoid(W_iz x[t] + b_iz + W_hz h[t] + b_hz)
        n = tanh(W_in x[t] + b_in + r * (W_hn h[t] + b_hn))
        h[t+1] = (1 - z) * n + z * h[t]

    Parameters
    ----------
    reset : "after" or "before"
        Whether r meets the product with W_hn (PyTorch, cuDNN) or what goes into it,
        ``W_hn (r * h[t]) + b_hn`` (Cho et al. 2014).
    input_size, hidden_size, num_layers, **common
        As for every `RecurrentLayer`: bias, batch_first, dropout, bidirectional, rng and so on.

    Examples
    --------
    With parameters of zero n is 0 and z is 1/2, so that the state halves:

    >>> import numpy as np
    >>> layer = GRU(1, 1)
    >>> layer.load_params({name: np.zeros_like(value) for name, value in layer.params.items()})
    >>> y, h = layer(np.ones((2, 1), np.float32), np.ones((1, 1), np.float32))
    >>> y[:, 0]
    array([0.5 , 0.25], dtype=float32)
    """

    _gates = "rzn"
    _own_options = ("reset",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset: str = "after",
        **common: Unpack[CommonOptions],
    ) -> None:
        self.reset = _check.choice("reset", reset, ("after", "before"))
        super().__init__(input_size, hidden_size, num_layers, **common)

    def _core_cell(self):
        return core_cells.gru_cell(self.reset, self.activations, self.clip)


@storage.savable
class LSTM(RecurrentLayer):
    """Long short-term memory, (L0) to (L6) of docs/equations.md::

        i, f, o = sigmoid(W x[t] + U h[t] + b), each with its own W, U, b
        g = tanh(W_g x[t] + U_g h[t] + b_g)
        c[t+1] = f * c[t] + i * g        h[t+1] = o * tanh(c[t+1])

    Parameters
    ----------
    peephole : None, "previous" or "current"
        "previous": i, f and o see c[t] too, each unit its own; "current": o sees c[t+1] instead
        (Gers et al. 2002). Adds the parameters ``weight_ch_l0`` (3*H,) in the order i, f, o.
    coupled : bool
        The forget gate is ``f = 1 - i``. The parameters keep their shapes; the rows of f take no
        part, and have the gradient 0. The bias of i starts at -1, which makes f start as it does
        without coupling, at sigmoid(1).
    proj_size : int
        P, the size of h, if not 0: ``h[t+1] = W_hr (o * tanh(c[t+1]))`` with the parameter
        ``weight_hr_l0`` (P, H) (Sak, Senior and Beaufays 2014). Less than H.
    input_size, hidden_size, num_layers, **common
        As for every `RecurrentLayer`: bias, batch_first, dropout, bidirectional, rng and so on.

    Examples
    --------
    With parameters of zero every gate is 1/2 and g is 0, so that the memory halves:

    >>> import numpy as np
    >>> layer = LSTM(1, 1)
    >>> layer.load_params({name: np.zeros_like(value) for name, value in layer.params.items()})
    >>> start = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    >>> y, (h, c) = layer(np.ones((2, 1), np.float32), start)
    >>> c
    array([[0.25]], dtype=float32)
    """

    _gates = "ifgo"
    _parts = ("h", "c")
    _own_options = ("peephole", "coupled", "proj_size")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        peephole: str | None = None,
        coupled: bool = False,
        proj_size: int = 0,
        **common: Unpack[CommonOptions],
    ) -> None:
        self.peephole = _check.choice("peephole", peephole, (None, "previous", "current"))
        self.coupled = _check.flag("coupled", coupled)
        self.proj_size = _check.size("proj_size", proj_size, minimum=0)
        if self.proj_size and not self.proj_size < _check.size("hidden_size", hidden_size):
            raise ValueError(
                f"proj_size is {proj_size}, expected less than hidden_size, {hidden_size}"
            )
        super().__init__(input_size, hidden_size, num_layers, **common)

    def _core_cell(self):
        return core_cells.lstm_cell(
            self.peephole, self.coupled, self.proj_size > 0, self.activations, self.clip
        )

    def _gate_bias(self):
        return {"i": -1.0, "f": 1.0} if self.coupled else {"f": 1.0}
