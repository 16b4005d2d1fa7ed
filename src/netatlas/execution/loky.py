"""Worker processes on this machine, through loky."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic

from netatlas.errors import MissingExtraError
from netatlas.execution.base import (
    EXECUTORS,
    ONE_THREAD,
    TIMED_OUT,
    WORKER_DIED,
    Executor,
    Failure,
    I,
    Outcome,
    V,
    check_options,
    invoke_pickled,
    pickle_call,
    unpickle_outcome,
)


@EXECUTORS.register("loky")
class Loky(Executor):
    """Local processes, started fresh (not forked), each with one numeric thread.

    loky gives up its whole pool when one worker dies or must be killed. So no more items are in flight than there are workers,
    the pool is made anew, and what was in flight is run again: together after a time-out, whose culprit is known, one at a time
    after a death, whose culprit is not.

    Args:
        workers: Processes; by default the cores this process may use.
        timeout_s: Seconds an item may take, the start of its worker included; then its worker is killed.
        recycle_after: The pool is renewed after this many items per worker.
        max_rss_mb: The pool is renewed when a worker has ever used more than this many MB: what a large item took is not all
            given back, and a build runs for an hour.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: loky is not installed.
    """

    isolates = True

    def __init__(
        self,
        *,
        workers: int | None = None,
        timeout_s: float | None = None,
        recycle_after: int = 500,
        max_rss_mb: float = 1500.0,
    ) -> None:
        self.workers = check_options("loky", workers, timeout_s, recycle_after)
        try:
            import cloudpickle  # noqa: F401
            import loky  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the executor 'loky'", "processes") from error
        self._timeout_s = timeout_s
        self._recycle_after = recycle_after
        self._max_rss = max_rss_mb * 1e6

    def run(self, function: Callable[[I], V], items: Iterable[I]) -> Iterator[Outcome[I, V]]:
        work = _Work(items)
        while batch := work.take_suspect() or work.take(self.workers):
            yield from self._run_pool(function, batch, work)

    def _run_pool(self, function: Callable[[I], V], batch: list[I], work: _Work[I]) -> Iterator[Outcome[I, V]]:
        """Outcomes of one pool's life; what it leaves undone goes back to ``work``."""
        alone = work.running_alone
        pool = _Pool[I](len(batch))
        calls, worn = 0, False
        try:
            while batch or pool.flights:
                for item in batch:
                    pool.submit(function, item)
                landed, crashed, late = pool.wait(self._timeout_s)
                yield from landed
                if crashed and alone:
                    yield from (
                        flight.failed(WORKER_DIED, "its process ended twice: crash, exit or out of memory") for flight in crashed
                    )
                elif crashed:
                    work.suspects.extend(flight.item for flight in crashed)
                yield from (flight.failed(TIMED_OUT, f"took longer than {self._timeout_s:g} s") for flight in late)
                if crashed or late:
                    work.again.extend(flight.item for flight in pool.flights.values())
                    return
                calls += len(landed)
                worn = worn or calls >= self._recycle_after * self.workers
                worn = worn or any((outcome.peak_rss or 0) > self._max_rss for outcome in landed)
                batch = [] if worn or alone else work.take(pool.size - len(pool.flights))
        finally:
            pool.close()


class _Work(Generic[I]):
    """What is still to be run: items not drawn yet, bystanders of a killed pool, and suspects of a crash."""

    def __init__(self, items: Iterable[I]) -> None:
        self._fresh = iter(items)
        self.again: deque[I] = deque()
        self.suspects: deque[I] = deque()
        self.running_alone = False

    def take_suspect(self) -> list[I]:
        """One suspect, to be run alone, or nothing."""
        self.running_alone = bool(self.suspects)
        return [self.suspects.popleft()] if self.suspects else []

    def take(self, count: int) -> list[I]:
        """Up to ``count`` items that may run together."""
        old = [self.again.popleft() for _ in range(min(count, len(self.again)))]
        return old + list(islice(self._fresh, count - len(old)))


@dataclass(frozen=True)
class _Flight(Generic[I]):
    """A call under way."""

    item: I
    start: float = field(default_factory=time.perf_counter)

    def failed(self, reason: str, message: str) -> Outcome[I, Any]:
        return Outcome(self.item, None, Failure(reason, message), time.perf_counter() - self.start)


class _Pool(Generic[I]):
    """One loky pool and the calls under way in it, never more than it has workers."""

    def __init__(self, size: int) -> None:
        from loky.process_executor import BrokenProcessPool, ProcessPoolExecutor

        self.size = size
        self.flights: dict[Future[bytes], _Flight[I]] = {}
        self._broken = BrokenProcessPool
        # loky ends workers that grow by 300 MB while their next call may already be on its way to them; renewing the pool when it
        # is empty does the same without that race.
        env = {**ONE_THREAD, "LOKY_MAX_MEMORY_LEAK_SIZE": "1e18"}
        self._pool = ProcessPoolExecutor(max_workers=size, env=env, initializer=_settle_in, initargs=(os.getpid(),))

    def submit(self, function: Callable[[I], V], item: I) -> None:
        """Send an item to a worker; when that is not possible, its future says why."""
        try:
            future = self._pool.submit(invoke_pickled, pickle_call(function, item))
        except Exception as error:
            future = Future()
            future.set_exception(error)
        self.flights[future] = _Flight(item)

    def wait(self, timeout_s: float | None) -> tuple[list[Outcome[I, Any]], list[_Flight[I]], list[_Flight[I]]]:
        """Wait for a landing: outcomes, flights lost in a crash, flights over time. None of them is in ``flights`` any more."""
        oldest = min(flight.start for flight in self.flights.values())
        limit = None if timeout_s is None else max(0.0, oldest + timeout_s - time.perf_counter())
        done, _ = wait(self.flights, timeout=limit, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), self._broken) for future in done):
            done, _ = wait(self.flights, timeout=60)  # a broken pool fails all its futures, one after the other
        landed, crashed = [], []
        for future in done:
            flight = self.flights.pop(future)
            error = future.exception()
            if error is None:
                landed.append(unpickle_outcome(flight.item, future.result()))
            elif isinstance(error, self._broken):
                crashed.append(flight)
            else:
                failure = Failure.of(error)
                landed.append(flight.failed(failure.reason, failure.message))
        now = time.perf_counter()
        expired = [future for future, flight in self.flights.items() if timeout_s is not None and now - flight.start >= timeout_s]
        return landed, crashed, [self.flights.pop(future) for future in expired]

    def close(self) -> None:
        self._pool.shutdown(wait=True, kill_workers=True)


def _settle_in(parent: int) -> None:
    """Prepare a worker: Ctrl-C is the parent's to handle, and a worker whose parent was killed must not live on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if hasattr(os, "getppid") and os.name == "posix":
        threading.Thread(target=watch, daemon=True, name="parent-watch").start()
