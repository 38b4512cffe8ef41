"""Whatever is thrown at the public functions: the numbers of the reference, or a clear refusal.

Arguments are drawn right, then some are laid out in memory in another way, which must not matter,
and some are made wrong, which must be refused with the words of the reference. Nothing that comes
in is written to.
"""

import contextlib
import copy

import numpy as np
from cells import CELLS, Cell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_options import other_functions
from problems import KINDS, STATES, pack, unpack

import rnncore
from rnncore import functional, reference
from rnncore._cells.table import CELLS as KIND_OF
from rnncore.layers.on_reference import on_reference

often = settings(
    max_examples=500,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)

# Arrays: the same numbers laid out in another way


def plain(a):
    return a


def backwards(a):
    return np.flip(np.flip(a).copy())


def with_gaps(a):
    wide = np.full([2 * n for n in a.shape], np.nan, a.dtype)
    wide[tuple(slice(None, None, 2) for _ in a.shape)] = a
    return wide[tuple(slice(None, None, 2) for _ in a.shape)]


def off_its_alignment(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def one_value_seen_often(a):
    return np.broadcast_to(a.dtype.type(0.25), a.shape)


def one_row_seen_often(a):
    return np.broadcast_to(a[:1], a.shape) if len(a) else a


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def with_nan(a):
    a = a.copy()
    a.ravel()[:1] = np.nan
    return a


HARMLESS = [plain, backwards, with_gaps, off_its_alignment, one_value_seen_often]
HARMLESS += [one_row_seen_often, read_only, np.asfortranarray, with_nan]

# And what they are not to be


def of_the_other_dtype(a):
    return a.astype(np.float64 if a.dtype == np.float32 else np.float32)


HARMFUL = [
    of_the_other_dtype,
    lambda a: a.astype(a.dtype.newbyteorder()),
    lambda a: a.astype(np.float16),
    lambda a: np.zeros(a.shape, np.int64),
    lambda a: a.astype(object),
    lambda a: a.astype(complex),
    lambda a: a.tolist(),
    lambda a: np.ma.masked_array(a),
    lambda a: a[None],
    lambda a: a.reshape(-1),
    lambda a: np.concatenate((a, a)),
    lambda a: a[1:],
    lambda a: a[..., 1:],
    lambda a: a[..., :0],
    lambda a: np.zeros(()).astype(a.dtype)[()],
    lambda a: np.zeros((0,) * a.ndim, a.dtype),
    lambda a: None,
    lambda a: "array",
]


@st.composite
def changes(draw, names):
    """For some of `names`, what is done to the argument; in a third of the draws one does harm."""
    harmful = draw(st.integers(0, 2)) == 0
    some = draw(st.lists(st.sampled_from(sorted(names)), max_size=4, unique=True))
    found = {name: draw(st.sampled_from(HARMLESS)) for name in some}
    if harmful and some:
        found[some[0]] = draw(st.sampled_from(HARMFUL))
    return found


def applied(arguments, found):
    return {
        name: found[name](value) if name in found and value is not None else value
        for name, value in arguments.items()
    }


def lengths_of(T, B):
    """None, right ones, and others."""
    right = st.lists(st.integers(0, T), min_size=B, max_size=B)
    wrong = st.one_of(
        st.lists(st.integers(-1, T + 1), max_size=B + 1),
        st.sampled_from([0, 1.0, [0.5] * B, [True] * B, "lengths", [[T] * B], [2**70] * B, np.nan]),
    )
    arrays = right.map(lambda n: np.repeat(np.array(n, np.int16), 2)[::2])
    return st.integers(0, 9).flatmap(
        lambda n: wrong if n == 9 else st.none() if n < 3 else arrays if n == 3 else right
    )


# Comparing


@contextlib.contextmanager
def unchanged(*arguments):
    """Every array has the bytes that it had."""
    arrays = [a for given in arguments for a in given.values() if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays]
    yield
    assert [a.tobytes() for a in arrays] == before


def outcome(call):
    """What it returns, or its refusal as a type and its words; any other error is a failure."""
    try:
        return call(), None
    except (TypeError, ValueError) as error:
        return None, (type(error), str(error))


def assert_close(got, want, steps):
    """A step adds a few roundings of each term, and what it got of the step before comes on top.

    Weights are of scale 1 / sqrt(H) and inputs of scale 1, so that no step makes errors grow.
    """
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    # Of 0 * NaN one may make 0 where the other has NaN: as of a clamped gate, which has no slope.
    numbers = ~np.isnan(got) & ~np.isnan(want)
    for one, other in ((got, want), (want, got)):
        assert not one[np.isnan(other) & ~np.isnan(one)].any()
    scale = np.abs(want[numbers]).max(initial=1.0)
    gap = np.abs((got - want)[numbers]).max(initial=0.0)
    assert gap <= 100 * (steps + 1) * np.finfo(want.dtype).eps * scale


# The functional core


def options_of(kind):
    """Every variant's own, and these with what every cell takes.

    A norm makes roundings of a row of equal numbers 1 / sqrt(eps) times as large, which is 316 by
    default and as much again at the next norm: here eps is larger.
    """
    own = [cell.options for cell in CELLS.values() if cell.kind is kind]
    own = [options for options in own if (kind.defaults | options).get("eps", 1.0) > 0.01]
    more = [{}, {"clip": 2.0}, {"activations": other_functions(kind)}]
    return [options | other for options in own for other in more]


WRONG_OPTIONS = [{"clip": -1}, {"activations": ("tanh",) * 4}, {"activations": "tanh"}]
SIZE = st.sampled_from([0, 1, 1, 2, 3, 5, 17])
UNITS = st.sampled_from([*(1, 2, 3, 4, 5, 8, 17) * 3, 0])


@st.composite
def calls(draw):
    """A cell, the arguments of its forward pass, and those of its backward pass but the trace."""
    kind = KIND_OF[draw(st.sampled_from(sorted(KIND_OF)))]
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    T, B, I, H = draw(st.tuples(SIZE, SIZE, UNITS, UNITS))
    options = dict(draw(st.sampled_from(options_of(kind) * 10 + WRONG_OPTIONS)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    projection = "proj_size" in kind.defaults and H > 1 and draw(st.booleans())
    cell = Cell(kind, projection, options={k: v for k, v in options.items() if k in kind.defaults})

    def array(*shape):
        return (rng.standard_normal(shape) / np.sqrt(max(1, H))).astype(dtype)

    arrays = {name: array(*shape) for name, shape in cell.shapes(T, B, I, H).items()}
    maybe = {name: arrays.pop(name) for name in (*cell.biases, *cell.states)}
    maybe["h_mask"] = array(B, cell.width("h", H))
    for name in (f"keep_{part}" for part in kind.parts):
        maybe[name] = (rng.random((T, B, cell.width(name, H))) < 0.5).astype(dtype)
    arriving = {
        name: array(*value.shape)
        for name, value in cell.draw_output_grads((T, B, I, H), dtype, rng).items()
    }

    def some(arrays):
        return {k: v for k, v in arrays.items() if draw(st.booleans())}

    inputs = {**arrays, **some(maybe)}
    read = {name: inputs.get(name) for name, weight in cell.weights.items() if weight.read_back}
    inputs = applied(inputs, draw(changes(inputs)))
    inputs |= options | {"lengths": draw(lengths_of(T, B)), "reverse": draw(st.booleans())}
    backwards = {**read, **some(arriving)}
    return kind.prefix, T, inputs, applied(backwards, draw(changes(backwards)))


@often
@given(calls())
def test_the_functional_core(call):
    cell, T, inputs, arriving = call
    results = []
    for module in (functional, reference):
        forward, backward = (getattr(module, f"{cell}_{way}") for way in ("forward", "backward"))

        def run(forward=forward):
            return forward(**inputs), forward(**inputs, training=False)

        with unchanged(inputs, arriving):
            found, refusal = outcome(run)
            grads, backward_refusal = None, None
            if refusal is None:
                grads, backward_refusal = outcome(lambda: backward(found[0], **arriving))  # noqa: B023
        results.append((found, grads, (refusal, backward_refusal)))
    (got, dgot, refusals), (want, dwant, expected) = results
    assert refusals == expected
    if want is None:
        return
    for name, value in want[1]._asdict().items():
        for found in got:  # in training and without
            assert_close(getattr(found, name), value, T)
    for name, value in dwant._asdict().items() if dwant is not None else ():
        if value is not None:
            assert_close(getattr(dgot, name), value, T)


# Layers


@st.composite
def layer_calls(draw):
    """A layer, x, a state, lengths, a memory limit, and what arrives at the outputs."""
    kind, own = KINDS[draw(st.sampled_from(sorted(KINDS)))]
    T, B, I = draw(st.tuples(SIZE, SIZE, st.integers(1, 5)))
    H = draw(st.sampled_from([4, 5, 17]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    flags = {name: draw(st.booleans()) for name in ("bias", "batch_first", "bidirectional")}
    dropping = {"dropout": 0.4, "recurrent_dropout": 0.3, "zoneout": 0.2}
    flags |= {name: share for name, share in dropping.items() if draw(st.integers(0, 3)) == 0}
    seed = draw(st.integers(0, 2**32))
    L = draw(st.integers(1, 3))
    if L == 1:
        flags.pop("dropout", None)  # it is between layers, and warns
    layer = getattr(rnncore, kind)(I, H, L, **own, **flags, dtype=dtype, rng=seed)
    rng = np.random.default_rng(seed)

    def array(*shape):
        return rng.uniform(-1, 1, shape).astype(dtype)

    batched = draw(st.integers(0, 4)) > 0
    rows = (B,) if batched else ()
    axes = (B, T) if batched and flags["batch_first"] else (T, *rows)
    state = layer.num_layers * layer.num_directions
    widths = dict(zip(("h", "c"), (own.get("proj_size", H), H), strict=True))
    parts = STATES[kind]
    given = {"x": array(*axes, I)}
    given["dy"] = array(*axes, layer.num_directions * widths["h"])
    for part in parts:
        given |= {f"{name}{part}": array(state, *rows, widths[part]) for name in ("", "d")}
    given = applied(given, draw(changes(given)))
    with_state, arriving = draw(st.booleans()), draw(st.booleans())
    start = pack([given[part] for part in parts]) if with_state else None
    end = pack([given[f"d{part}"] for part in parts]) if arriving else None
    lengths = draw(lengths_of(T, B if batched else 1))
    limit = draw(st.sampled_from([None, None, None, 1, 5000, 10**9, -1, 1e6]))
    return layer, T, given, start, lengths, limit, end


@often
@given(layer_calls())
def test_layers(call):
    layer, T, given, start, lengths, limit, end = call
    one, other, limited = (copy.deepcopy(layer) for _ in range(3))  # which draw the same
    twin = on_reference(other)

    def run(layer, **options):
        y, last, trace = layer.forward(given["x"], start, lengths=lengths, **options)
        grads = layer.backward(trace, given["dy"], end)
        return y, *unpack(last), grads.x, *unpack(grads.state), *grads.params.values()

    with unchanged(given):
        got, refusal = outcome(lambda: run(one))
        want, expected = outcome(lambda: run(twin))
        called, refused = outcome(lambda: layer(given["x"], start, lengths=lengths))
        frozen, frozen_refused = outcome(lambda: layer.freeze()(given["x"], start, lengths=lengths))
        within, over = outcome(lambda: run(limited, memory_limit=limit))
    assert refusal == expected
    assert refused == frozen_refused
    if refusal is None:
        assert refused is None
        for value, expected in zip(got, want, strict=True):
            assert_close(value, expected, T * layer.num_layers)
        for value, other in zip(
            (called[0], *unpack(called[1])), (frozen[0], *unpack(frozen[1])), strict=True
        ):
            np.testing.assert_array_equal(value, other)
        if not (layer.dropout or layer.recurrent_dropout or layer.zoneout):
            for value, expected in zip((called[0], *unpack(called[1])), got, strict=False):
                np.testing.assert_array_equal(value, expected)
    elif refused is not None:
        assert refused == refusal
    if over is None:
        for value, expected in zip(within, got, strict=True):
            np.testing.assert_array_equal(value, expected)
    else:
        assert over == refusal or over[1].startswith("memory_limit is ")
