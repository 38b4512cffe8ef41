"""What the commands do where nothing can be printed: odd encodings, full and closed streams."""

import json
import os
import subprocess

import numpy as np
import pytest
from commands import SENTENCES, SMALL, command, contents, run

from rnncore._bench import command as bench
from rnncore._bench import one_core
from rnncore.gates import command as gates
from rnncore.language_model import LanguageModel

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")

COMMANDS = {
    "train": ["train", "cats.txt", *SMALL, "--seconds", "0.1", "--out", "new"],
    "sample": ["sample", "wide.npz", "--length", "20", "--prompt", "\u00e9\u20ac\u2192"],
    "gates": ["gates", "--quick", "--out", "new"],
    "bench": ["bench", "--workloads", "step-64", "--seconds", "0.001", "--out", "new"],
    "info": ["info"],
    "--version": ["--version"],
    "--help": ["--help"],
    "train --help": ["train", "--help"],
}
FILES = {
    "train": {"model.npz", "metrics.json", "curve.png"},
    "gates": {gates.NUMBERS, *gates.PICTURES},
    "bench": {bench.NUMBERS},
}


@pytest.fixture
def folder(tmp_path):
    """A text, and a model that writes an e with an accent time and again."""
    (tmp_path / "cats.txt").write_text(SENTENCES * 60)
    model = LanguageModel(hidden=4, embedding=256, rng=0)
    model.save(tmp_path / "wide.npz")
    return tmp_path


def environment(**more):
    """Without what would measure on one thread at once, as a user has it."""
    return {k: v for k, v in os.environ.items() if k not in one_core.ONE_THREAD} | more


@pytest.mark.parametrize(
    ("name", "encoding"), [*((name, "ascii") for name in COMMANDS), ("sample", "cp1252")]
)
def test_any_character_can_be_printed(name, encoding, folder):
    done = run(*COMMANDS[name], cwd=folder, text=False, env=environment(PYTHONIOENCODING=encoding))
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding)
    if name in FILES:
        assert set(contents(folder / "new")) == FILES[name]
    if name == "sample":
        start = {"ascii": b"???", "cp1252": b"\xe9\x80?"}[encoding]
        assert done.stdout.startswith(start)


def test_a_locale_without_letters_is_enough(folder):
    plain = environment(LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0")
    done = run(*COMMANDS["sample"], cwd=folder, text=False, env=plain)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.isascii()


@pytest.mark.parametrize(
    ("name", "unbuffered"), [*((name, "") for name in COMMANDS), ("info", "1"), ("--help", "1")]
)
def test_a_full_disk_is_told_in_one_line(name, unbuffered, folder):
    with open("/dev/full", "wb") as full:
        done = run(
            *COMMANDS[name],
            cwd=folder,
            capture_output=False,
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(PYTHONUNBUFFERED=unbuffered),
        )
    prefix = " ".join(["rnncore", *(word for word in name.split() if not word.startswith("-"))])
    told = f"{prefix}: cannot write to stdout: No space left on device\n"
    assert (done.returncode, done.stderr) == (2, told)


@pytest.mark.parametrize(
    ("name", "closed"), [*((name, ">&- 2>&- <&-") for name in COMMANDS), ("train", ">&-")]
)
def test_closed_streams_take_all(name, closed, folder):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command(*COMMANDS[name])],
        cwd=folder,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    if name in FILES:
        assert set(contents(folder / "new")) == FILES[name]


@pytest.mark.parametrize("stderr", [">&-", ">/dev/full"])
@pytest.mark.parametrize("arguments", [["train", "missing"], ["fly"], ["sample", "--length", "x"]])
def test_an_error_that_cannot_be_told_has_its_status(arguments, stderr, folder):
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" 2{stderr}', "sh", *command(*arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_goes_is_no_error(name, folder):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        done = run(
            *COMMANDS[name],
            cwd=folder,
            capture_output=False,
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("columns", ["0", "1"])
def test_a_console_of_any_width_shows_the_figures(columns, folder):
    odd = environment(COLUMNS=columns, TERM="dumb")
    done = run(*COMMANDS["train"], cwd=folder, env=odd)
    assert (done.returncode, done.stderr) == (0, "")
    bits = json.loads((folder / "new" / "metrics.json").read_text())["bits_per_character"]
    assert all(f"{value:.3f}" in done.stdout for value in bits.values())


def test_names_are_printed_as_one_line(folder):
    out = folder / "a\nb\x1b[31m"
    done = run(*COMMANDS["train"][:-1], out, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    assert "a\ufffdb\ufffd[31m: model.npz, curve.png, metrics.json" in done.stdout


def test_a_name_that_is_no_unicode_can_be_used(folder):
    name = os.fsencode(folder) + b"/caf\xff"
    os.rename(folder / "cats.txt", name)
    done = run(*[arg if arg != "cats.txt" else os.fsdecode(name) for arg in COMMANDS["train"]],
               cwd=folder)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "caf\ufffd" in done.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_a_current_folder_that_is_gone(name, folder):
    """Where nothing is written to it, it does not matter."""
    here = [str(folder / word) if (folder / word).is_file() else word for word in COMMANDS[name]]
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *command(*here)],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if name in FILES:
        assert done.returncode == 2
        assert done.stderr == f"rnncore {name}: cannot write to new: No such file or directory\n"
    else:
        assert (done.returncode, done.stderr) == (0, "")


def test_a_model_that_tells_nothing_says_so_while_it_writes(folder):
    """All parameters are finite; what they give is not."""
    model = LanguageModel(hidden=4, embedding=4, rng=0)
    model.head.params["weight"][...] = np.float32(3e38)
    model.recurrent.params["bias_ih_l0"][...] = 50
    model.save(folder / "huge.npz")
    done = run("sample", "huge.npz", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("rnncore sample: huge.npz: the model tells nothing")
    assert len(done.stderr.splitlines()) == 1
