"""Classifiers of sequences from data to predictions, beside PyTorch and Keras:
``python benchmarks/bench_classifier.py``, with ``--rounds 5``, ``--epochs 10``, ``--seeds 10``.

The job: 1500 sequences of 20 to 100 steps of six sensors, five kinds of motion; one GRU of 64 units
and a head, batches of 32, Adam with a clipped gradient, so many epochs, then the accuracy on 500
more. All have the same sizes and options, and work in turns: the estimator of scikit-learn, `fit`,
PyTorch with padded batches and with packed sequences, skorch, Keras on PyTorch with a mask; then a
search with one worker and with two, and the accuracy on data that packages bring along, over so
many seeds. A library that is not installed is left out.
"""

import argparse
import os
import time
import warnings
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import mean, median, stdev

os.environ.setdefault("KERAS_BACKEND", "torch")

import numpy as np

import rnncore as rc

UNITS, BATCH, RATE = 64, 32, 5e-3
CLASSES = 5


def motions(count, rng):
    """Six sensors: a rhythm of a class's own, of any phase, pace and strength, drift and noise."""
    X, y = [], rng.integers(CLASSES, size=count)
    mixing = np.random.default_rng(1).standard_normal((CLASSES, 2, 6))
    for kind in y:
        steps = rng.integers(20, 101)
        t = np.arange(steps) * rng.uniform(0.8, 1.25) + rng.uniform(0, 20)
        angle = t[:, np.newaxis] * (0.25 + 0.12 * kind)
        waves = np.concatenate([np.sin(angle), np.sin(2 * angle)], axis=1) @ mixing[kind]
        drift = rng.standard_normal(6) + np.cumsum(rng.standard_normal((steps, 6)), axis=0) / 8
        noise = rng.standard_normal((steps, 6))
        X.append((rng.uniform(0.3, 1.2) * waves + drift + noise).astype(np.float32))
    return X, y


def scaled(X, X_test):
    """By hand, for those that do not."""
    steps = np.concatenate(X)
    mean, deviation = steps.mean(axis=0), steps.std(axis=0)
    deviation[deviation == 0] = 1
    return [[(x - mean) / deviation for x in own] for own in (X, X_test)]


# The sides: functions of the data and the number of epochs, which give predictions


def by_estimator(X, y, X_test, epochs, seed=0):
    return estimator(epochs, seed).fit(X, y).predict(X_test)


def estimator(epochs, seed=0):
    from rnncore.sklearn import SequenceClassifier

    return SequenceClassifier(
        hidden_layer_sizes=UNITS, batch_size=BATCH, learning_rate_init=RATE, max_iter=epochs,
        n_iter_no_change=epochs, random_state=seed,
    )  # fmt: skip


def by_fit(X, y, X_test, epochs, seed=0):
    X, X_test = scaled(X, X_test)
    inputs, classes = X[0].shape[1], int(y.max()) + 1
    model = rc.Sequential(
        rc.GRU(inputs, UNITS, batch_first=True, rng=2 * seed),
        rc.Pool("last", batch_first=True),
        rc.Linear(UNITS, classes, rng=2 * seed + 1),
    )
    rc.fit(
        model, (X, y), loss="cross_entropy", epochs=epochs, batch_size=BATCH, lr=RATE,
        rng=seed, progress=False,
    )  # fmt: skip
    return rc.predict(model, X_test).argmax(axis=1)


def by_torch(X, y, X_test, epochs, seed=0, *, packed):
    import torch
    from torch import nn
    from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

    torch.manual_seed(seed)
    X, X_test = ([torch.from_numpy(x) for x in own] for own in scaled(X, X_test))
    labels = torch.from_numpy(y)
    gru = nn.GRU(X[0].shape[1], UNITS, batch_first=True)
    head = nn.Linear(UNITS, int(y.max()) + 1)
    params = [*gru.parameters(), *head.parameters()]
    adam = torch.optim.Adam(params, lr=RATE, fused=True)

    def scores(rows):
        lengths = torch.tensor([len(x) for x in rows])
        x = pad_sequence(rows, batch_first=True)
        if packed:
            _, h = gru(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
            return head(h[-1])
        h, _ = gru(x)
        return head(h[torch.arange(len(rows)), lengths - 1])

    for _ in range(epochs):
        for places in torch.randperm(len(X)).split(BATCH):
            adam.zero_grad()
            loss = nn.functional.cross_entropy(scores([X[k] for k in places]), labels[places])
            loss.backward()
            nn.utils.clip_grad_norm_(params, 1.0)
            adam.step()
    with torch.inference_mode():
        found = [scores(X_test[k : k + 256]) for k in range(0, len(X_test), 256)]
        return torch.cat(found).argmax(1).numpy()


def by_skorch(X, y, X_test, epochs, seed=0):
    import torch
    from skorch import NeuralNetClassifier
    from skorch.callbacks import GradientNormClipping
    from torch import nn

    class Net(nn.Module):
        def __init__(self, inputs, classes):
            super().__init__()
            self.gru = nn.GRU(inputs, UNITS, batch_first=True)
            self.head = nn.Linear(UNITS, classes)

        def forward(self, x, lengths):
            h, _ = self.gru(x)
            return self.head(h[torch.arange(len(x)), lengths - 1])

    def whole(rows):
        longest = max(len(x) for x in [*X, *X_test])
        padded = np.stack([np.pad(x, ((0, longest - len(x)), (0, 0))) for x in rows])
        return {"x": padded, "lengths": np.array([len(x) for x in rows])}

    torch.manual_seed(seed)
    X, X_test = scaled(X, X_test)
    net = NeuralNetClassifier(
        Net, module__inputs=X[0].shape[1], module__classes=int(y.max()) + 1,
        criterion=nn.CrossEntropyLoss, optimizer=torch.optim.Adam, optimizer__fused=True, lr=RATE,
        max_epochs=epochs, batch_size=BATCH, iterator_train__shuffle=True, train_split=None,
        iterator_valid__batch_size=256, callbacks=[GradientNormClipping(1.0)], verbose=0,
    )  # fmt: skip
    return net.fit(whole(X), y).predict(whole(X_test))


def by_keras(X, y, X_test, epochs, seed=0):
    import keras

    keras.utils.set_random_seed(seed)
    X, X_test = scaled(X, X_test)
    longest = max(len(x) for x in [*X, *X_test])
    padded = [
        np.stack([np.pad(x, ((0, longest - len(x)), (0, 0)), constant_values=-9) for x in own])
        for own in (X, X_test)
    ]
    model = keras.Sequential(
        [
            keras.layers.Masking(-9),
            keras.layers.GRU(UNITS),
            keras.layers.Dense(int(y.max()) + 1),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(RATE, global_clipnorm=1.0), loss)
    model.fit(padded[0], y, batch_size=BATCH, epochs=epochs, verbose=0)
    return model.predict(padded[1], batch_size=256, verbose=0).argmax(axis=1)


def sides():
    """By their names, for libraries that are there."""
    found = {"rc.fit": by_fit}
    if find_spec("sklearn"):
        found = {"SequenceClassifier": by_estimator} | found
    if find_spec("torch"):
        found["torch, padded"] = partial(by_torch, packed=False)
        found["torch, packed"] = partial(by_torch, packed=True)
    if find_spec("skorch"):
        found["skorch"] = by_skorch
    if find_spec("keras"):
        found["Keras"] = by_keras
    return found


def held_to(threads):
    """All libraries, from now on; rnncore for a while."""
    if find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
    return rc.num_threads(threads)


def in_turns(data, epochs, rounds, threads):
    """The seconds of every side, and its accuracy."""
    X, y, X_test, y_test = data
    taken, worked, right = {}, {}, {}
    with held_to(threads):
        for k in range(rounds):
            for name, side in sides().items():
                if k and name == "Keras":  # minutes: once is enough
                    continue
                began, busy = time.perf_counter(), time.process_time()
                found = side(X, y, X_test, epochs)
                taken.setdefault(name, []).append(time.perf_counter() - began)
                worked.setdefault(name, []).append(time.process_time() - busy)
                right[name] = float(np.mean(found == y_test))
    own = median(next(iter(taken.values())))
    print(f"\n{len(X)} rows, {epochs} epochs, {threads} threads: median seconds of {rounds} rounds")
    for name, seconds in taken.items():
        s, ratio, cpu = median(seconds), median(seconds) / own, median(worked[name])
        print(
            f"  {name:20} {s:8.2f} s {ratio:6.2f} x, {cpu:8.2f} s of processors,"
            f" accuracy {right[name]:.3f}",
            flush=True,
        )


def search(data, epochs, rounds):
    """A grid of four with three folds, with one worker and with two, each with one thread."""
    from sklearn.model_selection import GridSearchCV

    grid = {"cell": ["gru", "rnn"], "learning_rate_init": [2e-3, 5e-3]}
    X, y = data[:2]
    taken = {1: [], 2: []}
    with held_to(1):
        for _ in range(rounds):
            for workers, seconds in taken.items():
                began = time.perf_counter()
                GridSearchCV(estimator(epochs), grid, cv=3, n_jobs=workers, refit=False).fit(X, y)
                seconds.append(time.perf_counter() - began)
    one, two = (median(seconds) for seconds in taken.values())
    print(f"\nGridSearchCV, {epochs} epochs: 1 worker {one:.2f} s, 2 workers {two:.2f} s")


def digits():
    """Images of 8 x 8, read line by line."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        images.reshape(-1, 8, 8).astype(np.float32), labels, test_size=0.3, random_state=0
    )
    return list(X), y, list(X_test), y_test


def japanese_vowels():
    """Nine speakers, 7 to 29 steps of 12 coefficients; the file that aeon brings along."""
    (place,) = find_spec("aeon").submodule_search_locations
    found = []
    for part in ("TRAIN", "TEST"):
        path = Path(place) / "datasets/data/JapaneseVowels" / f"JapaneseVowels_{part}.ts"
        *_, data = path.read_text().partition("@data\n")
        rows = [line.split(":") for line in data.splitlines() if line]
        found.append([np.array([d.split(",") for d in row[:-1]], np.float32).T for row in rows])
        found.append(np.array([int(row[-1]) - 1 for row in rows]))
    return tuple(found)


def public(epochs, seeds):
    """Accuracies on data sets that others know, with the same budget: mean and spread."""
    known = {"digits": digits} if find_spec("sklearn") else {}
    if find_spec("aeon"):
        known["Japanese vowels"] = japanese_vowels
    for name, load in known.items():
        X, y, X_test, y_test = load()
        print(f"\n{name}: {len(X)} rows, {len(X_test)} tested, {epochs} epochs")
        with held_to(1):
            for side, learn in sides().items():
                began = time.perf_counter()
                right = [
                    float(np.mean(learn(X, y, X_test, epochs, seed) == y_test))
                    for seed in range(seeds)
                ]
                spread = stdev(right) if seeds > 1 else 0.0
                print(
                    f"  {side:20} accuracy {mean(right):.3f} +- {spread:.3f} over {seeds} seeds,"
                    f" {(time.perf_counter() - began) / seeds:7.2f} s each",
                    flush=True,
                )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    warnings.filterwarnings("ignore", message="Maximum iterations")
    rng = np.random.default_rng(0)
    data = (*motions(1500, rng), *motions(500, rng))
    for threads in given.threads:
        in_turns(data, given.epochs, given.rounds, threads)
    if find_spec("sklearn"):
        search(data, given.epochs, given.rounds)
    public(3 * given.epochs, given.seeds)


if __name__ == "__main__":
    main()
