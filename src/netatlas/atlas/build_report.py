"""What a build did, for people and programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from netatlas.execution.base import Failure
from netatlas.facts import format_count


@dataclass(frozen=True)
class Step:
    """One name a build has dealt with; by now it is on the disk.

    Attributes:
        done: Names dealt with so far.
        total: Names this build will deal with.
        source: Name of the source.
        name: What was read.
        entries: How many entries it gave.
        failure: Why it gave none; ``None`` when it was read.
        seconds: Time its reading took.
    """

    done: int
    total: int
    source: str
    name: str
    entries: int
    failure: Failure | None
    seconds: float


@dataclass
class BuildReport:
    """Counts and figures of one build; grows while the build runs, ``str`` of it is a table.

    Attributes:
        built: Names read, by source.
        unchanged: Names that were up to date, by source.
        removed: Names that vanished from their source, by source.
        failed: Failures of this build, by ``source/name``.
        failed_before: Names left alone because they failed before at the same version, by source.
        entries: Entries written.
        seconds: Wall time.
        workers: Calls that ran at the same time.
        peak_rss: Upper bound of the memory all processes used at once, in bytes: this process's peak and, for every worker, the
            largest peak of any; ``None`` where the system does not tell.
    """

    built: Counter[str] = field(default_factory=Counter)
    unchanged: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    failed: dict[str, Failure] = field(default_factory=dict)
    failed_before: Counter[str] = field(default_factory=Counter)
    entries: int = 0
    seconds: float = 0.0
    workers: int = 1
    peak_rss: int | None = None

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Names that failed, by reason, the most frequent first."""
        found: dict[str, list[str]] = {}
        for name, failure in sorted(self.failed.items()):
            found.setdefault(failure.reason, []).append(name)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    @property
    def rate(self) -> float | None:
        """Names per second and worker; ``None`` when none was read."""
        names = self.built.total() + len(self.failed)
        return names / self.seconds / self.workers if names and self.seconds > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values; figures that are not known are ``None``."""
        return {
            "built": dict(self.built),
            "unchanged": dict(self.unchanged),
            "removed": dict(self.removed),
            "failed": {name: {"reason": f.reason, "message": f.message} for name, f in sorted(self.failed.items())},
            "failed_before": dict(self.failed_before),
            "entries": self.entries,
            "seconds": self.seconds,
            "workers": self.workers,
            "rate": self.rate,
            "peak_rss": self.peak_rss,
        }

    def __str__(self) -> str:
        failed = Counter(name.split("/", 1)[0] for name in self.failed)
        columns = {
            "built": self.built,
            "unchanged": self.unchanged,
            "failed": failed,
            "failed before": self.failed_before,
            "removed": self.removed,
        }
        sources = sorted(set().union(*columns.values()))
        width = max((len(source) for source in sources), default=0)
        lines = ["  ".join([" " * width, *columns])] if sources else ["nothing to build"]
        for source in sources:
            cells = (f"{column[source]:>{len(title)}}" for title, column in columns.items())
            lines.append("  ".join([f"{source:<{width}}", *cells]))
        for reason, names in self.reasons.items():
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            lines.append(f"{len(names)} failed: {reason} ({shown})")
        return "\n".join([*lines, self._figures()])

    def _figures(self) -> str:
        workers = f"{self.workers} worker{'' if self.workers == 1 else 's'}"
        words = [f"{self.entries} entries written in {self.seconds:.1f} s with {workers}"]
        if self.rate is not None:
            words.append(f"{self.rate:.2f} names per second and worker")
        if self.peak_rss is not None:
            words.append(f"at most {format_count(self.peak_rss, 'B')} of memory")
        return ", ".join(words)
