"""Stream audio: take the noise out of a tone, four milliseconds at a time.

A GRU reads noisy frames of 64 samples, 16,000 samples a second, and gives the clean ones. It learns
from whole sequences. Frozen, it reads one frame at a time, as a sound card would hand them over:
the numbers are the same, and what counts is the time that a frame takes, of the 4 ms there are.

    python examples/stream_audio.py

takes ten seconds on one core of a 2.3 GHz Xeon and prints something like

    noise, relative to the tone: -0.2 dB in, -17.2 dB out
    a frame: median 8.2 us, 99 of 100 below 16.2 us, of 4000 us
"""

import time

import numpy as np

import rnncore as rc

RATE, FRAME, HIDDEN = 16_000, 64, 96
BUDGET = 1e6 * FRAME / RATE  # microseconds until the next frame


def tones(rng, frames, batch):
    """Clean and noisy frames (T, B, 64): tones of 100 to 800 Hz whose pitch and loudness sway."""
    t = np.arange(frames * FRAME) / RATE
    pitch, sway, phase = (
        rng.uniform(low, high, (batch, 1)) for low, high in ((100, 800), (1, 5), (0, 6.28))
    )
    loudness = 1 + 0.3 * np.sin(2 * np.pi * sway * t + phase)
    clean = loudness * np.sin(2 * np.pi * pitch * t + 3 * np.sin(sway * t) + phase)
    noisy = clean + 0.7 * rng.standard_normal(clean.shape)
    return tuple(
        signal.reshape(batch, frames, FRAME).swapaxes(0, 1).astype(np.float32)
        for signal in (clean, noisy)
    )


def decibels(error, signal):
    return 10 * float(np.log10(np.mean(error**2) / np.mean(signal**2)))


def train(steps, rng):
    gru, head = rc.GRU(FRAME, HIDDEN, rng=rng), rc.Linear(HIDDEN, FRAME, rng=rng)
    adam = rc.Adam([gru.params, head.params], lr=3e-3)
    for step in range(steps):
        clean, noisy = tones(rng, frames=40, batch=16)
        h, _, gru_trace = gru.forward(noisy)
        y, head_trace = head.forward(h)
        _, dy = rc.mse(y, clean)
        head_grads = head.backward(head_trace, dy)
        gru_grads = gru.backward(gru_trace, head_grads.x)
        rc.clip_grad_norm([gru_grads.params, head_grads.params], max_norm=1.0)
        adam.lr = 3e-3 * (1 - step / steps)
        adam.step([gru_grads.params, head_grads.params])
    return gru, head


def main(steps=1500, seed=0):
    rng = np.random.default_rng(seed)
    gru, head = train(steps, rng)

    clean, noisy = tones(rng, frames=1000, batch=1)  # four seconds that it has not learned from
    stream, output, times = gru.freeze().stream(batch_size=1), np.empty_like(clean), []
    for t, frame in enumerate(noisy):  # frame: (1, 64)
        start = time.perf_counter()
        output[t] = head(stream(frame))
        times.append(1e6 * (time.perf_counter() - start))

    before, after = decibels(noisy - clean, clean), decibels(output - clean, clean)
    median, most = np.percentile(times, (50, 99))
    print(f"noise, relative to the tone: {before:.1f} dB in, {after:.1f} dB out")
    print(f"a frame: median {median:.1f} us, 99 of 100 below {most:.1f} us, of {BUDGET:.0f} us")
    return before, after


if __name__ == "__main__":
    main()
