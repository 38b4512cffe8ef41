"""Problems for whole layers, run by `rnncore.jax`, and the same cells for `jax.lax.scan`."""

import jax
import jax.numpy as jnp
import numpy as np
from problems import STATES, pack, unpack

import rnncore.jax
from rnncore.layers.parameters import suffixes

FUNCTIONS = {"RNN": rnncore.jax.rnn, "GRU": rnncore.jax.gru, "LSTM": rnncore.jax.lstm}
# What the parameters tell, or the dtypes do.
TOLD = {"input_size", "hidden_size", "num_layers", "bias", "bidirectional", "proj_size", "dtype"}


def call_of(problem, function=None):
    """``(params, x, state, lengths) -> y, state`` with the options of a problem."""
    own = {name: value for name, value in problem.options.items() if name not in TOLD}
    function = function or FUNCTIONS[problem.cell]

    def call(params, x, state, lengths):
        return function(params, x, state, lengths, **own)

    return call


def run_jax(problem, call=None, transform=jax.jit):
    """What `problems.run_layer` gives of a layer."""
    call, given, names = call or call_of(problem), problem.inputs.get, STATES[problem.cell]
    state = pack([given(f"{s}0") for s in names])

    def forward_and_back(params, x, state, lengths, dy, dends):
        def loss(params, x, state):
            y, last = call(params, x, state, lengths)
            pairs = zip((y, *unpack(last)), (dy, *dends), strict=True)
            return sum((a * d).sum() for a, d in pairs if d is not None), (y, last)

        grads, found = jax.grad(loss, (0, 1, 2), has_aux=True)(params, x, state)
        return found, grads

    dends = [given(f"d{s}") for s in names]
    if state is None:  # a gradient needs an array
        shapes = jax.eval_shape(call, problem.params, given("x"), None, given("lengths"))[1]
        state = jax.tree.map(lambda each: np.zeros(each.shape, each.dtype), shapes)
    (y, last), (dparams, dx, dstate) = transform(forward_and_back)(
        problem.params, given("x"), state, given("lengths"), given("dy"), dends
    )
    found = {"y": y, "dx": dx}
    for s, value, gradient in zip(names, unpack(last), unpack(dstate), strict=True):
        found |= {f"{s}n": value, f"d{s}0": gradient}
    found |= {f"d{name}": gradient for name, gradient in dparams.items()}
    return {name: np.asarray(value) for name, value in found.items()}


# The cells, by their equations, one step of one row after another.


def _rnn(p, x, h, nonlinearity="tanh"):
    act = jnp.tanh if nonlinearity == "tanh" else jax.nn.relu
    return (act(p("weight_ih") @ x + p("bias_ih") + p("weight_hh") @ h + p("bias_hh")),)


def _gru(p, x, h, reset="after"):
    r_x, z_x, n_x = jnp.split(p("weight_ih") @ x + p("bias_ih"), 3)
    w_r, w_z, w_n = jnp.split(p("weight_hh"), 3)
    b_r, b_z, b_n = jnp.split(p("bias_hh") + jnp.zeros(3 * h.size), 3)
    r, z = jax.nn.sigmoid(r_x + w_r @ h + b_r), jax.nn.sigmoid(z_x + w_z @ h + b_z)
    of_h = r * (w_n @ h + b_n) if reset == "after" else w_n @ (r * h) + b_n
    return ((1 - z) * jnp.tanh(n_x + of_h) + z * h,)


def _lstm(p, x, h, c, peephole=None, coupled=False):
    sums = p("weight_ih") @ x + p("bias_ih") + p("weight_hh") @ h + p("bias_hh")
    i, f, g, o = jnp.split(sums, 4)
    seen = jnp.split(p("weight_ch") + jnp.zeros(3 * c.size), 3)
    if peephole:
        i, f = i + seen[0] * c, f + seen[1] * c
    i = jax.nn.sigmoid(i)
    f = 1 - i if coupled else jax.nn.sigmoid(f)
    later = f * c + i * jnp.tanh(g)
    if peephole:
        o = o + seen[2] * (later if peephole == "current" else c)
    h = jax.nn.sigmoid(o) * jnp.tanh(later)
    return (h if p("weight_hr", None) is None else p("weight_hr") @ h), later


STEPS = {"RNN": _rnn, "GRU": _gru, "LSTM": _lstm}


def scan_of(problem):
    """What `call_of` computes, by JAX alone, for (T, B, I) and a state that is given."""
    options = {name: v for name, v in problem.options.items() if name not in TOLD}
    D = 2 if problem.options.get("bidirectional") else 1
    layers = problem.options.get("num_layers", 1)

    def direction(params, suffix, x, starts, length, backwards):
        def p(stem, default=0.0):
            return params.get(stem + suffix, default)

        def advance(states, step):
            new = STEPS[problem.cell](p, x[step], *states, **options)
            states = jax.tree.map(lambda a, b: jnp.where(step < length, a, b), new, states)
            return states, (step, jnp.where(step < length, states[0], 0))

        steps = jnp.arange(len(x))
        ends, (order, y) = jax.lax.scan(advance, starts, steps[::-1] if backwards else steps)
        return jnp.zeros_like(y).at[order].set(y), ends

    def row(params, x, starts, length):
        ends, ys = [], [x]
        for k, suffix in enumerate(suffixes(layers, D)):
            if k % D == 0:
                x, ys = jnp.concatenate(ys, axis=-1), []
            own = tuple(start[k] for start in starts)
            y, end = direction(params, suffix, x, own, length, k % D == 1)
            ys.append(y)
            ends.append(end)
        return jnp.concatenate(ys, axis=-1), tuple(map(jnp.stack, zip(*ends, strict=True)))

    def call(params, x, state, lengths):
        lengths = jnp.full(x.shape[1], x.shape[0]) if lengths is None else jnp.asarray(lengths)
        y, ends = jax.vmap(row, (None, 1, 1, 0), (1, 1))(params, x, unpack(state), lengths)
        return y, ends[0] if len(ends) == 1 else ends

    return call
