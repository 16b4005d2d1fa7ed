"""Mined motifs: recurring runs of operators, as `graph.mining` found them; light to import, since queries name them by id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netatlas.graph.runs import Step

_TABLE = Path(__file__).parent.parent / "data" / "motifs.tsv"
COLUMNS = ("id", "name", "architectures", "families", "occurrences", "modules", "examples", "steps")
"""Of the table of mined motifs, which ``scripts/mine_motifs.py`` writes."""


@dataclass(frozen=True)
class Mined:
    """A recurring run found by mining.

    Attributes:
        id: ``m`` and five hexadecimal digits made from its steps, so that it stays when others come and go.
        name: The named motif it coincides with, ``""`` where there is none.
        architectures: How many had it when it was mined.
        families: Of how many families those were.
        occurrences: How often it occurred in them.
        modules: Names of classes that are exactly it, the most frequent first.
        examples: Architectures of different families that have it.
        text: Its steps, as `runs.to_text` writes them.
    """

    id: str
    name: str
    architectures: int
    families: int
    occurrences: int
    modules: tuple[str, ...]
    examples: tuple[str, ...]
    text: str

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """Its steps."""
        from netatlas.graph.runs import from_text

        return from_text(self.text)

    @property
    def description(self) -> str:
        """Its steps in words."""
        from netatlas.graph.runs import describe

        return describe(self.steps)


@cache
def mined() -> Mapping[str, Mined]:
    """Mined motifs by id, the most telling first."""
    found = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines()[1:]:
        key, name, architectures, families, count, modules, examples, steps = line.split("\t")
        found[key] = Mined(
            key, name, int(architectures), int(families), int(count), tuple(modules.split("|")) if modules else (),
            tuple(examples.split("|")), steps,
        )  # fmt: skip
    return found
