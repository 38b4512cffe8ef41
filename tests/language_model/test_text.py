"""What is read, what is held back, and what the compressors make of it."""

import bz2
import gzip
import lzma
import os
import socket
import threading
import zlib
from pathlib import Path

import numpy as np
import pytest

from rnncore.language_model.text import (
    MAX_HELD_OUT,
    MAX_VALIDATION,
    as_streams,
    compressed_bits,
    read_corpus,
    standard_library,
)

of_posix = pytest.mark.skipif(os.name == "nt", reason="no pipes and links as here on Windows")


@pytest.fixture
def folder(tmp_path):
    """Thirty files of text, and some things beside them that are no text to learn from."""
    for k in range(30):
        place = tmp_path / "sub" if k % 2 else tmp_path
        place.mkdir(exist_ok=True)
        (place / f"{k}.txt").write_bytes(f"<{k}>".encode() * (10 + k))
    (tmp_path / "empty").touch()
    (tmp_path / "image").write_bytes(b"\xff\xd8\xff" * 50)
    (tmp_path / "zeros").write_bytes(b"abc\0" * 50)
    (tmp_path / ".hidden").write_bytes(b"hidden" * 50)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_bytes(b"hidden" * 50)
    return tmp_path


def test_a_folder_is_split_into_whole_files(folder):
    corpus = read_corpus([folder])
    files = {path.read_bytes() for path in folder.rglob("*.txt")}
    size = sum(map(len, files))
    parts = [part.tobytes() for part in (corpus.train, corpus.validation, corpus.held_out)]
    assert corpus.files == 30
    assert sum(map(len, parts)) == size
    for part in parts[1:]:
        assert size * 0.025 < len(part) <= size * 0.05
    for content in files:
        assert sum(content in part for part in parts) == 1
    assert corpus.source == str(folder)


def test_the_split_is_the_same_each_time(folder):
    first, again = read_corpus([folder]), read_corpus([folder])
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.held_out, again.held_out)
    np.testing.assert_array_equal(first.validation, again.validation)


def test_the_end_of_a_single_file_is_held_back(tmp_path):
    content = np.random.default_rng(0).integers(0, 256, 1000, np.uint8).tobytes()
    (tmp_path / "a.bin").write_bytes(content)  # a file that is named need not be text
    corpus = read_corpus([tmp_path / "a.bin"])
    parts = [part.tobytes() for part in (corpus.train, corpus.validation, corpus.held_out)]
    assert parts == [content[:900], content[900:950], content[950:]]


def test_at_most_256_kib_are_held_back(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a" * (MAX_HELD_OUT * 30))
    corpus = read_corpus([tmp_path / "a.txt"])
    assert len(corpus.held_out) == MAX_HELD_OUT
    assert len(corpus.validation) == MAX_VALIDATION


def test_one_large_and_one_tiny_file(tmp_path):
    """The tiny one alone would be too little to measure by."""
    (tmp_path / "large").write_bytes(b"a" * 10_000)
    (tmp_path / "tiny").write_bytes(b"b" * 10)
    corpus = read_corpus([tmp_path])
    assert len(corpus.held_out) == 10_010 // 20


def test_a_file_given_twice_counts_once(folder):
    file = folder / "0.txt"
    assert read_corpus([folder, file, folder]).files == 30


def test_many_paths_are_named_in_short(folder):
    paths = sorted(folder.glob("*.txt"))[:5]
    assert read_corpus(paths).source == f"{paths[0]}, {paths[1]}, {paths[2]} and 2 more"


def test_the_default_is_the_standard_library():
    files = standard_library()
    names = {path.name for path in files}
    assert {"argparse.py", "decoder.py", "threading.py"} <= names
    assert not {"test_argparse.py", "numpy"} & (names | {part for p in files for part in p.parts})
    corpus = read_corpus()
    assert 0.9 * MAX_HELD_OUT < len(corpus.held_out) <= MAX_HELD_OUT
    assert len(corpus.train) > 20 * MAX_HELD_OUT
    assert b"def " in corpus.train.tobytes()


def test_compressed_bits_are_those_of_files_that_decompress():
    text = np.frombuffer(b"to be or not to be, " * 40, np.uint8)
    bits = compressed_bits(text)
    assert list(bits) == ["gzip", "bz2", "xz"]
    content = text.tobytes()
    for name, module in (("gzip", gzip), ("bz2", bz2), ("xz", lzma)):
        assert bits[name] == pytest.approx(
            8 * len(module.compress(content)) / len(content), rel=0.1
        )
    # gzip is zlib's deflate with a header of 10 and a trailer of 8 bytes
    deflate = zlib.compress(content, 9, wbits=-15)
    assert bits["gzip"] == 8 * (len(deflate) + 18) / len(content)
    assert compressed_bits(np.zeros(1, np.uint8))["gzip"] > 8


@pytest.mark.parametrize("content", [b"", b"a" * 39])
def test_too_little_text_is_refused(content, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"no text in .*a\.txt|a\.txt has 39 characters, expected"):
        read_corpus([tmp_path / "a.txt"])


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no such file or folder: .*missing"):
        read_corpus([tmp_path / "missing"])
    with pytest.raises(ValueError, match="no text in"):
        read_corpus([tmp_path])


def without_reasons(left_out, folder):
    return {
        entry.partition(" (")[0].removeprefix(f"{folder}/"): entry.partition(" (")[2]
        for entry in left_out
    }


@of_posix
def test_only_regular_files_of_a_folder_are_read(folder):
    before = read_corpus([folder])
    os.mkfifo(folder / "pipe")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(folder / "socket"))
    listening.close()
    (folder / "device").symlink_to(os.devnull)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    (folder / "again").symlink_to("sub")
    (folder / "sub" / "up").symlink_to("..")
    (folder / ".pipe").symlink_to("pipe")
    corpus = read_corpus([folder])
    assert corpus.files == 30
    np.testing.assert_array_equal(corpus.train, before.train)
    assert before.left_out == ()
    assert without_reasons(corpus.left_out, folder) == {
        "pipe": "a pipe)",
        "socket": "a socket)",
        "device": "a device)",
        "dangling": "No such file or directory)",
        "loop": "Too many levels of symbolic links)",
        "again": "a link to a folder)",
        "sub/up": "a link to a folder)",
    }


@of_posix
def test_a_link_to_a_file_is_read_and_counts_once(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "more.txt"
    elsewhere.write_text("more text to read " * 20)
    (folder / "link").symlink_to(elsewhere)
    (folder / "link again").symlink_to(elsewhere)
    os.link(elsewhere, folder / "hard link")
    (folder / "inside").symlink_to("0.txt")
    corpus = read_corpus([folder, elsewhere])
    assert corpus.files == 31
    text = corpus.train.tobytes() + corpus.held_out.tobytes()
    assert text.count(b"more text to read " * 20) == 1


def test_what_cannot_be_read_is_left_out_of_a_folder(folder, monkeypatch):
    """No file mode keeps root out, and nothing else a file that vanishes in between."""
    read, walked = Path.read_bytes, os.scandir

    def fail(path):
        if path.name == "1.txt":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return walked(path)

    (folder / "closed").mkdir()
    monkeypatch.setattr(Path, "read_bytes", fail)
    monkeypatch.setattr(os, "scandir", closed)
    corpus = read_corpus([folder])
    assert corpus.files == 29
    assert without_reasons(corpus.left_out, folder) == {
        "closed": "Permission denied)",
        "sub/1.txt": "Permission denied)",
    }
    with pytest.raises(ValueError, match=r"cannot read .*1\.txt: Permission denied"):
        read_corpus([folder / "sub" / "1.txt"])
    with pytest.raises(ValueError, match=r"cannot read .*closed: Permission denied"):
        read_corpus([folder / "closed"])


@of_posix
def test_a_pipe_that_is_named_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    content = b"what comes through a pipe " * 20
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[content])
    writer.start()
    corpus = read_corpus([tmp_path / "pipe"])
    writer.join()
    assert (
        b"".join(a.tobytes() for a in (corpus.train, corpus.validation, corpus.held_out)) == content
    )


@of_posix
def test_a_folder_of_pipes_says_what_is_in_it(tmp_path):
    for name in "abcd":
        os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=r"no text in .*; left out: .*a \(a pipe\), .* and 1 more"):
        read_corpus([tmp_path])


@of_posix
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_that_is_named_is_refused(path):
    with pytest.raises(ValueError, match=f"no text in {path}, which is a device"):
        read_corpus([path])


def test_an_empty_name_is_no_folder():
    with pytest.raises(ValueError, match="a path is empty"):
        read_corpus([""])


@pytest.mark.parametrize(
    ("text", "streams", "error", "message"),
    [
        ([1, 2, 3], 1, TypeError, "text is of type list, expected ndarray"),
        (np.zeros(9), 1, TypeError, "text has dtype float64, expected uint8"),
        (np.zeros((3, 3), np.uint8), 1, ValueError, r"text has shape \(3, 3\), expected \(N,\)"),
        (np.zeros(9, np.uint8), 0, ValueError, "streams is 0"),
        (np.zeros(9, np.uint8), 9, ValueError, "text has 9 characters, expected at least 10"),
        (np.zeros(0, np.uint8), 1, ValueError, "text has 0 characters, expected at least 2"),
    ],
)
def test_streams_refuse(text, streams, error, message):
    with pytest.raises(error, match=message):
        as_streams(text, streams)
