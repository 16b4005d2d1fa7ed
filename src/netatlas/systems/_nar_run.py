"""Measures the methods of `nar` on its protocols."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec

from netatlas.errors import ConfigError, MissingExtraError
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.machine import machine
from netatlas.evaluation.nar.measure import OPPONENT, Contender, Run, Step, Unit, evaluate, plan, starter
from netatlas.evaluation.nar.protocols import find_protocol
from netatlas.evaluation.nar.report import comparable, deeper, of_method, speed, table
from netatlas.evaluation.tables import Table
from netatlas.systems._nar_methods import METHODS, PAPER, QUICK
from netatlas.systems._nar_verdicts import verdicts
from netatlas.systems.base import Result

QUICK_LIMIT = 60


def run(
    names: Sequence[str], seeds: int, *, quick: bool, minutes: float | None, journal: Journal, progress: Callable[[Step], None]
) -> Result:
    """See `nar.reproduce`."""
    protocols = tuple(dict.fromkeys(find_protocol(name).name for name in names))
    if seeds < 1 or not protocols:
        raise ConfigError(f"nar: seeds and protocols must be 1 or more, got {seeds} and {len(protocols)}")
    _torch()
    seeds = 1 if quick else seeds
    units = _units(protocols, seeds, quick=quick)
    runs = evaluate(units, starter, journal=journal, limit=QUICK_LIMIT if quick else None, minutes=minutes, progress=progress)
    runs = comparable(runs, [name for method in METHODS if method.main for name in method.contender.rows])
    if not runs:
        raise ConfigError(f"nar: no split was finished in {minutes:g} minutes; the same command goes on from here")
    protocols = tuple(name for name in protocols if any(run.protocol == name for run in runs))
    return Result(
        system="nar",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine(1, "torch", "numpy"),
        settings={"quick": quick, "seeds asked for": seeds, "measured": [_extent(runs, name) for name in protocols]},
        seconds=round(sum(run.figures["seconds"] for run in runs if " + " not in run.name), 1),
        tables=_tables(runs, protocols),
        verdicts=verdicts(runs, quick=quick),
        quick=quick,
    )


def _extent(runs: Sequence[Run], protocol: str) -> str:
    """How much of a protocol was measured; where methods differ, the least."""
    splits = {run.split for run in runs if run.protocol == protocol}
    seeds = [sum(r.split == split for r in of_method(runs, protocol, PAPER)) for split in splits]
    return f"{protocol} {len(splits)} of {find_protocol(protocol).splits} splits, {min(seeds)} seed{'s' * (min(seeds) > 1)}"


def _torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("the reproduction of nar", "torch")


def _units(protocols: Sequence[str], seeds: int, *, quick: bool) -> list[Unit]:
    """Seed by seed, in each of them the first draw of every protocol first, so that every claim can be judged early.

    Ablations, which are measured on P2 alone, come after all else of a seed.
    """
    units: list[Unit] = []
    for main in (True, False):
        found = [_shorter(m.contender) if quick else m.contender for m in METHODS if m.main is main]
        some = plan({name: found for name in protocols if main or name == "P2"}, seeds, 1 if quick else None)
        units += sorted(some, key=lambda unit: (unit.seed, unit.split))
    return sorted(units, key=lambda unit: unit.seed)


def _shorter(contender: Contender) -> Contender:
    given = contender.params
    few = {key: min(value, given.get(key, value)) for key, value in QUICK.get(contender.encoder, {}).items()}
    return replace(contender, params={**given, **few})


def _tables(runs: Sequence[Run], protocols: Sequence[str]) -> list[Table]:
    found = [table(runs, protocol, OPPONENT.name, *_paper(protocol)) for protocol in protocols]
    return [*found, deeper(runs, protocols), speed(runs, protocols[0])]


def _paper(protocol: str) -> tuple[dict[str, Sequence[float]], list[str]]:
    """The paper's figures by row for a protocol that resembles its data, and their titles."""
    if protocol not in ("P2", "P5"):
        return {}, []
    figures = {m.contender.name: m.real if protocol == "P2" else m.nas for m in METHODS}
    return {name: values for name, values in figures.items() if values}, [f"paper {m}" for m in ("MRR", "MAP", "NDCG")]
