"""Measures the methods of `nar` on its protocols."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import ENCODERS, Encoder, Trainable
from netatlas.errors import ConfigError, MissingExtraError
from netatlas.evaluation.nar.protocols import Similarity, Task, find_protocol, score, similarities, task
from netatlas.registry import Spec
from netatlas.systems._journal import Journal
from netatlas.systems._nar_methods import BEST_WL, FUSED, METHODS, OPPONENT, QUICK, TUNED, WL_CANDIDATES, Method
from netatlas.systems._results import machine
from netatlas.systems.base import Result, Step

THREADS = 1
QUICK_LIMIT = 60
TIMED = 60
"""Graphs whose encoding is timed, from the graph as it is stored: nothing about them is known beforehand."""


@dataclass(frozen=True)
class Unit:
    """One training and its measurement.

    Attributes:
        protocol: Name of a protocol.
        split: Number of the draw.
        seed: Of the training.
        methods: What one training gives figures for: a method, or the tuned one with its fusion.
    """

    protocol: str
    split: int
    seed: int
    methods: tuple[Method, ...]

    @property
    def key(self) -> str:
        """Name in the journal."""
        return f"{self.protocol}/{self.split}/{self.methods[0].name}/{self.seed}"


def run(protocols: tuple[str, ...], seeds: int, *, quick: bool, journal: Journal, progress: Callable[[Step], None]) -> Result:
    """See `nar.reproduce`."""
    protocols = tuple(find_protocol(name).name for name in protocols)
    if seeds < 1 or not protocols:
        raise ConfigError(f"nar: seeds and protocols must be 1 or more, got {seeds} and {len(protocols)}")
    torch = _torch()
    units = plan(protocols, 1 if quick else seeds, quick=quick)
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        measured = _measure(units, quick=quick, journal=journal, progress=progress)
    finally:
        torch.set_num_threads(before)
    return _result(protocols, seeds, measured, quick=quick)


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError:
        raise MissingExtraError("the reproduction of nar", "torch") from None
    return torch


def plan(protocols: Sequence[str], seeds: int, *, quick: bool) -> list[Unit]:
    """All units, split by split, so that an interrupted run leaves whole splits behind."""
    fused = next(m for m in METHODS if m.name == FUSED)
    units = []
    for protocol in protocols:
        for split in range(1 if quick else find_protocol(protocol).splits):
            for method in METHODS:
                if protocol in method.protocols and method is not fused:
                    together = (method, fused) if method.name == TUNED else (method,)
                    number = min(seeds, method.seeds or seeds)
                    units += [Unit(protocol, split, seed, together) for seed in range(number)]
    return units


def _measure(
    units: Sequence[Unit], *, quick: bool, journal: Journal, progress: Callable[[Step], None]
) -> list[tuple[Unit, dict[str, Any]]]:
    from netatlas.atlas.atlas import Atlas
    from netatlas.atlas.places import starter_path

    atlas = cache(lambda: Atlas.open(starter_path()))

    @cache
    def drawn(protocol: str, split: int) -> Task:
        return task(protocol, split, atlas(), limit=QUICK_LIMIT if quick else None)

    found = []
    for done, unit in enumerate(units, start=1):
        resumed = unit.key in journal
        found.append((unit, journal.measure(unit.key, lambda unit=unit: _one(unit, drawn(unit.protocol, unit.split), quick))))  # type: ignore[misc]
        figures = found[-1][1][unit.methods[0].name]["metrics"]
        text = f"{unit.key}: MRR@20 {figures['mrr@20']:.3f}, MAP@20 {figures['map@20']:.3f}"
        progress(Step(done, len(units), text, resumed))
    return found


def _one(unit: Unit, drawn: Task, quick: bool) -> dict[str, Any]:
    """Figures of every method of the unit by name."""
    began = time.perf_counter()
    method = unit.methods[0]
    params = _best_wl(drawn) if method.name == BEST_WL else dict(method.params)
    if quick:
        params |= {k: min(v, params.get(k, v)) for k, v in QUICK.get(method.encoder, {}).items()}
    encoder = ENCODERS.build(Spec(method.encoder, params))
    alike = similarities(drawn, encoder, unit.seed)
    seconds = time.perf_counter() - began
    rest = {"seconds": round(seconds, 2), "params": params, **_speed(encoder, drawn)}
    found = {method.name: _figures(drawn, alike) | rest}
    for other in unit.methods[1:]:
        opponent = next(m for m in METHODS if m.name == OPPONENT)
        counted = similarities(drawn, ENCODERS.build(Spec(opponent.encoder, opponent.params)), 0)
        found[other.name] = _figures(drawn, _fused(alike, counted)) | rest
    return found


def _figures(drawn: Task, alike: Similarity) -> dict[str, Any]:
    columns = score(drawn, alike)
    means = {name: round(float(np.dot(values, drawn.weights)), 6) for name, values in columns.items()}
    return {
        "metrics": means,
        "queries": {name: [round(v, 4) for v in columns[name]] for name in ("mrr@20", "map@20")},
        "weights": [round(w, 6) for w in drawn.weights],
        "sizes": [len(drawn.training), len(drawn.items), len(drawn.queries), drawn.skipped],
    }


def _fused(one: Similarity, other: Similarity) -> Similarity:
    """Mean of both after each was brought to mean 0 and deviation 1 over the gallery of its query."""

    def level(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray((row - row.mean()) / max(float(row.std()), 1e-12))

    return [level(a) + level(b) for a, b in zip(one, other, strict=True)]


def _best_wl(drawn: Task) -> dict[str, Any]:
    """Depth and weighting that retrieve families best among the training graphs."""
    items = drawn.training
    rows = [tuple(j for j in range(len(items)) if j != i) for i in range(len(items))]
    wanted = [frozenset(j for j in row if items[j].family == items[i].family) for i, row in enumerate(rows)]
    asks = [i for i, found in enumerate(wanted) if found]
    inner = Task(
        f"{drawn.name}/training", (), items, tuple(asks), tuple(rows[i] for i in asks), tuple(wanted[i] for i in asks),
        (1 / max(len(asks), 1),) * len(asks), 0,
    )  # fmt: skip
    values = []
    for params in WL_CANDIDATES:
        columns = score(inner, similarities(inner, ENCODERS.build(Spec("wl", params)), 0), ks=(20,))
        values.append(float(np.mean(columns["mrr@20"]) + np.mean(columns["map@20"])) if columns else 0.0)
    return dict(WL_CANDIDATES[int(np.argmax(values))])


def _speed(encoder: Encoder, drawn: Task) -> dict[str, Any]:
    """Median milliseconds to encode a graph: from the stored graph, and again when all but the networks' work is kept."""
    chosen = np.random.default_rng(0).permutation(len(drawn.items))[:TIMED]
    cold: list[float] = []
    warm: list[float] = []
    for i in chosen.tolist():
        graph = dataclasses.replace(drawn.items[i].graph)  # a graph nobody has seen
        for times in (cold, warm):
            began = time.perf_counter()
            encoder.encode(graph)
            times.append(1e3 * (time.perf_counter() - began))
    return {
        "ms": round(float(np.median(cold)), 3),
        "ms_again": round(float(np.median(warm)), 3),
        "learns": isinstance(encoder, Trainable),
    }


def _result(protocols: tuple[str, ...], seeds: int, measured: list[tuple[Unit, dict[str, Any]]], *, quick: bool) -> Result:
    from netatlas.systems._nar_tables import tables
    from netatlas.systems._nar_verdicts import verdicts

    total = sum(value[unit.methods[0].name]["seconds"] for unit, value in measured)
    return Result(
        system="nar",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine(THREADS, "torch", "timm") if not quick else machine(THREADS, "torch"),
        settings={"protocols": list(protocols), "seeds": 1 if quick else seeds, "quick": quick},
        seconds=round(total, 1),
        tables=tables(protocols, measured),
        verdicts=verdicts(measured, quick=quick),
        quick=quick,
    )
