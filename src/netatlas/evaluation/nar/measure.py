"""Measures encoders on protocols, training by training."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netatlas.encoders.base import ENCODERS, Encoder, Trainable
from netatlas.errors import ConfigError, StoreError
from netatlas.evaluation.fingerprint import code_mark, task_mark
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.machine import version
from netatlas.evaluation.nar.protocols import Similarity, Task, compare, find_protocol, score, task
from netatlas.evaluation.ranking import best_first
from netatlas.registry import Spec

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

TIMED = 60
"""Graphs whose encoding is timed, and queries; from the graph as it is stored, nothing about it being known beforehand."""


@dataclass(frozen=True)
class Contender:
    """An encoder that is measured.

    Attributes:
        name: Row title.
        encoder: Registered name.
        params: Of its constructor.
        seeds: Trainings on a split at most, ``None`` for as many as asked for; 1 for what has no randomness.
        choices: Parameters among which the training families choose; instead of ``params``.
        fused: Whether its fusion with `OPPONENT` is measured too, as a row of its own.
    """

    name: str
    encoder: str
    params: Mapping[str, Any] = field(default_factory=dict)
    seeds: int | None = None
    choices: tuple[Mapping[str, Any], ...] = ()
    fused: bool = False

    @property
    def rows(self) -> tuple[str, ...]:
        """Titles of the rows it gives."""
        return (self.name, f"{self.name} + {OPPONENT.name}") if self.fused else (self.name,)


OPPONENT = Contender("WL 1 binary", "wl", {"rounds": 1, "vocabulary": "coarse", "weighting": "binary"}, seeds=1)
"""The honest opponent, which nothing was learned for; every table quotes it."""

UNTRAINED = Contender("untrained GNN", "gnn")
"""What random weights give, the control of everything learned; every table quotes it, too."""


@dataclass(frozen=True)
class Unit:
    """One training and its measurement: protocol, number of the draw, contender, seed."""

    protocol: str
    split: int
    contender: Contender
    seed: int

    def __str__(self) -> str:
        return f"{self.protocol} split {self.split}, {self.contender.name}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """What one training gave a row: its protocol, split, title and seed, and figures as in `measure`."""

    protocol: str
    split: int
    name: str
    seed: int
    figures: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One finished measurement: its number, of how many, what it was, and whether it was taken from the journal."""

    done: int
    total: int
    what: str
    resumed: bool


def contender(spec: Spec, name: str | None = None) -> Contender:
    """An encoder by name and parameters, ready to be measured.

    Raises:
        ConfigError: There is no such encoder, or it does not take the parameters.
        MissingExtraError: It needs a package that is not installed.
    """
    built = build(spec)
    shown = ",".join(f"{key}={value}" for key, value in spec.params.items())
    title = name or (f"{spec.name}:{shown}" if shown else spec.name)
    return Contender(title, spec.name, dict(spec.params), seeds=None if isinstance(built, Trainable) else 1)


def build(spec: Spec) -> Encoder:
    """The encoder of a spec.

    Raises:
        ConfigError: As `contender`, or a parameter's value is of the wrong kind.
    """
    try:
        return ENCODERS.build(spec)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{spec.name}: cannot be built with {dict(spec.params)}: {error}") from error


def plan(contenders: Mapping[str, Sequence[Contender]], seeds: int, splits: int | None = None) -> list[Unit]:
    """All units, seed by seed: an interrupted run leaves every method measured equally often.

    Args:
        contenders: For every protocol, who is measured.
        seeds: Trainings of everything random on every split.
        splits: At most so many draws of every protocol, all without.
    """
    units = []
    for seed in range(seeds):
        for name, found in contenders.items():
            draws = find_protocol(name).splits
            for split in range(draws if splits is None else min(splits, draws)):
                units += [Unit(name, split, c, seed) for c in found if seed < (c.seeds or seeds)]
    return units


def evaluate(
    units: Sequence[Unit],
    atlas: Callable[[], Atlas],
    *,
    journal: Journal,
    limit: int | None = None,
    minutes: float | None = None,
    progress: Callable[[Step], None] = lambda step: None,
) -> list[Run]:
    """Measure all units, those apart that the journal has.

    A measurement in the journal counts as long as graphs, families, rules, parameters and the encoder's code are the same.

    Args:
        units: What to measure, in order.
        atlas: Opens the atlas.
        journal: Where finished measurements are kept.
        limit: At most about this many graphs on either side of a task.
        minutes: After so much time no further unit is begun, and the runs are those that were measured.
        progress: Told of every unit.
    """
    until = time.monotonic() + 60 * minutes if minutes is not None else math.inf
    with one_thread():
        return _evaluate(units, cache(atlas), journal, limit, until, progress)


def starter() -> Atlas:
    """The atlas of the package alone: a user's own entries would change the figures.

    Raises:
        StoreError: There is none.
    """
    from netatlas.atlas.atlas import Atlas
    from netatlas.atlas.places import starter_path

    path = starter_path()
    if path is None:
        raise StoreError("the package has no starter atlas; make it with 'make atlas'")
    return Atlas.open(path)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch, where it is installed, to a single thread: times are comparable, sums do not depend on the machine's cores."""
    try:
        import torch
    except ModuleNotFoundError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _evaluate(
    units: Sequence[Unit],
    opened: Callable[[], Atlas],
    journal: Journal,
    limit: int | None,
    until: float,
    progress: Callable[[Step], None],
) -> list[Run]:

    @cache
    def drawn(protocol: str, split: int) -> tuple[Task, str]:
        found = task(protocol, split, opened(), limit=limit)
        return found, task_mark(found)

    runs = []
    for done, unit in enumerate(units, start=1):
        found, mark = drawn(unit.protocol, unit.split)
        key = f"{unit.protocol}/{unit.split}/{unit.contender.name}/{unit.seed}/{_mark(unit, mark)}"
        resumed = key in journal
        if not resumed and time.monotonic() > until:
            continue
        rows = journal.measure(key, lambda unit=unit, found=found: measure(found, unit.contender, unit.seed))  # type: ignore[misc]
        runs += [Run(unit.protocol, unit.split, name, unit.seed, figures) for name, figures in rows.items()]
        metrics = rows[unit.contender.name]["metrics"]
        progress(Step(done, len(units), f"{unit}: MRR@20 {metrics['mrr@20']:.3f}, MAP@20 {metrics['map@20']:.3f}", resumed))
    return runs


def _mark(unit: Unit, data: str) -> str:
    """What a measurement depends on beside its name."""
    maker = ENCODERS.maker(unit.contender.encoder)
    further = find_protocol(unit.protocol).further
    parts = [
        data, code_mark(inspect.getmodule(maker).__name__), code_mark("netatlas.evaluation.ranking"), version("torch"),  # type: ignore[union-attr]
        further and inspect.getsource(further), {**unit.contender.params}, [dict(c) for c in unit.contender.choices],
        unit.contender.fused,
    ]  # fmt: skip
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def measure(drawn: Task, asked: Contender, seed: int) -> dict[str, dict[str, Any]]:
    """Figures of every row of a contender: ``metrics`` by name, ``queries`` for MRR and MAP at 20 query by query with ``weights``.

    Further ``sizes`` (training graphs, items, queries, skipped), processor ``seconds`` to train and encode everything, ``ms`` to encode a
    graph, ``ms_again`` when all but the network's work is kept, ``query_ms`` to compare with the gallery and sort, ``params``, and
    ``further`` of the protocol.
    """
    began = time.process_time()
    params = _chosen(drawn, asked) if asked.choices else dict(asked.params)
    encoder = build(Spec(asked.encoder, params))
    if isinstance(encoder, Trainable):
        encoder.fit([i.graph for i in drawn.training], [i.family for i in drawn.training], seed=seed)
    vectors = [encoder.encode(item.graph) for item in drawn.items]
    seconds = time.process_time() - began
    alike = compare(drawn, encoder, vectors)
    rest = {"seconds": round(seconds, 2), "params": params, **_speed(encoder, drawn, vectors)}
    found = {asked.name: _figures(drawn, alike) | rest}
    if asked.fused:
        other = build(Spec(OPPONENT.encoder, OPPONENT.params))
        counted = compare(drawn, other, [other.encode(item.graph) for item in drawn.items])
        found[asked.rows[1]] = _figures(drawn, fuse(alike, counted)) | rest
    return found


def _figures(drawn: Task, alike: Similarity) -> dict[str, Any]:
    columns = score(drawn, alike)
    further = find_protocol(drawn.name.partition("/")[0]).further
    return {
        "metrics": {name: round(float(np.dot(values, drawn.weights)), 6) for name, values in columns.items()},
        "queries": {name: [round(v, 5) for v in columns[name]] for name in ("mrr@20", "map@20")},
        "weights": [round(w, 8) for w in drawn.weights],
        "sizes": [len(drawn.training), len(drawn.items), len(drawn.queries), drawn.skipped],
        "further": {k: float(v) for k, v in further(drawn, alike).items()} if further else {},
    }


def fuse(one: Similarity, other: Similarity) -> Similarity:
    """Mean of both after each was brought to mean 0 and deviation 1 over the gallery of its query."""

    def level(row: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray((row - row.mean()) / max(float(row.std()), 1e-12))

    return [level(a) + level(b) for a, b in zip(one, other, strict=True)]


def _chosen(drawn: Task, asked: Contender) -> dict[str, Any]:
    """The parameters that retrieve families best among the training graphs."""
    items = drawn.training
    rows = [tuple(j for j in range(len(items)) if j != i) for i in range(len(items))]
    wanted = [frozenset(j for j in row if items[j].family == items[i].family) for i, row in enumerate(rows)]
    asks = [i for i, found in enumerate(wanted) if found]
    inner = Task(
        f"{drawn.name}/training", (), items, tuple(asks), tuple(rows[i] for i in asks), tuple(wanted[i] for i in asks),
        (1 / max(len(asks), 1),) * len(asks), 0,
    )  # fmt: skip
    values = []
    for params in asked.choices:
        encoder = build(Spec(asked.encoder, params))
        columns = score(inner, compare(inner, encoder, [encoder.encode(item.graph) for item in items]), ks=(20,))
        values.append(float(np.mean(columns["mrr@20"]) + np.mean(columns["map@20"])) if columns else 0.0)
    return dict(asked.choices[int(np.argmax(values))])


def _speed(encoder: Encoder, drawn: Task, vectors: Sequence[bytes]) -> dict[str, float]:
    """Median milliseconds to encode a graph, from the stored graph and again when it is known, and to answer a query."""
    cold: list[float] = []
    warm: list[float] = []
    asking: list[float] = []
    for i in np.random.default_rng(0).permutation(len(drawn.items))[:TIMED].tolist():
        graph = replace(drawn.items[i].graph)  # a graph nobody has seen
        for times in (cold, warm):
            began = time.process_time()
            encoder.encode(graph)
            times.append(1e3 * (time.process_time() - began))
    for q, others in list(zip(drawn.queries, drawn.gallery, strict=True))[:TIMED]:
        gallery, ids = [vectors[i] for i in others], [drawn.items[i].id for i in others]
        began = time.process_time()
        best_first(encoder.similarities(vectors[q], gallery), ids)
        asking.append(1e3 * (time.process_time() - began))
    return {name: round(float(np.median(t or [0.0])), 3) for name, t in (("ms", cold), ("ms_again", warm), ("query_ms", asking))}
