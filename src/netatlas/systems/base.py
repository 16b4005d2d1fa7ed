"""The catalogue of published systems: cards, claims, and results that say which claims held."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from netatlas.evaluation.journal import Journal
from netatlas.evaluation.nar.measure import Step
from netatlas.evaluation.tables import Table
from netatlas.registry import Registry

NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Claim:
    """A figure that a paper states.

    Attributes:
        what: The measure, and of which method.
        value: The figure.
        data: What it was measured on.
        read_in: Where it was read: ``"README"``, ``"table 2"``.
        unit: Empty for plain numbers.
        spread: Plus or minus, where stated.
    """

    what: str
    value: float
    data: str
    read_in: str
    unit: str = ""
    spread: float | None = None

    def __str__(self) -> str:
        spread = f" ± {self.spread:g}" if self.spread is not None else ""
        return f"{self.what}: {self.value:g}{spread}{self.unit and ' ' + self.unit} on {self.data} ({self.read_in})"


@dataclass(frozen=True)
class Verdict:
    """What became of a claim.

    Attributes:
        claim: The claim, with the bar it had to pass here.
        outcome: ``"reproduced"``, ``"not reproduced"``, ``"not resolved"``, ``"falsified"``, ``"not judged"``, ...
        why: The figures it rests on.
    """

    claim: str
    outcome: str
    why: str


@dataclass(frozen=True)
class Result:
    """What one reproduction measured.

    Attributes:
        system: Name in the catalogue.
        date: Day it ended, ISO 8601.
        machine: Processor, threads and versions.
        settings: What was asked for.
        seconds: Time the measurements took, those of earlier interrupted runs included.
        tables: The figures.
        verdicts: One a claim.
        quick: Whether it was a look at small size, which judges nothing.
    """

    system: str
    date: str
    machine: str
    settings: Mapping[str, Any]
    seconds: float
    tables: Sequence[Table]
    verdicts: Sequence[Verdict]
    quick: bool

    @property
    def is_complete(self) -> bool:
        """Whether every claim was judged."""
        return not self.quick and all(verdict.outcome != NOT_JUDGED for verdict in self.verdicts)


class Reproduce(Protocol):
    """Measures a system; every finished measurement goes into the journal, so that an interrupted run goes on where it stopped."""

    def __call__(
        self,
        *,
        journal: Journal,
        protocols: Sequence[str] | None = None,
        seeds: int | None = None,
        quick: bool = False,
        minutes: float | None = None,
        progress: Callable[[Step], None] = ...,
    ) -> Result:
        """Run, or go on with, a reproduction.

        Args:
            journal: Where finished measurements are kept.
            protocols: Which of the system's protocols, by default all.
            seeds: Trainings of what is random, by default as many as the card's result should have.
            quick: At a size that only shows that it works.
            minutes: After so much time nothing further is begun; what lacks figures then is not judged.
            progress: Told of every measurement.
        """


@dataclass(frozen=True)
class Card:
    """A system's entry in the catalogue.

    Attributes:
        name: Short name, that of its file.
        title: The paper's.
        authors: As cited.
        paper: ``"arXiv:2307.07919"``.
        venue: Where it was published.
        year: When.
        idea: What it does, in one sentence.
        claims: What it states, the headline first.
        caveats: What a reader of the claims should know.
        departures: Where we differ from the paper.
        parts: Our modules that hold its parts.
        minutes: What a full reproduction takes on one core.
        reproduce: Runs it.
    """

    name: str
    title: str
    authors: str
    paper: str
    venue: str
    year: int
    idea: str
    claims: Sequence[Claim]
    caveats: Sequence[str]
    departures: Sequence[str]
    parts: Sequence[str]
    minutes: float
    reproduce: Reproduce


SYSTEMS: Registry[Card] = Registry("systems", "netatlas.systems")
