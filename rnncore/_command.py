"""What the commands share: how they refuse what they cannot use, and what they may print."""

import contextlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


class InputError(Exception):
    """What the user gave cannot be used; the message says why in one line."""


@contextlib.contextmanager
def bad_input(what: str = "") -> Iterator[None]:
    """Tell the errors of reading, checking and writing what the user gave as `InputError`."""
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(f"{what or 'cannot use'}{where}: {error.strerror or error}") from error
    except (ValueError, ImportError) as error:
        raise InputError(f"{what} {error}".lstrip()) from error


def prepare(out: Path) -> None:
    """Find out that `out` can be written to before the training, not after."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}, which is a file: --out names a folder")
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".rnncore-{os.getpid()}"
    probe.touch()
    probe.unlink()


def require_extra(*modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} not found: pip install 'rnncore[cli]'")


def printable(text: str) -> str:
    """`text` with control characters replaced: a model may have learned to move the cursor.

    >>> printable("a\\tb\\n\\x1b[2J")
    'a\\tb\\n\ufffd[2J'
    """
    return "".join(c if c.isprintable() or c in "\t\n" else "\ufffd" for c in text)
