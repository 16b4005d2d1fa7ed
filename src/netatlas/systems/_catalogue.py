"""Runs systems of the catalogue and keeps what they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from netatlas.errors import StoreError
from netatlas.evaluation.journal import Journal
from netatlas.evaluation.nar.measure import Step
from netatlas.systems import _results
from netatlas.systems.base import SYSTEMS, Card, Result

FORMAT = 2
"""Of journals; one of another format is begun anew."""


def cards() -> list[Card]:
    """All cards, by name."""
    return [SYSTEMS.build(name) for name in SYSTEMS]


def last(name: str) -> Result | None:
    """The user's last complete result of a system, or the one shipped; ``None`` when there is neither."""
    return _results.last(name)


def run(
    name: str,
    *,
    protocols: Sequence[str] | None = None,
    seeds: int | None = None,
    quick: bool = False,
    minutes: float | None = None,
    fresh: bool = False,
    out: str | Path | None = None,
    progress: Callable[[Step], None] = lambda step: None,
) -> tuple[Result, Path | None]:
    """Reproduce a system, going on where an interrupted run stopped.

    A complete result is kept as the user's last; others only where ``out`` says.

    Args:
        name: Of the system.
        protocols: See `base.Reproduce`.
        seeds: See `base.Reproduce`.
        quick: See `base.Reproduce`.
        minutes: See `base.Reproduce`.
        fresh: Measure everything anew.
        out: A file for the result, instead of the user's folder.
        progress: Told of every measurement.

    Returns:
        The result and where it was written, if anywhere.

    Raises:
        ConfigError: The system or a protocol is unknown.
        StoreError: The journal or the result cannot be written.
    """
    card = SYSTEMS.build(name)
    path = _results.journal_path(name, quick=quick)
    if fresh:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot delete {path}: {error.strerror or error}") from error
    journal = Journal(path, {"format": FORMAT})
    result = card.reproduce(journal=journal, protocols=protocols, seeds=seeds, quick=quick, minutes=minutes, progress=progress)
    if out is not None:
        return result, _results.keep(result, Path(out))
    return result, _results.keep(result) if result.is_complete else None
