"""Entries side by side: facts, operators and forms, and what sets them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netatlas.atlas.tables import html_table, table
from netatlas.errors import QueryError, StoreError
from netatlas.facts import FACTS, Value, format_value, plain_facts
from netatlas.graph.diff import Diff, diff_graphs
from netatlas.graph.forms import forms
from netatlas.records import Entry

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

COMPARED = (
    "family", "year", "task", "input", "params", "macs", "activations", "peak_memory", "depth", "nodes", "heads", "dim", "top1", "top5",
    "top1_predicted", "cpu_ms", "gpu_throughput", "throughput_predicted", "latency_ms", "latency_predicted", "license",
)  # fmt: skip
"""Facts that are compared, in this order; those no entry has are left out."""


@dataclass(frozen=True)
class Comparison:
    """Two or more entries side by side.

    Attributes:
        entries: In the order they were asked for.
        counts: For each entry, how often each operator and form occurs; empty without a graph.
        difference: Of two entries with graphs, where they part, operator by operator.
    """

    entries: tuple[Entry, ...]
    counts: tuple[dict[str, int], ...]
    difference: Diff | None = None

    def facts(self) -> list[str]:
        """Names of the compared facts that at least one entry has."""
        return [name for name in COMPARED if any(name in e.facts for e in self.entries)]

    def best(self, name: str) -> set[int]:
        """Positions of the best entries by a fact with a direction; empty when all are equal or one value is all there is."""
        better = FACTS[name].better
        if better is None:
            return set()
        known = {i: float(e.facts[name]) for i, e in enumerate(self.entries) if name in e.facts}  # type: ignore[arg-type]
        if len(known) < 2 or len(set(known.values())) == 1:
            return set()
        best = (min if better == "lower" else max)(known.values())
        return {i for i, value in known.items() if value == best}

    def differing(self) -> list[str]:
        """Operators and forms that some entries have and others lack, most frequent first."""
        every = {name for counts in self.counts for name in counts}
        uneven = [name for name in every if not all(name in counts for counts in self.counts)]
        return sorted(uneven, key=lambda name: (-max(counts.get(name, 0) for counts in self.counts), name))

    def shared(self) -> list[str]:
        """Operators and forms that all entries have, by name."""
        return sorted(set.intersection(*(set(counts) for counts in self.counts))) if self.counts else []

    def to_dict(self) -> dict[str, Any]:
        """The comparison as JSON values; unknown facts are ``null``."""
        names = self.facts()
        return {
            "entries": [
                {"id": e.id, "kind": e.kind, "title": e.title, "facts": plain_facts(e.facts, names)} for e in self.entries
            ],
            "best": {name: [self.entries[i].id for i in sorted(best)] for name in names if (best := self.best(name))},
            "shared": self.shared(),
            "differing": {name: [counts.get(name, 0) for counts in self.counts] for name in self.differing()},
            "why": self.difference.summary() if self.difference else None,
        }

    def __str__(self) -> str:
        return self.text()

    def text(self, width: int = 0) -> str:
        """Tables of facts (the best value marked ``*``) and of operators and forms that differ."""
        header = ["", *(e.id for e in self.entries)]
        facts = []
        for name in self.facts():
            best = self.best(name)
            facts.append(
                [name, *(format_value(name, e.facts.get(name)) + (" *" if i in best else "") for i, e in enumerate(self.entries))]
            )
        columns = range(1, len(header))
        parts = [table(header, facts, width=width, cut=columns)]
        if differing := self.differing():
            rows = [[name.replace("_", " "), *(str(counts.get(name, "-")) for counts in self.counts)] for name in differing]
            parts.append("What differs\n" + table(header, rows, width=width, cut=columns))
        if shared := self.shared():
            parts.append("In all of them: " + ", ".join(name.replace("_", " ") for name in shared))
        if self.difference is not None:
            parts.append("Side by side\n" + self.difference.explanation())
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        rows = [[name, *(format_value(name, e.facts.get(name)) for e in self.entries)] for name in self.facts()]
        return html_table(["", *(e.id for e in self.entries)], rows)

    def plot(
        self, path: str | Path, x: str = "macs", y: str = "top1", background: Sequence[tuple[str, float, float]] = ()
    ) -> list[str]:
        """Draw cost against quality, the Pareto front of everything shown marked; PNG, SVG or PDF by the file's ending.

        Args:
            path: Where the picture goes.
            x: Fact on the horizontal axis.
            y: Fact on the vertical axis.
            background: Further points (label, x, y), drawn small and grey.

        Returns:
            Ids that are not in the picture because one of the two facts is unknown.

        Raises:
            QueryError: A fact is not a number, or nothing can be drawn.
            MissingExtraError: matplotlib is not installed.
        """
        from netatlas.atlas.plot import scatter

        points = [(e.id, _number(e.facts.get(x)), _number(e.facts.get(y))) for e in self.entries]
        known = [(label, a, b) for label, a, b in points if a is not None and b is not None]
        scatter(path, known, background, x, y)
        return [label for label, a, b in points if a is None or b is None]


def _number(value: Value | None) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def compare(atlas: Atlas, ids: Sequence[str]) -> Comparison:
    """Entries of the atlas side by side.

    Raises:
        QueryError: Fewer than two ids, or the same id twice.
        UnknownIdError: An id is unknown; the message names the nearest.
    """
    if len(ids) < 2:
        raise QueryError(f"compare needs at least two ids, got {len(ids)}")
    if twice := next((i for n, i in enumerate(ids) if i in ids[:n]), None):
        raise QueryError(f"compare: {twice} is named twice")
    entries = tuple(_with_guesses(atlas, atlas.entry(i)) for i in ids)
    return Comparison(entries, tuple(_counts(atlas, entry) for entry in entries), _difference(atlas, entries))


def _with_guesses(atlas: Atlas, entry: Entry) -> Entry:
    """The entry with facts that can only be predicted, each under its own name."""
    guesses = {name: value for name, value in atlas.facts([entry.id])[entry.id].items() if FACTS[name].predicts}
    return replace(entry, facts={**entry.facts, **guesses})


def _difference(atlas: Atlas, entries: Sequence[Entry]) -> Diff | None:
    if len(entries) != 2 or not all(e.is_wired for e in entries):
        return None
    try:
        a, b = (atlas.graph(e.id) for e in entries)
    except StoreError:
        return None
    return diff_graphs(a, b, entries[0].id, entries[1].id)


def _counts(atlas: Atlas, entry: Entry) -> dict[str, int]:
    try:
        graph = atlas.graph(entry.id)
    except StoreError:
        return {}
    return {**graph.op_counts(), **forms(graph)}
