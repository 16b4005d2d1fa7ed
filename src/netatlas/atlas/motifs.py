"""Motifs of the atlas, or of one network: names, counts, sizes, examples and places."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netatlas.atlas import where as language
from netatlas.atlas._where_operators import find_motif, is_mined, motif_words
from netatlas.atlas._where_words import word_table
from netatlas.atlas.motif_counts import COUNTED_AS, motif_names, unpack
from netatlas.atlas.tables import html_table, table
from netatlas.errors import QueryError, StoreError, did_you_mean
from netatlas.graph.forms import FORMS
from netatlas.graph.mined import mined

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.graph.graph import Graph

Which = Literal["all", "named", "mined"]

EXAMPLES, PLACES = 3, 6
"""Architectures, and places in one, that a row of the table shows; JSON has twelve architectures and all places."""
_MOST_EXAMPLES = 12

_WIDEST = 70
"""Characters of a motif in a table."""


@dataclass(frozen=True)
class MotifRow:
    """One motif.

    Attributes:
        id: What ``has_motif(...)`` takes: the name, or the id of a mined one.
        name: In words; of a mined one that of the named motif it coincides with, ``""`` where there is none.
        is_mined: Whether it was mined.
        description: What it is.
        synonyms: Other names.
        size: Operators of it: of a mined motif its steps, of a named one the median in the network that was asked about, and
            ``None`` for the atlas, where it differs.
        architectures: Architectures that have it.
        occurrences: How often it occurs in them.
        families: Families with the most architectures that have it, and how many of each.
        examples: Architectures of different families, of the families with most first; of each the one with the shortest name.
        places: Modules it occurs in, and how often in each; of one network only.
    """

    id: str
    name: str
    is_mined: bool
    description: str
    synonyms: tuple[str, ...]
    size: int | None
    architectures: int
    occurrences: int
    families: Mapping[str, int] = field(default_factory=dict)
    examples: tuple[str, ...] = ()
    places: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What people read: the name, or the steps of a mined motif that has none."""
        if not self.is_mined:
            return self.name
        return f"{self.description} [{self.name}]" if self.name else self.description


@dataclass(frozen=True)
class Motifs(Sequence[MotifRow]):
    """Motifs, the most widespread first: prints as a table, shows as one in a notebook.

    Attributes:
        of: The network they are of, ``""`` for the atlas.
        rows: The motifs.
        asked: Architectures that were looked at.
        notes: What was left out.
        single: Whether one motif was asked for by name, which then prints as a card.
    """

    of: str
    rows: tuple[MotifRow, ...]
    asked: int
    notes: tuple[str, ...] = ()
    single: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        return self.rows[index]

    def __iter__(self) -> Iterator[MotifRow]:
        return iter(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """One JSON object."""
        rows = [
            {"id": r.id, "name": r.name, "mined": r.is_mined, "description": r.description, "synonyms": list(r.synonyms), "size": r.size,
             "architectures": r.architectures, "occurrences": r.occurrences, "families": dict(r.families), "examples": list(r.examples),
             "places": dict(r.places)}
            for r in self.rows
        ]  # fmt: skip
        return {"of": self.of or None, "architectures": self.asked, "motifs": rows, "notes": list(self.notes)}

    def text(self, width: int = 0) -> str:
        """The table, or the card of one motif."""
        lines = [f"note: {note}" for note in self.notes]
        if self.single and len(self.rows) == 1 and not self.of:
            lines.append(_card(self.rows[0], self.asked))
        elif self.rows:
            header, cells = self._cells()
            for cell in cells:
                if len(cell[1]) > _WIDEST:  # one long run would push all other columns out of sight; its card has all of it
                    cell[1] = cell[1][: _WIDEST - 1] + "…"
            lines.append(table(header, cells, right=self._numbers(), width=width, cut=(1, len(header) - 1)))
        else:
            lines.append("no motif")
        return "\n".join(lines)

    def _numbers(self) -> tuple[int, ...]:
        return (2, 3) if self.of else (2, 3, 4)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        if self.of:
            rows = [
                [r.id if r.is_mined else "", r.label, str(r.size or "-"), str(r.occurrences), _where(r.places)] for r in self.rows
            ]
            return ["id", "motif", "size", "times", "where"], rows
        rows = [
            [r.id if r.is_mined else "", r.label, str(r.size or "-"), f"{r.architectures:,}", f"{r.occurrences:,}", ", ".join(r.examples[:EXAMPLES])]
            for r in self.rows
        ]  # fmt: skip
        return ["id", "motif", "size", "architectures", "times", "for example"], rows

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return html_table(*self._cells())


def _where(places: Mapping[str, int]) -> str:
    shown = [f"{path or '(top)'} x {n}" if n > 1 else path or "(top)" for path, n in list(places.items())[:PLACES]]
    more = len(places) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _card(row: MotifRow, asked: int) -> str:
    """Everything about one motif."""
    title = f"{row.id}: {row.label}" if row.is_mined else row.name
    lines = [title, "" if row.is_mined else f"  {row.description}"]
    if row.is_mined:
        known = mined()[row.id]
        lines.append(f"  {row.size} operators, mined from {known.architectures:,} architectures of {known.families} families")
        if known.modules:
            lines.append(f"  the module {', '.join(known.modules)}")
    if row.synonyms:
        lines.append(f"  also called {', '.join(row.synonyms)}")
    lines.append(f"  in {row.architectures:,} of {asked:,} architectures, {row.occurrences:,} times")
    if row.families:
        lines.append("  most in " + ", ".join(f"{family} ({n})" for family, n in list(row.families.items())[:_MOST_EXAMPLES]))
    if row.examples:
        lines.append("  for example " + ", ".join(row.examples[:EXAMPLES]))
    asking = f"has_motif({row.id})" if row.is_mined else f"has({row.id})"
    lines.append(f"  ask for it with --where '{asking}'")
    return "\n".join(line for line in lines if line)


def find_motif_named(word: str) -> str | None:
    """Name or id of the motif that people call ``word``; ``None`` when there is none."""
    name = find_motif(word)
    return name if name is not None and (name in FORMS or is_mined(name)) else None


def of_atlas(
    atlas: Atlas, *, where: str | None = None, which: Which = "all", min_count: int = 1, name: str | None = None
) -> Motifs:
    """Motifs of all architectures, counted when they were built.

    Args:
        atlas: The atlas.
        where: Constraints on the architectures that are looked at.
        which: All, the named or the mined ones.
        min_count: Architectures a motif has to be in.
        name: One motif only, by any of its names.

    Raises:
        QueryError: ``where`` cannot be understood, or no motif is called ``name``.
        StoreError: The counts are missing.
    """
    only = None
    if name is not None and (only := find_motif_named(name)) is None:
        raise QueryError(f"unknown motif {name[:60]!r}{did_you_mean(name[:60], motif_words())}")
    ids, notes = _asked(atlas, where)
    stored = atlas.vectors(COUNTED_AS)
    held = [i for i in ids if i in stored]
    if ids and not held:
        raise StoreError("this atlas does not count motifs yet: build it again with 'netatlas build'")
    if len(held) < len(ids):
        notes.append(f"the motifs of {len(ids) - len(held):,} of {len(ids):,} architectures were not counted: build them again")
    counts = unpack([stored[i] for i in held])
    families = _families(atlas, held)
    chosen = [k for k, motif in enumerate(motif_names()) if _wanted(motif, which) and only in (None, motif)]
    rows = [_row(motif_names()[k], counts[:, k], held, families) for k in chosen]
    kept = [r for r in rows if r.architectures >= min_count or only is not None]
    kept.sort(key=lambda r: (-r.architectures, -r.occurrences, r.id))
    return Motifs("", tuple(kept), len(held), tuple(notes), only is not None)


def of_graph(name: str, graph: Graph, *, which: Which = "all", min_count: int = 1) -> Motifs:
    """Motifs of one network, with the modules they occur in.

    Args:
        name: What the network is called.
        graph: Its graph.
        which: All, the named or the mined ones.
        min_count: How often a motif has to occur.
    """
    from netatlas.graph.census import bounded_note, common_scope, places

    rows = []
    for motif, found in places(graph).items():
        if not _wanted(motif, which) or len(found) < min_count:
            continue
        scopes: dict[str, int] = {}
        for nodes in found:
            path = common_scope(graph, nodes)
            scopes[path] = scopes.get(path, 0) + 1
        size = int(np.median([len(nodes) for nodes in found]))
        rows.append(_plain(motif, size, 1, len(found), places=scopes))
    rows.sort(key=lambda r: (-r.occurrences, r.is_mined, r.id))
    note = bounded_note(graph)
    return Motifs(name, tuple(rows), 1, (note,) if note else ())


def _asked(atlas: Atlas, where: str | None) -> tuple[list[str], list[str]]:
    """Ids of the architectures that satisfy ``where``, and remarks on it."""
    columns = atlas.derived.columns
    codes, kinds = columns.text("kind")
    mask = codes == kinds.index("architecture") if "architecture" in kinds else np.zeros(len(columns), dtype=bool)
    notes: list[str] = []
    if where:
        condition = language.parse(where)
        notes.extend(condition.warnings(columns))
        mask = mask & condition.evaluate(columns).true
    return [columns.ids[i] for i in np.flatnonzero(mask)], notes


def _families(atlas: Atlas, ids: Sequence[str]) -> list[str]:
    columns = atlas.derived.columns
    codes, names = columns.text("family")
    return [names[code] if (code := codes[columns.row[i]]) >= 0 else "" for i in ids]


def _wanted(motif: str, which: Which) -> bool:
    return which == "all" or (motif in FORMS) == (which == "named")


def _row(motif: str, counts: np.ndarray[Any, np.dtype[np.int64]], ids: Sequence[str], families: Sequence[str]) -> MotifRow:
    having = np.flatnonzero(counts)
    tally: dict[str, int] = {}
    examples: dict[str, str] = {}
    for i in sorted(having.tolist(), key=lambda i: ("/test_" in ids[i], len(ids[i]), ids[i])):
        family = families[i]
        tally[family] = tally.get(family, 0) + 1
        examples.setdefault(family or ids[i], ids[i])
    tally.pop("", None)
    ranked = dict(sorted(tally.items(), key=lambda item: (-item[1], item[0])))
    spread = sorted(examples, key=lambda family: -tally.get(family, 1))[:_MOST_EXAMPLES]
    size = len(mined()[motif].steps) if motif in mined() else None
    return _plain(motif, size, len(having), int(counts.sum()), ranked, tuple(examples[family] for family in spread))


def _plain(
    motif: str, size: int | None, architectures: int, occurrences: int, families: Mapping[str, int] | None = None,
    examples: tuple[str, ...] = (), places: Mapping[str, int] | None = None,
) -> MotifRow:  # fmt: skip
    if motif in mined():
        name, description, words = mined()[motif].name.replace("_", " "), mined()[motif].description, ""
    else:
        words = word_table()["forms"].get(motif, word_table()["operators"].get(motif, ""))
        name, description = motif.replace("_", " "), FORMS[motif].description
    synonyms = tuple(w for w in words.split("|") if w)
    return MotifRow(
        motif,
        name,
        motif in mined(),
        description,
        synonyms,
        size,
        architectures,
        occurrences,
        families or {},
        examples,
        places or {},
    )
