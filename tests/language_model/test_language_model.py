"""The language model against its formulas, and its training against a run in one piece."""

import math

import numpy as np
import pytest

from rnncore import clip_grad_norm, softmax_cross_entropy
from rnncore.language_model import CELLS, LanguageModel, Trainer, as_streams

TEXT = np.frombuffer(b"the cat, which already ate, was full. " * 40, np.uint8)
SMALL = {"layers": 2, "hidden": 6, "embedding": 5}


@pytest.mark.parametrize("cell", CELLS)
def test_gradients_by_finite_differences(cell, rng):
    model = LanguageModel(cell, **SMALL, dtype=np.float64, rng=rng)
    ids, targets = (window[:7] for window in as_streams(TEXT, 3))
    state = model(ids, None)[1]
    _, grads, _ = model.gradients(ids, targets, state)
    for part, gradients in zip(model.params, grads, strict=True):
        assert gradients.keys() == part.keys()
        for name, param in part.items():
            v = rng.standard_normal(param.shape)
            v /= np.linalg.norm(v)
            losses = []
            start = param.copy()
            for step in (1e-5, -1e-5):
                param[...] = start + step * v
                losses.append(softmax_cross_entropy(model(ids, state)[0], targets)[0])
            param[...] = start
            slope = (losses[0] - losses[1]) / 2e-5
            assert slope == pytest.approx(np.vdot(gradients[name], v), rel=1e-6, abs=1e-10)


@pytest.mark.parametrize("cell", CELLS)
def test_windows_with_a_carried_state_are_one_long_text(cell, rng):
    model = LanguageModel(cell, **SMALL, dtype=np.float64, rng=rng)
    ids, targets = (window[:12] for window in as_streams(TEXT, 3))
    whole, _, end = model.gradients(ids, targets)
    first, _, state = model.gradients(ids[:5], targets[:5])
    second, _, state = model.gradients(ids[5:], targets[5:], state)
    assert (5 * first + 7 * second) / 12 == pytest.approx(whole, rel=1e-13)
    np.testing.assert_allclose(state, end, rtol=1e-12, atol=1e-15)


def test_an_untrained_head_of_zeros_needs_eight_bits():
    model = LanguageModel(**SMALL, rng=0)
    for value in model.head.params.values():
        value[...] = 0
    assert model.bits_per_character(TEXT) == pytest.approx(8, rel=1e-6)
    model.head.params["bias"][ord("a")] = 50  # certain of an a
    assert model.bits_per_character(np.full(100, ord("a"), np.uint8)) == pytest.approx(0, abs=1e-6)


def test_what_a_head_expects_needs_the_entropy_of_single_characters(rng):
    model, text = LanguageModel(hidden=4, embedding=3, rng=0), b"abacabad" * 400
    text = np.frombuffer(text, np.uint8)
    before = {name: value.copy() for name, value in model.arrays().items()}
    model.expect(text)
    shares = (np.bincount(text, minlength=256) + 1) / (len(text) + 256)
    np.testing.assert_allclose(model.head.params["bias"], np.log(shares), rtol=1e-6)
    for name in before.keys() - {"head.bias"}:
        np.testing.assert_array_equal(model.arrays()[name], before[name])
    model.head.params["weight"][...] = 0
    bits = -np.mean(np.log2(shares[text]))
    assert 1.75 < bits < 1.9  # 1.75 without the characters that might come
    np.testing.assert_allclose(model.bits_per_character(text), bits, rtol=1e-2)


def test_bits_per_character_is_the_mean_over_streams_of_the_text(rng):
    model = LanguageModel(**SMALL, dtype=np.float64, rng=rng)
    text = rng.integers(97, 123, 1000).astype(np.uint8)  # 3 streams of 333
    total = 0.0
    for k in range(3):
        logits, _ = model(text[333 * k : 333 * (k + 1), np.newaxis])
        following = text[333 * k + 1 : 333 * (k + 1) + 1, np.newaxis]
        total += softmax_cross_entropy(logits, following)[0]
    assert model.bits_per_character(text) == pytest.approx(total / 3 / math.log(2), rel=1e-12)
    with pytest.raises(ValueError, match="text has 1 characters, expected at least 2"):
        model.bits_per_character(text[:1])


@pytest.mark.parametrize("cell", CELLS)
def test_training_learns_a_text_that_repeats(cell):
    model = LanguageModel(cell, hidden=32, embedding=8, rng=0)
    before = model.bits_per_character(TEXT)
    ids, targets = (window[:20] for window in as_streams(TEXT, 4))
    first, _ = softmax_cross_entropy(model(ids, None)[0], targets)
    trainer = Trainer(model, TEXT, batch=4, window=20, clip=1.0)
    steps = [trainer.step(0.01) for _ in range(400)]
    assert before > 7.5
    assert steps[0].bits == pytest.approx(first / math.log(2), rel=1e-6)
    assert steps[-1].bits < 0.5
    assert model.bits_per_character(TEXT) < 0.5
    assert trainer.steps == 400
    drawn = bytes(model.sample(38, prompt=b"already ate", temperature=0))
    assert drawn == b", was full. the cat, which already ate"


@pytest.mark.parametrize("cell", CELLS)
def test_a_saved_training_goes_on_with_the_same_bits(cell, tmp_path):
    def trainer():
        model = LanguageModel(cell, **SMALL, rng=3)
        return Trainer(model, TEXT, batch=5, window=11, clip=0.5)

    straight, first = trainer(), trainer()
    expected = [straight.step(0.01) for _ in range(40)]  # past the end of the streams
    got = [first.step(0.01) for _ in range(9)]
    history = {"bits": np.array([step.bits for step in got])}
    first.save(tmp_path / "model.npz", history)
    second, kept = Trainer.load(tmp_path / "model.npz", TEXT, clip=0.5)
    np.testing.assert_array_equal(kept["bits"], history["bits"])
    got += [second.step(0.01) for _ in range(31)]
    assert got == expected
    for name, value in second.model.arrays().items():
        np.testing.assert_array_equal(value, straight.model.arrays()[name])


def test_another_text_or_batch_starts_the_streams_anew(tmp_path):
    trainer = Trainer(LanguageModel(**SMALL, rng=3), TEXT, batch=5, window=11, clip=0.5)
    for _ in range(3):
        trainer.step(0.01)
    trainer.save(tmp_path / "model.npz")
    for text, batch in ((TEXT[:-1], None), (TEXT, 4)):
        again, history = Trainer.load(tmp_path / "model.npz", text, clip=0.5, batch=batch)
        assert history == {}
        assert again.steps == 3
        ids, targets = as_streams(text, again.batch)
        loss, *_ = again.model.gradients(ids[:11], targets[:11])
        assert again.step(0.01).bits == loss / math.log(2)


def test_a_copy_goes_its_own_way():
    trainer = Trainer(LanguageModel(**SMALL, rng=3), TEXT, batch=5, window=11, clip=0.5)
    trainer.step(0.01)
    before = {name: value.copy() for name, value in trainer.model.arrays().items()}
    same, on_reference = trainer.copy(), trainer.copy(reference=True)
    steps = [same.step(0.01), on_reference.step(0.01)]
    assert steps[1].bits == pytest.approx(steps[0].bits, rel=1e-5)
    assert steps[1].grad_norm == pytest.approx(steps[0].grad_norm, rel=1e-4)
    for name, value in trainer.model.arrays().items():
        np.testing.assert_array_equal(value, before[name])
    assert trainer.step(0.01) == steps[0]


def test_reading_predicts_each_window_before_it_learns_from_it(rng):
    trainer = Trainer(LanguageModel(**SMALL, rng=3), TEXT, batch=5, window=11, clip=0.5)
    trainer.step(0.01)
    before = {name: value.copy() for name, value in trainer.model.arrays().items()}
    first = rng.integers(97, 123, 33).astype(
        np.uint8
    )  # one stream, one window: nothing learned yet
    assert trainer.reading_bits(first) == pytest.approx(
        trainer.model.bits_per_character(first), rel=1e-6
    )
    # Four windows for each of four streams; to know the text that repeats helps the later ones
    ids, targets = as_streams(TEXT[: 4 * 100 + 1], 4)
    twin, total = trainer.copy(), 0.0
    state = None
    for start in (0, 32, 64, 96):
        window = slice(start, start + 32)
        loss, grads, state = twin.model.gradients(ids[window], targets[window], state)
        clip_grad_norm(grads, 0.5)
        twin.optimizer.lr = 2e-3
        twin.optimizer.step(grads)
        total += loss * ids[window].size / ids.size
    bits = trainer.reading_bits(TEXT[: 4 * 100 + 1])
    assert bits == pytest.approx(total / math.log(2), rel=1e-12)
    assert bits < trainer.model.bits_per_character(TEXT[: 4 * 100 + 1])
    for name, value in trainer.model.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_gradient_that_is_not_finite_changes_nothing():
    trainer = Trainer(LanguageModel(**SMALL, rng=3), TEXT, batch=5, window=11, clip=0.5)
    trainer.step(0.01)
    trainer.model.head.params["bias"][0] = np.nan
    before = {name: value.copy() for name, value in trainer.model.arrays().items()}
    with pytest.raises(FloatingPointError, match="gradient is not finite"):
        trainer.step(0.01)
    assert trainer.steps == 1
    for name, value in trainer.model.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_samples_follow_the_seed_and_the_temperature():
    model = LanguageModel(**SMALL, rng=0)
    model.head.params["weight"][...] = 0
    model.head.params["bias"][...] = -np.inf
    model.head.params["bias"][[97, 98]] = np.log([0.8, 0.2])

    def draw(**options):
        return np.array(list(model.sample(1000, **options)))

    np.testing.assert_array_equal(draw(rng=1), draw(rng=1))
    assert (draw(rng=1) != draw(rng=2)).any()
    assert set(draw(temperature=0)) == {97}
    # Four standard deviations of the mean of 1000 draws. 1/2 squares the odds: 16 to 1; 2 halves
    # their logarithm: 2 to 1.
    for temperature, expected in ((1.0, 0.8), (0.5, 16 / 17), (2.0, 2 / 3)):
        got = np.mean(draw(temperature=temperature, rng=3) == 97)
        assert got == pytest.approx(expected, abs=4 * math.sqrt(expected * (1 - expected) / 1000))


def test_a_sample_goes_on_from_all_of_the_prompt():
    model = LanguageModel(**SMALL, dtype=np.float64, rng=0)
    for value in model.head.params.values():
        value *= 20  # far apart, so that no near tie depends on rounding
    prompt = b"the cat"
    drawn = bytes(model.sample(5, prompt=prompt, temperature=0))
    text = prompt
    for _ in range(5):
        logits, _ = model(np.frombuffer(text, np.uint8)[:, np.newaxis])
        text += bytes([int(logits[-1, 0].argmax())])
    assert prompt + drawn == text


def test_a_saved_model_comes_back(tmp_path):
    model = LanguageModel("gru", **SMALL, dtype=np.float64, rng=0)
    model.save(tmp_path / "model.npz")
    again = LanguageModel.load(tmp_path / "model.npz")
    assert again.options == model.options
    np.testing.assert_array_equal(again(TEXT[:, np.newaxis])[0], model(TEXT[:, np.newaxis])[0])
    with pytest.raises(ValueError, match="without the state of its training"):
        Trainer.load(tmp_path / "model.npz", TEXT, clip=1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: LanguageModel("gan"), "cell is 'gan'"),
        (lambda m: LanguageModel(hidden=0), "hidden is 0"),
        (
            lambda m: Trainer(m, TEXT[:100], batch=10, window=10, clip=1),
            "has 100 characters, expec",
        ),
        (lambda m: Trainer(m, TEXT, batch=0, window=10, clip=1), "batch is 0"),
        (lambda m: m.sample(-1), "length is -1"),
        (lambda m: m.sample(1, prompt=b""), "prompt is empty"),
        (lambda m: m.sample(1, temperature=-1), "temperature is -1"),
        (lambda m: m.sample(1, temperature=1e-320), "temperature is 1e-320, expected 0 or"),
        (lambda m: m.sample(1, temperature=9.9e-7), "expected 0 or a number of at least 1e-06"),
        (lambda m: m.sample(1, temperature=math.nan), "temperature is nan"),
        (lambda m: m.sample(1, temperature=math.inf), "temperature is inf"),
        (lambda m: Trainer(m, TEXT, batch=5, window=0, clip=1), "window is 0"),
        (lambda m: Trainer(m, TEXT, batch=10**12, window=10**15, clip=1), "expected at least 1000"),
        (lambda m: Trainer(m, TEXT, batch=5, window=10, clip=0), "clip is 0"),
        (lambda m: Trainer(m, TEXT, batch=5, window=10, clip=math.nan), "clip is nan"),
        (lambda m: Trainer(m, TEXT.reshape(2, -1), batch=5, window=10, clip=1), "text has shape"),
        (lambda m: trainer(m).reading_bits(TEXT[:1]), "text has 1 characters, expected at least 2"),
        (lambda m: trainer(m).step(-1.0), "lr is -1"),
        (lambda m: m.bits_per_character(TEXT[:0]), "text has 0 characters, expected at least 2"),
        (lambda m: m.expect(TEXT.reshape(2, -1)), r"text has shape .*, expected \(N,\)"),
    ],
)
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(LanguageModel(**SMALL, rng=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.sample(1, temperature="1"), "temperature is '1', expected a number"),
        (lambda m: m.sample(1, temperature=True), "temperature is True"),
        (lambda m: m.sample(1, prompt="the cat"), "prompt is of type str, expected bytes"),
        (lambda m: m.sample(1, prompt=None), "prompt is None, expected bytes"),
        (lambda m: m.sample(1.0), "length is 1.0"),
        (lambda m: m.bits_per_character(b"the cat"), "text is of type bytes, expected ndarray"),
        (lambda m: Trainer("m", TEXT, batch=5, window=10, clip=1), "model is of type str"),
        (lambda m: Trainer(m, b"the cat" * 99, batch=5, window=10, clip=1), "text is of type byt"),
        (lambda m: Trainer(m, TEXT.astype(int), batch=5, window=10, clip=1), "text has dtype int"),
        (lambda m: Trainer(m, TEXT, batch=True, window=10, clip=1), "batch is True"),
        (lambda m: Trainer(m, TEXT, batch=5, window=10.0, clip=1), "window is 10.0"),
        (lambda m: Trainer(m, TEXT, batch=5, window=10, clip="1"), "clip is '1'"),
        (lambda m: Trainer(m, TEXT, batch=5, window=10, clip=None), "clip is None"),
        (lambda m: trainer(m).step("fast"), "lr is 'fast'"),
        (lambda m: m.expect(b"the cat"), "text is of type bytes, expected a numpy array"),
        (lambda m: m.expect(TEXT.astype(int)), "text has dtype int64, expected uint8"),
        (lambda m: trainer(m).copy(reference=1), "reference is 1, expected True or False"),
    ],
)
def test_what_is_of_the_wrong_type(call, message):
    with pytest.raises(TypeError, match=message):
        call(LanguageModel(**SMALL, rng=0))


def trainer(model):
    return Trainer(model, TEXT, batch=5, window=11, clip=0.5)


def test_a_rate_that_is_refused_changes_nothing():
    one = trainer(LanguageModel(**SMALL, rng=3))
    one.step(0.01)
    same = one.copy()
    with pytest.raises(ValueError, match="lr is -1"):
        one.step(-1.0)
    assert one.steps == 1
    assert one.step(0.02) == same.step(0.02)


def test_a_loss_that_is_not_finite_changes_nothing():
    """So far apart that the chance of what follows is 0, while every gradient is finite."""
    one = trainer(LanguageModel(**SMALL, rng=3))
    bias = one.model.head.params["bias"]
    bias[...] = -3e38
    bias[ord("!")] = 3e38
    before = {name: value.copy() for name, value in one.model.arrays().items()}
    with pytest.raises(FloatingPointError, match="the loss is inf"):
        one.step(0.01)
    assert one.steps == 0
    for name, value in one.model.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_text_with_gaps_between_its_bytes_is_the_same_text():
    spaced = np.repeat(TEXT, 2)[::2]
    steps = [
        Trainer(LanguageModel(**SMALL, rng=3), text, batch=5, window=11, clip=0.5).step(0.01)
        for text in (TEXT, spaced)
    ]
    assert steps[0] == steps[1]


@pytest.mark.parametrize("temperature", [0, 1e-6, 1e-3, 0.7, 1.0, 50.0, 1e300])
@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e30, 1e306])
@pytest.mark.filterwarnings("error")
def test_sampling_needs_no_leave_to_round(temperature, scale):
    """Whatever a program has set of NumPy's errors, and nothing of it is changed meanwhile."""
    model = LanguageModel(**SMALL, dtype=np.float64, rng=0)
    for value in model.head.params.values():
        value *= scale
    model.head.params["bias"][:64] = -np.inf
    with np.errstate(all="raise"):
        for character in model.sample(20, temperature=temperature, rng=1):
            assert character >= 64
            assert set(np.geterr().values()) == {"raise"}


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["embedding", "recurrent", "head"])
def test_a_model_that_tells_nothing_draws_nothing(part, value):
    model = LanguageModel(**SMALL, rng=0)
    for array in getattr(model, part).params.values():
        array[...] = value
    with pytest.raises(ValueError, match="the model tells nothing: the largest logit is"):
        list(model.sample(3, rng=0))


def test_a_model_without_any_chance_draws_nothing():
    model = LanguageModel(**SMALL, rng=0)
    model.head.params["bias"][...] = -np.inf
    with pytest.raises(ValueError, match="the largest logit is -inf"):
        list(model.sample(3, rng=0))


@pytest.mark.parametrize("cell", CELLS)
def test_a_frozen_model_reads_and_writes_as_the_model(cell):
    model = LanguageModel(cell, hidden=20, embedding=7, layers=2, rng=0)
    text = np.frombuffer(b"the cat, which already ate, was full. " * 9, np.uint8)
    frozen = model.freeze()
    assert frozen.bits_per_character(text) == model.bits_per_character(text)
    assert bytes(frozen.sample(40, rng=1)) == bytes(model.sample(40, rng=1))
    narrow = model.freeze("w8a8").bits_per_character(text)
    assert narrow == pytest.approx(model.bits_per_character(text), rel=0.02)
    assert narrow != model.bits_per_character(text)
    before = frozen.bits_per_character(text)
    for params in model.params:
        for value in params.values():
            value[...] = 0
    assert frozen.bits_per_character(text) == before
