"""What a command writes: any character, and to any stream, also one that is closed or full."""

import contextlib
import io
import os
import sys
from typing import IO


def prepare() -> None:
    """Let the standard streams take every character, and those that are closed take all."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The lowest free number is given, which is that of the stream: no file that is opened
            # later can get it, and with it what a library prints.
            number = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors in ("strict", "surrogateescape"):
        out.reconfigure(errors="replace")  # stderr escapes what it cannot write


def tell(line: str) -> None:
    """Print `line` on stderr; nothing can be told where that fails."""
    try:
        print(one_line(" ".join(line.split())), file=sys.stderr, flush=True)
    except OSError:
        _drop(sys.stderr)


def finish() -> None:
    """Drop what can no longer be written: Python would complain of it at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            _drop(stream)


def printable(text: str) -> str:
    """`text` with control characters replaced: a model may have learned to move the cursor.

    >>> printable("a\\tb\\n\\x1b[2J")
    'a\\tb\\n\ufffd[2J'
    """
    return "".join(c if c.isprintable() or c in "\t\n" else "\ufffd" for c in text)


def one_line(text: str) -> str:
    """`printable`, for names of files: these may hold line breaks too."""
    return printable(text).replace("\n", "�")


def _drop(stream: IO[str]) -> None:
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
