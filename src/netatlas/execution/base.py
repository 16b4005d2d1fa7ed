"""The interface of executors: one function applied to many items, here or elsewhere, whatever happens to some of them."""

from __future__ import annotations

import os
import pickle
import sys
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from netatlas.errors import ConfigError
from netatlas.registry import Registry

I = TypeVar("I")  # noqa: E741  an item
V = TypeVar("V")  # a value

WORKER_DIED = "worker died"
TIMED_OUT = "timed out"
"""Reasons of failures that the function itself could not report."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"
)
"""Environment of workers. With a pool of processes, threads within each only fight over the same cores, and the numeric libraries
read these names once, while they are imported: they must be set before the worker starts."""


@dataclass(frozen=True)
class Failure:
    """What an exception leaves behind when it crosses a process border: exceptions themselves do not always survive the trip.

    Attributes:
        reason: A short category: the exception's own ``reason``, else the name of its class, else `WORKER_DIED` or `TIMED_OUT`.
        message: Its message on one line.
        detail: Traceback, for ``--debug``.
    """

    reason: str
    message: str
    detail: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """The record of an exception."""
        reason = getattr(error, "reason", None)
        message = " ".join(str(error).split()) or type(error).__name__
        detail = "".join(traceback.format_exception(error))
        return cls(reason if isinstance(reason, str) else type(error).__name__, message[:2000], detail[-20_000:])


@dataclass(frozen=True)
class Outcome(Generic[I, V]):
    """What became of one item.

    Attributes:
        item: As given.
        value: What the function returned; ``None`` when it failed.
        error: Why it failed; ``None`` when it did not.
        seconds: Wall time of the call, from its submission where the worker died.
        peak_rss: Largest resident memory of the worker so far, in bytes; ``None`` where the worker did not live to tell.
    """

    item: I
    value: V | None
    error: Failure | None
    seconds: float
    peak_rss: int | None = None


class Executor(ABC):
    """Applies a function to items and yields the outcomes as they come, in any order.

    An item whose call raises is an outcome like any other. An executor that ``isolates`` also survives calls that end their
    process: the item is run once more, alone, before it is blamed; items that were merely near it are run again.
    Leaving the iterator early, by ``break``, an exception or Ctrl-C, ends the workers.
    """

    isolates: bool
    """Whether a call that kills or blocks its process costs no more than its own item."""

    workers: int
    """Calls that run at the same time."""

    @abstractmethod
    def run(self, function: Callable[[I], V], items: Iterable[I]) -> Iterator[Outcome[I, V]]:
        """One outcome per item.

        Args:
            function: Called with one item. For workers in other processes it must be importable there, or picklable by value.
            items: Drawn as workers become free.
        """


EXECUTORS: Registry[Executor] = Registry("executors", "netatlas.execution")


def invoke(function: Callable[[I], V], item: I) -> Outcome[I, V]:
    """Call ``function`` and record how it went. ``KeyboardInterrupt`` and ``SystemExit`` from Ctrl-C pass through."""
    start = time.perf_counter()
    try:
        value = function(item)
    except Exception as error:
        return Outcome(item, None, Failure.of(error), time.perf_counter() - start, peak_rss())
    return Outcome(item, value, None, time.perf_counter() - start, peak_rss())


def invoke_pickled(call: bytes) -> bytes:
    """`invoke` for workers: takes a pickled ``(function, item)``, returns a pickled outcome whose item is ``None``.

    Pickling happens in here, where it can fail like any other part of the call: left to the pools, an item that cannot be read
    or a value that cannot be written would count as a dead worker.
    """
    start = time.perf_counter()
    try:
        function, item = pickle.loads(call)
        outcome = invoke(function, item)
        return pickle.dumps(Outcome(None, outcome.value, outcome.error, outcome.seconds, outcome.peak_rss))
    except SystemExit as error:
        failure = Failure(WORKER_DIED, f"the call ended its process with exit code {error.code}")
    except Exception as error:
        failure = Failure.of(error)
    return pickle.dumps(Outcome(None, None, failure, time.perf_counter() - start, peak_rss()))


def pickle_call(function: Callable[[I], V], item: I) -> bytes:
    """The argument of `invoke_pickled`. Functions that cannot be imported, such as closures, travel by value."""
    import cloudpickle

    return bytes(cloudpickle.dumps((function, item)))


def unpickle_outcome(item: I, data: bytes) -> Outcome[I, Any]:
    """The result of `invoke_pickled`, put together with its item."""
    try:
        outcome = pickle.loads(data)
    except Exception as error:
        return Outcome(item, None, Failure.of(error), 0.0)
    return Outcome(item, outcome.value, outcome.error, outcome.seconds, outcome.peak_rss)


def check_options(name: str, workers: int | None, timeout_s: float | None, recycle_after: int | None = None) -> int:
    """The number of workers, after checking the arguments that executors share.

    Raises:
        ConfigError: An argument is out of range.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"{name}: workers must be at least 1, got {workers}")
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"{name}: timeout_s must be more than 0 seconds, got {timeout_s}")
    if recycle_after is not None and recycle_after < 1:
        raise ConfigError(f"{name}: recycle_after must be at least 1 item, got {recycle_after}")
    return workers or available_cores()


def available_cores() -> int:
    """Cores this process may use: the smaller of its affinity and its control group's quota, at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, cores if quota is None else min(cores, int(quota)))


def _cgroup_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Cores granted by the control group, ``None`` where there is no limit. Containers limit time, not affinity."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return int(quota) / int(period) if int(quota) > 0 and int(period) > 0 else None
    except ValueError:  # "max"
        return None


def peak_rss() -> int | None:
    """Largest resident memory of this process so far in bytes, ``None`` where the system does not tell."""
    try:
        # Not getrusage: its figure survives exec, so a fresh worker would report the memory of the process that started it.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
