"""Latency and peak memory of an architecture on this machine, as evidence."""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netatlas.errors import QueryError, SourceError
from netatlas.records import Evidence

if TYPE_CHECKING:
    from netatlas.execution.base import Executor

SOURCE = "netatlas measure"
WARM_UP = 3


@dataclass(frozen=True)
class Setting:
    """How to measure.

    Attributes:
        batch: Inputs at once.
        threads: Threads of torch, 0 for all processors this process may use.
        runs: Timed forward passes.
        seconds: Runs stop after this long even when fewer than asked for are done (never fewer than three).
    """

    batch: int = 1
    threads: int = 1
    runs: int = 30
    seconds: float = 60.0

    def __post_init__(self) -> None:
        for name, lowest in (("batch", 1), ("threads", 0), ("runs", 3)):
            if getattr(self, name) < lowest:
                raise QueryError(f"measure: {name} must be at least {lowest}, got {getattr(self, name)}")


def measure(entry_id: str, setting: Setting, executor: Executor) -> list[Evidence]:
    """Latency (ms) and peak resident memory (B) of an architecture with random weights, in a process of its own.

    Args:
        entry_id: Id of an architecture of a library that is installed, ``timm/resnet50``.
        setting: Batch, threads and runs.
        executor: Where it runs.

    Raises:
        SourceError: The source cannot build it, or the process died.
    """
    for outcome in executor.run(run_once, [(entry_id, setting)]):
        if outcome.error is not None:
            raise SourceError(f"{entry_id}: cannot be measured: {outcome.error}", reason="not measurable")
        return list(outcome.value or ())
    raise SourceError(f"{entry_id}: the executor returned nothing", reason="not measurable")


def run_once(task: tuple[str, Setting]) -> list[Evidence]:
    """Build, warm up and time one architecture in this process."""
    entry_id, setting = task
    import torch

    threads = setting.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    module, args, kwargs = _materialised(entry_id, setting.batch)
    with torch.inference_mode():
        times, busy = timed(lambda: module(*args, **kwargs), setting)
    quartiles = statistics.quantiles(times, n=4)
    detail = {"batch": setting.batch, "threads": threads, "runs": len(times), "torch": torch.__version__.partition("+")[0],
              "processor_ms": round(statistics.median(busy), 4)}  # fmt: skip
    common: dict[str, Any] = {
        "source": SOURCE, "machine": describe_machine(), "seed": 0,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "detail": detail,
    }  # fmt: skip
    what = f"{len(times)} forward passes, random weights, float32, batch {setting.batch}, {threads} threads"
    return [
        Evidence("latency_ms", statistics.median(times), f"median of {what}", spread=(quartiles[2] - quartiles[0]) / 2, **common),
        Evidence("peak_rss", float(peak_rss()), f"peak resident memory over {what}", **common),
    ]


def timed(call: Callable[[], object], setting: Setting) -> tuple[list[float], list[float]]:
    """Wall time and processor time of this thread, in ms, of repeated calls after a warm-up.

    With one thread the two agree on an idle machine; where other programs want the same processor, only the second keeps telling
    what the call costs.
    """
    began = time.perf_counter()
    for _ in range(WARM_UP):
        call()
        if time.perf_counter() - began > setting.seconds:
            break
    wall: list[float] = []
    busy: list[float] = []
    began = time.perf_counter()
    while len(wall) < setting.runs and (len(wall) < 3 or time.perf_counter() - began < setting.seconds):
        start, cpu = time.perf_counter(), time.thread_time()
        call()
        busy.append(1e3 * (time.thread_time() - cpu))
        wall.append(1e3 * (time.perf_counter() - start))
    return wall, busy


def _materialised(entry_id: str, batch: int) -> tuple[Any, Any, Any]:
    """The module with random weights on the CPU and its inputs repeated to ``batch``."""
    import torch

    from netatlas.sources.base import SOURCES

    source, _, name = entry_id.partition("/")
    if source not in SOURCES or not hasattr(maker := SOURCES.build(source), "specimen"):
        raise SourceError(f"{entry_id}: only architectures of an installed library can be measured", reason="no library")
    specimen = maker.specimen(name)
    generator = torch.Generator().manual_seed(0)
    module = specimen.module.to_empty(device="cpu")
    for parameter in module.parameters():
        parameter.data.normal_(0, 0.02, generator=generator)
    for buffer in module.buffers():  # ones keep running variances and tables finite; zero is a valid index
        buffer.fill_(1.0) if buffer.is_floating_point() else buffer.zero_()

    def real(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            shape = (batch * value.shape[0], *value.shape[1:]) if value.ndim > 1 else value.shape
            made = torch.ones(shape, dtype=value.dtype)
            return made.normal_(generator=generator) if made.is_floating_point() else made
        if isinstance(value, (list, tuple)):
            return type(value)(real(x) for x in value)
        return value

    return module, real(tuple(specimen.args)), {key: real(value) for key, value in specimen.kwargs.items()}


def peak_rss() -> int:
    """Peak resident memory of this process in bytes."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) * (1 if platform.system() == "Darwin" else 1024)


def describe_machine() -> str:
    """Processor, number of usable processors and operating system, without any name of the machine."""
    processor = _cpu_name() or platform.processor() or platform.machine()
    return f"{processor}, {len(os.sched_getaffinity(0))} processors, {platform.system()} {platform.machine()}"


def _cpu_name(read: Callable[[], str] = lambda: Path("/proc/cpuinfo").read_text()) -> str:
    try:
        lines = read().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
