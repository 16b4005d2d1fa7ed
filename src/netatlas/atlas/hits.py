"""What find returns: hits with their reasons, as a table, JSON, CSV or a data frame."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netatlas.atlas.tables import html_table, table
from netatlas.facts import FACTS, format_fact, plain_facts
from netatlas.records import Hit

SHOWN = ("params", "macs", "top1", "family", "year")
"""Facts of the table, after which come those a query mentions."""

ALWAYS = ("params", "macs", "family", "year", "task", "top1", "latency_ms", "latency_predicted")
"""Facts that JSON has even when they are unknown (``null``)."""


@dataclass(frozen=True)
class Hits(Sequence[Hit]):
    """What find returns: hits, best first, and how the query was understood.

    Attributes:
        query: The text as it was given.
        where: All constraints as one expression of the query language, ``""`` for none.
        chips: The constraints in words, as they are shown back.
        hits: The hits.
        total: Entries that match, of which ``hits`` are the first.
        notes: What was guessed or left out.
        columns: Facts the table shows.
    """

    query: str
    where: str
    chips: tuple[str, ...]
    hits: tuple[Hit, ...]
    total: int
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = SHOWN

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: Any) -> Any:
        return self.hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def to_dict(self) -> dict[str, Any]:
        """One JSON object; counts in units of one, percentages as numbers, unknown facts ``null``."""
        hits = [
            {"id": h.id, "kind": h.kind, "title": h.title, "score": round(h.score, 6), "facts": plain_facts(h.facts, (*ALWAYS, *self.columns)),
             "why": list(h.why)}
            for h in self.hits
        ]  # fmt: skip
        return {"query": self.query, "where": self.where, "hits": hits, "total": self.total, "notes": list(self.notes)}

    def to_json(self) -> str:
        """`to_dict` as text."""
        return json.dumps(self.to_dict(), indent=1)

    def to_csv(self) -> str:
        """A header and a line per hit; cells a spreadsheet would run as a formula are quoted with an apostrophe."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        names = list(dict.fromkeys([*ALWAYS, *self.columns]))
        writer.writerow(["id", "kind", "score", *names, "why"])
        for h in self.hits:
            values = [h.facts.get(name, "") for name in names]
            cells = [
                h.id,
                h.kind,
                f"{h.score:.6g}",
                *(" ".join(v) if isinstance(v, tuple) else v for v in values),
                "; ".join(h.why),
            ]
            writer.writerow([f"'{c}" if isinstance(c, str) and c[:1] in ("=", "+", "-", "@") else c for c in cells])
        return out.getvalue()

    def to_pandas(self) -> Any:
        """A data frame with a row per hit; needs pandas."""
        import pandas  # type: ignore[import-untyped, unused-ignore]

        return pandas.DataFrame([{"id": h.id, "kind": h.kind, "score": h.score, **h.facts} for h in self.hits])

    def _rows(self) -> tuple[list[str], list[list[str]]]:
        rows = [[h.id, *(_short(name, h) for name in self.columns), "; ".join(h.why)] for h in self.hits]
        return ["id", *self.columns, "why"], rows

    def text(self, width: int = 0) -> str:
        """The table, under a line with the constraints as they were understood."""
        header, rows = self._rows()
        numeric = [i + 1 for i, name in enumerate(self.columns) if FACTS[name].kind in ("count", "number")]
        lines = [" · ".join(self.chips)] if self.chips else []
        lines += [f"note: {note}" for note in self.notes]
        lines.append(table(header, rows, right=numeric, width=width, cut=(len(header) - 1,)) if rows else "nothing matched")
        if self.total > len(self.hits):
            lines.append(f"{len(self.hits)} of {self.total} that match")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        header, rows = self._rows()
        return html_table(header, rows)


def _short(name: str, hit: Hit) -> str:
    return format_fact(name, hit.facts) or "-"
