"""Everything in this process, one item after the other."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from netatlas.errors import ConfigError
from netatlas.execution.base import EXECUTORS, TIMED_OUT, Executor, Failure, I, Outcome, V, check_options, invoke


@EXECUTORS.register("serial")
class Serial(Executor):
    """Calls the function here: nothing to install, easiest to debug, and the order of the items is kept.

    A call that kills its process kills this one. ``timeout_s`` interrupts Python code only; a call that hangs inside a C library
    is interrupted when it returns.

    Args:
        timeout_s: Seconds a call may take; POSIX systems and the main thread only.

    Raises:
        ConfigError: ``timeout_s`` is not positive, or cannot be kept here.
    """

    isolates = False
    workers = 1

    def __init__(self, *, timeout_s: float | None = None) -> None:
        check_options("serial", None, timeout_s)
        if timeout_s is not None and not hasattr(signal, "setitimer"):
            raise ConfigError("serial: timeout_s needs a POSIX system, use the executor 'loky'")
        self._timeout_s = timeout_s

    def run(self, function: Callable[[I], V], items: Iterable[I]) -> Iterator[Outcome[I, V]]:
        for item in items:
            if self._timeout_s is None:
                yield invoke(function, item)
            else:
                yield self._run_within(self._timeout_s, function, item)

    def _run_within(self, seconds: float, function: Callable[[I], V], item: I) -> Outcome[I, V]:
        if threading.current_thread() is not threading.main_thread():
            raise ConfigError("serial: timeout_s works in the main thread only, use the executor 'loky'")
        try:
            with _alarm(seconds) as expired:
                outcome = invoke(function, item)
        except _Expired:
            outcome = Outcome(item, None, None, seconds)
        if not expired:
            return outcome
        return replace(outcome, value=None, error=Failure(TIMED_OUT, f"took longer than {seconds:g} s"))


class _Expired(BaseException):
    """Ends a call whose time is up. No `Exception`: the code that is interrupted would catch it and go on."""


@contextmanager
def _alarm(seconds: float) -> Iterator[list[bool]]:
    """Raises `_Expired` in the body after ``seconds``; the list is no longer empty from then on."""
    expired: list[bool] = []

    def ring(_signal: int, _frame: FrameType | None) -> None:
        expired.append(True)
        raise _Expired

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield expired
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
