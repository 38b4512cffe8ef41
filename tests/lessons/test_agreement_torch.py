"""The agreement task in PyTorch, from the same parameters: the same losses, step for step."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from agreement_torch import TorchReader  # noqa: E402
from agreement_torch import train as train_torch  # noqa: E402

from rnncore.agreement import VOCABULARY, batch  # noqa: E402
from rnncore.gates.model import CLIP, Reader, train  # noqa: E402


@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_training_is_that_of_torch(cell, rng):
    batches = [batch((4, int(rng.integers(4, 8))), 16, rng) for _ in range(100)]
    reader = Reader(cell, 12, 8, rng, dtype=np.float64)
    twin = TorchReader(cell, 12, 8, len(VOCABULARY), torch.float64)
    twin.load(reader)
    losses = train(reader, batches, 1e-2)
    # torch divides by the norm plus 1e-6 where it clips
    np.testing.assert_allclose(losses, train_torch(twin, batches, 1e-2, CLIP), rtol=1e-4)
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])
    unseen = batch((6, 9), 200, rng, part="test")
    logits = twin(unseen).detach().numpy()
    np.testing.assert_allclose(reader(unseen), logits, rtol=1e-3, atol=1e-4)
    assert reader.accuracy(unseen) == twin.accuracy(unseen)
