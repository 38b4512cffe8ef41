"""The signals that ask a command to end, taken where it can end well."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

# What `kill` sends, and what a terminal that closes does
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
INTERRUPTED = 128 + signal.SIGINT


class Ended(BaseException):
    """A signal has asked this process to end."""

    def __init__(self, number: int):
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = 128 + number  # as a shell tells of a process that the signal has killed


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let those signals raise `Ended`, wherever the program is; Ctrl-C raises as ever."""

    def end(number: int, frame: object) -> NoReturn:
        raise Ended(number)

    with _handled(_ENDING, end):
        yield


@contextlib.contextmanager
def noted() -> Iterator[list[int]]:
    """Let those signals and Ctrl-C fill the list instead of raising."""
    received: list[int] = []
    with _handled([signal.SIGINT, *_ENDING], lambda number, frame: received.append(number)):
        yield received


@contextlib.contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, Any], object]) -> Iterator[None]:
    """Let `handler` take these signals. One that is ignored stays so: `nohup` wants that."""
    earlier = {}
    try:
        if threading.current_thread() is threading.main_thread():  # no other one may set them
            for number in numbers:
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    earlier[number] = signal.signal(number, handler)
        yield
    finally:
        for number, before in earlier.items():
            signal.signal(number, before)
