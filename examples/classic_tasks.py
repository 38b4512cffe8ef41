"""The adding problem and copy memory: which cell gets below the baseline that has no memory?

    python examples/classic_tasks.py                    a minute or two
    python examples/classic_tasks.py --updates 100      a look, in seconds

Every cell is trained with each learning rate, on new sequences at every update, and the rate that
ends lowest is told. Expect GRU and LSTM to solve the adding problem, with an error far below the
1/6 of always answering 1, and to fall below the line of no memory, 10 ln 8 / (delay + 20), on copy
memory; the RNN stays close to both lines. docs/tasks.md has a recorded run.
"""

import argparse
from functools import partial

import numpy as np

import rnncore as rc
from rnncore import tasks

CELLS = {"RNN": rc.RNN, "GRU": rc.GRU, "LSTM": rc.LSTM}
HIDDEN, BATCH, CLIP = 64, 32, 1.0


def train_adding(cell, steps, updates, lr, seed=0):
    """Losses, one for each update: mean squared error of the sum, told after the last step."""
    rng = np.random.default_rng(seed)
    layer, head = CELLS[cell](2, HIDDEN, rng=rng), rc.Linear(HIDDEN, 1, rng=rng)
    adam = rc.Adam([layer.params, head.params], lr=lr)
    losses = []
    for _ in range(updates):
        x, target = tasks.adding(steps, BATCH, rng)
        h, _, trace = layer.forward(x)
        y, head_trace = head.forward(h[-1])
        loss, dy = rc.mse(y, target)
        head_grads = head.backward(head_trace, dy)
        dh = np.zeros_like(h)
        dh[-1] = head_grads.x
        grads = [layer.backward(trace, dh).params, head_grads.params]
        rc.clip_grad_norm(grads, CLIP)
        adam.step(grads)
        losses.append(loss)
    return np.array(losses)


def train_copy(cell, delay, updates, lr, seed=0):
    """Losses, one for each update: cross-entropy in nats, the mean over all steps."""
    rng = np.random.default_rng(seed)
    layer = CELLS[cell](tasks.COPY_CLASSES, HIDDEN, rng=rng)
    head = rc.Linear(HIDDEN, tasks.COPY_CLASSES, rng=rng)
    adam = rc.Adam([layer.params, head.params], lr=lr)
    one_hot = np.eye(tasks.COPY_CLASSES, dtype=np.float32)
    losses = []
    for _ in range(updates):
        x, target = tasks.copy_memory(delay, BATCH, rng)
        h, _, trace = layer.forward(one_hot[x])
        logits, head_trace = head.forward(h)
        loss, dlogits = rc.softmax_cross_entropy(logits, target)
        head_grads = head.backward(head_trace, dlogits)
        grads = [layer.backward(trace, head_grads.x).params, head_grads.params]
        rc.clip_grad_norm(grads, CLIP)
        adam.step(grads)
        losses.append(loss)
    return np.array(losses)


def best(train, rates):
    """The losses that end lowest, and the rate that they were had with."""
    tried = {rate: train(rate) for rate in rates}
    rate = min(tried, key=lambda rate: last(tried[rate]))
    return tried[rate], rate


def last(losses):
    """The mean of the last 100 updates."""
    return losses[-100:].mean()


def draw(path, curves, baselines):
    """One panel for each task: the loss in means of 25 updates, and the baseline."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    styles = {"RNN": "k-", "GRU": "C1--", "LSTM": "C0-."}
    for ax, (task, by_cell) in zip(figure.subplots(1, 2), curves.items(), strict=True):
        for cell, losses in by_cell.items():
            means = losses[: len(losses) // 25 * 25].reshape(-1, 25).mean(axis=1)
            ax.plot(25 * np.arange(1, len(means) + 1), means, styles[cell], label=cell)
        ax.axhline(baselines[task], color="0.4", linestyle=":", label="without memory")
        ax.set(title=task, xlabel="update", yscale="log")
        ax.grid(alpha=0.3)
        ax.legend()
    figure.axes[0].set_ylabel("mean squared error")
    figure.axes[1].set_ylabel("cross-entropy, nats a step")
    figure.savefig(path, dpi=120)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--steps", type=int, default=60, help="of the adding problem")
    parser.add_argument("--delay", type=int, default=20, help="of copy memory")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 1e-2])
    parser.add_argument("--picture", help="where to draw the losses to: .png, .svg or .pdf")
    options = parser.parse_args(argv)

    adding = f"adding problem, {options.steps} steps"
    copying = f"copy memory, delay {options.delay}"
    trainings = {adding: (train_adding, options.steps), copying: (train_copy, options.delay)}
    baselines = {adding: tasks.ADDING_BASELINE, copying: tasks.copy_baseline(options.delay)}
    curves = {}
    for task, (train, length) in trainings.items():
        print(f"{task}: without memory {baselines[task]:.4f}")
        curves[task] = {}
        for cell in CELLS:
            losses, rate = best(partial(train, cell, length, options.updates), options.rates)
            curves[task][cell] = losses
            print(f"  {cell:4} {last(losses):.4f}   (rate {rate:g})", flush=True)
    if options.picture:
        draw(options.picture, curves, baselines)


if __name__ == "__main__":
    main()
