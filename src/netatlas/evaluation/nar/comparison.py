"""Encoders beside their opponents, as `netatlas eval nar` measures them."""

from __future__ import annotations

import datetime
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netatlas.encoders.base import ENCODERS, Encoder
from netatlas.errors import ConfigError, StoreError
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.machine import machine
from netatlas.evaluation.nar.measure import OPPONENT, UNTRAINED, Contender, Step, contender, evaluate, plan, starter
from netatlas.evaluation.nar.protocols import find_protocol
from netatlas.evaluation.nar.report import tables
from netatlas.evaluation.tables import Table
from netatlas.registry import Spec
from netatlas.targets._restored import on_path

FORMAT = 1
"""Of the journal; one of another format is begun anew."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison measured.

    Attributes:
        date: Day it ended, ISO 8601.
        machine: Processor, threads and versions.
        opponent: Row that gains are measured against.
        protocols: Which were run.
        tables: One a protocol at 20, one at 50 and 100, one of speed.
    """

    date: str
    machine: str
    opponent: str
    protocols: Sequence[str]
    tables: Sequence[Table]


def compare_encoders(
    encoders: Sequence[str],
    protocols: Sequence[str] = ("P2", "P3"),
    *,
    seeds: int = 1,
    splits: int | None = None,
    baseline: str | None = None,
    limit: int | None = None,
    fresh: bool = False,
    progress: Callable[[Step], None] = lambda step: None,
    note: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Measure encoders beside WL of depth 1 and an untrained network, on the starter atlas.

    Args:
        encoders: ``NAME`` or ``NAME:param=value,...`` of registered encoders, or ``package.module.Class`` of one's own.
        protocols: Names.
        seeds: Trainings of what learns, on every split.
        splits: At most so many draws of every protocol.
        baseline: The opponent of the intervals, by default WL of depth 1 with binary weights.
        limit: At most about this many graphs on either side of a task.
        fresh: Use nothing that was measured before.
        progress: Told of every measurement.
        note: Told what is left out and why.

    Raises:
        ConfigError: An encoder, a parameter or a protocol is unknown.
        MissingExtraError: An encoder needs a package that is not installed.
        StoreError: The journal cannot be written.
    """
    names = tuple(dict.fromkeys(find_protocol(name).name for name in protocols))
    opponent = _known(_contender(baseline)) if baseline else OPPONENT
    rows = {c.name: c for c in [OPPONENT, opponent]}
    if find_spec("torch") is None:
        note(f"{UNTRAINED.name} is left out: it needs the extra 'torch'")
    else:
        rows[UNTRAINED.name] = UNTRAINED
    rows |= {c.name: c for c in (_known(_contender(text)) for text in encoders)}
    units = plan(dict.fromkeys(names, tuple(rows.values())), seeds, splits)
    runs = evaluate(units, starter, journal=_journal(fresh=fresh), limit=limit, progress=progress)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return Comparison(date, machine(1, "torch", "numpy"), opponent.name, names, tables(runs, names, opponent.name))


def _known(asked: Contender) -> Contender:
    """The same under the name that every table has for it."""
    for usual in (OPPONENT, UNTRAINED):
        if (asked.encoder, dict(asked.params)) == (usual.encoder, dict(usual.params)):
            return usual
    return asked


def _contender(text: str) -> Contender:
    spec = Spec.parse(text)
    if "." in spec.name and spec.name not in ENCODERS:
        ENCODERS.register(spec.name)(_own(spec.name))
    return contender(spec, text)


def _own(path: str) -> Callable[..., Encoder]:
    """A user's encoder by dotted path, in the current folder or wherever Python looks.

    Raises:
        ConfigError: It cannot be imported or is no encoder.
    """
    module, _, name = path.rpartition(".")
    try:
        with on_path(str(Path.cwd())):
            found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"cannot import the encoder {path!r}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Encoder)):
        raise ConfigError(f"{path} is not a class derived from netatlas.encoders.base.Encoder")
    return found


def _journal(*, fresh: bool) -> Journal:
    from netatlas.atlas.places import user_path

    path = user_path().parent / "evaluations" / "nar.journal"
    if fresh:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot delete {path}: {error.strerror or error}") from error
    return Journal(path, {"format": FORMAT})
