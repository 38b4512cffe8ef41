"""Learn from a stream that has no end: truncated backpropagation through time.

The stream is cut into windows of 16 steps. The gradient goes back to the start of a window and no
further, but the state that a window ends with starts the next one, so what the network remembers
is not cut. Here it has to say what it read 8 steps ago: zeros and ones, drawn at random. Half of
the answers lie in the window before, and a network that starts every window from zeros can only
guess them: its mean squared error stays at 1/8. Always saying 1/2 has an error of 1/4.

    python examples/truncated_backpropagation.py

takes five seconds on one core and prints something like

    windows from zeros      mean squared error 0.126
    state carried along     mean squared error 0.000
"""

import numpy as np

import rnncore as rc

DELAY, WINDOW, BATCH = 8, 16, 32


def windows(steps, rng):
    """Inputs and targets (T, B, 1) of one window after the other, of 32 streams side by side."""
    bits = rng.integers(0, 2, (DELAY + steps * WINDOW, BATCH, 1)).astype(np.float32)
    for start in range(0, steps * WINDOW, WINDOW):
        late, now = start, start + DELAY
        yield bits[now : now + WINDOW], bits[late : late + WINDOW]


def train(steps, carried, seed):
    """The mean squared error over the last tenth of the windows."""
    rng = np.random.default_rng(seed)
    lstm, head = rc.LSTM(1, 48, rng=rng), rc.Linear(48, 1, rng=rng)
    adam = rc.Adam([lstm.params, head.params], lr=5e-3)
    state, losses = None, []
    for x, target in windows(steps, rng):
        h, last_state, lstm_trace = lstm.forward(x, state)
        y, head_trace = head.forward(h)
        loss, dy = rc.mse(y, target)
        head_grads = head.backward(head_trace, dy)
        lstm_grads = lstm.backward(lstm_trace, head_grads.x)  # no dstate: the gradient ends here
        rc.clip_grad_norm([lstm_grads.params, head_grads.params], max_norm=1.0)
        adam.step([lstm_grads.params, head_grads.params])
        state = last_state if carried else None
        losses.append(loss)
    return float(np.mean(losses[-max(1, steps // 10) :]))


def main(steps=1000, seed=0):
    errors = {}
    for name, carried in (("windows from zeros", False), ("state carried along", True)):
        errors[name] = train(steps, carried, seed)
        print(f"{name:22}  mean squared error {errors[name]:.3f}")
    return errors


if __name__ == "__main__":
    main()
