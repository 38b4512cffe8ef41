"""PackedSequence of all kinds, and `lengths`."""

import itertools

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from in_torch import VARIANTS, B, I, T, assert_same, pair, state_of, values  # noqa: E402
from torch.nn.utils.rnn import (  # noqa: E402
    PackedSequence,
    pack_padded_sequence,
    pack_sequence,
    pad_packed_sequence,
)

import rnncore.torch as rt  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
LENGTHS = {"mixed": [3, 6, 1, 4], "falling": [6, 4, 4, 1], "equal": [6, 6, 6, 6], "ones": [1] * 4}


def packed(lengths, x, sort):
    sorted_already = lengths == sorted(lengths, reverse=True)
    return pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=sorted_already and sort)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_packed_sequences_are_torchs(name, options, lengths, with_state):
    stock, ours = pair(name, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    hx = state_of(stock) if with_state else None
    found = []
    for module, sort in ((ours, True), (stock, True)):
        leaf = x.clone().requires_grad_()
        given = packed(LENGTHS[lengths], leaf, sort)
        found.append({**values(module, given, hx), "of what was packed": leaf.grad})
    assert_same(*found)
    with torch.no_grad():
        (y, _), (z, _) = ours(given), stock(given)
    assert isinstance(y, PackedSequence)
    for part in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        a, b = getattr(y, part), getattr(z, part)
        assert a is b is None or torch.equal(a, b)
    torch.testing.assert_close(y.data, z.data)


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_whole_program_with_packing(name):
    stock, ours = pair(name, batch_first=True, bidirectional=True)
    rows = [torch.randn(n, I, dtype=torch.float64) for n in (2, 5, 1)]
    for module in (stock, ours):
        y, lengths = pad_packed_sequence(
            module(pack_sequence(rows, enforce_sorted=False))[0], batch_first=True, total_length=7
        )
        assert lengths.tolist() == [2, 5, 1]
        y.square().sum().backward()
    for a, b in zip(ours.parameters(), stock.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("rows_first", [False, True])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_lengths_are_rows_by_themselves(name, rows_first, with_state):
    _, ours = pair(name, num_layers=2, bidirectional=True, batch_first=rows_first)
    lengths = [3, 0, 6, 1]
    x = torch.randn(T, B, I, dtype=torch.float64)
    x[torch.arange(T)[:, None] >= torch.tensor(lengths)] = torch.nan  # is not read
    given = x.transpose(0, 1) if rows_first else x
    hx = state_of(ours) if with_state else None
    y, final = ours(given, hx, lengths=torch.tensor(lengths))
    y = y.transpose(0, 1) if rows_first else y
    states = final if isinstance(final, tuple) else (final,)
    starts = (None,) * len(states) if hx is None else hx if isinstance(hx, tuple) else (hx,)
    for row, n in enumerate(lengths):
        assert (y[n:, row] == 0).all()
        if n == 0:
            for end, start in zip(states, starts, strict=True):
                expected = torch.zeros_like(end[:, row]) if start is None else start[:, row]
                assert torch.equal(end[:, row], expected)
            continue
        alone = x[:n, row : row + 1]
        own = [None if start is None else start[:, row : row + 1] for start in starts]
        own_hx = None if hx is None else tuple(own) if len(own) > 1 else own[0]
        z, end = ours(alone.transpose(0, 1) if rows_first else alone, own_hx)
        assert torch.equal((z.transpose(0, 1) if rows_first else z)[:, 0], y[:n, row])
        for a, b in zip(states, end if isinstance(end, tuple) else (end,), strict=True):
            assert torch.equal(a[:, row], b[:, 0])


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_gradients_with_lengths_are_those_of_a_packed_sequence(name):
    stock, ours = pair(name, num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    lengths = torch.tensor([3, 6, 1, 4])
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, _ = ours(a, lengths=lengths)
    z, _ = pad_packed_sequence(stock(pack_padded_sequence(b, lengths, enforce_sorted=False))[0])
    (y.square() * y.detach().cos()).sum().backward()
    (z.square() * z.detach().cos()).sum().backward()
    torch.testing.assert_close(a.grad, b.grad)
    for p, q in itertools.zip_longest(ours.parameters(), stock.parameters()):
        torch.testing.assert_close(p.grad, q.grad)


@pytest.mark.parametrize(
    ("lengths", "kind", "message"),
    [
        (torch.tensor([1, 2, 3]), ValueError, r"lengths has shape \(3,\), expected \(4,\)"),
        (torch.tensor([[1, 2, 3, 4]]), ValueError, r"lengths has shape \(1, 4\), expected \(4,\)"),
        (torch.tensor([1.0, 2, 3, 4]), TypeError, "lengths has dtype torch.float32, expected int"),
        (torch.tensor([1, 2, 3, 7]), ValueError, "lengths"),
        (torch.tensor([1, 2, 3, -1]), ValueError, "lengths"),
    ],
)
def test_lengths_that_cannot_be(lengths, kind, message):
    _, ours = pair("GRU")
    with pytest.raises(kind, match=message):
        ours(torch.randn(T, B, I, dtype=torch.float64), lengths=lengths)


def test_lengths_beside_what_has_none():
    _, ours = pair("GRU")
    given = pack_sequence([torch.randn(2, I, dtype=torch.float64)])
    with pytest.raises(TypeError, match="lengths is given beside a PackedSequence"):
        ours(given, lengths=torch.tensor([2]))
    with pytest.raises(ValueError, match="lengths is given beside an input without a batch"):
        ours(torch.randn(T, I, dtype=torch.float64), lengths=torch.tensor([2]))


def test_a_packed_sequence_that_does_not_fit_is_refused_in_torchs_words():
    stock, ours = pair("GRU")
    given, hx = pack_sequence([torch.randn(2, I, dtype=torch.float64)]), state_of(stock, 3)
    with pytest.raises(RuntimeError) as expected:
        stock(given, hx)
    with pytest.raises(RuntimeError) as found:
        ours(given, hx)
    assert str(found.value) == str(expected.value)
    _, ours = pair("LSTM")  # of which PyTorch does not look at everything
    with pytest.raises(RuntimeError, match=r"Expected hidden\[0\] size \(1, 1, 7\)"):
        ours(given, state_of(ours, 3))
    with pytest.raises(RuntimeError, match="must be equal to input_size"):
        ours(pack_sequence([torch.randn(2, I + 1, dtype=torch.float64)]))
    with pytest.raises(ValueError, match="does not match weight dtype"):
        ours(pack_sequence([torch.randn(2, I)]))


def test_masks_of_dropout_go_with_lengths():
    module = rt.GRU(I, 7, 2, dropout=0.5, zoneout=0.3, recurrent_dropout=0.2, dtype=torch.float64)
    lengths = torch.tensor([3, 0, 6, 1])

    def function(x, *_):
        torch.manual_seed(0)
        y, h = module(x, lengths=lengths)
        return y, h

    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (x, *module.parameters()), fast_mode=True)
