"""Every cell variant once: how to draw its inputs, run it, and weigh its outputs in a loss.

A new cell is a new row of `CELLS`.
"""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Cell:
    """A variant of `kind` (``rnn_forward``, ``gru_forward``, ``lstm_forward``), one set of options.

    Inputs and gradients are dicts by argument name. Output gradients are dicts by the argument
    names of the backward pass: dy, dh, and dc where the cell has a memory.
    """

    kind: str
    gates: int
    biases: tuple[str, ...] = ("b",)
    states: tuple[str, ...] = ("h0",)
    peepholes: int = 0
    options: dict = field(default_factory=dict)

    @property
    def inputs(self):
        return tuple(self.shapes(1, 1, 1, 1))

    @property
    def output_grads(self):
        """Argument of the backward pass -> attribute of the result it is the gradient of."""
        return {"dy": "y"} | {f"d{name[0]}": f"{name[0]}_n" for name in self.states}

    def shapes(self, T, B, I, H):
        """Argument name -> shape."""
        G = self.gates
        shapes = {"x": (T, B, I), "w_ih": (G * H, I), "w_hh": (G * H, H)}
        shapes |= dict.fromkeys(self.biases, (G * H,)) | dict.fromkeys(self.states, (B, H))
        return shapes | ({"w_ch": (self.peepholes * H,)} if self.peepholes else {})

    def draw(self, shape, dtype, rng):
        """Random inputs. Weights of scale 1/sqrt(H): with unit scale the cells are chaotic."""
        H = shape[-1]
        inputs = {}
        for name, size in self.shapes(*shape).items():
            scale = 1 / np.sqrt(H) if name[0] in "wb" else 1.0
            inputs[name] = (scale * rng.standard_normal(size)).astype(dtype)
        return inputs

    def draw_output_grads(self, shape, dtype, rng):
        T, B, _, H = shape
        shapes = {"dy": (T, B, H)} | {f"d{name[0]}": (B, H) for name in self.states}
        return {name: rng.standard_normal(size).astype(dtype) for name, size in shapes.items()}

    def forward(self, module, inputs, **options):
        return getattr(module, f"{self.kind}_forward")(**inputs, **self.options, **options)

    def backward(self, module, trace, inputs, output_grads):
        """Gradients by argument name, of exactly the inputs of this cell."""
        weights = {name: inputs[name] for name in self.inputs if name.startswith("w_")}
        grads = getattr(module, f"{self.kind}_backward")(trace, **weights, **output_grads)
        return {name: grad for name, grad in grads._asdict().items() if name in self.inputs}

    def at_a_kink(self, inputs, trace):
        """Whether a finite difference could step over the corner of a relu."""
        if self.options.get("nonlinearity") != "relu":
            return False
        x = inputs["x"][::-1] if trace.reverse else inputs["x"]
        pre = x @ inputs["w_ih"].T + inputs["b"] + trace.h[:-1] @ inputs["w_hh"].T
        return np.abs(pre).min() < 1e-3

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
            if all(g.any() for g in grads.values()) and not self.at_a_kink(inputs, trace):
                break

        def loss(at):
            result = self.forward(module, at, training=False, **options)
            return sum(
                np.vdot(output_grads[name], getattr(result, output))
                for name, output in self.output_grads.items()
                if name in output_grads
            )

        return inputs, loss, grads


def rnn(**options):
    return Cell("rnn", gates=1, options=options)


def gru(**options):
    return Cell("gru", gates=3, biases=("b_ih", "b_hh"), options=options)


def lstm(**options):
    peepholes = 3 if "peephole" in options else 0
    return Cell("lstm", gates=4, states=("h0", "c0"), peepholes=peepholes, options=options)


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
