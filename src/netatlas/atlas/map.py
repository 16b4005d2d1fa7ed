"""The map of an atlas: what is drawn, and the page that draws it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netatlas.atlas.layout import places
from netatlas.errors import QueryError, did_you_mean
from netatlas.facts import FACTS

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.atlas.columns import Columns

_NOT_DRAWN = frozenset({"kind", "ops", "motifs", "input", "paper", "architecture", "tag", "unknown_ops", "version"})
_CARD = ("family", "year", "task", "params", "macs", "depth", "top1", "cpu_ms", "latency_ms")
_FEWEST = 0.02
"""A fact that fewer than this share of the architectures have is not offered as a colour, unless it is asked for."""


@dataclass(frozen=True)
class Map:
    """Every architecture with its place in the plane.

    Attributes:
        ids: Entry ids.
        titles: Their titles.
        places: ``(m, 2)``, the unit is a hundredth of half the map's extent.
        placed_now: Rows that have no stored place and were put beside their nearest relatives.
        columns: Facts to colour by: ``kind``, ``unit`` and ``meaning``, with ``values`` (``None`` where unknown) for numbers and
            ``words`` and ``codes`` (-1 where unknown) for words.
        matched: Rows that satisfy the constraints; ``None`` without constraints.
        where: The constraints in words.
    """

    ids: list[str]
    titles: list[str]
    places: npt.NDArray[np.float32]
    placed_now: list[int]
    columns: dict[str, dict[str, Any]]
    matched: list[int] | None = None
    where: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def __str__(self) -> str:
        return self.summary

    @property
    def summary(self) -> str:
        """What is on the map, in one line."""
        words = f"{len(self):,} architectures, each near those it resembles in structure"
        if self.matched is not None:
            words += f"; {len(self.matched):,} match {self.where}"
        return words

    def to_dict(self, color: str = "family") -> dict[str, Any]:
        """The map as JSON values."""
        return {
            "summary": self.summary,
            "color": color,
            "ids": self.ids,
            "titles": self.titles,
            "x": np.round(self.places[:, 0].astype(np.float64), 3).tolist(),
            "y": np.round(self.places[:, 1].astype(np.float64), 3).tolist(),
            "placed_now": self.placed_now,
            "matched": self.matched,
            "card": list(_CARD),
            "columns": self.columns,
        }

    def to_html(self, color: str = "family") -> str:
        """One self-contained page that loads nothing: pan, zoom, cards, search, colour by any fact.

        Args:
            color: Fact to colour by at first.

        Raises:
            QueryError: ``color`` is no fact that the map can show.
        """
        if color not in self.columns:
            known = "no architecture has it" if color in FACTS else f"there is no such fact{did_you_mean(color, self.columns)}"
            raise QueryError(f"cannot colour by {color!r}: {known}")
        page = resources.files("netatlas.data").joinpath("map.html").read_text(encoding="utf-8")
        data = json.dumps(self.to_dict(color), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return page.replace("{{data}}", data.replace("<", "\\u003c"))  # a title cannot end the script it stands in


def draw_map(
    atlas: Atlas, *, where: str | None = None, color: str = "family", tell: Callable[[str], None] = lambda line: None
) -> Map:
    """The map of all architectures of an atlas, those that satisfy ``where`` marked.

    Args:
        atlas: What is drawn.
        where: Constraints in the query language.
        color: A fact that must be on the map, however few have it.
        tell: Told what takes long, in a line.

    Raises:
        QueryError: The constraints cannot be understood, or no architecture of the atlas has a graph.
    """
    spots, placed_now = places(atlas, tell)
    if not spots:
        raise QueryError("nothing to draw: no architecture of this atlas has a graph")
    ids = sorted(spots)
    titles = atlas.titles(ids)
    columns = atlas.derived.columns
    rows = np.array([columns.row[i] for i in ids], dtype=np.int64)
    wanted = None
    if where:
        wanted = {hit.id for hit in atlas.find("", where=where, k=len(columns), kind="architecture")}
    return Map(
        ids=ids,
        titles=[titles[i] for i in ids],
        places=np.array([spots[i] for i in ids], dtype=np.float32),
        placed_now=[n for n, i in enumerate(ids) if i in placed_now],
        columns={name: _column(columns, name, rows) for name in _drawn(columns, rows, {color})},
        matched=None if wanted is None else [n for n, i in enumerate(ids) if i in wanted],
        where=where or "",
    )


def _drawn(columns: Columns, rows: npt.NDArray[np.int64], asked: Collection[str]) -> list[str]:
    """Facts that are offered as colours, the family first."""
    names = [
        name
        for name in columns.names
        if name not in _NOT_DRAWN and float(columns.known(name)[rows].mean()) >= (1e-9 if name in asked else _FEWEST)
    ]
    return sorted(names, key=lambda name: name != "family")


def _column(columns: Columns, name: str, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    fact = FACTS[name]
    about = {"name": name, "kind": fact.kind, "unit": fact.unit, "meaning": fact.meaning}
    if fact.kind in ("count", "number"):
        values = columns.number(name)[rows]
        return {**about, "values": [None if v != v else int(v) if v == int(v) else round(float(v), 4) for v in values.tolist()]}
    if fact.kind == "set":
        return {**about, **_joined(columns, name, rows)}
    codes, words = columns.text(name)
    return {**about, **_used(codes[rows].tolist(), words)}


def _joined(columns: Columns, name: str, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
    """A set fact as one word an entry: its members joined."""
    members: list[list[str]] = [[] for _ in rows]
    for word in columns.words(name):
        for n in np.flatnonzero(columns.member(name, word)[rows]).tolist():
            members[n].append(word)
    joined = [" + ".join(words) for words in members]
    words = sorted({word for word in joined if word})
    return _used([words.index(word) if word else -1 for word in joined], words)


def _used(codes: list[int], words: list[str]) -> dict[str, Any]:
    """Codes renumbered to the words that occur."""
    used = sorted({c for c in codes if c >= 0})
    number = {c: n for n, c in enumerate(used)} | {-1: -1}
    return {"words": [words[c] for c in used], "codes": [number[c] for c in codes]}
