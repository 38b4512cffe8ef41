"""Whole training steps and inference of models in PyTorch, as they are and with `replace`:
``python benchmarks/bench_torch.py``, with ``--threads 2``.

A training step is embedding, recurrent layers, head, loss, backward, clipping and a step of fused
Adam. Both models start from the same parameters and take the same steps in turns, and their losses
are compared.

What has lengths is packed and unpacked by PyTorch. In a line "replace" that is so in both models,
and `replace` the only difference; in a line "lengths" the replaced one is given the lengths
instead, and saves what PyTorch takes for packing, most of which goes to the way back.

At the end stands what one call of a single small step takes: of rnncore's own layer on arrays, of
the module here, and of PyTorch's; without gradient, and forward where one is wanted.

With more threads than one, a layer and a product of PyTorch's are run by themselves and in turns:
neither pool may keep the cores from the other.
"""

import argparse
import copy
import os
import time
import warnings
from functools import partial
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnncore
import rnncore.torch

ACTS = 20  # steps of a policy that are timed together


class Model(nn.Module):
    """Embedding (or features as they are), a recurrent layer, a head at every step or at the end.

    Rows of several lengths are packed, as most programs do it.
    """

    def __init__(self, kind, inputs, hidden, classes, layers=1, both=False, words=0, last=False):
        super().__init__()
        self.last = last
        self.embedding = nn.Embedding(words, inputs) if words else nn.Identity()
        self.rnn = kind(inputs, hidden, layers, batch_first=True, bidirectional=both)
        self.head = nn.Linear(hidden * (2 if both else 1), classes)

    def forward(self, x, lengths=None, state=None, packed=True):
        x = self.embedding(x)
        if not packed:
            y, state = self.rnn(x, state, lengths=lengths)
            return self.head(y), state
        if lengths is not None:
            x = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        y, state = self.rnn(x, state)
        if lengths is not None:
            y, _ = pad_packed_sequence(y, batch_first=True)
        return self.head(y[:, -1] if self.last else y), state


class Loop(nn.Module):
    """A cell in a loop, and a head at its end."""

    last = True

    def __init__(self, kind, inputs, hidden, classes):
        super().__init__()
        self.cell = kind(inputs, hidden)
        self.head = nn.Linear(hidden, classes)

    def forward(self, x, lengths=None, state=None, packed=True):
        for x_t in x.unbind(1):
            state = self.cell(x_t, state)
        return self.head(state[0] if isinstance(state, tuple) else state), state


class Task:
    """A model and a batch, and what of a step is timed.

    Attributes
    ----------
    at_least : times PyTorch's speed that a training step, or a step of a policy, has to reach, with
        one thread and with two
    """

    def __init__(self, name, at_least, model, rows, steps, words=0, ragged=False, **options):
        self.name, self.at_least, self.acts = name, at_least, options.pop("acts", False)
        dtype = options.pop("dtype", torch.float32)
        torch.manual_seed(0)
        if issubclass(model[0], nn.RNNCellBase):
            self.model = Loop(*model)
        else:
            self.model = Model(*model, words=words, **options).to(dtype)
        classes = self.model.head.out_features
        self.lengths = torch.randint(1, steps + 1, (rows,)) if ragged else None
        if ragged:
            self.lengths[0] = steps
        if words:
            self.x = torch.randint(words, (rows, steps))
        else:
            self.x = torch.randn(rows, steps, model[1], dtype=dtype)
        shape = (rows,) if self.model.last else (rows, steps)
        self.target = torch.randint(classes, shape)
        if ragged:
            self.target[torch.arange(steps) >= self.lengths[:, None]] = -100


class Side:
    """One of the two models."""

    def __init__(self, task, replaced, packed=True):
        self.task, self.model, self.packed = task, copy.deepcopy(task.model), packed
        if replaced:
            report = rnncore.torch.replace(self.model)
            assert report.replaced, report
        self.adam = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True)

    def train(self):
        self.adam.zero_grad()
        scores, _ = self.model(self.task.x, self.task.lengths, None, self.packed)
        loss = nn.functional.cross_entropy(scores.flatten(0, -2), self.task.target.flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.adam.step()
        return loss.detach()

    @torch.inference_mode()
    def infer(self):
        task = self.task
        scores, _ = self.model(task.x, task.lengths, None, self.packed)
        return scores[task.target >= 0] if task.lengths is not None else scores

    @torch.no_grad()
    def act(self):
        """Steps of one row, each of which goes on from the state of the one before."""
        state = None
        for _ in range(ACTS):
            scores, state = self.model(self.task.x, None, state)
        return scores


def tasks():
    """By name: the model (kind, inputs, hidden, classes), rows, steps."""
    char = {"words": 96, "layers": 2}
    return [
        Task("char GRU 2x256", (1.5, 1.5), (nn.GRU, 64, 256, 96), 32, 64, **char),
        Task("char LSTM 2x256", (1.2, 1.2), (nn.LSTM, 64, 256, 96), 32, 64, **char),
        Task("keyword GRU 1x64", (3, 3), (nn.GRU, 40, 64, 12), 16, 100, last=True),
        Task(
            "tagger BiLSTM 1x128, to 60", (2.8, 2.8), (nn.LSTM, 100, 128, 17), 32, 60,
            words=5000, both=True, ragged=True,
        ),
        Task(
            "tagger BiGRU 1x128, to 200", (5.5, 5.5), (nn.GRU, 100, 128, 17), 32, 200,
            words=5000, both=True, ragged=True,
        ),
        Task(
            "LSTM 1x128, to 1000", (20, 20), (nn.LSTM, 64, 128, 10), 32, 1000,
            words=1000, ragged=True,
        ),
        Task("policy LSTM 1x128, 20 steps", (3, 3), (nn.LSTM, 32, 128, 6), 1, 1, acts=True),
        Task(
            "keyword GRU 1x64, float64", (3, 3), (nn.GRU, 40, 64, 12), 16, 100, last=True,
            dtype=torch.float64,
        ),
        *[
            Task(f"{kind.__name__} 64, loop of 20", (1, 1), (kind, 32, 64, 6), 4, 20)
            for kind in (nn.RNNCell, nn.GRUCell, nn.LSTMCell)
        ],
    ]  # fmt: skip


def in_turns(sides, call, seconds):
    """Median milliseconds of each; results of every turn are compared."""
    times, until, turns = [[], []], time.perf_counter() + seconds, 0
    while turns < 3 or time.perf_counter() < until:
        found = []
        for side, own in zip(sides, times, strict=True):
            begin = time.perf_counter()
            result = getattr(side, call)()
            own.append(1e3 * (time.perf_counter() - begin))
            found.append(result.double().sum().item())
        close = abs(found[0] - found[1]) <= 1e-3 * abs(found[0]) + 1e-3
        assert close or turns > 20, f"{call}: {found[0]} and {found[1]}"
        turns += 1
    return [median(own[turns // 10 :]) for own in times]


def milliseconds(calls, seconds):
    """The median of all of them after each other."""
    times, until = [], time.perf_counter() + seconds
    while len(times) < 20 or time.perf_counter() < until:
        begin = time.perf_counter()
        for call in calls:
            call()
        times.append(1e3 * (time.perf_counter() - begin))
    return median(times[5:])


def in_turns_with_products(seconds):
    """How long a training pass and a product take in turns, of what both take alone."""
    gru, x = rnncore.torch.GRU(256, 256), torch.randn(20, 16, 256)
    a = torch.randn(600, 600)

    def train():
        gru(x)[0].sum().backward()

    alone = [milliseconds([call], seconds) for call in (train, lambda: a @ a)]
    return milliseconds([train, lambda: a @ a], seconds) / sum(alone)


def microseconds_of_calls(calls, rounds=200, many=10):
    """The least of some blocks of calls, which take turns."""
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, own in zip(calls, times, strict=True):
            begin = time.perf_counter()
            for _ in range(many):
                call()
            own.append(1e6 * (time.perf_counter() - begin) / many)
    return [min(own) for own in times]


def print_calls():
    """What a call takes, of a single step of one row of 64 units that goes on from a state."""
    print("one call, us: rnncore's layer, rnncore.torch, torch.nn")
    for name, parts in (("GRU", 1), ("LSTM", 2)):
        layer = getattr(rnncore, name)(64, 64)
        ours, stock = (getattr(of, name)(64, 64) for of in (rnncore.torch, nn))
        x, states = torch.randn(1, 1, 64), [torch.randn(1, 1, 64) for _ in range(parts)]
        arrays = [np.array(each) for each in (x, *states)]
        hx = tuple(states) if parts > 1 else states[0]
        given = arrays[0], tuple(arrays[1:]) if parts > 1 else arrays[1]
        modules = [partial(module, x, hx) for module in (ours, stock)]
        with torch.no_grad():
            plain = microseconds_of_calls([partial(layer, *given), *modules])
        wanted = microseconds_of_calls([partial(layer.forward, *given), *modules])
        for what, times in (("without gradient", plain), ("with gradient", wanted)):
            print(f"{name:5s} {what:17s}", *(f"{each:7.1f}" for each in times))


def main(threads, seconds, names):
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "LSTM with projections")
    print(f"{threads} thread(s), torch {torch.__version__}; milliseconds, and torch / rnncore")
    low = []
    for task in tasks():
        if names and not any(name in task.name for name in names):
            continue
        for way in ("replace",) if task.lengths is None else ("replace", "lengths"):
            sides = [Side(task, False), Side(task, True, way == "replace")]
            for call in ("act",) if task.acts else ("train", "infer"):
                stock, ours = in_turns(sides, call, seconds)
                least = task.at_least[threads > 1] if call != "infer" else 1
                low += [f"{task.name} ({way}, {call})"] if stock / ours < least else []
                print(
                    f"{task.name:28s} {way:8s} {call:6s} {stock:10.3f} {ours:10.3f} "
                    f"{stock / ours:7.2f}   at least {least}",
                    flush=True,
                )
    if threads > 1:
        print(
            f"in turns with products of PyTorch's: {in_turns_with_products(seconds):.2f} of alone"
        )
    if not names:
        print_calls()
    print("below what is asked for:", ", ".join(low) or "nothing")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5, help="for each line")
    parser.add_argument("--only", nargs="*", help="parts of the names of models")
    given = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.threads])
    main(given.threads, given.seconds, given.only)
