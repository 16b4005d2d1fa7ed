"""Workers of a Ray cluster, or of a Ray of our own on this machine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from netatlas.errors import ConfigError, MissingExtraError
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


@EXECUTORS.register("ray")
class Ray(Executor):
    """One Ray task per item, one core and one numeric thread each.

    Every machine of a cluster needs netatlas and the libraries it reads, in the same versions. A worker that Ray loses (crash,
    memory monitor, node failure) costs only its item, which is run once more after all others.

    Args:
        address: Of a running cluster, ``"auto"`` for the one this machine belongs to; ``None`` starts Ray here for the time of
            the run.
        workers: Tasks at a time; by default the cores of this process, with ``address`` those of the cluster.
        timeout_s: Seconds an item may take from its submission; then its worker is killed.
        recycle_after: A worker process is renewed after this many items.

    Raises:
        ConfigError: An argument is out of range.
        MissingExtraError: Ray is not installed.
    """

    isolates = True

    def __init__(
        self, *, address: str | None = None, workers: int | None = None, timeout_s: float | None = None, recycle_after: int = 200
    ) -> None:
        self.workers = check_options("ray", workers, timeout_s, recycle_after)
        try:
            import cloudpickle  # noqa: F401
            import ray  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("the executor 'ray'", "distributed") from error
        self._address = address
        self._count_workers = address is not None and workers is None
        self._timeout_s = timeout_s
        self._recycle_after = recycle_after

    def run(self, function: Callable[[I], V], items: Iterable[I]) -> Iterator[Outcome[I, V]]:
        import ray

        started = self._connect(ray)
        flights: dict[Any, tuple[I, float]] = {}
        try:
            # max_retries=0: Ray would run the item of a dead worker again among the others, and never say so.
            call = ray.remote(num_cpus=1, max_retries=0, max_calls=self._recycle_after)(invoke_pickled)
            suspects: list[I] = []
            yield from self._run_tasks(ray, call, function, items, self.workers, flights, suspects)
            if suspects:
                blamed: list[I] = []
                yield from self._run_tasks(ray, call, function, suspects, 1, flights, blamed)
                failure = Failure(WORKER_DIED, "its process ended twice: crash, exit or out of memory")
                yield from (Outcome(item, None, failure, 0.0) for item in blamed)
        finally:
            for ref in flights:
                ray.cancel(ref, force=True)
            if started:
                ray.shutdown()

    def _connect(self, ray: Any) -> bool:
        """Join or start Ray; whether it is ours to stop."""
        if ray.is_initialized():
            return False
        options: dict[str, Any] = {"address": self._address}
        environment = dict(ONE_THREAD)
        if self._address is None:
            # Our own Ray must find what this process finds: Ray hands on only part of the search path.
            environment["PYTHONPATH"] = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
            options = {"address": "local", "num_cpus": self.workers, "include_dashboard": False}
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # sends nothing anywhere
        try:
            ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": environment}, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            place = f"at {self._address!r}" if self._address else "on this machine"
            raise ConfigError(f"ray: cannot start {place}: {' '.join(str(error).split())[:200]}") from error
        if self._count_workers:
            self.workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return True

    def _run_tasks(
        self,
        ray: Any,
        call: Any,
        function: Callable[[I], V],
        items: Iterable[I],
        room: int,
        flights: dict[Any, tuple[I, float]],
        lost: list[I],
    ) -> Iterator[Outcome[I, V]]:
        """Outcomes of ``items``, ``room`` at a time; those whose worker died are put into ``lost`` instead."""
        source = iter(items)
        while True:
            for item in islice(source, room - len(flights)):
                try:
                    flights[call.remote(pickle_call(function, item))] = (item, time.perf_counter())
                except Exception as error:
                    yield Outcome(item, None, Failure.of(error), 0.0)
            if not flights:
                return
            # Short waits: a call over time is noticed within a second, and Ctrl-C is answered as fast.
            done, _ = ray.wait(
                list(flights), num_returns=1, timeout=1.0 if self._timeout_s is None else min(1.0, self._timeout_s / 4)
            )
            for ref in done:
                item, start = flights.pop(ref)
                outcome = _outcome(ray, ref, item, time.perf_counter() - start)
                if outcome.error is not None and outcome.error.reason == WORKER_DIED:
                    lost.append(item)
                else:
                    yield outcome
            yield from self._cancel_late(ray, flights)

    def _cancel_late(self, ray: Any, flights: dict[Any, tuple[I, float]]) -> Iterator[Outcome[I, V]]:
        now = time.perf_counter()
        for ref, (item, start) in list(flights.items()):
            if self._timeout_s is not None and now - start > self._timeout_s:
                del flights[ref]
                ray.cancel(ref, force=True)
                yield Outcome(item, None, Failure(TIMED_OUT, f"took longer than {self._timeout_s:g} s"), now - start)


def _outcome(ray: Any, ref: Any, item: I, seconds: float) -> Outcome[I, Any]:
    crashes = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)
    try:
        return unpickle_outcome(item, ray.get(ref))
    except crashes as error:
        return Outcome(item, None, Failure(WORKER_DIED, type(error).__name__), seconds)
    except ray.exceptions.RayError as error:
        return Outcome(item, None, Failure.of(error), seconds)
