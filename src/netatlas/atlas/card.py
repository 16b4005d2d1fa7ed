"""The card of one entry: what ``netatlas show`` prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netatlas.atlas.tables import html_table, table
from netatlas.atlas.vectors import DEFAULT, likeness, relatives, worth_comparing
from netatlas.encoders.base import ENCODERS
from netatlas.errors import StoreError
from netatlas.facts import FACTS, format_count, format_value, plain
from netatlas.graph.blocks import outline
from netatlas.graph.forms import forms
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID, OPERATORS
from netatlas.records import Entry, Prediction

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

_WIDTH = 100


@dataclass(frozen=True)
class OperatorCost:
    """What all operators of one name cost together."""

    name: str
    count: int
    params: int
    macs: int


@dataclass(frozen=True)
class Card:
    """Everything known about one entry.

    Attributes:
        entry: The entry with facts, their origins, evidence and links.
        graph: Its operator graph (a model's is its architecture's), ``None`` when it has none.
        relatives: Ids and likeness of the nearest architectures.
        models: Ids of the pretrained models of an architecture.
        predictions: Guesses of facts that are not known.
    """

    entry: Entry
    graph: Graph | None
    relatives: tuple[tuple[str, float], ...]
    models: tuple[str, ...]
    predictions: tuple[Prediction, ...] = ()

    def costs(self) -> list[OperatorCost]:
        """Costs by operator, the most MACs (then parameters) first."""
        return operator_costs(self.graph) if self.graph is not None else []

    def forms(self) -> dict[str, int]:
        """Named forms and how often they occur."""
        return forms(self.graph) if self.graph is not None else {}

    def svg(self) -> str:
        """The drawing.

        Raises:
            StoreError: The entry has no graph.
        """
        from netatlas.graph.drawing import draw

        if self.graph is None:
            raise StoreError(f"{self.entry.id} has no graph to draw")
        return draw(self.graph, title=self.entry.title)

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON values; facts that the kind can have but that are unknown are ``null``."""
        entry = self.entry
        facts = {
            name: {"value": plain(entry.facts.get(name)), "unit": fact.unit, "origin": entry.origins.get(name)}
            for name, fact in FACTS.items()
            if entry.kind in fact.entries and name != "kind"
        }
        return {
            "id": entry.id,
            "kind": entry.kind,
            "title": entry.title,
            "facts": facts,
            "operators": [vars(cost) for cost in self.costs()],
            "forms": self.forms(),
            "predictions": [vars(item) for item in self.predictions],
            "evidence": [plain(vars(item)) for item in entry.evidence],
            "relatives": [{"id": i, "likeness": round(score, 4)} for i, score in self.relatives],
            "models": list(self.models),
            "links": dict(entry.links),
        }

    def __str__(self) -> str:
        parts = [f"{self.entry.title}  ({self.entry.kind} {self.entry.id})", self._facts_text()]
        if self.graph is not None and self.entry.kind == "architecture":
            parts += ["Structure\n" + _indent(outline(self.graph)), "Costs by operator\n" + _indent(self._costs_text())]
            if found := self.forms():
                parts.append("Forms\n" + _indent(_wrap(", ".join(f"{n} {name.replace('_', ' ')}" for name, n in _most(found)))))
        if self.models:
            parts.append(f"Models ({len(self.models)})\n" + _indent(_wrap(", ".join(self.models))))
        if self.relatives:
            near = "\n".join(f"{score:.3f}  {i}" for i, score in self.relatives)
            parts.append("Nearest relatives\n" + _indent(near))
        if self.entry.links:
            parts.append("Links\n" + _indent("\n".join(f"{label:<8}{url}" for label, url in sorted(self.entry.links.items()))))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        header, rows = self._facts_rows()
        return f"<h4>{self.entry.title}</h4>" + html_table(header, rows)

    def _facts_rows(self) -> tuple[list[str], list[list[str]]]:
        entry = self.entry
        rows = []
        for name, fact in FACTS.items():
            applies = entry.kind in fact.entries and name not in ("kind", "ops", "motifs")
            if applies and (name in entry.facts or name in _ALWAYS.get(entry.kind, ())):
                rows.append([name, format_value(name, entry.facts.get(name)), entry.origins.get(name, "")])
            rows += [[p.fact, _guess(p), str(p)] for p in self.predictions if FACTS[p.fact] is fact]
        return ["fact", "value", "where from"], rows

    def _facts_text(self) -> str:
        header, rows = self._facts_rows()
        return _indent(table(header, rows, width=_WIDTH - 2, cut=(1, 2)))

    def _costs_text(self) -> str:
        costs = self.costs()
        total_params, total_macs = max(1, sum(c.params for c in costs)), max(1, sum(c.macs for c in costs))
        labels = {op.name: op.label for op in OPERATORS}
        rows = [
            [labels[c.name], str(c.count), format_count(c.params), f"{100 * c.params / total_params:.1f} %", format_count(c.macs),
             f"{100 * c.macs / total_macs:.1f} %"]
            for c in costs
        ]  # fmt: skip
        return table(["operator", "count", "params", "", "MACs", ""], rows, right=(1, 2, 3, 4, 5))


_ALWAYS: Mapping[str, Sequence[str]] = {
    "architecture": ("params", "macs", "top1", "latency_ms"),
    "model": ("params", "macs", "top1"),
}
"""Facts that are shown as unknown rather than left out."""


def card(atlas: Atlas, entry_id: str) -> Card:
    """The card of an entry of the atlas.

    Raises:
        UnknownIdError: There is no such entry; the message names the nearest.
    """
    entry = atlas.entry(entry_id)
    try:
        graph = atlas.graph(entry_id)
    except StoreError:
        graph = None
    prefix = entry_id + "."
    models = tuple(i for i in atlas.ids if i.startswith(prefix)) if entry.kind == "architecture" else ()
    return Card(entry, graph, tuple(relatives(atlas, entry)), models, atlas.predictions.of(entry, graph))


def card_of(atlas: Atlas, entry: Entry) -> Card:
    """The card of an entry that is not in the atlas, with its nearest relatives there."""
    near: tuple[tuple[str, float], ...] = ()
    if entry.graph is not None:
        among, _ = worth_comparing(atlas, [entry], np.ones(len(atlas), dtype=bool), 5)
        scores = likeness(atlas, ENCODERS.build(DEFAULT).encode(entry.graph), entry.facts, among=among)
        near = tuple(sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:5])
    return Card(entry, entry.graph, near, (), atlas.predictions.of(entry, entry.graph))


def _guess(prediction: Prediction) -> str:
    """``~12.3 ms (9.1 to 17)``."""
    unit = FACTS[prediction.fact].unit
    return f"~{prediction.value:.3g} {unit} ({prediction.low:.3g} to {prediction.high:.3g})"


def operator_costs(graph: Graph) -> list[OperatorCost]:
    """Count, parameters and MACs by operator, the most MACs (then parameters, then nodes) first; inputs left out."""
    found = []
    for name, count in graph.op_counts().items():
        chosen = graph.op == OP_ID[name]
        found.append(OperatorCost(name, count, int(graph.params[chosen].sum()), int(graph.macs[chosen].sum())))
    return sorted(found, key=lambda c: (-c.macs, -c.params, -c.count, c.name))


def _most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _indent(text: str) -> str:
    return "\n".join("  " + line if line else line for line in text.splitlines())


def _wrap(text: str) -> str:
    import textwrap

    return textwrap.fill(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
