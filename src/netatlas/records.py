"""The nouns as plain records: what sources yield, the store keeps and find returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netatlas.facts import Value

if TYPE_CHECKING:
    from netatlas.graph.graph import Graph

KINDS = ("architecture", "model")


@dataclass(frozen=True)
class Evidence:
    """A measured value and how it came about; never overwritten, the newest counts.

    Attributes:
        fact: Name in the facts table.
        value: In the fact's unit.
        method: What was done, such as ``"median of 30 forward passes, random weights, batch 1"``.
        source: Who measured: ``"netatlas measure"``, or a published table.
        machine: Description of the hardware and software, or ``""`` when the table does not say.
        seed: Seed of the run, ``None`` when nothing was random.
        date: ISO date or time in UTC, ``YYYY-MM-DD`` or ``YYYY-MM-DDTHH:MM:SS+00:00``; compared as text.
        spread: Half of the interquartile range in the fact's unit, ``None`` when there was one run.
        detail: Settings that matter for reading the value (batch, threads, input size).
    """

    fact: str
    value: float
    method: str
    source: str
    machine: str = ""
    seed: int | None = None
    date: str = ""
    spread: float | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """What the atlas stores.

    Attributes:
        id: ``source/name``, for models ``source/name.tag``.
        kind: One of `KINDS`.
        title: Name for people.
        text: Words to find it by, written by netatlas from structure, facts and the glossary.
        facts: Values by fact name; a fact that is not known is absent.
        origins: For each fact, where its value comes from, in words.
        graph: Its operator graph; models share their architecture's and carry ``None``.
        evidence: Measured values behind facts.
        links: Addresses by label: paper, code, weights.
    """

    id: str
    kind: str
    title: str
    text: str = ""
    facts: Mapping[str, Value] = field(default_factory=dict)
    origins: Mapping[str, str] = field(default_factory=dict)
    graph: Graph | None = None
    evidence: Sequence[Evidence] = ()
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_wired(self) -> bool:
        """Whether the edges of its graph are known; a graph guessed from the tensors of a checkpoint has layers alone."""
        return self.facts.get("traced_by") != "checkpoint"


@dataclass(frozen=True)
class Hit:
    """One result of find.

    Attributes:
        id: Entry id.
        kind: Entry kind.
        title: Name for people.
        score: Larger is better; comparable within one result only.
        facts: Values by fact name; unknown facts are absent here and ``null`` in JSON where a column asks for them.
        why: Reasons, strongest first, one short phrase each.
    """

    id: str
    kind: str
    title: str
    score: float
    facts: Mapping[str, Value]
    why: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prediction:
    """A guess from structure where nothing was measured; it has a fact of its own and never takes a measured fact's place.

    Attributes:
        fact: Name in the facts table, such as ``"latency_predicted"``.
        value: In the fact's unit.
        low: Lower end of the interval that held nine of ten networks of unseen families.
        high: Upper end.
        error: How far predictions are typically off on unseen families, ``"±8 %"``.
        machine: What it holds for; ``""`` where no machine matters.
        method: What was trained on what.
    """

    fact: str
    value: float
    low: float
    high: float
    error: str
    machine: str
    method: str

    def __str__(self) -> str:
        return prediction_words(self.error, self.machine)


def prediction_words(error: str, machine: str) -> str:
    """How far to trust a prediction, in words: the error first, since tables cut the end."""
    return f"predicted, {error}{f' on {machine}' if machine else ''} (typical error on unseen families)"
