"""One step as a module of PyTorch, for loops of one's own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from rnncore.torch.module import Recurrent, told

__all__ = ["GRUCell", "IndRNNCell", "LSTMCell", "LayerNormLSTMCell", "RNNCell"]


class Cell(Recurrent):
    """One step of a layer; such as `LSTMCell`.

    Beside the arguments and attributes of PyTorch's module of the same name there are those that
    the layers have besides. Recurrent dropout draws a new mask at every step.
    """

    def extra_repr(self) -> str:
        return self._told(nn.modules.rnn.RNNCellBase.extra_repr(self))

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """The state after `input`, as PyTorch's module gives it.

        Parameters
        ----------
        input : (B, I) or (I,) tensor
        hx : the state, zeros by default: (B, H) or (H,), of an LSTM a pair (h, c)

        Raises
        ------
        What PyTorch's module raises for it.
        """
        weights = self._weights()
        found = self._quickly(input, hx, weights)
        if found is not None:
            return found[1]
        dtype = weights[0].dtype
        x, state = self._autocast(input, dtype), self._state(hx, dtype)
        rows = x.shape[:-1]
        if not self._fits(x, state, weights[0]):
            self._refuse(x, hx, f"input is {told(x)} and hx {told(hx)}, expected others")
        if not rows:
            x, state = x.unsqueeze(0), tuple([part.unsqueeze(0) for part in state])
        final = self._run(x, None, state, weights, self._masks(x))
        if not rows:
            final = [part.squeeze(0) for part in final]
        return final[0] if len(final) == 1 else tuple(final)

    def _fits(self, x: Tensor, state: tuple[Tensor, ...], weight: Tensor) -> bool:
        """Whether a call is right."""
        right = 1 <= x.dim() <= 2 and x.shape[-1] == self.input_size and self._computes(x, weight)
        if state:
            right = right and len(state) == len(self._widths)
            for part, width in zip(state, self._widths, strict=False):
                right = right and part.shape == (*x.shape[:-1], width) and part.dtype == x.dtype
        return right

    def _masks(self, x: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What training drops and keeps at a step, drawn by PyTorch's generator."""
        h_masks, keeps = [], []
        if self.training and self.recurrent_dropout:
            h_masks.append(dropout(x.new_ones(len(x), self._widths[0]), self.recurrent_dropout))
        if self.training and self.zoneout:
            for width in self._widths:
                keeps.append(torch.bernoulli(x.new_full((1, len(x), width), self.zoneout)))
        return [], h_masks, keeps


class RNNCell(Cell):
    """`torch.nn.RNNCell`, computed by rnncore; see `Cell` for what it has besides."""

    _stock = nn.RNNCell
    _shared = (*Cell._shared, "nonlinearity")
    nonlinearity: str


class GRUCell(Cell):
    """`torch.nn.GRUCell`, computed by rnncore; see `Cell`, and `GRU` for `reset`."""

    _stock = nn.GRUCell
    _own = ("reset",)
    reset = "after"


class LSTMCell(Cell):
    """`torch.nn.LSTMCell`, computed by rnncore; see `Cell`, and `LSTM` for what is its own."""

    _stock = nn.LSTMCell
    _own = ("peephole", "coupled")
    peephole: str | None = None
    coupled = False


class IndRNNCell(Cell):
    """One step of an `IndRNN`; arguments as of `RNNCell`."""

    _stock = nn.RNNCell
    _shared = RNNCell._shared
    _defaults = (("nonlinearity", "relu"),)
    nonlinearity: str


class LayerNormLSTMCell(Cell):
    """One step of a `LayerNormLSTM`; arguments as of `LSTMCell`."""

    _stock = nn.LSTMCell
    _own = ("eps",)
    eps = 1e-5
