"""What the commands share: how they refuse what they cannot use, and how they write files."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

# What the options of the commands are called as arguments in Python
_OPTIONS = {
    "rng": "seed",
    "num_layers": "layers",
    "hidden_size": "hidden",
    "embedding_dim": "embedding",
}
_OPTIONS |= {
    name: name
    for name in (
        "layers",
        "hidden",
        "embedding",
        "batch",
        "window",
        "clip",
        "temperature",
        "length",
    )
}


class InputError(Exception):
    """What the user gave cannot be used; the message says why in one line."""


@contextlib.contextmanager
def bad_input(what: str = "") -> Iterator[None]:
    """Tell the errors of reading, checking and writing what the user gave as `InputError`."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{what or 'cannot use'}{described(error)}") from error
    except (ValueError, ImportError) as error:
        raise InputError(f"{what} {error}".lstrip()) from error


@contextlib.contextmanager
def options_named() -> Iterator[None]:
    """Call an argument that is refused by the name of its option."""
    try:
        yield
    except ValueError as error:
        names = "|".join(_OPTIONS)
        told = re.sub(
            rf"(?<![.\w])({names})(?= is )", lambda found: f"--{_OPTIONS[found[1]]}", str(error)
        )
        raise ValueError(told) from error


def described(error: OSError) -> str:
    """What to say after "cannot use" and the like."""
    where = f" {error.filename}" if error.filename else ""
    return f"{where}: {error.strerror or error}"


def prepare(out: Path, *names: str) -> None:
    """Find out that files of these names can be written to `out`: before the work, not after."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}, which is a file: --out names a folder")
    if out.is_symlink() and not out.exists():
        raise ValueError(f"{out}, which is a link to nothing")
    for path in (out / name for name in names):
        if path.exists() and not path.is_file():
            raise ValueError(f"{path}, which is no file")
    out.mkdir(parents=True, exist_ok=True)
    probe = out / f".rnncore-{os.getpid()}"
    probe.touch()
    probe.unlink()


def model_file(path: Path) -> Path:
    """Refuse what is no file: a pipe would be waited for."""
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is no file")
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write to, which takes its place when all went well."""
    beside = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def require_extra(*modules: str) -> None:
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        raise InputError(f"{' and '.join(missing)} not found: pip install {' '.join(missing)}")
