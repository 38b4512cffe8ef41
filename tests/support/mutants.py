"""Damaged and hostile copies of a saved file: ``python mutants.py KIND COUNT SEED``.

Loads each in this process, with 200 MB of memory beyond what it has and a second of processor time
for each, and prints how many were refused and how many came back equal. Whatever else happens ends
it: another error than a ValueError that names the file, other content, too much memory or time.
HDF5 keeps no checksums of numbers: of ".h5" what came back with other numbers counts as equal.
Whoever changes the readers runs it with larger numbers:
``python tests/support/mutants.py npz 100000 1``.
"""

import io
import json
import resource
import signal
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import rnncore as rc
from rnncore.language_model import LanguageModel, Trainer

DATA = Path(__file__).parents[1] / "data"
MEMORY, SECONDS = 200 << 20, 1.0
FOREIGN = ("pt", "h5", "keras")
TEXT = np.frombuffer(b"the cat, which already ate, was full. " * 9, np.uint8)
# What a size, a place or an option may be set to.
EXTREME = [
    0, -1, 1, 2, 3, 255, 65535, 10**4, 10**7, 2**31 - 1, 2**31, 2**32 - 1, 10**12, 2**63 - 1, 2**63,
    2**64, 10**30, 1.5, float("nan"), float("inf"), True, None, "", "x", "9" * 5000, [], [[[]]], {},
]  # fmt: skip


def layer():
    return rc.LSTM(3, 4, 2, bidirectional=True, peephole="current", rng=0)


def trainer():
    model = LanguageModel("lstm", layers=2, hidden=5, embedding=3, rng=0)
    made = Trainer(model, TEXT, batch=2, window=7, clip=1.0)
    made.step(0.01)
    return made


def fitted(path):
    """A model that was trained for the epochs that a checkpoint has, or for one."""
    rng, model = (
        np.random.default_rng(0),
        rc.Sequential(rc.GRU(2, 3, rng=0), rc.Linear(3, 1, rng=0)),
    )
    X = rng.standard_normal((5, 8, 2), dtype=np.float32)
    data = X, X[..., :1]
    history = rc.fit(
        model, data, loss="mse", checkpoint=path, validation=0.25, patience=3, progress=False
    )
    return {"": np.array(0), **model.params, "history": history.loss}


def save(kind, path):
    if kind in ("npz", "safetensors"):
        layer().save(path)
    elif kind == "fit":
        fitted(path)
    elif kind == "pt":
        import torch

        params = rc.GRU(3, 4, 2, bidirectional=True, rng=0).params
        torch.save({name: torch.tensor(a) for name, a in params.items()}, path)
    elif kind in ("h5", "keras"):
        name = {"h5": "keras_2_15.h5", "keras": "keras_2_13.keras"}[kind]
        path.write_bytes((DATA / name).read_bytes())
    elif kind == "model":
        trainer().model.save(path)
    else:
        trainer().save(path, {"seconds": np.ones(1), "bits": np.ones(1), "characters": np.ones(1)})


def load(kind, path):
    """What came back, as arrays and text that can be compared."""
    if kind in ("npz", "safetensors"):
        loaded = rc.load(path)
        return {"": np.array(repr(loaded)), **loaded.params}
    if kind == "fit":
        return fitted(path)
    if kind in FOREIGN:
        loaded = rc.from_torch(path) if kind == "pt" else rc.from_keras(path)
        return {"": np.array(repr(loaded)), **loaded.params}
    if kind == "model":
        model = LanguageModel.load(path)
        return {"": np.array(repr(model.options)), **model.arrays()}
    made, history = Trainer.load(path, TEXT, clip=1.0)
    return {
        "": np.array(repr((made.model.options, made.batch, made.window, made._position))),
        **made.model.arrays(),
        **made.optimizer.state,
        **{f"state {k}": part for k, part in enumerate(made._state or ())},
        **{f"history {name}": values for name, values in history.items()},
    }


# Bytes


def flipped(whole, rng):
    made = bytearray(whole)
    for _ in range(rng.integers(1, 5)):
        made[rng.integers(len(made))] ^= 1 << rng.integers(8)
    return made


def overwritten(whole, rng):
    """A field of 1 to 8 bytes gets an extreme value."""
    width = int(rng.choice([1, 2, 4, 8]))
    at = int(rng.integers(len(whole) - width))
    most = 2 ** (8 * width) - 1
    value = [0, 1, most, most // 2 + 1, most - 1, 2 ** (4 * width)][rng.integers(6)]
    return whole[:at] + value.to_bytes(width, "little") + whole[at + width :]


def truncated(whole, rng):
    return whole[: rng.integers(len(whole))]


def moved(whole, rng):
    """A piece is left out, doubled, or put elsewhere."""
    a, b, c = np.sort(rng.integers(len(whole), size=3))
    return [
        whole[:a] + whole[b:],
        whole[:b] + whole[a:],
        whole[:a] + whole[b:c] + whole[a:b] + whole[c:],
    ][rng.integers(3)]


def filled(whole, rng):
    a, b = np.sort(rng.integers(len(whole), size=2))
    return whole[:a] + rng.bytes(int(b - a)) + whole[b:]


# What the file says, with checksums that fit


def resized(value, rng):
    """JSON with one thing in it set to an extreme value, left out, or under another name."""
    if isinstance(value, dict) and value:
        key = list(value)[rng.integers(len(value))]
        how = rng.integers(8)
        if how == 0:
            return {k: v for k, v in value.items() if k != key}
        if how == 1:
            return {**value, str(rng.choice(["rng", "params", "input_size", "x"])): 3}
        return {**value, key: resized(value[key], rng)}
    return EXTREME[rng.integers(len(EXTREME))]


def array_file(text, rng):
    """A .npy file whose header, of an unchanged length, says something else."""
    at = text.index(b"{")
    end = text.index(b"}") + 1
    said = [
        b"{'descr': '%s', 'fortran_order': %s, 'shape': %s}" % (dtype, order, shape)
        for dtype in (b"<f4", b"<f8", b">f4", b"|O", b"<U0", b"<U99999999", b"|V8", b"x")
        for order in (b"False", b"True", b"3")
        for shape in (b"(4,)", b"()", b"(-1,)", b"(10**9,)", b"(999999999999,)", b"(0, 9**9)", b"3")
    ]
    new = said[rng.integers(len(said))]
    return text[:at] + new.ljust(end - at) + text[end:] if len(new) <= end - at else text[:-3]


def rewritten_npz(whole, rng):
    archive = zipfile.ZipFile(io.BytesIO(whole))
    members = {name: archive.read(name) for name in archive.namelist()}
    header = members["rnncore.npy"]
    name = list(members)[rng.integers(len(members))]
    how = rng.integers(6)
    if how < 3:
        text = json.loads(np.load(io.BytesIO(header)).item())
        file = io.BytesIO()
        np.save(file, np.array(json.dumps(resized(text, rng))))
        members["rnncore.npy"] = file.getvalue()
    elif how == 3:
        members[name] = array_file(members[name], rng)
    elif how == 4:
        members.pop(name)
    else:
        members[f"more.{name}"] = members[name]
    made = io.BytesIO()
    form = zipfile.ZIP_DEFLATED if rng.integers(9) == 0 else zipfile.ZIP_STORED
    with zipfile.ZipFile(made, "w", form) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def rewritten_safetensors(whole, rng):
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    if rng.integers(2):
        text = json.loads(header["__metadata__"]["rnncore"])
        header["__metadata__"]["rnncore"] = json.dumps(resized(text, rng))
    else:
        header = resized(header, rng)
    text = json.dumps(header).encode()
    length = len(text) if rng.integers(9) else int(rng.choice([0, 2**27, 2**40, 2**63 - 1]))
    return length.to_bytes(8, "little") + text + whole[8 + int.from_bytes(whole[:8], "little") :]


def mutants(kind, whole, count, rng):
    rewritten = rewritten_safetensors if kind == "safetensors" else rewritten_npz
    ways = [flipped, overwritten, truncated, moved, filled]
    ways += [] if kind in FOREIGN else 3 * [rewritten]
    for k in range(count):
        way = ways[k % len(ways)]
        yield way(whole, rng), way is rewritten


def main(kind, count, seed):
    suffix = kind if kind in ("safetensors", *FOREIGN) else "npz"
    path = Path(tempfile.mkdtemp()) / f"file.{suffix}"
    save(kind, path)
    whole, want = path.read_bytes(), load(kind, path)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))

    def too_long(*_):
        raise TimeoutError(f"more than {SECONDS} s")

    signal.signal(signal.SIGPROF, too_long)
    refused = equal = 0
    rng = np.random.default_rng(seed)
    for k, (mutant, sound) in enumerate(mutants(kind, whole, count, rng)):
        path.write_bytes(mutant)
        said = ""
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        try:
            got = load(kind, path)
        except ValueError as error:
            said = str(error)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if said:
            assert said.startswith(str(path)), f"mutant {k}: {said}"
            assert len(said) < 3000, f"mutant {k}: {said}"
            refused += 1
            continue
        equal += 1
        if kind == "h5" or (sound and kind == "fit"):  # which may say that other epochs are done
            continue
        if sound:  # such a file may say what it can hold: batch_first, another text to go on with
            got = {**want, **got, "": want[""]}
        assert got.keys() == want.keys(), f"mutant {k} came back as another"
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=f"mutant {k}")
    print(refused, equal)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
