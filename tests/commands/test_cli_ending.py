"""How a training ends: by signals, by a console or a disk that fails; what was learned stays."""

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from commands import SMALL, command, contents, run

from rnncore._commands import evaluation, learning
from rnncore._console import report
from rnncore.language_model import LanguageModel, Trainer
from rnncore.layers import storage

of_posix = pytest.mark.skipif(os.name == "nt", reason="no signals for another process on Windows")
FULL = OSError(errno.ENOSPC, "No space left on device")


def loaded(out, text):
    content = np.frombuffer(text.read_bytes(), np.uint8)
    return Trainer.load(
        out / "model.npz", content[: len(content) - 2 * (len(content) // 20)], clip=1.0
    )


def at_step(monkeypatch, wanted, do):
    """Let `do` happen within a step of the training, after it has learned."""
    step = Trainer.step

    def stepped(self, lr):
        result = step(self, lr)
        if self.steps == wanted:
            do()
        return result

    monkeypatch.setattr(Trainer, "step", stepped)


# Signals


@of_posix
@pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
def test_a_process_that_is_asked_to_end_saves_and_can_go_on(number, text, tmp_path):
    process = subprocess.Popen(
        command("train", text, *SMALL, "--seconds", 600, "--out", tmp_path / "out"),
        cwd=tmp_path,  # away from the checkout
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while "bits/char" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number
    assert errors == (
        f"rnncore train: ended by {number.name}; the model is saved in {tmp_path}/out/model.npz\n"
    )
    assert "held-back text" not in output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.npz"]
    trainer, history = loaded(tmp_path / "out", text)
    assert trainer.steps == len(history["bits"]) > 0
    again = run(
        "train", text, "--seconds", 0.2, "--out", tmp_path / "out", "--resume", cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr
    assert loaded(tmp_path / "out", text)[0].steps > trainer.steps


@of_posix
def test_a_process_that_is_killed_has_saved_from_time_to_time(text, tmp_path):
    out = tmp_path / "out"
    LanguageModel(hidden=4, embedding=4, rng=0).save(tmp_path / "earlier.npz")
    out.mkdir()
    earlier = (tmp_path / "earlier.npz").read_bytes()
    (out / "model.npz").write_bytes(earlier)
    code = (
        "import sys; from rnncore import cli; from rnncore._commands import learning;"
        "learning.SAVE_EVERY = 0.1;"
        "sys.exit(cli.main())"
    )
    arguments = ("train", text, *SMALL, "--seconds", 600, "--out", out)
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=tmp_path,  # away from the checkout
        stdout=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while (out / "model.npz").read_bytes() == earlier:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert (out / "model.earlier.npz").read_bytes() == earlier
    trainer, history = loaded(out, text)
    assert trainer.steps == len(history["bits"]) > 0
    trainer.step(0.01)


def raising(number, times=1):
    def raise_all():
        for _ in range(times):
            signal.raise_signal(number)

    return raise_all


def test_a_second_ctrl_c_leaves_out_the_evaluation(train, text, monkeypatch):
    at_step(monkeypatch, 3, raising(signal.SIGINT, 2))
    status, output, errors = train(seconds=600)
    assert status == 130
    assert (
        errors == f"rnncore train: interrupted; the model is saved in {train.out / 'model.npz'}\n"
    )
    assert "held-back text" not in output
    assert loaded(train.out, text)[0].steps == 3


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "ended by SIGTERM")],
)
def test_a_signal_during_the_evaluation_ends_it(number, status, said, train, text, monkeypatch):
    monkeypatch.setattr(Trainer, "reading_bits", lambda *_, **__: raising(number)())
    got, output, errors = train()
    assert got == status
    assert errors == f"rnncore train: {said}; the model is saved in {train.out / 'model.npz'}\n"
    assert "the model is saved" in output
    assert loaded(train.out, text)[0].steps > 0


def test_a_signal_before_the_training_is_told_in_a_line(train, monkeypatch):
    monkeypatch.setattr("rnncore._commands.train.read_corpus", lambda *_: raising(signal.SIGTERM)())
    assert train() == (143, "", "rnncore train: ended by SIGTERM\n")
    assert not train.out.exists()


def test_what_is_ignored_stays_so(train, monkeypatch):
    """`nohup` and shells without job control start their commands so."""
    before = [signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        at_step(monkeypatch, 2, lambda: [raising(signal.SIGINT)(), raising(signal.SIGTERM)()])
        status, output, _ = train()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGTERM), before, strict=True):
            signal.signal(number, handler)
    assert status == 0
    assert "Trained after" in output


def test_the_handlers_are_those_of_before(train):
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    train()
    assert [signal.getsignal(number) for number in numbers] == before


# Consoles and disks that fail


class Progress:
    """Takes the place of what shows the progress of a training, and fails in the third step."""

    def __init__(self, error):
        self.error, self.shown = error, 0

    def __call__(self, console, seconds):
        return self

    def __enter__(self):
        return self.show

    def __exit__(self, *_):
        return None

    def show(self, *_):
        self.shown += 1
        if self.shown == 3:
            raise self.error


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (FULL, 2, "rnncore train: cannot write to stdout: No space left on device\n"),
        (BrokenPipeError(), 0, ""),
        (MemoryError("no more"), 2, "rnncore train: not enough memory: no more\n"),
    ],
    ids=["full", "gone", "memory"],
)
def test_an_error_in_the_loop_loses_nothing(error, status, said, train, text, monkeypatch):
    monkeypatch.setattr(report, "progress", Progress(error))
    got, _, errors = train(seconds=600)
    assert (got, errors) == (status, said)
    assert loaded(train.out, text)[0].steps == 3


def test_a_fault_of_our_own_loses_nothing(train, text, monkeypatch):
    monkeypatch.setattr(report, "progress", Progress(ZeroDivisionError("a fault")))
    with pytest.raises(ZeroDivisionError):
        train(seconds=600)
    assert loaded(train.out, text)[0].steps == 3


@pytest.fixture
def earlier(train):
    """What is in the folder after a run."""
    assert train()[0] == 0
    return contents(train.out)


def test_a_save_that_fails_changes_nothing(train, earlier, monkeypatch):
    def fail(*_):
        raise FULL

    monkeypatch.setattr(storage, "save_arrays", fail)
    status, _, errors = train()
    assert status == 2
    assert errors == "rnncore train: cannot write to: No space left on device\n"
    assert contents(train.out) == earlier


def test_a_training_that_learned_nothing_changes_nothing(train, earlier, monkeypatch):
    def fail(self, lr):
        raise FloatingPointError("gradient is not finite in it")

    monkeypatch.setattr(Trainer, "step", fail)
    status, _, errors = train()
    assert status == 1
    assert "there was no model to save" in errors
    assert contents(train.out) == earlier


def test_a_model_that_is_not_finite_is_not_saved(train, earlier, monkeypatch):
    """The step that made it so is followed by none that would tell."""

    def spoil(self, lr):
        self.model.head.params["bias"][0] = np.inf
        return step(self, lr)

    step = Trainer.step
    monkeypatch.setattr(Trainer, "_learn", lambda self, *_: type("Step", (), {"bits": 1.0}))
    monkeypatch.setattr(Trainer, "step", spoil)
    status, _, errors = train()
    assert status == 1
    assert "diverged, head.bias not finite any more; there was no model to save" in errors
    assert contents(train.out) == earlier


@pytest.mark.parametrize("links", [True, False], ids=["link", "copy"])
def test_there_is_a_model_at_every_moment(links, train, earlier, monkeypatch):
    seen = []

    def watched(name):
        call = getattr(os, name)

        def called(*arguments):
            if name == "link" and not links:
                raise OSError(errno.EPERM, "Operation not permitted")
            for _ in range(2):  # before and after
                assert (train.out / "model.npz").is_file()
                seen.append(name)
                if seen.count(name) % 2:
                    call(*arguments)

        monkeypatch.setattr(os, name, called)

    for name in ("replace", "link"):
        watched(name)
    status, output, _ = train("--cell", "gru")
    assert status == 0
    assert "model.earlier.npz" in output
    assert seen.count("replace") >= 4
    assert (train.out / "model.earlier.npz").read_bytes() == earlier["model.npz"]
    assert LanguageModel.load(train.out / "model.npz").options["cell"] == "gru"
    assert set(contents(train.out)) == {*earlier, "model.earlier.npz"}


def test_the_first_save_alone_moves_the_earlier_model(train, earlier, monkeypatch):
    monkeypatch.setattr(learning, "SAVE_EVERY", 0)
    monkeypatch.setattr(learning, "_SAVING_SHARE", 0)
    saves = []
    save = Trainer.save
    monkeypatch.setattr(Trainer, "save", lambda *a: (saves.append(a), save(*a)))
    at_step(monkeypatch, 5, raising(signal.SIGINT))
    assert train(seconds=600)[0] == 0
    assert len(saves) == 5
    assert (train.out / "model.earlier.npz").read_bytes() == earlier["model.npz"]


def test_a_short_run_saves_once(train, monkeypatch):
    saves = []
    monkeypatch.setattr(Trainer, "save", lambda *_: saves.append(1))
    assert train()[0] == 0
    assert saves == [1]


def test_saving_is_no_time_of_training_and_a_small_part_of_all(train, text, monkeypatch):
    """By a clock of its own: a step takes a second, a save a hundred."""
    now = [0.0]
    saved_after = []
    step = Trainer.step

    def stepped(self, lr):
        now[0] += 1
        return step(self, lr)

    def save(self, *_):
        now[0] += 100
        saved_after.append(self.steps)

    monkeypatch.setattr(learning.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Trainer, "step", stepped)
    monkeypatch.setattr(Trainer, "save", save)
    content = np.frombuffer(text.read_bytes(), np.uint8)
    model = LanguageModel(hidden=4, embedding=4, rng=0)
    made = learning.Run(Trainer(model, content, batch=2, window=4, clip=1.0), train.out, content)
    monkeypatch.setattr(report, "progress", Progress(None))
    monkeypatch.setattr(Progress, "show", lambda *_: None)
    learning.learn(None, made, 3000.0, 0.01)
    assert saved_after == [30, 2030, 3000]
    assert made.seconds == 3000
    assert set(made.step_seconds) == {1.0}


def test_a_console_that_fails_at_the_tables_loses_no_file(train, monkeypatch):
    def fail(*_):
        raise FULL

    for name in ("print_bits", "print_step_times"):
        monkeypatch.setattr(report, name, fail)
    status, _, errors = train()
    assert status == 2
    assert errors == "rnncore train: cannot write to stdout: No space left on device\n"
    assert set(contents(train.out)) == {"model.npz", "metrics.json", "curve.png"}


def test_a_disk_that_fails_at_the_files_loses_no_table(train, monkeypatch):
    def fail(*_):
        raise FULL

    monkeypatch.setattr(evaluation, "write", fail)
    status, output, errors = train()
    assert status == 2
    assert errors == "rnncore train: cannot write to: No space left on device\n"
    assert "held-back text" in output
    assert "A sample at temperature" in output
