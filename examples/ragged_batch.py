"""Learn from sequences of different lengths: one batch, padded, and the `lengths` of its rows.

Every row of a batch holds numbers between 0 and 1, as many as it has: from 5 to 100. A GRU reads
them and says in the end how many were above 1/2, as a share of 100. Its final state is that of each
row's own last number, whatever stands in the padding, and steps of padding cost no time. Always
saying the mean has an error of the variance of that share.

    python examples/ragged_batch.py

takes a few seconds and prints something like

    always the mean  mean squared error 0.02093
    GRU              mean squared error 0.00037
    32481 of 64000 steps of the last batches were no padding
"""

import numpy as np

import rnncore as rc

LONGEST, BATCH = 100, 32


def batch(rng):
    """x (T, B, 1), lengths (B,), and the share (B, 1) of the numbers above 1/2 among 100."""
    lengths = rng.integers(5, LONGEST + 1, BATCH)
    x = rng.random((LONGEST, BATCH, 1), dtype=np.float32)
    x[np.arange(LONGEST)[:, np.newaxis] >= lengths] = 0  # padding: it could be anything
    return x, lengths, (x > 0.5).sum(axis=0, dtype=np.float32) / LONGEST


def main(steps=600, seed=0):
    rng = np.random.default_rng(seed)
    gru, head = rc.GRU(1, 32, rng=rng), rc.Linear(32, 1, rng=rng)
    adam = rc.Adam([gru.params, head.params], lr=5e-3)
    for step in range(steps):
        x, lengths, share = batch(rng)
        _, state, gru_trace = gru.forward(x, lengths=lengths)
        y, head_trace = head.forward(state[-1])  # the last layer, each row at its own end
        _, dy = rc.mse(y, share)
        head_grads = head.backward(head_trace, dy)
        gru_grads = gru.backward(gru_trace, dstate=head_grads.x[np.newaxis])
        rc.clip_grad_norm([gru_grads.params, head_grads.params], max_norm=1.0)
        adam.lr = 5e-3 * (1 - step / steps)
        adam.step([gru_grads.params, head_grads.params])

    shares, errors, numbers = [], [], 0
    for _ in range(20):  # batches that it has not learned from
        x, lengths, share = batch(rng)
        _, state = gru(x, lengths=lengths)
        shares.append(share)
        errors.append(rc.mse(head(state[-1]), share)[0])
        numbers += int(lengths.sum())
    error, variance = float(np.mean(errors)), float(np.var(shares))
    print(f"always the mean  mean squared error {variance:.5f}")
    print(f"GRU              mean squared error {error:.5f}")
    print(f"{numbers} of {20 * LONGEST * BATCH} steps of the last batches were no padding")
    return error, variance


if __name__ == "__main__":
    main()
