"""A streaming service: many microphones, one model, an answer for every ten milliseconds of sound.

The question is whether somebody whistles. A causal convolution over blocks of 160 samples, 16,000 a
second, is the front end: it sees a block and the two before it. A GRU remembers, and a linear head
answers. The model learns that from sounds made here.

Frozen, it is a stream whose rows are the clients: one call answers all of them. A client that
leaves makes room for another, whose row begins anew: `reset(rows=...)`. Blocks come at the pace of
a sound card, and the time from the moment a block is there to its answers is measured.

    python examples/streaming_service.py

takes some twenty seconds, ten of them in real time, and prints (with numbers for the dots)

    told right: .. of 100 blocks
    clients: .. came and went, .. at a time
    a client who came later is answered as one who is alone: True
    from a block to its answers: median .. us, 99 of 100 below .. us, of 10000 us
"""

import time

import numpy as np

import rnncore as rc

RATE, BLOCK = 16_000, 160
BUDGET = BLOCK / RATE  # seconds until the next block


def sounds(rng, blocks, batch):
    """Blocks (T, B, 160) of noise with a whistle now and then, and where there is one (T, B, 1)."""
    t = np.arange(blocks * BLOCK) / RATE
    pitch, sway, phase = (
        rng.uniform(low, high, (batch, 1)) for low, high in ((500, 3000), (2, 6), (0, 6.28))
    )
    whistle = np.sin(2 * np.pi * pitch * t + 4 * np.sin(sway * t) + phase)
    there = np.sin(2 * np.pi * rng.uniform(0.5, 1.5, (batch, 1)) * t + 3 * phase) > 0.3
    loud = rng.uniform(0.3, 1.0, (batch, 1))
    heard = there * loud * whistle + 0.3 * rng.standard_normal(whistle.shape)
    samples = heard.reshape(batch, blocks, BLOCK).swapaxes(0, 1).astype(np.float32)
    mostly = there.reshape(batch, blocks, BLOCK).mean(2).T > 0.5
    return samples, mostly[..., None].astype(np.float32)


def trained(steps, rng):
    model = rc.Sequential(
        front=rc.Conv1d(BLOCK, 32, 3, padding="causal", rng=rng),
        bend=rc.Activation("relu"),
        rnn=rc.GRU(32, 48, rng=rng),
        head=rc.Linear(48, 1, rng=rng),
    )
    adam = rc.Adam(model.params, lr=3e-3)
    for _ in range(steps):
        x, there = sounds(rng, blocks=60, batch=16)
        y, _, trace = model.forward(x)
        _, dy = rc.bce_with_logits(y, there)
        grads = model.backward(trace, dy).params
        rc.clip_grad_norm(grads, max_norm=1.0)
        adam.step(grads)
    return model


class Microphone:
    """Somebody who is there for a while: blocks, one after the other."""

    def __init__(self, rng, blocks):
        self.blocks, self.there = (array[:, 0] for array in sounds(rng, blocks, batch=1))
        self.answers = []

    @property
    def block(self):
        return self.blocks[len(self.answers)]

    @property
    def has_left(self):
        return len(self.answers) == len(self.blocks)


def serve(model, clients, seconds, rng, pace):
    """Answer `clients` microphones at a time; gives those who left and the latencies."""

    def newcomer():
        return Microphone(rng, blocks=int(rng.integers(20, 200)))

    stream = model.freeze().stream(batch_size=clients)
    rows = [newcomer() for _ in range(clients)]
    x, left, latencies = np.zeros((clients, BLOCK), np.float32), [], []
    due = time.perf_counter()
    for _ in range(int(seconds / BUDGET)):
        for row, microphone in enumerate(rows):
            x[row] = microphone.block
        due += BUDGET
        if pace:  # the sound card hands a block over when it is full
            time.sleep(max(0.0, due - time.perf_counter()))

        start = time.perf_counter()
        y = stream(x)  # (clients, 1), overwritten by the next call
        latencies.append(time.perf_counter() - start)

        for microphone, answer in zip(rows, y[:, 0].tolist(), strict=True):
            microphone.answers.append(answer)
        gone = [row for row, microphone in enumerate(rows) if microphone.has_left]
        if gone:
            left += [rows[row] for row in gone]
            stream.reset(rows=gone)  # nothing of those who were there is left
            for row in gone:
                rows[row] = newcomer()
    return left, 1e6 * np.array(latencies)


def main(steps=300, clients=32, seconds=10.0, pace=True, seed=0):
    rng = np.random.default_rng(seed)
    model = trained(steps, rng)
    left, latencies = serve(model, clients, seconds, rng, pace)

    right = np.concatenate([(np.array(m.answers) > 0) == (m.there[:, 0] > 0) for m in left])
    last = left[-1]
    alone, _ = model(last.blocks[:, None])  # all blocks at once, and nobody else
    same = np.array_equal(np.array(last.answers, np.float32), alone[:, 0, 0])
    median, most = np.percentile(latencies, (50, 99))
    print(f"told right: {100 * right.mean():.0f} of 100 blocks")
    print(f"clients: {len(left)} came and went, {clients} at a time")
    print(f"a client who came later is answered as one who is alone: {same}")
    print(
        f"from a block to its answers: median {median:.0f} us, 99 of 100 below {most:.0f} us,"
        f" of {1e6 * BUDGET:.0f} us"
    )
    return float(right.mean()), same


if __name__ == "__main__":
    main()
