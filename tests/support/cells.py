"""Every cell variant once: how to draw its inputs, run it, and weigh its outputs in a loss.

A new cell is a new row of `CELLS`. `VARIANTS` are the same cells with what may be added to each:
projection, masks, lengths, other activations, clipped sums.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Cell:
    """A variant of `kind` (``rnn_forward``, ``gru_forward``, ``lstm_forward``), one set of options.

    Inputs and gradients are dicts by argument name. Output gradients are dicts by the argument
    names of the backward pass: dy, dh, and dc where the cell has a memory. What is `drawn` besides
    has no gradient: the names of masks, and lengths.
    """

    kind: str
    gates: int
    biases: tuple[str, ...] = ("b",)
    states: tuple[str, ...] = ("h0",)
    peepholes: int = 0
    projection: bool = False
    drawn: tuple[str, ...] = ()
    options: dict = field(default_factory=dict)

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
        G, P = self.gates, self.width("h", H)
        shapes = {"x": (T, B, I), "w_ih": (G * H, I), "w_hh": (G * H, P)}
        shapes |= dict.fromkeys(self.biases, (G * H,))
        shapes |= {name: (B, self.width(name, H)) for name in self.states}
        shapes |= {"w_ch": (self.peepholes * H,)} if self.peepholes else {}
        return shapes | ({"w_hr": (P, H)} if self.projection else {})

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
            scale = 1 / np.sqrt(H) if name[0] in "wb" else 1.0
            inputs[name] = (scale * rng.standard_normal(size)).astype(dtype)
        return inputs | self.draw_constants(T, B, H, np.dtype(dtype).type, rng)

    def draw_output_grads(self, shape, dtype, rng):
        T, B, _, H = shape
        shapes = {"dy": (T, B, self.width("h", H))}
        shapes |= {f"d{name[0]}": (B, self.width(name, H)) for name in self.states}
        return {name: rng.standard_normal(size).astype(dtype) for name, size in shapes.items()}

    def forward(self, module, inputs, **options):
        return getattr(module, f"{self.kind}_forward")(**inputs, **self.options, **options)

    def backward(self, module, trace, inputs, output_grads, **options):
        """Gradients by argument name, of exactly the inputs of this cell."""
        weights = {name: inputs[name] for name in self.inputs if name.startswith("w_")}
        backward = getattr(module, f"{self.kind}_backward")
        grads = backward(trace, **weights, **output_grads, **options)
        return {name: grad for name, grad in grads._asdict().items() if name in self.inputs}

    def problem(self, module, shape, rng, missing=(), **options):
        """Inputs in float64, a loss that weighs all outputs but those `missing`, its gradients.

        Inputs are drawn again where a gradient is all zeros, as where no relu is open: it would be
        right whatever the code does.
        """
        while True:
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


def rnn(*drawn, **options):
    return Cell("rnn", gates=1, drawn=drawn, options=options)


def gru(*drawn, **options):
    return Cell("gru", gates=3, biases=("b_ih", "b_hh"), drawn=drawn, options=options)


def lstm(*drawn, projection=False, **options):
    peepholes = 3 if "peephole" in options else 0
    return Cell(
        "lstm",
        gates=4,
        states=("h0", "c0"),
        peepholes=peepholes,
        projection=projection,
        drawn=drawn,
        options=options,
    )


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
