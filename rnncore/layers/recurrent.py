"""What every recurrent layer shares, whatever its cell.

Forward, backward, and what they make of what users give. A layer adds the
description of its cell and its constructor; see `rnncore.layers.kinds`.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from rnncore import _check
from rnncore._common.groups import ParamGrads
from rnncore._engine import checkpoints, passes
from rnncore._engine.batch import Ragged, ragged
from rnncore._engine.passes import StackBack, StackRun
from rnncore.layers import frozen
from rnncore.layers.dropout import Dropout
from rnncore.layers.frozen import Frozen
from rnncore.layers.parametrized import Parametrized
from rnncore.layers.results import Array, Grads, StateGradient, StateT, Trace
from rnncore.layers.stack import Stack

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


class RecurrentLayer(Parametrized, Stack[StateT]):
    """A stack of recurrent layers in one or two directions; such as `LSTM`.

    Sizes: T steps, B batch rows, I inputs, H hidden units, L layers, D directions (1 or 2), G
    gates, and P numbers in an h: `proj_size` where an LSTM has one, or else H. A layer holds
    parameters, options and its random generator, and no other state: threads may share it.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        I, H and L. Layer k > 0 of the stack reads the output of layer k - 1, of size D*P.
    bias : bool
        Whether the gates have the biases ``bias_ih`` and ``bias_hh``.
    batch_first : bool
        Whether `x` and `y` are (B, T, ...), instead of (T, B, ...). States are not concerned.
    dropout : float, 0 to below 1
        In training, the share of what every layer but the first reads that is set to 0, anew at
        every step; the rest is scaled by 1 / (1 - dropout).
    recurrent_dropout : float, 0 to below 1
        In training, the share of h that the recurrent products do not see, the same for all steps
        of a sequence (variational dropout, Gal and Ghahramani 2016), scaled likewise.
    zoneout : float, 0 to below 1
        In training, the share of h, and of a memory c, that stays as it was at a step (Krueger et
        al. 2017). It is off at inference, where the paper takes the mean instead.
    activations : None or a sequence
        Functions in place of sigmoid and tanh, in ONNX's order: of the gates, of the candidate, of
        an LSTM's memory; of an RNN the only one. Each is a name of ONNX's list in any case, or
        (name, alpha) or (name, alpha, beta).
    clip : None or float
        The sums that the gates' and the candidate's functions read are kept in [-clip, clip].
    bidirectional : bool
        Whether every layer has a second direction, which reads from the last step to the first.
    dtype : float32 or float64
        Of the parameters, of all that comes in and of all that goes out.
    rng : None, int or numpy.random.Generator
        The only source of the initial parameters and of dropout and zoneout: input weights are
        Glorot uniform and recurrent ones orthogonal for each gate, biases are 0 but for the forget
        gate's, which is 1.

    Attributes
    ----------
    params : dict of str to array
        PyTorch's names and layouts: ``weight_ih_l0`` (G*H, I), ``weight_hh_l0`` (G*H, P),
        ``bias_ih_l0`` and ``bias_hh_l0`` (G*H,), the suffix ``_l1`` for the next of the stack and
        ``_reverse`` for the second direction. Update the arrays in place.

    Raises
    ------
    TypeError, ValueError for an option of the wrong kind or out of its range.
    """

    # What users call

    def __call__(
        self, x: Array, state: StateT | None = None, *, lengths: ArrayLike | None = None
    ) -> tuple[Array, StateT]:
        """Run the layer without keeping anything for `backward`, and without dropout.

        Parameters
        ----------
        x : (T, B, I) array, (B, T, I) with `batch_first`, or (T, I): one sequence without a batch
        state : the initial state, zeros by default
            (L*D, B, P), or (L*D, P) without a batch; with a memory a pair (h, c) of such arrays, c
            with H. The first axis runs over the layers, and within a layer over its directions.
        lengths : (B,) integers from 0 to T, in any order; T by default
            Past its length nothing of a row is read and its `y` is 0; its final state is that at
            its end, and there the second direction starts. The cost is that of the steps there are.

        Returns
        -------
        y : array like `x` with D*P in place of I, the forward direction first
        state : the final state, of the shape of the initial one

        Both are the caller's own. Nothing that comes in is written to.

        Raises
        ------
        ValueError for a wrong shape or length, TypeError for another dtype than the layer's.
        """
        return self._infer(self._plan.read(self.params), x, state, lengths)

    def forward(
        self,
        x: Array,
        state: StateT | None = None,
        *,
        lengths: ArrayLike | None = None,
        training: bool = True,
        memory_limit: int | None = None,
    ) -> tuple[Array, StateT, Trace]:
        """Run the layer and keep what `backward` needs.

        The other arguments and the first two results are those of a call of the layer. With
        ``training=False`` the trace is empty, and no gradients can be had from it.

        Parameters
        ----------
        memory_limit : bytes that the trace may take, together with what `backward` computes anew
            Where all states and gates would take more, only the states at a few steps are kept, and
            `backward` runs forward again from each of them, which costs up to a third more time.
            The gradients are the same, bit for bit.

        Raises
        ------
        As a call of the layer; ValueError for a limit below what is needed, which it tells.
        """
        if training is not True:
            training = _check.flag("training", training)
        if memory_limit is not None:
            memory_limit = _check.size("memory_limit", memory_limit)
        if not training:
            y, final = self(x, state, lengths=lengths)
            return y, final, self._trace(x.shape, (), ())
        drops = self.dropout or self.recurrent_dropout or self.zoneout
        weights = self._plan.read(self.params)
        if lengths is None and memory_limit is None and not drops:
            found = self._runner.trace(self._stack, weights, x, state)
            if found is not None:
                y, final, traces = found
                return y, final, self._trace(x.shape, traces, (None,) * (self.num_layers - 1))
        x = self._input(x)
        given, starts = x.shape, self._split("state", state, x.shape)
        inside = self._time_first(x) if self.batch_first or len(given) == 2 else x
        source = np.array(inside, order="C")
        T, B, _ = source.shape
        batch = None if lengths is None else ragged(lengths, T, B)
        windows = None
        if memory_limit is not None:
            windows = self._windows(memory_limit, T, B, batch)
        drawn = self._dropout().drawn(self.num_layers, self.num_directions, T, B, self._widths)
        y = (np.empty if batch is None else np.zeros)(self._output_shape(given), self.dtype)
        ends = self._empty_states(B)
        outputs = self._time_first(y) if self.batch_first or len(given) == 2 else y
        run = StackRun(self._stack, weights, source, starts, outputs, ends, batch, *drawn)
        cells = self._runner.forward(run, windows)
        return y, self._packed(ends, given), self._trace(given, tuple(cells), tuple(drawn[0]))

    def backward(
        self,
        trace: Trace,
        dy: Array | None = None,
        dstate: StateGradient = None,
        *,
        flow: NDArray[np.float64] | None = None,
    ) -> Grads[StateT]:
        """The gradients of a loss, from its gradients at what `forward` returned.

        Parameters
        ----------
        trace : of a `forward` of this layer or of one with the same options
        dy : of the shape of `y`, optional
        dstate : of the shape of the final state, optional; with a memory a pair (dh, dc), in which
            either may be None. What is missing is zero; something has to be there.
        flow : (S, L*D, T, B) array of float64, optional, S = 1, with a memory 2
            Is filled with the squared Euclidean norm of the gradient of each row's h, and c, after
            every step, of every layer and direction, in time order; 0 past the row's end.

        Returns
        -------
        Grads: `x`, `state` (of the initial state, zeros by default or not) and `params`, a dict
        with the keys of `layer.params`. All arrays are the caller's own.

        Raises
        ------
        ValueError for a wrong shape, for a trace of another layer or without training, and without
        any gradient; TypeError for another dtype than the layer's.
        """
        self._check_trace(trace)
        given, weights = trace.shape, self._plan.read(self.params)
        if dy is None:
            _check.some_gradient(dy=dy, dstate=dstate)
        if flow is None and not self.dropout:
            found = self._runner.back(self._stack, weights, trace.cells, dy, dstate)
            if found is not None:
                dx, dstart, dweights = found
                return Grads(self._as_given(dx, given), dstart, self._named(dweights))
        shape = self._output_shape(given)
        right = dy is None or (type(dy) is np.ndarray and dy.shape == shape)
        if dy is not None and not (right and dy.dtype == self.dtype):
            dy = _check.array("dy", dy, shape, dtype=self.dtype, owner="the layer")
        dends = self._split("dstate", dstate, given, gaps=True)
        T, B, _ = trace.cells[0].x.shape
        if flow is not None:
            shape = (len(self._widths), len(weights), T, B)
            flow = _check.array("flow", flow, shape, dtype=np.dtype(np.float64))
            _check.writable("flow", flow)
        if dy is not None and (self.batch_first or len(given) == 2):
            dy = self._time_first(dy)
        arriving, dstarts = passes.arriving(dy, dends, flow), self._empty_states(B)
        dx, dweights = self._runner.backward(
            StackBack(self._stack, trace.cells, weights, arriving, trace.dropped, dstarts)
        )
        arriving.give_flow(flow)
        dstart = self._packed(dstarts, given)
        return Grads(self._as_given(dx, given), dstart, self._named(dweights))

    def freeze(self, precision: str | None = None) -> Frozen[StateT]:
        """An immutable copy for inference, with the weights packed once; see `Frozen`.

        Parameters
        ----------
        precision : None, that of the dtype; "bfloat16", "w8a16" or "w8a8", see `docs/precision.md`
            Of the weights, and of what they are multiplied with. x, y, states, sums and gates stay
            float32.

        Raises
        ------
        ValueError for another precision, for one below float32 of a layer of float64, and for int8
        of more than 65,536 inputs or units, whose sums would not fit.
        """
        precision = frozen.checked_precision(precision, self)
        own = copy.copy(self)
        own.params = {name: value.copy() for name, value in self._plan.checked(self.params).items()}
        for value in own.params.values():
            value.flags.writeable = False
        return Frozen(own, precision)

    def _named(self, dweights: list[Any]) -> ParamGrads:
        """The gradients of all weights by the names of their parameters."""
        return ParamGrads(self._plan.named(dweights), dict(self.params))

    def _trace(
        self, shape: tuple[int, ...], cells: tuple[Any, ...], dropped: tuple[Any, ...]
    ) -> Trace:
        return Trace(type(self).__name__, self._options, shape, cells, dropped, self._kind)

    def _dropout(self) -> Dropout:
        return Dropout(self.dropout, self.recurrent_dropout, self.zoneout, self.dtype, self._rng)

    def _windows(
        self, limit: int, T: int, B: int, batch: Ragged | None
    ) -> checkpoints.Windows | None:
        """The steps between the states that a trace within `limit` bytes keeps; None: all of it."""
        masks, P = self._dropout().like_masks(T, B, self._widths), self._widths[0]
        inner = (self.num_layers - 1) * self.num_directions * P
        numbers = T * B * (self.input_size + inner * (2 if self.dropout else 1))
        numbers += len(self._cells) * sum(mask.size for mask in masks.arrays)
        return checkpoints.windows(self._cells, limit, (T, B), numbers, batch, masks)

    def _check_trace(self, trace: Trace) -> None:
        if not isinstance(trace, Trace):
            _check.instance("trace", trace, Trace)
        if trace.kind != type(self).__name__ or trace.options != self._options:
            raise ValueError(f"trace is of {trace}, expected one of {self!r}")
        if not trace.cells:
            raise ValueError("trace was made with training=False, expected training=True")
