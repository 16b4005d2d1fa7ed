"""Calibration: measure a few architectures that differ, and learn from them how this machine differs from the reference."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netatlas.atlas import measure as measuring
from netatlas.atlas.predictions import CALIBRATION
from netatlas.atlas.store import Store
from netatlas.atlas.tables import table
from netatlas.errors import ConfigError, QueryError
from netatlas.graph.work import COLUMNS, unpack, work
from netatlas.graph.work import STORED_AS as WORK
from netatlas.predictors._calibration import FEWEST, Calibration, calibrate
from netatlas.predictors._features import time_shares
from netatlas.predictors.base import PREDICTORS
from netatlas.records import Evidence

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.execution.base import Executor

Floats = npt.NDArray[np.float64]

SHORTEST_MS, LONGEST_MS = 1.5, 250.0
"""Reference latencies between which architectures are chosen: below, the clock and the interpreter are measured; above, one
architecture would take a tenth of the budget."""

MOST_PARAMS = 200_000_000
"""Parameters of the largest architecture that is chosen, 0.8 GB of weights."""

RUNS, SECONDS = 11, 3.0
"""Timed passes for each visit, and the seconds after which a visit ends."""

ROUNDS = 2
"""Visits to each architecture, far apart in time, so that a slow minute of the machine does not fall on one architecture alone."""

Measurer = Callable[[Iterable[str]], Iterator[tuple[str, "list[Evidence] | str"]]]
"""Takes ids as they are needed; yields each with its evidence, or with why it could not be measured."""


@dataclass(frozen=True)
class Visit:
    """One architecture measured now: ``done`` of ``total`` visits, its latency in ms, or why there is none."""

    entry_id: str
    done: int
    total: int
    ms: float | None
    failure: str = ""


@dataclass(frozen=True)
class Report:
    """What calibrating found.

    Attributes:
        calibration: Now used for all predictions of latency.
        rows: Id, measured ms, and ms predicted by a fit that saw no architecture of its family; the fastest first.
        visits: Measurements made in this run; the others were made before.
        failures: Why architectures could not be measured, by id.
        stopped: Why measuring ended early, ``""`` when it did not.
    """

    calibration: Calibration
    rows: tuple[tuple[str, float, float], ...]
    visits: int
    failures: Mapping[str, str]
    stopped: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON values."""
        rows = [{"id": i, "measured_ms": ms, "predicted_ms": guess} for i, ms, guess in self.rows]
        return {
            "calibration": asdict(self.calibration), "architectures": rows, "visits": self.visits, "failures": dict(self.failures),
            "stopped": self.stopped or None,
        }  # fmt: skip

    def __str__(self) -> str:
        errors = self.calibration.errors
        rows = [[i, f"{ms:.1f}", f"{guess:.1f}", f"{100 * (guess / ms - 1):+.0f} %"] for i, ms, guess in self.rows]
        lines = [table(["architecture", "measured ms", "predicted ms", "error"], rows, right=(1, 2, 3))]
        lines += [f"not measured: {entry_id}: {reason}" for entry_id, reason in self.failures.items()]
        lines += [f"stopped early: {self.stopped}"] if self.stopped else []
        lines.append(
            f"{len(self.rows)} architectures on {self.calibration.machine}, each predicted without its family: Spearman "
            f"{errors['spearman']:.3f}, median relative error {100 * errors['median_relative_error']:.0f} %, nine of ten within "
            f"{100 * errors['p90_relative_error']:.0f} %"
        )
        return "\n".join(lines)


def run(
    atlas: Atlas,
    measurer: Measurer,
    *,
    count: int = 30,
    budget_s: float = 300.0,
    threads: int = 1,
    sources: Sequence[str] = ("timm", "torchvision"),
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[Visit], None] = lambda visit: None,
) -> Report:
    """Measure, fit and keep the calibration in the user's atlas; what was measured before on this machine counts too.

    Every measurement is kept as soon as it is made, so a run that is killed or interrupted goes on where it stopped.

    Args:
        atlas: The atlas; the calibration and the evidence go to the user's own.
        measurer: How latencies are measured.
        count: Architectures to have.
        budget_s: No new visit begins after this many seconds.
        threads: Threads measurements are made with; the same for all.
        sources: Libraries that can be measured.
        clock: Seconds.
        progress: Called after every visit.

    Raises:
        QueryError: ``count`` or ``budget_s`` is out of range, or the atlas has no architecture that could be measured.
        ConfigError: Too little was measured to fit anything.
    """
    if count < FEWEST:
        raise QueryError(f"calibrate: count must be at least {FEWEST}, got {count}")
    if not budget_s > 0:
        raise QueryError(f"calibrate: the budget must be more than 0 seconds, got {budget_s:g}")
    ids, vectors = candidates(atlas, sources)
    if len(ids) < FEWEST:
        raise QueryError(
            f"calibrate: the atlas has {len(ids)} architectures of {' or '.join(sources)} of a fitting size, {FEWEST} are needed"
        )
    chosen = spread(ids, vectors, [_family(atlas, i) for i in ids], count)
    here = f"{measuring.describe_machine()}, {threads} thread{'s' if threads != 1 else ''}"
    known = {i: found for i in _with_latency(atlas, chosen) if (found := _latencies(atlas.evidence(i), threads))}
    visits, failures, stopped = _measure(atlas, measurer, chosen, known, budget_s, clock, progress)
    calibration, rows = _fit(atlas, known, here)
    with Store.open(atlas.writable, "w") as store:
        store.set_meta(CALIBRATION, calibration.to_json())
    return Report(calibration, rows, visits, failures, stopped)


def candidates(atlas: Atlas, sources: Sequence[str]) -> tuple[list[str], Floats]:
    """Architectures that can be measured in reasonable time, and their `netatlas.graph.work.work` vectors ``(n, len(COLUMNS))``."""
    columns = atlas.derived.columns
    codes, kinds = columns.text("kind")
    wanted = kinds.index("architecture") if "architecture" in kinds else -2
    ids = [i for i, code in zip(columns.ids, codes.tolist(), strict=True) if code == wanted and i.partition("/")[0] in sources]
    table = works(atlas, sorted(i for i in ids if "/test_" not in i))
    if not table:
        return [], np.zeros((0, len(COLUMNS)))
    names, vectors = list(table), np.stack(list(table.values()))
    reference, _, _ = PREDICTORS.build("latency").values(vectors)
    params = vectors[:, COLUMNS.index("params")]
    kept = np.flatnonzero((reference >= SHORTEST_MS) & (reference <= LONGEST_MS) & (params <= MOST_PARAMS))
    return [names[i] for i in kept], vectors[kept]


def works(atlas: Atlas, ids: Sequence[str]) -> dict[str, Floats]:
    """Vectors of `netatlas.graph.work.work` by id, from the atlas or else from the graphs, a few milliseconds each."""
    stored, found = atlas.vectors(WORK), {}
    for entry_id in ids:
        vector = unpack(stored[entry_id]) if entry_id in stored else None
        found[entry_id] = work(atlas.graph(entry_id)) if vector is None else vector
    return found


def spread(ids: Sequence[str], table: Floats, families: Sequence[str], count: int) -> list[str]:
    """Up to ``count`` ids that span the range of latencies evenly and differ in what they spend their time on.

    The logarithms of latency are cut into ``count`` ranges; from each the architecture is taken that is farthest from all taken
    before, of a family that is not there yet where there is one. The order is such that the beginning of the list also spans the
    range, for runs that end early.
    """
    reference, _, _ = PREDICTORS.build("latency").values(table)
    shares, place = time_shares(table), np.log(reference)
    edges = np.linspace(place.min(), place.max() + 1e-9, count + 1)
    taken: list[int] = []
    for i in _scattered(count):
        inside = [r for r in np.flatnonzero((place >= edges[i]) & (place < edges[i + 1])).tolist() if r not in taken]
        fresh = [r for r in inside if families[r] not in {families[t] for t in taken}] or inside
        if fresh:
            away = [min((float(np.abs(shares[r] - shares[t]).sum()) for t in taken), default=0.0) for r in fresh]
            taken.append(fresh[int(np.argmax(away))])
    return [ids[r] for r in taken]


def _scattered(count: int) -> list[int]:
    """``0 ... count - 1`` so that every beginning is spread over the whole: bits read backwards (van der Corput)."""
    bits = max(1, (count - 1).bit_length())
    return [r for i in range(2**bits) if (r := int(f"{i:0{bits}b}"[::-1], 2)) < count]


def _family(atlas: Atlas, entry_id: str) -> str:
    columns = atlas.derived.columns
    for fact in ("family", "module"):
        codes, words = columns.text(fact)
        if (code := int(codes[columns.row[entry_id]])) >= 0:
            return words[code]
    return entry_id


def _with_latency(atlas: Atlas, chosen: Sequence[str]) -> list[str]:
    """The chosen ids and all others that something was measured of."""
    columns = atlas.derived.columns
    measured = [columns.ids[r] for r in np.flatnonzero(columns.known("latency_ms")).tolist()]
    return list(dict.fromkeys([*chosen, *measured]))


def _latencies(evidence: Sequence[Evidence], threads: int) -> list[float]:
    """Latencies (ms) measured on this machine at batch 1 with as many threads, the oldest first."""
    machine = measuring.describe_machine()
    return [
        idle(item).value
        for item in evidence
        if item.fact == "latency_ms" and item.source == measuring.SOURCE and item.machine == machine
        and item.detail.get("batch") == 1 and item.detail.get("threads") == threads
    ]  # fmt: skip


def idle(item: Evidence) -> Evidence:
    """Latency on an otherwise idle machine: with one thread the processor time of a pass, which other programs do not add to."""
    busy = item.detail.get("processor_ms")
    if item.fact != "latency_ms" or item.detail.get("threads") != 1 or not isinstance(busy, (int, float)) or busy <= 0:
        return item
    if item.method.startswith("median processor time"):
        return item
    detail = {**item.detail, "wall_ms": round(item.value, 4)}
    # The spread is that of the wall time; it says nothing of the processor time.
    return replace(
        item,
        value=float(busy),
        method=item.method.replace("median of", "median processor time of", 1),
        spread=None,
        detail=detail,
    )


def _measure(
    atlas: Atlas,
    measurer: Measurer,
    chosen: Sequence[str],
    known: dict[str, list[float]],
    budget_s: float,
    clock: Callable[[], float],
    progress: Callable[[Visit], None],
) -> tuple[int, dict[str, str], str]:
    """Visit what is missing, round after round; returns visits made, failures by id, and why it ended early."""
    wanted = [i for turn in range(1, ROUNDS + 1) for i in chosen if len(known.get(i, ())) < turn]
    began, made, stopped = clock(), 0, ""
    failures: dict[str, str] = {}

    def needed() -> Iterator[str]:
        nonlocal stopped
        for entry_id in wanted:
            if clock() - began >= budget_s:
                stopped = f"the budget of {budget_s:g} s was used up"
                return
            if entry_id not in failures:
                yield entry_id

    try:
        for entry_id, found in measurer(needed()):
            made += 1
            if isinstance(found, str):
                failures[entry_id] = found
                progress(Visit(entry_id, made, len(wanted), None, found))
                continue
            for item in map(idle, found):
                atlas.add_evidence(entry_id, item)
                if item.fact == "latency_ms":
                    known.setdefault(entry_id, []).append(item.value)
            progress(Visit(entry_id, made, len(wanted), known[entry_id][-1]))
    except KeyboardInterrupt:
        stopped = "interrupted; what was measured is kept"
    return made, failures, stopped


def _fit(
    atlas: Atlas, known: Mapping[str, Sequence[float]], here: str
) -> tuple[Calibration, tuple[tuple[str, float, float], ...]]:
    ids = sorted(known)
    if len(ids) < FEWEST:
        raise ConfigError(
            f"calibrate: {len(ids)} architectures were measured, at least {FEWEST} are needed: give it a larger --budget"
        )
    table = np.stack(list(works(atlas, ids).values()))
    measured = np.array([statistics.median(known[i]) for i in ids])
    reference, _, _ = PREDICTORS.build("latency").values(table)
    calibration, predicted = calibrate(here, measured, np.log(reference), table, [_family(atlas, i) for i in ids])
    rows = sorted(zip(ids, measured.tolist(), predicted.tolist(), strict=True), key=lambda row: row[1])
    return calibration, tuple(rows)


def measurer_on(executor: Executor, threads: int) -> Measurer:
    """Measures one architecture after the other where ``executor`` runs things."""
    setting = measuring.Setting(1, threads, RUNS, SECONDS)

    def measured(ids: Iterable[str]) -> Iterator[tuple[str, list[Evidence] | str]]:
        for outcome in executor.run(measuring.run_once, ((i, setting) for i in ids)):
            yield outcome.item[0], outcome.error.message if outcome.error else list(outcome.value or ())

    return measured
