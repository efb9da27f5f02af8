"""Being asked to stop: Ctrl-C, and the SIGTERM that a cluster sends before it takes a machine back."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Stop:
    """Whether somebody asked, and by which signal."""

    signal: str | None = None


AGAIN = 1.0  # seconds: a signal that comes sooner is the same one, from the terminal and once more from a launcher


@contextmanager
def stop_on_request() -> Iterator[Stop]:
    """Within it, the first SIGINT or SIGTERM is noted in the Stop, for the loop to end where it can be taken up again.

    One that comes a second later or more ends the program as it always does. Outside the main thread, where Python
    takes no signals, nothing is noted.
    """
    stop, before, first = Stop(), {}, []

    def note(number: int, frame) -> None:
        now = time.monotonic()
        if first and now - first[0] > AGAIN:
            signal.signal(number, before[number])
            signal.raise_signal(number)
        elif not first:
            first.append(now)
            stop.signal = signal.Signals(number).name

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            # None stands for a handler that C code has set, and cannot be set again from Python.
            before[number] = signal.signal(number, note) or signal.SIG_DFL
        except ValueError:  # not the main thread
            break
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
