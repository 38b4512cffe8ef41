"""Every cell variant once: how to draw its inputs, run it, and weigh its outputs in a loss.

A new cell is a new row of `CELLS`. `VARIANTS` are the same cells with what may be added to each:
projection, masks, lengths, other activations, clipped sums.
"""

from dataclasses import dataclass, field

import numpy as np

from rnncore._cells import table
from rnncore._cells.kind import CellKind, sized


@dataclass(frozen=True)
class Cell:
    """A variant of `kind`, one set of options.

    Inputs and gradients are dicts by argument name. Output gradients are dicts by the argument
    names of the backward pass: dy, dh, and dc where the cell has a memory. What is `drawn` besides
    has no gradient: the names of masks, and lengths.
    """

    kind: CellKind
    projection: bool = False
    drawn: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)

    @property
    def states(self):
        return tuple(f"{name}0" for name in self.kind.parts)

    @property
    def weights(self):
        """Those that there are with these options, in the order of the arguments."""
        options = {**self.kind.defaults, **self.options, "bias": True}
        options |= {"proj_size": self.projection}
        return {weight.argument: weight for weight in self.kind.weights_with(options)}

    @property
    def biases(self):
        return tuple(name for name, weight in self.weights.items() if weight.needs == "bias")

    @property
    def inputs(self):
        return tuple(self.shapes(1, 1, 1, 1))

    @property
    def output_grads(self):
        """Argument of the backward pass -> attribute of the result it is the gradient of."""
        return {"dy": "y"} | {f"d{name[0]}": f"{name[0]}_n" for name in self.states}

    def width(self, name, H):
        """How wide the state, or the mask of a state, of this name is."""
        return (H + 1) // 2 if self.projection and "h" in name else H

    def shapes(self, T, B, I, H):
        """Argument name -> shape."""
        sizes = {"I": I, "H": H, "P": self.width("h", H)}
        weights = {name: sized(weight.shape, sizes) for name, weight in self.weights.items()}
        return {"x": (T, B, I), **weights} | {
            name: (B, self.width(name, H)) for name in self.states
        }

    def draw_constants(self, T, B, H, dtype, rng):
        """What is `drawn`: dropout that drops a third, zoneout of every degree, any lengths."""
        constants = {}
        for name in self.drawn:
            if name == "lengths":
                constants[name] = rng.integers(0, T, B, endpoint=True)
            elif name == "h_mask":
                kept = rng.random((B, self.width(name, H))) < 2 / 3
                constants[name] = kept.astype(dtype) * dtype(3 / 2)
            else:
                constants[name] = rng.random((T, B, self.width(name, H))).astype(dtype)
        return constants

    def draw(self, shape, dtype, rng):
        """Random inputs. Weights of scale 1/sqrt(H): with unit scale the cells are chaotic."""
        T, B, _, H = shape
        inputs = {}
        for name, size in self.shapes(*shape).items():
            scale = 1 / np.sqrt(H) if name in self.weights else 1.0
            inputs[name] = (scale * rng.standard_normal(size)).astype(dtype)
        return inputs | self.draw_constants(T, B, H, np.dtype(dtype).type, rng)

    def draw_output_grads(self, shape, dtype, rng):
        T, B, _, H = shape
        shapes = {"dy": (T, B, self.width("h", H))}
        shapes |= {f"d{name[0]}": (B, self.width(name, H)) for name in self.states}
        return {name: rng.standard_normal(size).astype(dtype) for name, size in shapes.items()}

    def forward(self, module, inputs, **options):
        return getattr(module, f"{self.kind.prefix}_forward")(**inputs, **self.options, **options)

    def backward(self, module, trace, inputs, output_grads, **options):
        """Gradients by argument name, of exactly the inputs of this cell."""
        read = {name: weight for name, weight in self.weights.items() if weight.read_back}
        weights = {name: inputs[name] for name in read if name in inputs or name not in self.biases}
        backward = getattr(module, f"{self.kind.prefix}_backward")
        grads = backward(trace, **weights, **output_grads, **options)
        return {name: grad for name, grad in grads._asdict().items() if name in self.inputs}

    def problem(self, module, shape, rng, missing=(), **options):
        """Inputs in float64, a loss that weighs all outputs but those `missing`, its gradients.

        Inputs are drawn again where a gradient is all zeros, as where no relu is open: it would be
        right whatever the code does. Where it is that at every draw, as of the gain of a memory of
        one unit, whose norm is 0, the loss must have no slope either.
        """
        for _ in range(50):
            inputs = self.draw(shape, np.float64, rng)
            weighed = self.draw_output_grads(shape, np.float64, rng)
            output_grads = {name: w for name, w in weighed.items() if name not in missing}
            trace = self.forward(module, inputs, **options)
            grads = self.backward(module, trace, inputs, output_grads)
            if all(g.any() for g in grads.values()):
                break

        def loss(at):
            result = self.forward(module, at, training=False, **options)
            return sum(
                np.vdot(output_grads[name], getattr(result, output))
                for name, output in self.output_grads.items()
                if name in output_grads
            )

        return inputs, loss, grads


def arrays_of(result):
    """Name -> array of a trace or of the outputs of an inference pass."""
    names = result._fields if isinstance(result, tuple) else dir(result)
    values = {name: getattr(result, name) for name in names if not name.startswith("_")}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray)}


def variant(name, *drawn, projection=False, **options):
    return Cell(table.CELLS[name], projection, drawn, options)


def rnn(*drawn, **options):
    return variant("RNN", *drawn, **options)


def gru(*drawn, **options):
    return variant("GRU", *drawn, **options)


def lstm(*drawn, **options):
    return variant("LSTM", *drawn, **options)


def indrnn(*drawn, **options):
    return variant("IndRNN", *drawn, **options)


def norm_lstm(*drawn, **options):
    return variant("LayerNormLSTM", *drawn, **options)


CELLS = {
    "rnn-tanh": rnn(nonlinearity="tanh"),
    "rnn-relu": rnn(nonlinearity="relu"),
    "gru-after": gru(reset="after"),
    "gru-before": gru(reset="before"),
    "lstm": lstm(),
    "lstm-previous": lstm(peephole="previous"),
    "lstm-current": lstm(peephole="current"),
    "lstm-coupled": lstm(coupled=True),
    "lstm-coupled-current": lstm(coupled=True, peephole="current"),
    "indrnn-relu": indrnn(),
    "indrnn-tanh": indrnn(nonlinearity="tanh"),
    "norm-lstm": norm_lstm(),
    "norm-lstm-eps": norm_lstm(eps=0.1),
}

# With parameters unlike the defaults, so that none of them can be left out unseen.
ACTIVATIONS = (
    "Sigmoid",
    "Tanh",
    "Relu",
    ("Affine", 0.6, 0.2),
    ("LeakyRelu", 0.3),
    ("ThresholdedRelu", 0.1),
    ("ScaledTanh", 1.5, 0.7),
    ("HardSigmoid", 0.3, 0.4),
    ("Elu", 0.7),
    "Softsign",
    "Softplus",
)
MASKS = ("h_mask", "keep_h")
SMOOTH = (("ScaledTanh", 1.5, 0.7), "Softsign", "Softplus")
BENT = (("HardSigmoid", 0.3, 0.4), ("Elu", 0.7), ("LeakyRelu", 0.3))

VARIANTS = {
    f"rnn-as-{(entry if isinstance(entry, str) else entry[0]).lower()}": rnn(activations=[entry])
    for entry in ACTIVATIONS
}
VARIANTS |= {
    "rnn-clip": rnn(clip=0.4),
    "rnn-dropout": rnn("h_mask"),
    "rnn-zoneout": rnn("keep_h"),
    "rnn-lengths": rnn("lengths"),
    "rnn-all": rnn(*MASKS, "lengths", activations=SMOOTH[:1], clip=0.4),
    "gru-after-clip": gru(clip=0.4),
    "gru-after-activations": gru(activations=SMOOTH[:2]),
    "gru-before-activations": gru(activations=BENT[:2], reset="before"),
    "gru-after-dropout": gru("h_mask"),
    "gru-before-dropout": gru("h_mask", reset="before"),
    "gru-after-zoneout": gru("keep_h"),
    "gru-after-lengths": gru("lengths"),
    "gru-before-lengths": gru("lengths", reset="before"),
    "gru-after-all": gru(*MASKS, "lengths", activations=BENT[:2], clip=0.4),
    "gru-before-all": gru(*MASKS, "lengths", reset="before", activations=SMOOTH[:2], clip=0.4),
    "lstm-clip": lstm(clip=0.4, peephole="current"),
    "lstm-activations": lstm(activations=SMOOTH),
    "lstm-bent": lstm(activations=BENT),
    "lstm-dropout": lstm("h_mask"),
    "lstm-zoneout-h": lstm("keep_h", peephole="current"),
    "lstm-zoneout-c": lstm("keep_c", peephole="current"),
    "lstm-lengths": lstm("lengths"),
    "lstm-projection": lstm(projection=True),
    "lstm-projection-lengths": lstm("lengths", projection=True),
}
EVERYTHING = (*MASKS, "keep_c", "lengths")
VARIANTS |= {
    "lstm-all": lstm(*EVERYTHING, projection=True, activations=SMOOTH, clip=0.4),
    "lstm-previous-all": lstm(
        *EVERYTHING, projection=True, peephole="previous", activations=BENT, clip=0.4
    ),
    "lstm-coupled-current-all": lstm(
        *EVERYTHING, projection=True, peephole="current", coupled=True, clip=0.4
    ),
}
VARIANTS |= {
    "indrnn-lengths": indrnn("lengths"),
    "indrnn-dropout": indrnn("h_mask", nonlinearity="tanh"),
    "indrnn-zoneout": indrnn("keep_h", nonlinearity="tanh"),
    "indrnn-all": indrnn(*MASKS, "lengths", activations=SMOOTH[:1], clip=0.4),
    "norm-lstm-lengths": norm_lstm("lengths"),
    "norm-lstm-dropout": norm_lstm("h_mask"),
    "norm-lstm-zoneout-h": norm_lstm("keep_h"),
    "norm-lstm-zoneout-c": norm_lstm("keep_c"),
    "norm-lstm-all": norm_lstm(*EVERYTHING, activations=SMOOTH, clip=0.4, eps=0.01),
}
