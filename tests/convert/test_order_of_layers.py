"""Named parameters in an order that is none of layers, as files sorted by name have them."""

import json
import struct

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from work import little_work

import rnncore as rc
from rnncore.convert.from_torch import from_torch
from rnncore.convert.orders import IDS, orders_of

V, I, H = 11, 5, 4


def arrays_of(**layers):
    """The parameters of these layers, sorted by name as the library safetensors writes them."""
    found = {f"{at}.{name}": a for at, part in layers.items() for name, a in part.params.items()}
    return {name: found[name] for name in sorted(found)}


def write(path, arrays):
    header, at = {}, 0
    for name, a in arrays.items():
        header[name] = {"dtype": "F32", "shape": a.shape, "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header).encode()
    data = b"".join(a.tobytes() for a in arrays.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def test_a_tagger(tmp_path):
    embedding = rc.Embedding(V, I, rng=0)
    rnn, head = rc.LSTM(I, H, bidirectional=True, rng=1), rc.Linear(2 * H, 3, rng=2)
    arrays = arrays_of(embedding=embedding, rnn=rnn, head=head)
    write(tmp_path / "m.safetensors", arrays)
    for source in (tmp_path / "m.safetensors", arrays):
        model = from_torch(source)
        assert model.names == ("embedding", "rnn", "head")
        for name, a in model.params.items():
            assert_array_equal(a, arrays[name])
    ids = np.arange(10).reshape(5, 2)
    assert_array_equal(model(ids)[0], rc.Sequential(embedding, rnn, head)(ids)[0])


def test_a_tagger_of_torch(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn

    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.word_embed = nn.Embedding(V, I)
            self.lstm, self.head = nn.LSTM(I, H, 2), nn.Linear(H, 3)

        def forward(self, x):
            return self.head(self.lstm(self.word_embed(x))[0])

    module, x = Tagger(), np.arange(10).reshape(5, 2)
    arrays = {name: a.numpy() for name, a in sorted(module.state_dict().items())}
    write(tmp_path / "m.safetensors", arrays)
    with torch.no_grad():
        expected = module(torch.from_numpy(x)).numpy()
    found = from_torch(tmp_path / "m.safetensors")(x)[0]
    assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_norms_between():
    layers = {
        "e": rc.Embedding(V, 3),  # which no name tells
        "rnn": rc.GRU(3, H, bidirectional=True),
        "norm": rc.LayerNorm(2 * H),
        "again": rc.LSTM(2 * H, 6),
        "bottom_ln1": rc.LayerNorm(6),
        "decoder": rc.Linear(6, 2, bias=False),
    }
    model = from_torch(arrays_of(**layers))
    assert model.names == tuple(layers)
    assert [type(part) for part in model] == [type(part) for part in layers.values()]


@pytest.mark.parametrize(
    "name", ["ln_f", "norm1", "LayerNorm", "blocks.norms.0", "transforms_norm"]
)
def test_names_of_layer_norms(name):
    arrays = {f"a.{name}.weight": np.ones(H), f"a.{name}.bias": np.ones(H)}
    assert type(from_torch(arrays)) is rc.LayerNorm


@pytest.mark.parametrize(
    "name", ["", "1.", "gn.", "group_norm.", "InstanceNorm1d.", "bn2.", "rms."]
)
def test_names_that_tell_no_layer_norm(name):
    arrays = arrays_of(**{"0": rc.GRU(I, H)}) if name else {}
    ones = np.ones(H, np.float32)
    with pytest.raises(ValueError, match=r"ambiguous, since a LayerNorm, a GroupNorm .* itself$"):
        from_torch({**arrays, f"{name}weight": ones, f"{name}bias": ones})


def test_a_head_without_bias_comes_first_by_name():
    model = from_torch(
        arrays_of(rnn=rc.GRU(I, H), embed=rc.Embedding(V, I), decoder=rc.Linear(H, V, bias=False))
    )
    assert [type(part) for part in model] == [rc.Embedding, rc.GRU, rc.Linear]
    named = arrays_of(embed=rc.Embedding(V, I), rnn=rc.GRU(I, H))
    named = {"a_unembed.weight": np.zeros((V, H), np.float32), **named}
    assert from_torch(named).names == ("embed", "rnn", "a_unembed")


def test_several_orders():
    arrays = arrays_of(
        embed=rc.Embedding(V, I), rnn1=rc.GRU(I, H), rnn2=rc.GRU(H, H), norm=rc.LayerNorm(H)
    )
    with pytest.raises(
        ValueError,
        match=r"ambiguous, since more than one other is: \(embed, rnn1, norm, rnn2\) or"
        r" \(embed, rnn1, rnn2, norm\); give a mapping",
    ):
        from_torch(arrays)
    # In the order of its layers the same is what it says.
    order = ("embed", "rnn1", "rnn2", "norm")
    given = {name: a for at in order for name, a in arrays.items() if name.startswith(at + ".")}
    assert from_torch(given).names == order


def test_an_order_that_is_a_chain_stays():
    arrays = arrays_of(a=rc.GRU(H, H), b=rc.LSTM(H, H), c=rc.Linear(H, H))
    assert from_torch(arrays).names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"a": rc.GRU(I, H), "b": rc.Linear(I, 3)}, "'b.' after 'a', which reads 5 .* no chain"),
        ({"a": rc.GRU(I, H), "b": rc.GRU(7, 8), "c": rc.Linear(H, 7)}, None),
        ({"embed": rc.Embedding(V, I), "embed2": rc.Embedding(V, I), "rnn": rc.GRU(I, H)}, "no ch"),
        ({"fc": rc.Linear(8, 3), "gc": rc.Linear(4, 8), "rnn": rc.GRU(I, 4)}, "between two Linear"),
        ({"a": rc.Linear(3, 2), "cell": rc.GRUCell(I, 3)}, "cell 'cell.' among other layers"),
    ],
)
def test_no_order(layers, message):
    arrays = arrays_of(**layers)
    if message is None:
        assert from_torch(arrays).names == ("a", "c", "b")
        return
    with pytest.raises(ValueError, match=message):
        from_torch(arrays)


# The search


def brute(edges):
    found, ways = [], [()]
    while ways:
        way = ways.pop()
        rest = [k for k in range(len(edges)) if k not in way]
        if not rest:
            found.append(way)
        ways += [(*way, k) for k in rest if not way or edges[way[-1]][1] == edges[k][0]]
    return sorted(found)


def test_as_every_order_tried(rng):
    kinds = set()
    for _ in range(400):
        n, widths = rng.integers(1, 6), rng.integers(2, 5)
        edges = [tuple(map(int, rng.integers(0, widths, 2))) for _ in range(n)]
        if rng.random() < 0.5:
            edges[0] = (IDS, edges[0][1])
        expected = brute(edges)
        assert sorted(orders_of(edges, 1000)) == expected
        assert orders_of(edges, 1) == orders_of(edges, 1000)[:1]
        kinds.add(min(len(expected), 2))
    assert kinds == {0, 1, 2}


def matrices(n, width):
    return {f"{k}.weight": np.zeros((width(k), width(k + 1)), np.float32) for k in range(n)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        # Twenty-nine of one width, and one that fits nowhere.
        (arrays_of(**{f"r{k}": rc.RNN(2, 2) for k in range(29)}, z=rc.Linear(3, 3)), "no chain"),
        # Of two widths, from each to the other, and one too many.
        (
            arrays_of(**{f"r{k}": rc.RNN(2 + k % 2, 2 + k // 2 % 2) for k in range(30)}),
            "no chain|ambiguous",
        ),
        (matrices(30, lambda k: 2 + k % 2), "ambiguous"),
        (matrices(30, lambda k: 2 + k % 3), "ambiguous"),
        (matrices(5000, lambda k: 2 + k % 7), "ambiguous"),
        (arrays_of(**{f"r{k}": rc.RNN(2 + k % 7, 2) for k in range(2000)}), "no chain"),
    ],
)
def test_many_layers_are_refused_soon(given, message):
    with little_work(), pytest.raises(ValueError, match=message) as found:
        from_torch(given)
    assert len(str(found.value)) < 1500


def test_thirty_layers_in_an_order_from_back_to_front():
    arrays = arrays_of(**{f"r{30 - k:02}": rc.RNN(k + 1, k + 2) for k in range(30)})
    with little_work():
        assert len(from_torch(arrays)) == 30
    assert next(iter(arrays)) == "r01.bias_hh_l0"
