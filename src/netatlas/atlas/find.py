"""Find: words, constraints and examples to ranked entries, each with its reasons."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from netatlas.atlas import structure
from netatlas.atlas import where as language
from netatlas.atlas.columns import Columns, Mask
from netatlas.atlas.derived import SIZES, Derived
from netatlas.atlas.examples import Example, Scores, examples, examples_in, likeness_words, several
from netatlas.atlas.hits import SHOWN, Hits
from netatlas.atlas.reading import Reading, name_tokens, read, run_together
from netatlas.atlas.scores import of_family, score
from netatlas.errors import QueryError
from netatlas.facts import FACTS, FILLED, Value, find_fact, format_fact
from netatlas.records import KINDS, Entry, Hit

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.graph.graph import Graph

LONGEST_TEXT = 2_000
"""Characters of a query that are read; the rest is ignored, and the result says so."""


def find(
    atlas: Atlas,
    text: str = "",
    *,
    where: str | None = None,
    like: str | Entry | Sequence[str | Entry] | None = None,
    unlike: str | Entry | Sequence[str | Entry] | None = None,
    pattern: str | Sequence[str] | None = None,
    contains: Sequence[tuple[str, Graph, str | None]] = (),
    exact_widths: bool = False,
    k: int = 10,
    sort: str | None = None,
    pareto: str | None = None,
    kind: str | None = None,
    unknown: Literal["drop", "keep"] = "drop",
) -> Hits:
    """Entries that match words, constraints and an example, best first.

    Args:
        atlas: What is searched.
        text: What is wanted, in words; constraints in it are understood, applied and shown back.
        where: Further constraints in the query language.
        like: Ids of the atlas or entries to be structurally alike to; those that ``text`` names ("like resnet50") are added.
        unlike: Ids or entries not to be alike to.
        pattern: Paths of operators to have, see `netatlas.graph.patterns`.
        contains: Blocks to have: name, graph and the dotted path of one of its modules (``None`` for all of it).
        exact_widths: Whether blocks have to have the same widths.
        k: At most this many hits.
        sort: A fact to order by instead of relevance, ``-top1`` for largest first; entries without it come last.
        pareto: Facts, ``top1,macs``: only entries that none of the matching ones beats in all of them.
        kind: ``architecture`` (default), ``model`` or ``any``.
        unknown: Whether entries whose facts do not decide the constraints are dropped or kept.

    Raises:
        QueryError: A constraint, fact, kind, pattern or option cannot be understood.
        GraphError: A block has no operator or too many.
        UnknownIdError: ``like`` names no entry.
    """
    if k < 0:
        raise QueryError(f"k must be 0 or more, got {k}")
    derived = atlas.derived
    readable, notes = _readable(text)
    named = examples_in(readable, atlas)
    reading = read(named.text, derived.vocabulary, lookup=_namer(derived), year=time.gmtime().tm_year)
    demand = _demand(derived.columns, reading, where, kind, unknown)
    names = _mentioned(demand.constraint, sort, pareto)
    guessed = tuple(_guess_notes(atlas, names, demand.mask))
    built = structure.structural(atlas, several(pattern), contains, exact_widths) if pattern or contains else None
    mask = demand.mask & built.mask if built is not None else demand.mask
    example = examples(atlas, [*several(like), *named.like], [*several(unlike), *named.unlike], mask, k)
    scores, reasons, found = score(derived, named.text, reading, mask, example, k)
    mask = mask & found
    if pareto:
        mask = _pareto(derived.columns, mask, pareto)
    rows = np.flatnonzero(mask)
    chosen = _order(derived.columns, rows, scores, sort)[:k]
    return Hits(
        query=text,
        where=str(demand.constraint) if demand.constraint is not None else "",
        chips=tuple(dict.fromkeys([*demand.chips, *named.chips, *(built.chips if built else ()), *demand.kind_chips])),
        hits=_hits(atlas, chosen, scores, reasons, names, example, built),
        total=len(rows),
        notes=(
            *notes,
            *reading.notes,
            *demand.notes,
            *guessed,
            *(example.notes if example else ()),
            *(built.notes if built else ()),
        ),
        columns=tuple(dict.fromkeys([*SHOWN, *names])),
    )


def _readable(text: str) -> tuple[str, tuple[str, ...]]:
    """As much of a text as is read, and a note where that is not all."""
    if len(text) <= LONGEST_TEXT:
        return text, ()
    return text[:LONGEST_TEXT], (f"only the first {LONGEST_TEXT:,} of {len(text):,} characters were read",)


@dataclass(frozen=True)
class _Demand:
    """What entries have to satisfy, whether said in words or as an expression.

    Attributes:
        constraint: Everything as one expression.
        mask: Rows that satisfy it.
        chips: It in words.
        kind_chips: The kind in words, where it is not the usual one.
        notes: Facts in it that most entries lack.
    """

    constraint: language.Expression | None
    mask: Mask
    chips: tuple[str, ...]
    kind_chips: tuple[str, ...]
    notes: tuple[str, ...]


def _demand(columns: Columns, reading: Reading, where: str | None, kind: str | None, unknown: str) -> _Demand:
    if kind not in (None, "any", *KINDS):
        raise QueryError(f"unknown kind {kind!r}: one of any, {', '.join(KINDS)}")
    given = language.parse(where) if where else None
    constraint = language.all_of([x for x in (reading.where, given) if x is not None])
    wanted = kind or reading.kind or "architecture"
    mask = _kind_mask(columns, wanted)
    notes = tuple(_unknown_notes(columns, constraint, mask))
    if constraint is not None:
        truth = constraint.evaluate(columns)
        mask &= truth.true if unknown == "drop" else truth.true | truth.unknown
    chips = (*reading.chips, *(language.chips(given) if given is not None else ()))
    return _Demand(constraint, mask, chips, ("kind = model",) if wanted == "model" else (), notes)


def _kind_mask(columns: Columns, kind: str) -> Mask:
    if kind == "any":
        return np.ones(len(columns), dtype=bool)
    codes, words = columns.text("kind")
    return np.asarray(codes == words.index(kind)) if kind in words else np.zeros(len(columns), dtype=bool)


def _namer(derived: Derived) -> Callable[[str], tuple[str, Mapping[str, Any]] | None]:
    """Looks up the entry that people call by a name; for a family what its members share."""
    columns = derived.columns

    def lookup(name: str) -> tuple[str, Mapping[str, Any]] | None:
        row = columns.row.get(name, derived.by_name.get(run_together(name)))
        if row is None and (family := derived.vocabulary.families.get(run_together(name))):
            years = columns.number("year")[of_family(columns, [family])]
            return (family, {"year": float(np.nanmin(years))}) if bool((~np.isnan(years)).any()) else None
        row = _closest(derived, name) if row is None else row
        if row is None:
            return None
        facts = {fact.name: float(columns.number(fact.name)[row]) for fact in FACTS.values() if fact.kind in ("count", "number")}
        return columns.ids[row], {fact: value for fact, value in facts.items() if value == value}

    return lookup


def _closest(derived: Derived, name: str) -> int | None:
    """The architecture with the shortest id that begins like ``name`` and has all parts of it: ``ViT-B/16``, ``convnext small``."""
    parts = [{part, SIZES.get(part, part)} for part in name_tokens(name)]
    rows = []
    for row in derived.by_name.values():
        own = name_tokens(derived.columns.ids[row].partition("/")[2])
        if parts and own and own[0] in parts[0] and all(part & {*own} for part in parts):
            rows.append(row)
    return min(rows, key=lambda row: (len(derived.columns.ids[row]), derived.columns.ids[row]), default=None)


_MEASURABLE = {
    "latency_ms": "measure with 'netatlas measure' or predict with 'netatlas calibrate'",
    "peak_rss": "measure with 'netatlas measure'",
}


def _unknown_notes(columns: Columns, constraint: language.Expression | None, mask: Mask) -> Iterator[str]:
    """Remarks on constrained facts that most entries lack."""
    total = int(np.count_nonzero(mask))
    for name in sorted(set(constraint.facts())) if constraint is not None and total else ():
        if name in FACTS and FACTS[name].kind in ("count", "number"):
            known = int(np.count_nonzero(~np.isnan(columns.filled(name)[mask])))
            if 2 * known < total:
                yield f"{name} is known for {known:,} of {total:,}: {_MEASURABLE.get(name, 'the others are left out')}"


def _guess_notes(atlas: Atlas, names: Sequence[str], mask: Mask) -> Iterator[str]:
    """Remarks on facts of which guesses were used."""
    columns = atlas.derived.columns
    for name in names:
        if name in FILLED:
            guesses = np.isnan(columns.number(name)) & ~np.isnan(columns.filled(name)) & mask
            if count := int(np.count_nonzero(guesses)):
                total = int(np.count_nonzero(mask))
                yield f"{name} marked ~ is {atlas.predictions.words(FILLED[name])}: {count:,} of {total:,}"


def _pareto(columns: Columns, mask: Mask, facts: str) -> Mask:
    return np.asarray(language.pareto_front(columns, language.pareto_axes(facts), mask))


def _order(columns: Columns, rows: npt.NDArray[np.int64], scores: Scores, sort: str | None) -> list[int]:
    """Rows best first: by the sorted fact, unknown last, then by score, shorter ids first among equals."""
    ids = columns.ids
    keys: list[Any] = [(0.0, 0.0)] * 0
    if sort:
        fact, descending = language.sort_key(sort)
        if FACTS[fact].kind in ("count", "number"):
            values = columns.filled(fact)[rows]
            keys = [(np.isnan(v), -v if descending else v) for v in values.tolist()]
        else:
            codes, words = columns.text(fact)
            named = [words[c] if c >= 0 else None for c in codes[rows].tolist()]
            ranks = {w: i for i, w in enumerate(sorted({w for w in named if w is not None}, reverse=descending))}
            keys = [(w is None, ranks.get(w or "", 0)) for w in named]
    else:
        keys = [(False, 0)] * len(rows)
    ranked = sorted(zip(keys, (-scores[rows]).tolist(), (len(ids[r]) for r in rows.tolist()), rows.tolist(), strict=True))
    return [row for *_, row in ranked]


def _mentioned(constraint: language.Expression | None, sort: str | None, pareto: str | None) -> tuple[str, ...]:
    """Facts a query speaks of, which the table then shows."""
    names = sorted(constraint.facts()) if constraint is not None else []
    names += [language.sort_key(sort)[0]] if sort else []
    names += [axis.fact for axis in language.pareto_axes(pareto)] if pareto else []
    hidden = ("kind", "ops", "motifs", "source")
    return tuple(dict.fromkeys(n for n in names if n not in hidden and find_fact(n) is not None))


def _hits(
    atlas: Atlas,
    rows: Sequence[int],
    scores: Scores,
    reasons: Mapping[int, str],
    names: Sequence[str],
    example: Example | None,
    built: structure.Structural | None,
) -> tuple[Hit, ...]:
    ids = [atlas.ids[row] for row in rows]
    facts, titles = atlas.facts(ids), atlas.titles(ids)
    hits = []
    for row, entry_id in zip(rows, ids, strict=True):
        known = facts[entry_id]
        why = [_told(name, known) for name in names if name not in SHOWN or name not in known]
        if row in reasons:
            why.insert(0, reasons[row])
        if example is not None:
            reason = _reason(atlas, example, entry_id, len(rows))
            why.insert(0, likeness_words(example, row, known.get("ops", ()), reason))
        if built is not None:
            why[:0] = built.why(atlas.graph(entry_id))
        if "family" in known and not why:
            why.append(f"family {known['family']}")
        hits.append(
            Hit(
                entry_id,
                str(known.get("kind", "architecture")),
                titles.get(entry_id, entry_id),
                float(scores[row]),
                known,
                tuple(why),
            )
        )
    return tuple(replace(h, kind=_kind_of(atlas, h.id)) for h in hits)


def _reason(atlas: Atlas, example: Example, entry_id: str, shown: int) -> str:
    """Why an entry is like the example, where that is known of it and not too many ask."""
    from netatlas.atlas.why import MOST_EXPLAINED, why_alike  # the words for differences are not needed to find words

    return why_alike(atlas, example.made, entry_id) if example.made and shown <= MOST_EXPLAINED else ""


def _told(name: str, known: Mapping[str, Value]) -> str:
    """A fact in words; of a guess it is said that it is one."""
    return (
        f"{name} {format_fact(name, known) or 'unknown'}{' predicted' if name not in known and FILLED.get(name) in known else ''}"
    )


def _kind_of(atlas: Atlas, entry_id: str) -> str:
    codes, words = atlas.derived.columns.text("kind")
    return words[int(codes[atlas.derived.columns.row[entry_id]])]
