"""The layers as modules of PyTorch: RNN, GRU, LSTM, and those that PyTorch does not have."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from rnncore.torch.module import Recurrent, told
from rnncore.torch.packed import Places

__all__ = ["GRU", "LSTM", "RNN", "IndRNN", "LayerNormLSTM"]


class Layer(Recurrent):
    """A stack of recurrent layers; such as `LSTM`.

    Beside the arguments and attributes of PyTorch's module of the same name there are, by name
    alone:

    Parameters
    ----------
    recurrent_dropout : float, 0 to below 1
        In training, the share of h that the recurrent products do not see, the same for all steps
        of a sequence (Gal and Ghahramani 2016).
    zoneout : float, 0 to below 1
        In training, the share of h, and of a memory c, that stays as it was at a step (Krueger et
        al. 2017).
    activations, clip
        As of `rnncore.LSTM`.
    double_backward : bool
        Whether gradients can be differentiated again. They are then computed by PyTorch's own
        operations where ``create_graph=True`` asks for that, and by rnncore otherwise.
    """

    _shared: ClassVar[tuple[str, ...]] = (
        "input_size",
        "hidden_size",
        "num_layers",
        "bias",
        "batch_first",
        "bidirectional",
    )  # fmt: skip
    num_layers: int
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    _all_weights: list[list[str]]

    def refresh(self) -> None:
        super().refresh()
        count = self.num_layers * (2 if self.bidirectional else 1)
        each = len(self._names) // count
        self._flat_weights_names = list(self._names)
        self._all_weights = [
            self._flat_weights_names[k * each : (k + 1) * each] for k in range(count)
        ]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of every layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def flatten_parameters(self) -> None:
        """Do nothing: the parameters may lie where they are."""

    def extra_repr(self) -> str:
        return self._told(nn.RNNBase.extra_repr(self))

    def forward(
        self, input: Any, hx: Any = None, *, lengths: Tensor | None = None
    ) -> tuple[Any, Any]:
        """The outputs and the final state, as PyTorch's module gives them.

        Parameters
        ----------
        input : (T, B, I) tensor, (B, T, I) with `batch_first`, (T, I), or a PackedSequence
        hx : the initial state, zeros by default: (L*D, B, H), of an LSTM a pair
        lengths : (B,) integer tensor, from 0 to T, in any order; of a batch alone
            Past its length nothing of a row is read and its output is 0; its final state is that
            at its end, and there the second direction starts. The cost is that of the steps there
            are.

        Raises
        ------
        What PyTorch's module raises for it. TypeError, ValueError for lengths that cannot be.
        """
        if isinstance(input, PackedSequence):
            if lengths is not None:
                raise TypeError("lengths is given beside a PackedSequence, which has its own")
            return self._packed(input, hx)
        weights = self._weights()
        if lengths is None:
            found = self._quickly(input, hx, weights)
            if found is not None:
                return found
        dtype = weights[0].dtype
        x, state = self._autocast(input, dtype), self._state(hx, dtype)
        if self._fits(x, state, weights[0]):
            y, *final = self._run(x, self._lengths(lengths, x), state, weights, self._masks(x))
        elif x.dim() == 2 and lengths is None and self._unbatched(x, state, weights[0]):
            batched = x.unsqueeze(self._rows)
            states = tuple([part.unsqueeze(1) for part in state])
            y, *final = self._run(batched, None, states, weights, self._masks(batched))
            y, final = y.squeeze(self._rows), [part.squeeze(1) for part in final]
        else:
            if x.dim() == 2 and lengths is not None:
                raise ValueError("lengths is given beside an input without a batch")
            self._refuse(x, hx, f"input is {told(x)} and hx {told(hx)}, expected others")
        return y, final[0] if len(final) == 1 else tuple(final)

    def _packed(self, given: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """A call of a PackedSequence."""
        data, sizes, order, back = given
        weights = self._weights()
        state = self._state(hx, weights[0].dtype)
        data, places = self._autocast(data, weights[0].dtype), Places(sizes)
        x = places.unpacked(data) if data.dim() == 2 else data
        if not self._fits(x, state, weights[0], time_first=True):
            self._refuse(data, hx, "a packed sequence that does not fit", given)
        if order is not None:
            state = tuple([part.index_select(1, order) for part in state])
        masks = self._masks(x, time_first=True)
        y, *final = self._run(x, places.lengths, state, weights, masks, time_first=True)
        if back is not None:
            final = [part.index_select(1, back) for part in final]
        whole = PackedSequence(places.packed(y), sizes, order, back)
        return whole, final[0] if len(final) == 1 else tuple(final)

    @property
    def _rows(self) -> int:
        """The axis of rows."""
        return 0 if self.batch_first else 1

    def _fits(
        self, x: Tensor, state: tuple[Tensor, ...], weight: Tensor, *, time_first: bool = False
    ) -> bool:
        """Whether a call of a batch is right."""
        if x.dim() != 3:
            return False
        T, B, I = x.shape
        if self.batch_first and not time_first:
            T, B = B, T
        if self.input_size != I or not T > 0 or not self._computes(x, weight):
            return False
        if not state:
            return True
        count = self.num_layers * (2 if self.bidirectional else 1)
        for part, width in zip(state, self._widths, strict=False):
            if part.shape != (count, B, width) or part.dtype != x.dtype:
                return False
        return len(state) == len(self._widths)

    def _unbatched(self, x: Tensor, state: tuple[Tensor, ...], weight: Tensor) -> bool:
        """Whether a call of one sequence is right."""
        if any(part.dim() != 2 for part in state):
            return False
        parts = tuple([part.unsqueeze(1) for part in state])
        return self._fits(x.unsqueeze(self._rows), parts, weight)

    def _lengths(self, lengths: Tensor | None, x: Tensor) -> Tensor | None:
        if lengths is None:
            return None
        B = x.shape[self._rows]
        if not isinstance(lengths, Tensor):
            lengths = torch.as_tensor(lengths)
        if lengths.dim() != 1 or lengths.shape[0] != B:
            raise ValueError(f"lengths has shape {tuple(lengths.shape)}, expected ({B},)")
        if lengths.dtype.is_floating_point or lengths.dtype in (torch.bool, torch.complex64):
            raise TypeError(f"lengths has dtype {lengths.dtype}, expected integers")
        return lengths

    def _drops(self) -> bool:
        return bool(self.dropout) or super()._drops()

    def _masks(
        self, x: Tensor, *, time_first: bool = False
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What training drops and keeps, drawn by PyTorch's generator, layer by layer."""
        if not self.training or not self._drops():
            return [], [], []
        T, B, _ = x.shape
        if self.batch_first and not time_first:
            T, B = B, T
        D = 2 if self.bidirectional else 1
        drops, h_masks, keeps = [], [], []
        for layer in range(self.num_layers):
            if layer and self.dropout:
                drops.append(dropout(x.new_ones(T, B, D * self._widths[0]), self.dropout))
            for _ in range(D):
                own, kept = self._masks_of_cell(x, T, B)
                h_masks += own
                keeps += kept
        return drops, h_masks, keeps

    def _masks_of_cell(self, x: Tensor, T: int, B: int) -> tuple[list[Tensor], list[Tensor]]:
        h_masks, keeps = [], []
        if self.recurrent_dropout:
            h_masks.append(dropout(x.new_ones(B, self._widths[0]), self.recurrent_dropout))
        if self.zoneout:
            for width in self._widths:
                keeps.append(torch.bernoulli(x.new_full((T, B, width), self.zoneout)))
        return h_masks, keeps


class RNN(Layer):
    """`torch.nn.RNN`, computed by rnncore; see `Layer` for what it has besides."""

    _stock = nn.RNN
    _shared = (*Layer._shared, "nonlinearity")
    nonlinearity: str


class GRU(Layer):
    """`torch.nn.GRU`, computed by rnncore; see `Layer` for what it has besides.

    Parameters
    ----------
    reset : "after" or "before"
        Whether the reset gate meets the recurrent product, as in PyTorch, or what goes into it
        (Cho et al. 2014).
    """

    _stock = nn.GRU
    _own = ("reset",)
    reset = "after"


class LSTM(Layer):
    """`torch.nn.LSTM`, computed by rnncore; see `Layer` for what it has besides.

    Parameters
    ----------
    peephole : None, "previous" or "current"
        Whether gates see the memory c, with the parameters ``weight_ch_l0`` (3*H,) in the order i,
        f, o: all three c[t], or the output gate c[t+1] (Gers et al. 2002).
    coupled : bool
        The forget gate is 1 - i.
    """

    _stock = nn.LSTM
    _own = ("peephole", "coupled")
    _shared = (*Layer._shared, "proj_size")
    peephole: str | None = None
    coupled = False


class IndRNN(Layer):
    """The independently recurrent network of `rnncore.IndRNN`; arguments as of `RNN`.

    Parameters
    ----------
    nonlinearity : "relu" or "tanh"
    """

    _stock = nn.RNN
    _shared = (*Layer._shared, "nonlinearity")
    _defaults = (("nonlinearity", "relu"),)
    nonlinearity: str


class LayerNormLSTM(Layer):
    """The LSTM with layer normalisation of `rnncore.LayerNormLSTM`; arguments as of `LSTM`.

    Parameters
    ----------
    eps : float above 0
        Is added to the variances.
    """

    _stock = nn.LSTM
    _own = ("eps",)
    eps = 1e-5
