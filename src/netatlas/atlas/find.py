"""Find: words, constraints and examples to ranked entries, each with its reasons."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from netatlas.atlas import structure
from netatlas.atlas import where as language
from netatlas.atlas.card import plain_facts
from netatlas.atlas.columns import Columns
from netatlas.atlas.derived import SIZES, Derived
from netatlas.atlas.reading import Reading, name_tokens, read, run_together
from netatlas.atlas.tables import html_table, table
from netatlas.atlas.why import MOST_EXPLAINED, Made, made_of, why_alike
from netatlas.errors import QueryError
from netatlas.facts import FACTS, find_fact, format_value
from netatlas.records import KINDS, Entry, Hit

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.graph.graph import Graph

SHOWN = ("params", "macs", "top1", "family", "year")
"""Facts of the table, after which come those a query mentions."""

ALWAYS = ("params", "macs", "family", "year", "task", "top1", "latency_ms")
"""Facts that JSON has even when they are unknown (``null``)."""

LONGEST_TEXT = 2_000
"""Characters of a query that are read; the rest is ignored, and the result says so."""

MOST_WORDS = 24
"""Words of a query that are looked up."""

_FAMILY_WEIGHT, _PREFERENCE_WEIGHT, _PRIOR_WEIGHT, _HINT_WEIGHT, _TOY_WEIGHT = 0.8, 0.6, 0.15, 0.3, 2.0
_EVERY_WORD, _WORDS_BESIDE_WISHES = 2.0, 0.3
_SAME_NAME, _NAME_BEGINS, _FIRST_WORD = 1.0, 0.5, 0.25

MOST_NAMED = 3_000
"""Rows whose names are compared with the query; more have all its words only where these are no name."""

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


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
    return format_value(name, hit.facts[name]) if name in hit.facts else "-"


@dataclass(frozen=True)
class _Example:
    """An example to be like (or unlike): how alike every row is, and what it is called."""

    name: str
    scores: Scores
    ops: frozenset[str]
    said: str = "alike"
    made: Made | None = None


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
    if kind not in (None, "any", *KINDS):
        raise QueryError(f"unknown kind {kind!r}: one of any, {', '.join(KINDS)}")
    derived = atlas.derived
    columns = derived.columns
    notes: list[str] = []
    if len(text) > LONGEST_TEXT:
        notes.append(f"only the first {LONGEST_TEXT:,} of {len(text):,} characters were read")
        text = text[:LONGEST_TEXT]
    asked, named = text, structure.examples_in(text, atlas)
    text = named.text
    reading = read(text, derived.vocabulary, lookup=_namer(derived), year=time.gmtime().tm_year)
    notes.extend(reading.notes)
    stated = [reading.where, language.parse(where) if where else None]
    constraint = language.all_of([x for x in stated if x is not None])
    wanted = kind or reading.kind or "architecture"
    mask = _kind_mask(columns, wanted)
    notes.extend(_unknown_notes(columns, constraint, mask))
    why: list[str] = list(reading.chips)
    if constraint is not None:
        truth = constraint.evaluate(columns)
        mask &= truth.true if unknown == "drop" else truth.true | truth.unknown
        if where:
            why.extend(c for c in language.chips(language.parse(where)) if c not in why)
    why.extend(named.chips)
    example = _examples(atlas, [*_several(like), *named.like], [*_several(unlike), *named.unlike])
    built = structure.structural(atlas, _several(pattern), contains, exact_widths) if pattern or contains else None
    if built is not None:
        mask &= built.mask
        why.extend(built.chips)
        notes.extend(built.notes)
    scores, reasons, found = _score(derived, text, reading, mask, example, k)
    mask &= found
    if pareto:
        mask = _pareto(columns, mask, pareto)
    rows = np.flatnonzero(mask)
    order = _order(columns, rows, scores, sort)
    chosen = [int(row) for row in order[:k]]
    names = _mentioned(constraint, sort, pareto)
    hits = _hits(atlas, chosen, scores, reasons, names, example, built)
    chips = tuple(dict.fromkeys([*why, *([f"kind = {wanted}"] if wanted == "model" else [])]))
    shown = tuple(dict.fromkeys([*SHOWN, *names]))
    return Hits(asked, str(constraint) if constraint is not None else "", chips, hits, len(rows), tuple(notes), shown)


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
            years = columns.number("year")[_of_family(columns, [family])]
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


_MEASURABLE = {"latency_ms": "measure with 'netatlas measure', or use cpu_ms", "peak_rss": "measure with 'netatlas measure'"}


def _unknown_notes(columns: Columns, constraint: language.Expression | None, mask: Mask) -> Iterator[str]:
    """Remarks on constrained facts that most entries lack."""
    total = int(np.count_nonzero(mask))
    for name in sorted(set(constraint.facts())) if constraint is not None and total else ():
        if name in FACTS and FACTS[name].kind in ("count", "number"):
            known = int(np.count_nonzero(~np.isnan(columns.number(name)[mask])))
            if 2 * known < total:
                yield f"{name} is known for {known:,} of {total:,}: {_MEASURABLE.get(name, 'the others are left out')}"


def _several(given: Any) -> list[Any]:
    return [] if given is None else [given] if isinstance(given, (str, Entry)) else list(given)


def _examples(atlas: Atlas, like: Sequence[str | Entry], unlike: Sequence[str | Entry]) -> _Example | None:
    """All examples as one."""
    if not (like or unlike):
        return None
    liked, unliked = [_example(atlas, item) for item in like], [_example(atlas, item) for item in unlike]
    scores = structure.combined([e.scores for e in liked], [e.scores for e in unliked], len(atlas))
    ops = frozenset.intersection(*(e.ops for e in liked)) if liked else frozenset()
    said = f"alike, unlike {', '.join(e.name for e in unliked)} counted" if unliked else "alike"
    return _Example(" and ".join(e.name for e in liked), scores, ops, said, liked[0].made if len(liked) == 1 else None)


def _example(atlas: Atlas, like: str | Entry) -> _Example:
    from netatlas.atlas.vectors import DEFAULT, encode, likeness

    entry = atlas.entry(like) if isinstance(like, str) else like
    owner = str(entry.facts.get("architecture", entry.id))
    columns = atlas.derived.columns
    scores = np.full(len(columns), -1.0)
    if structure.is_shapes_only(entry) and (guessed := entry.graph or atlas.graph(entry.id)) is not None:
        alike = structure.layer_likeness(atlas, guessed)
    else:
        if isinstance(like, str):
            vector = atlas.vectors(DEFAULT).get(owner)
        else:
            vector = encode(entry.graph)[DEFAULT] if entry.graph is not None else None
        if vector is None:
            raise QueryError(f"{entry.id} has no graph, so nothing can be like it")
        alike = likeness(atlas, vector, entry.facts)
    for entry_id, score in alike.items():
        scores[columns.row[entry_id]] = score
    if isinstance(like, str) and owner in columns.row:
        scores[columns.row[owner]] = -1.0
    ops = entry.facts.get("ops", ())
    graph = None if structure.is_shapes_only(entry) else atlas.graph(entry.id) if isinstance(like, str) else entry.graph
    made = made_of(graph) if graph is not None else None
    return _Example(entry.id, scores, frozenset(ops if isinstance(ops, tuple) else ()), made=made)


def _score(
    derived: Derived, text: str, reading: Reading, mask: Mask, example: _Example | None, wanted: int
) -> tuple[Scores, dict[int, str], Mask]:
    """Scores of all rows, matched words by row, and which rows are found at all."""
    columns = derived.columns
    scores = _PRIOR_WEIGHT * _prior(columns)
    reasons: dict[int, str] = {}
    found = np.ones(len(columns), dtype=bool)
    stated = _words(reading.words, text)
    words = [group for group in stated if derived.words.knows(group)]
    named = _of_family(columns, reading.family)
    every = found
    if words:
        lexical, every = _lexical(derived, words, mask, reading, named, wanted)
        found &= lexical > 0
        if reading.where is not None and not reading.family and np.count_nonzero(found & mask) < wanted:
            found[:] = True  # the constraints hold without the words, which only order
        # A wish decides among entries that have all the words; without one their own order does.
        scores += lexical * np.where(every, 1.0 if not reading.prefer else _WORDS_BESIDE_WISHES, 1.0) + _EVERY_WORD * every
        scores += _names_first(columns, np.flatnonzero(every & mask), reading, words)
        said = " ".join(group[0] for group in words)
        reasons = {
            row: f"words: {said}" if every[row] else f"some of the words: {said}"
            for row in np.flatnonzero((lexical > 0) & mask).tolist()
        }
    elif reading.family:
        found &= named
    elif stated and reading.where is None and not reading.prefer:
        found[:] = False
    scores += _FAMILY_WEIGHT * named
    if reading.hints:
        scores += _HINT_WEIGHT * _hinted(derived, reading.hints)
    for fact, direction in reading.prefer:
        scores += _PREFERENCE_WEIGHT * _rank(
            columns.number(fact), mask & found & (every if bool((every & mask).any()) else True), direction
        )
    for fact, value in reading.near:
        away = np.abs(columns.number(fact) - value) / max(abs(value), 1e-9)
        scores += _PREFERENCE_WEIGHT * np.nan_to_num(np.maximum(0.0, 1.0 - 5.0 * away))
    if "test" not in text:
        scores -= _TOY_WEIGHT * derived.toys
    if example is not None:
        found &= example.scores >= 0
        scores = np.where(example.scores >= 0, example.scores, 0.0) + (
            0.5 * scores if words or reading.family or reading.prefer else 0.0
        )
    return scores, reasons, found


def _of_family(columns: Columns, families: Sequence[str]) -> Mask:
    codes, keys = columns.text("family")
    return np.isin(codes, [keys.index(key) for key in families if key in keys])


def _words(words: str, text: str) -> list[list[str]]:
    """What must occur, each with its other spellings: the parts of every word as names are split, sizes also spelled out.

    Args:
        words: What reading left to search for, other spellings of names among them.
        text: The query; parts that are not in it are other spellings, not demands.
    """
    said = set(name_tokens(text))
    tokens = [t for t in dict.fromkeys(t for word in words.split() for t in name_tokens(word)) if t in said]
    return [[token, *([SIZES[token]] if token in SIZES else [])] for token in tokens[:MOST_WORDS]]


def _lexical(
    derived: Derived, words: list[list[str]], mask: Mask, reading: Reading, named: Mask, wanted: int
) -> tuple[Scores, Mask]:
    """BM25 scores of the rows that are found, divided by the best, and which of them have every word.

    Rows with every word come first. Where they are fewer than ``wanted``, rows with some of the words follow; if a family is named,
    only rows of that family; and none if the words are nothing but a name, so that "swin tiny" gives no other network.
    """
    size = min(len(mask), 20_000)
    every = _searched(derived, words, size, True)
    enough = int(np.count_nonzero(every[mask]))
    if enough >= wanted or (enough and {*name_tokens(reading.name)} >= {group[0] for group in words}):
        return every / max(float(every.max()), 1e-9), every > 0
    some = _searched(derived, words, size, False)
    if reading.family and bool((named | (every > 0))[mask].any()):
        some[~named] = 0.0
    scores = np.maximum(every, some)
    return scores / max(float(scores.max(initial=0.0)), 1e-9), every > 0


def _searched(derived: Derived, words: list[list[str]], limit: int, every: bool) -> Scores:
    scores = np.zeros(len(derived.columns))
    found = derived.words.search(words, limit=limit, every=every)
    if found:
        rows, values = zip(*found, strict=True)
        scores[list(rows)] = values
    return scores


def _hinted(derived: Derived, hints: str) -> Scores:
    """How well rows fit words that a constraint was made of, in [0, 1]."""
    scores = _searched(derived, [[word] for word in dict.fromkeys(hints.split())], min(len(derived.columns), 5_000), False)
    return scores / max(float(scores.max(initial=0.0)), 1e-9)


def _names_first(columns: Columns, rows: npt.NDArray[np.int64], reading: Reading, words: list[list[str]]) -> Scores:
    """A bonus for rows whose name is, or begins with, the name that was typed: ``resnet50``, then ``resnet50d``, then the others."""
    bonus = np.zeros(len(columns))
    typed = {
        run_together(form)
        for form in (reading.words, "".join(group[-1] for group in words), "".join(group[0] for group in words))
    }
    if len(rows) > MOST_NAMED:
        return bonus
    first = words[0][0]
    for row in rows.tolist():
        name = run_together(columns.ids[row].partition("/")[2].partition(".")[0])
        if name in typed:
            bonus[row] = _SAME_NAME
        elif any(name.startswith(form) for form in typed if form):
            bonus[row] = _NAME_BEGINS
        elif name.startswith(first):
            bonus[row] = _FIRST_WORD
    return bonus


def _prior(columns: Columns) -> Scores:
    """A mild preference among equals: weights exist, accuracy is known and good, the name is short. In [0, 1]."""
    models = np.nan_to_num(np.log1p(columns.number("models")), nan=0.0)
    top1 = np.nan_to_num(columns.number("top1"), nan=0.0) / 100
    return np.asarray(0.3 * models / max(float(models.max(initial=0.0)), 1e-9) + 0.7 * top1)


def _rank(values: Scores, mask: Mask, direction: str) -> Scores:
    """Each value's rank among the rows of ``mask``, 1 for the best and 0 for the worst or unknown."""
    known = mask & ~np.isnan(values)
    ranks = np.zeros(len(values))
    order = np.argsort(values[known], kind="stable")
    steps = np.empty(len(order))
    steps[order] = np.linspace(0.0, 1.0, len(order)) if len(order) > 1 else 1.0
    ranks[known] = steps if direction == "higher" else 1.0 - steps
    return ranks


def _pareto(columns: Columns, mask: Mask, facts: str) -> Mask:
    return np.asarray(language.pareto_front(columns, language.pareto_axes(facts), mask))


def _order(columns: Columns, rows: npt.NDArray[np.int64], scores: Scores, sort: str | None) -> list[int]:
    """Rows best first: by the sorted fact, unknown last, then by score, shorter ids first among equals."""
    ids = columns.ids
    keys: list[Any] = [(0.0, 0.0)] * 0
    if sort:
        fact, descending = language.sort_key(sort)
        if FACTS[fact].kind in ("count", "number"):
            values = columns.number(fact)[rows]
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
    example: _Example | None,
    built: structure.Structural | None,
) -> tuple[Hit, ...]:
    ids = [atlas.ids[row] for row in rows]
    facts, titles = atlas.facts(ids), atlas.titles(ids)
    hits = []
    for row, entry_id in zip(rows, ids, strict=True):
        known = facts[entry_id]
        why = [
            f"{name} {format_value(name, known[name])}" if name in known else f"{name} unknown"
            for name in names
            if name not in SHOWN or name not in known
        ]
        if row in reasons:
            why.insert(0, reasons[row])
        if example is not None:
            reason = why_alike(atlas, example.made, entry_id) if example.made and len(rows) <= MOST_EXPLAINED else ""
            why.insert(0, _likeness(example, row, known.get("ops", ()), reason))
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


def _kind_of(atlas: Atlas, entry_id: str) -> str:
    codes, words = atlas.derived.columns.text("kind")
    return words[int(codes[atlas.derived.columns.row[entry_id]])]


def _likeness(example: _Example, row: int, ops: Any, reason: str) -> str:
    shared = sorted(example.ops & set(ops if isinstance(ops, tuple) else ()))
    told = [name.replace("_", " ") for name in shared if name not in ("add", "mul", "linear", "conv")]
    share = f"{100 * example.scores[row]:.0f} % {example.said}"
    if reason:
        return f"{share}: {reason}"
    return f"{share} ({', '.join(told[:4])})" if told else share
