"""The shapes that masks, lengths and weights may have, and the positions that each counts."""

import numpy as np
import pytest

from rnncore.train.losses import bce_with_logits, huber, mae, mse, softmax_cross_entropy

T, B, D, K = 5, 3, 2, 4
OF_ELEMENTS = [mse, mae, huber, bce_with_logits]


def of(function, rng, shape):
    """Arguments whose positions have this shape."""
    if function is softmax_cross_entropy:
        return rng.standard_normal((*shape, K)), rng.integers(0, K, shape)
    return rng.standard_normal(shape), rng.random(shape)


def same(found, expected):
    assert found[0] == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-13)


FORMS = {  # of the weight for positions (T, B): what it is in full
    (T, B): lambda w: w,
    (1, B): lambda w: np.broadcast_to(w, (T, B)),
    (T, 1): lambda w: np.broadcast_to(w, (T, B)),
    (1, 1): lambda w: np.broadcast_to(w, (T, B)),
    (B,): lambda w: np.broadcast_to(w, (T, B)),
}


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("function", [softmax_cross_entropy, *OF_ELEMENTS])
def test_weights_of_any_form_are_spread(function, form, rng):
    given, w = of(function, rng, (T, B)), 0.1 + rng.random(form)
    expected = function(*given, weight=FORMS[form](w))
    same(function(*given, weight=w), expected)
    swapped = [np.ascontiguousarray(np.swapaxes(a, 0, 1)) for a in given]
    loss, gradient = function(*swapped, weight=w.T, batch_first=True)
    same((loss, np.swapaxes(gradient, 0, 1)), expected)


@pytest.mark.parametrize("function", OF_ELEMENTS)
def test_weights_of_positions_and_rows_weigh_all_their_elements(function, rng):
    given = of(function, rng, (T, B, D))
    for form in ((T, B), (T, B, 1), (1, B, D), (T, 1), (B,)):
        w = 0.1 + rng.random(form)
        full = w if form == (B,) else w.reshape((*form, *[1] * (3 - len(form))))
        full = full[:, np.newaxis] if form == (B,) else full
        expected = function(*given, weight=np.broadcast_to(full, (T, B, D)))
        same(function(*given, weight=w), expected)


def test_the_rows_of_two_axes_are_those_that_fit(rng):
    y, target = of(mse, rng, (B, D))
    w = rng.random(B)
    same(mse(y, target, weight=w), mse(y, target, weight=w[:, np.newaxis]))
    same(mse(y.T, target.T, weight=w), mse(y.T, target.T, weight=w[np.newaxis]))
    y, target = of(mse, rng, (B, B))
    message = (
        r"^weight has shape \(3,\) and y \(3, 3\), expected \(3, 1\) or \(1, 3\): rows may be"
        " along either axis$"
    )
    with pytest.raises(ValueError, match=message):
        mse(y, target, weight=w)
    same(mse(y, target, weight=w, lengths=[B] * B), mse(y, target, weight=w[np.newaxis]))
    same(mse(y, target, weight=w, batch_first=True), mse(y, target, weight=w[:, np.newaxis]))


@pytest.mark.parametrize("function", [softmax_cross_entropy, *OF_ELEMENTS])
@pytest.mark.parametrize("lengths", [[5, 0, 3], [1, 1, 1], np.array([2, 5, 4], np.uint8)], ids=str)
def test_lengths_are_a_mask(function, lengths, rng):
    shape = (T, B) if function is softmax_cross_entropy else (T, B, D)
    given = of(function, rng, shape)
    inside = np.arange(T)[:, np.newaxis] < np.asarray(lengths)
    other = rng.random((T, B)) < 0.8
    other[0] = True
    for mask, expected in ((None, inside), (other, other & inside)):
        wanted = function(*given, mask=expected)
        found = function(*given, lengths=lengths, mask=mask)
        assert found[0] == wanted[0]
        np.testing.assert_array_equal(found[1], wanted[1])
        assert not found[1][~expected].any()
        swapped = [np.swapaxes(a, 0, 1) for a in given]
        swapped_mask = None if mask is None else mask.T
        loss, gradient = function(*swapped, lengths=lengths, mask=swapped_mask, batch_first=True)
        same((loss, np.swapaxes(gradient, 0, 1)), wanted)


@pytest.mark.parametrize("function", [softmax_cross_entropy, *OF_ELEMENTS])
def test_what_is_masked_may_be_anything(function, rng):
    given = of(function, rng, (T, B))
    counts = rng.random((T, B)) < 0.5
    weight = rng.random((T, B))
    expected = function(*given, mask=counts, weight=weight)
    hidden = [a.copy() for a in given]
    hidden[0][~counts] = np.nan
    hidden[1][~counts] = -7 if function is softmax_cross_entropy else np.nan
    for wrong in (np.nan, np.inf, -1):
        weight[~counts] = wrong
        found = function(*hidden, mask=counts, weight=weight)
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])
        assert not found[1][~counts].any()
        assert not np.signbit(found[1][~counts]).any()


Y, IDS, LOGITS = np.zeros((5, 3)), np.zeros((5, 3), int), np.zeros((5, 3, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: mse(Y, Y, weight=np.ones((3, 5))),
            "weight has shape (3, 5), expected (5, 3), or 1 in place of some of these sizes, or one"
            " entry a row",
        ),
        (
            lambda: mse(Y, Y, weight=np.ones(4)),
            "weight has shape (4,), expected (5, 3), or 1 in place of some of these sizes, or one"
            " entry a row",
        ),
        (
            lambda: mse(Y[0], Y[0], weight=np.ones((3, 1))),
            "weight has shape (3, 1), expected (3,) as y",
        ),
        (lambda: mse(Y, Y, weight=np.array(1.0)), "weight has shape (), expected (5, 3), or 1"),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS, weight=np.ones(5)),
            "weight has shape (5,), expected (5, 3), or 1",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS, mask=np.ones((5, 3, 4), bool)),
            "mask has shape (5, 3, 4), expected (5, 3), or 1",
        ),
        (
            lambda: mse(Y, Y, weight=np.ones((5, 3), np.float32)),
            "weight has dtype float32, expected float64 as y's",
        ),
        (lambda: mse(Y, Y, mask=np.ones((5, 3))), "mask has dtype float64, expected bool"),
        (
            lambda: mse(Y, Y, mask=[[True]]),
            "mask is of type list, expected a numpy array of bool",
        ),
        (
            lambda: mse(Y, Y, weight=np.full((5, 3), -1.0)),
            "weight holds -1.0, expected finite numbers of at least 0",
        ),
        (
            lambda: mse(Y, Y, weight=np.full((5, 3), np.nan)),
            "weight holds nan, expected finite numbers of at least 0",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS, class_weight=np.array([1, 1, 1, np.inf])),
            "class_weight holds inf, expected finite numbers of at least 0",
        ),
        (
            lambda: mse(Y[0], Y[0], lengths=[1, 1, 1]),
            "lengths is given and y has shape (3,), expected (T, B, ...)",
        ),
        (
            lambda: mse(Y[0], Y[0], lengths=[1, 1, 1], batch_first=True),
            "lengths is given and y has shape (3,), expected (B, T, ...)",
        ),
        (
            lambda: mse(Y, Y, lengths=[1] * 5),
            "lengths has shape (5,), expected (3,)",
        ),
        (
            lambda: mse(Y, Y, mask=np.zeros((5, 3), bool)),
            "mask, lengths and weight leave no position of y, expected at least one that counts",
        ),
        (lambda: mse(Y, Y, lengths=[0] * 3), "mask, lengths and weight leave no position of y"),
        (lambda: mse(Y, Y, weight=0 * Y), "mask, lengths and weight leave no position of y"),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS, ignore_index=0),
            "ignore_index, mask, lengths and weight leave no position of targets",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS, class_weight=np.array([0.0, 1, 1, 1])),
            "class_weight and what else does not count leave no position of targets",
        ),
        (
            lambda: softmax_cross_entropy(
                LOGITS, IDS, class_weight=np.array([0.0, 1, 1, 1]), label_smoothing=0.1
            ),
            "class_weight is 0 for every target that counts, expected more",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS - 1, ignore_index=-2),
            "targets holds -1, expected integers from 0 to 3",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS.T, ignore_index=-2),
            "targets has shape (3, 5), expected (5, 3)",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS.tolist(), ignore_index=-2),
            "targets is of type list, expected a numpy array of integers",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS, IDS * 1.0, ignore_index=-2),
            "targets has dtype float64, expected integers",
        ),
        (
            lambda: softmax_cross_entropy(LOGITS[:0], IDS[:0], weight=Y[:0]),
            "logits has shape (0, 3, 4), expected at least one position",
        ),
        (lambda: mae(Y[:0], Y[:0], mask=IDS[:0] > 0), "y has shape (0, 3), expected at least one"),
        (lambda: bce_with_logits(Y, Y - 0.5), "targets holds -0.5, expected numbers from 0 to 1"),
        (lambda: huber(Y, Y, delta=0), "delta is 0, expected a number above 0"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    assert str(caught.value).startswith(message)
