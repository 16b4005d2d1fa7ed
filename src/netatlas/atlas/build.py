"""Building an atlas from library sources: parallel, incremental, and safe to kill at any moment."""

from __future__ import annotations

import fnmatch
import functools
import itertools
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netatlas.atlas import vectors
from netatlas.atlas._door import Packed, pack
from netatlas.atlas.build_report import BuildReport, Step
from netatlas.atlas.lock import build_lock
from netatlas.atlas.store import Store
from netatlas.errors import SourceError
from netatlas.execution.base import EXECUTORS, Executor, Failure, Outcome, peak_rss
from netatlas.registry import Spec
from netatlas.sources.base import SOURCES, Source

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

READING = 1
"""Version of how netatlas reads: raised when the same library would give other graphs or facts, so that builds read it again."""

Encode = Callable[["Graph"], Mapping[str, bytes]]


def build(
    path: str | Path,
    sources: Sequence[str | Spec],
    *,
    match: str | None = None,
    executor: str | Spec | Executor = "loky",
    progress: Callable[[Step], None] | None = None,
    rebuild: bool = False,
    retry_failed: bool = False,
    limit: int | None = None,
    encode: Encode | None = vectors.encode,
    wait: bool = False,
    waiting: Callable[[str], None] | None = None,
) -> BuildReport:
    """Read all names of ``sources`` that the atlas at ``path`` does not have at their present version.

    Each name is written as it arrives, in one transaction with the note that it was done. So a build that is killed has lost
    nothing it reported, and the next one goes on from there. Names that vanished from a source are removed, unless ``match`` or
    ``limit`` says that this build is about a part only.

    Args:
        path: The atlas file, made when it does not exist.
        sources: Registered names, or with parameters.
        match: Read only the names that fit this pattern, such as ``"resnet*"``.
        executor: Where to read: ``"serial"``, ``"loky"``, ``"ray"``, with parameters, or an object.
        progress: Told after each name, when it is on the disk.
        rebuild: Read also what is up to date.
        retry_failed: Read also what failed before at this version.
        limit: Read at most this many names.
        encode: The vectors of a graph; importable, since it runs in the workers. ``None`` for none.
        wait: Wait for another build of the same file to end.
        waiting: Told once who is waited for.

    Raises:
        ConfigError: No such source or executor.
        SourceError: A source lists no names at all, or two sources have the same name.
        StoreError: The file cannot be used, or is being built by another process.
    """
    start = time.perf_counter()
    report = BuildReport()
    readers = [_Reader.of(source) for source in sources]
    if len({reader.source.name for reader in readers}) < len(readers):
        raise SourceError("a source is named twice: " + ", ".join(reader.source.name for reader in readers))
    with build_lock(Path(path), wait=wait, waiting=waiting), Store.open(path, "w", busy_timeout_s=60.0) as store:
        jobs: list[Job] = []
        for reader in readers:
            jobs += reader.jobs(store, report, match, rebuild, retry_failed)
            if match is None and limit is None:
                reader.remove_vanished(store, report)
        jobs = jobs[:limit]
        if jobs:
            runner = executor if isinstance(executor, Executor) else EXECUTORS.build(executor)
            outcomes = runner.run(functools.partial(read_job, encode=encode), jobs)
            _write(store, outcomes, len(jobs), report, runner, progress)
    report.seconds = time.perf_counter() - start
    return report


@dataclass(frozen=True)
class Job:
    """One name of a source, as it is sent to a worker.

    Attributes:
        maker: Class or function that makes the source. It travels by reference, which imports and thereby registers its module
            in the worker.
        params: Its keyword arguments.
        source: Name of the source.
        version: Of the source, with how netatlas reads.
        name: What to read.
    """

    maker: Callable[..., Source]
    params: Mapping[str, Any]
    source: str
    version: str
    name: str


def read_job(job: Job, *, encode: Encode | None) -> list[Packed]:
    """Read and pack one name; runs in the workers.

    Raises:
        NetatlasError: It cannot be read, traced or stored.
        Exception: Whatever the library raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries warn about old model code; nobody can act on it here
        return [pack(entry, encode) for entry in _source(job).read(job.name)]


_SOURCES: dict[tuple[str, str], Source] = {}


def _source(job: Job) -> Source:
    """The job's source, made once in each process."""
    key = (f"{job.maker.__module__}.{job.maker.__qualname__}", repr(sorted(job.params.items())))
    if key not in _SOURCES:
        _SOURCES[key] = job.maker(**job.params)
    return _SOURCES[key]


@dataclass(frozen=True)
class _Reader:
    """A source and how to make it again elsewhere."""

    source: Source
    maker: Callable[..., Source]
    params: Mapping[str, Any]
    names: Sequence[str]
    version: str

    @classmethod
    def of(cls, spec: str | Spec) -> _Reader:
        spec = Spec(spec) if isinstance(spec, str) else spec
        source = SOURCES.build(spec)
        names = sorted(set(source.names()))
        if not names:
            # Taken at its word, a broken installation would empty the atlas.
            raise SourceError(f"source {source.name!r} lists no names: is its library installed completely?", reason="empty")
        return cls(source, SOURCES.maker(spec.name), spec.params, names, f"{source.version()}, reading {READING}")

    def jobs(self, store: Store, report: BuildReport, match: str | None, rebuild: bool, retry_failed: bool) -> Iterator[Job]:
        """What is to be read; the rest is counted in the report."""
        rows = store.builds(self.source.name)
        for name in self.names:
            if match is not None and not fnmatch.fnmatchcase(name, match):
                continue
            row = rows.get(name)
            if row is None or row.version != self.version or rebuild or (retry_failed and row.reason is not None):
                yield Job(self.maker, self.params, self.source.name, self.version, name)
            else:
                (report.unchanged if row.reason is None else report.failed_before)[self.source.name] += 1

    def remove_vanished(self, store: Store, report: BuildReport) -> None:
        gone = sorted(set(store.builds(self.source.name)) - set(self.names))
        if gone:
            store.remove_builds(self.source.name, gone)
            report.removed[self.source.name] += len(gone)


def _write(
    store: Store,
    outcomes: Iterable[Outcome[Job, list[Packed]]],
    total: int,
    report: BuildReport,
    runner: Executor,
    progress: Callable[[Step], None] | None,
) -> None:
    """Write outcomes as they come."""
    largest = 0
    for done, outcome in zip(itertools.count(1), outcomes, strict=False):
        failure = _write_one(store, outcome)
        job, entries = outcome.item, len(outcome.value or ()) if failure is None else 0
        report.entries += entries
        if failure is None:
            report.built[job.source] += 1
        else:
            report.failed[f"{job.source}/{job.name}"] = failure
        largest = max(largest, outcome.peak_rss or 0)
        report.workers = runner.workers
        report.peak_rss = _total_rss(largest, runner)
        if progress is not None:
            progress(Step(done, total, job.source, job.name, entries, failure, outcome.seconds))


def _write_one(store: Store, outcome: Outcome[Job, list[Packed]]) -> Failure | None:
    job, failure = outcome.item, outcome.error
    if failure is None:
        try:
            store.put_build(job.source, job.name, job.version, outcome.value or ())
        except SourceError as error:
            failure = Failure.of(error)
    if failure is not None:
        store.put_build(job.source, job.name, job.version, reason=failure.reason, message=failure.message)
    return failure


def _total_rss(largest: int, runner: Executor) -> int | None:
    own = peak_rss()
    if own is None:
        return None
    return own + largest * runner.workers if runner.isolates else own
