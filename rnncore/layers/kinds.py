"""The layers: for each cell its constructor, and what it computes in a few lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnncore import _check
from rnncore._cells.table import CELLS
from rnncore.layers import storage
from rnncore.layers.recurrent import RecurrentLayer
from rnncore.layers.results import Array

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from rnncore.layers.options import BiasInit, CommonOptions

__all__ = ["GRU", "LSTM", "RNN", "IndRNN", "LayerNormLSTM"]


@storage.savable
class RNN(RecurrentLayer[Array]):
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

    _kind = CELLS["RNN"]
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "tanh",
        **common: Unpack[CommonOptions],
    ) -> None:
        own = {"nonlinearity": nonlinearity}
        super().__init__(input_size, hidden_size, num_layers, own, **common)


@storage.savable
class GRU(RecurrentLayer[Array]):
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
    bias_init : None, "chrono" or ("chrono", T_max)
        How the biases start: ("chrono", T_max) lets each unit keep its state for a time of its own,
        up to some T_max steps, the longest dependency that is to be learned. The bias of z is
        log(u), u uniform in 1 to T_max - 1 (Tallec and Ollivier 2018). "chrono":
        T_max is 100. None: 0.
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

    _kind = CELLS["GRU"]
    reset: str
    bias_init: BiasInit

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        reset: str = "after",
        bias_init: BiasInit = None,
        **common: Unpack[CommonOptions],
    ) -> None:
        own = {"reset": reset, "bias_init": bias_init}
        super().__init__(input_size, hidden_size, num_layers, own, **common)


@storage.savable
class LSTM(RecurrentLayer[tuple[Array, Array]]):
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
    bias_init : None, "chrono" or ("chrono", T_max)
        How the biases start: ("chrono", T_max) lets each unit keep its memory for a time of its
        own, up to some T_max steps, the longest dependency that is to be learned. The bias of f is
        log(u) and that of i is -log(u), u uniform in 1 to T_max - 1 (Tallec and Ollivier 2018).
        "chrono": T_max is 100. None: 1 and 0.
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

    _kind = CELLS["LSTM"]
    peephole: str | None
    coupled: bool
    proj_size: int
    bias_init: BiasInit

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        peephole: str | None = None,
        coupled: bool = False,
        proj_size: int = 0,
        bias_init: BiasInit = None,
        **common: Unpack[CommonOptions],
    ) -> None:
        own = {
            "peephole": peephole,
            "coupled": coupled,
            "proj_size": proj_size,
            "bias_init": bias_init,
        }
        width = _check.size("proj_size", proj_size, minimum=0)
        if width and not width < _check.size("hidden_size", hidden_size):
            raise ValueError(
                f"proj_size is {proj_size}, expected less than hidden_size, {hidden_size}"
            )
        super().__init__(input_size, hidden_size, num_layers, own, **common)


@storage.savable
class IndRNN(RecurrentLayer[Array]):
    """The independently recurrent network, (I0) to (I1) of docs/equations.md::

        h[t+1] = relu(W_ih x[t] + b_ih + b_hh + u * h[t])

    A unit sees its own state alone, through one number: so its gradient can be kept from vanishing
    and from exploding, unit by unit (Li et al. 2018).

    Parameters
    ----------
    nonlinearity : "relu" or "tanh"
    input_size, hidden_size, num_layers, **common
        As for every `RecurrentLayer`: bias, batch_first, dropout, bidirectional, rng and so on.
        The recurrent weights u, ``weight_hh_l0`` (H,), start uniform in 0 to 1.

    Examples
    --------
    With weights of 1 and a recurrent weight of 1/2, half of the state is kept at every step:

    >>> import numpy as np
    >>> layer = IndRNN(1, 1, bias=False)
    >>> layer.params["weight_ih_l0"][...], layer.params["weight_hh_l0"][...] = 1, 0.5
    >>> y, h = layer(np.array([[1.0], [1.0], [0.0]], np.float32))
    >>> y[:, 0]
    array([1.  , 1.5 , 0.75], dtype=float32)
    """

    _kind = CELLS["IndRNN"]
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        nonlinearity: str = "relu",
        **common: Unpack[CommonOptions],
    ) -> None:
        own = {"nonlinearity": nonlinearity}
        super().__init__(input_size, hidden_size, num_layers, own, **common)


@storage.savable
class LayerNormLSTM(RecurrentLayer[tuple[Array, Array]]):
    """The LSTM with layer normalisation, (N0) to (N6) of docs/equations.md::

        i, f, o = sigmoid(a), g = tanh(a) of the four blocks of
            a = norm(W_ih x[t]) * g_ih + b_ih + norm(W_hh h[t]) * g_hh + b_hh
        c[t+1] = f * c[t] + i * g        h[t+1] = o * tanh(norm(c[t+1]) * g_c + b_c)

    where ``norm(a) = (a - mean(a)) / sqrt(var(a) + eps)`` over all numbers of a row, the four
    blocks together (Ba, Kiros and Hinton 2016).

    Parameters
    ----------
    eps : float above 0
        Is added to the variances.
    bias_init : None, "chrono" or ("chrono", T_max)
        As of an `LSTM`.
    input_size, hidden_size, num_layers, **common
        As for every `RecurrentLayer`: bias, batch_first, dropout, bidirectional, rng and so on.
        The gains are ``norm_ih_weight_l0`` and ``norm_hh_weight_l0`` (4*H,) and
        ``norm_c_weight_l0`` (H,), the biases likewise ``norm_ih_bias_l0`` and so on; there is no
        other bias, and with ``bias=False`` none.

    Examples
    --------
    With weights of zero every gate is 1/2 and g is 0, so that the memory halves:

    >>> import numpy as np
    >>> layer = LayerNormLSTM(1, 1, bias=False)
    >>> for name in ("weight_ih_l0", "weight_hh_l0"):
    ...     layer.params[name][...] = 0
    >>> start = np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32)
    >>> y, (h, c) = layer(np.ones((2, 1), np.float32), start)
    >>> c
    array([[0.25]], dtype=float32)
    """

    _kind = CELLS["LayerNormLSTM"]
    eps: float
    bias_init: BiasInit

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        eps: float = 1e-5,
        bias_init: BiasInit = None,
        **common: Unpack[CommonOptions],
    ) -> None:
        own = {"eps": eps, "bias_init": bias_init}
        super().__init__(input_size, hidden_size, num_layers, own, **common)


# By the names of their functions, which are those that the commands take.
BY_PREFIX = {layer._kind.prefix: layer for layer in (LSTM, GRU, RNN, IndRNN, LayerNormLSTM)}
