"""Examples to be like or unlike: those a text names, how alike every entry is to them, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from netatlas.atlas import structure
from netatlas.atlas.reading import run_together
from netatlas.encoders.base import ENCODERS
from netatlas.errors import QueryError
from netatlas.records import Entry

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.atlas.why import Made
    from netatlas.graph.graph import Graph

Mask = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]

UNLIKE = 0.5
"""Weight of being unlike, where the examples to be like have 1 (Rocchio's share of what is not wanted, rounded up)."""

MOST_UNKNOWN = 0.2
"""Share of unknown operators in an example above which a search says so."""

_LIKE = re.compile(r"\b(not like|dissimilar to|different from|unlike|similar to|resembling|like)\s+", re.IGNORECASE)
_AGAINST = ("not like", "dissimilar to", "different from", "unlike")
_NAME = re.compile(r"[\w./-]+(?:[ ][\w./-]+){0,3}")


@dataclass(frozen=True)
class Named:
    """Examples that a text names: ids to be like and unlike, the text without them, and chips."""

    text: str
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    chips: tuple[str, ...] = field(default=())


def examples_in(text: str, atlas: Atlas) -> Named:
    """The ``like X`` and ``similar to X`` of a text where X is an id of the atlas or the whole name of an architecture.

    Anything else ("looks like a transformer") stays in the text and is read as before.
    """
    like: list[str] = []
    unlike: list[str] = []
    kept, at = "", 0
    while (found := _LIKE.search(text, at)) is not None:
        named, end = _named(text, found.end(), atlas)
        if named is None:
            kept, at = kept + text[at : found.end()], found.end()
            continue
        (unlike if found[1].lower() in _AGAINST else like).append(named)
        kept, at = kept + text[at : found.start()], end
    kept += text[at:]
    chips = [*(f"like {name}" for name in like), *(f"unlike {name}" for name in unlike)]
    if chips:
        kept = re.sub(r"^[\s,]*(?:(?:but|and)\s+)*|[\s,]*(?:\b(?:but|and))?\s*$", "", kept)
        kept = re.sub(r"\b(?:but|and)\s+(?=(?:but|and)\b)", "", kept)
    return Named(kept, tuple(like), tuple(unlike), tuple(chips))


def _named(text: str, at: int, atlas: Atlas) -> tuple[str | None, int]:
    """The longest name of an entry that stands at ``at``, up to four words, and where it ends."""
    found = _NAME.match(text, at)
    if found is None:
        return None, at
    derived = atlas.derived
    words = found[0].split(" ")
    for size in range(len(words), 0, -1):
        said = " ".join(words[:size])
        name = said.rstrip(".-/")
        row = derived.columns.row.get(name)
        if row is None and any(c.isdigit() for c in name):  # "like inception" is a family, not one network
            row = derived.by_name.get(run_together(name))
        if row is not None:
            return derived.columns.ids[row], at + len(said)
    return None, at


def combined(like: Sequence[Scores], unlike: Sequence[Scores], rows: int) -> Scores:
    """Likeness to all examples in [0, 1] for each of ``rows``; -1 where an example was compared with nothing or is the row itself.

    The mean of what to be like; being far from the nearest of what to be unlike counts `UNLIKE` times as much.
    """
    compared = np.ones(rows, dtype=bool)
    for scores in (*like, *unlike):
        compared &= scores >= 0
    wanted = np.mean(like, axis=0) if like else np.zeros(rows)
    if unlike:
        far = 1 - np.max(unlike, axis=0)
        wanted = (wanted + UNLIKE * far) / (1 + UNLIKE) if like else far
    return np.where(compared, wanted, -1.0)


@dataclass(frozen=True)
class Example:
    """An example to be like (or unlike), or several as one.

    Attributes:
        name: What it is called.
        scores: How alike every row is, ``(m,)`` in [0, 1]; -1 for rows that were not compared.
        ops: Its operators and forms.
        said: How the likeness is told.
        made: What it is made of, for reasons.
        notes: What the likeness leaves out.
    """

    name: str
    scores: Scores
    ops: frozenset[str]
    said: str = "alike"
    made: Made | None = None
    notes: tuple[str, ...] = ()


def several(given: Any) -> list[Any]:
    """An argument that may be one thing, several or none, as a list; a module is one thing, though it can be iterated."""
    return list(given) if isinstance(given, (list, tuple)) else [] if given is None else [given]


def examples(atlas: Atlas, like: Sequence[str | Entry], unlike: Sequence[str | Entry], mask: Mask, k: int) -> Example | None:
    """All examples as one.

    Args:
        atlas: What is searched.
        like: Ids or entries to be like.
        unlike: Ids or entries not to be like.
        mask: Rows that may be found; of a large atlas only some of them are compared.
        k: How many are wanted.
    """
    from netatlas.atlas.vectors import worth_comparing

    if not (like or unlike):
        return None
    among, note = worth_comparing(atlas, [_entry(atlas, item) for item in like], mask, k)
    liked, unliked = [_example(atlas, item, among) for item in like], [_example(atlas, item, among) for item in unlike]
    scores = combined([e.scores for e in liked], [e.scores for e in unliked], len(atlas))
    ops = frozenset.intersection(*(e.ops for e in liked)) if liked else frozenset()
    said = f"alike, unlike {', '.join(e.name for e in unliked)} counted" if unliked else "alike"
    notes = (*((note,) if note else ()), *(note for e in (*liked, *unliked) for note in e.notes))
    return Example(" and ".join(e.name for e in liked), scores, ops, said, liked[0].made if len(liked) == 1 else None, notes)


def _entry(atlas: Atlas, like: str | Entry) -> Entry:
    return atlas.entry(like) if isinstance(like, str) else like


def _example(atlas: Atlas, like: str | Entry, among: Mask | None) -> Example:
    entry = _entry(atlas, like)
    owner = str(entry.facts.get("architecture", entry.id))
    columns = atlas.derived.columns
    graph = entry.graph or (atlas.graph(entry.id) if isinstance(like, str) else None)
    notes: tuple[str, ...] = ()
    made = None
    if not entry.is_wired and graph is not None:
        alike = structure.layer_likeness(atlas, graph)
    else:
        alike, notes, made = _alike(atlas, entry, graph, among, is_stored=isinstance(like, str))
    scores = np.full(len(columns), -1.0)
    for entry_id, score in alike.items():
        scores[columns.row[entry_id]] = score
    if isinstance(like, str) and owner in columns.row:
        scores[columns.row[owner]] = -1.0
    ops = entry.facts.get("ops", ())
    return Example(entry.id, scores, frozenset(ops if isinstance(ops, tuple) else ()), made=made, notes=notes)


def _alike(
    atlas: Atlas, entry: Entry, graph: Graph | None, among: Mask | None, *, is_stored: bool
) -> tuple[dict[str, float], tuple[str, ...], Made | None]:
    """Likeness by id, what it leaves out, and what the example is made of.

    Raises:
        QueryError: The example has no graph, or no operator of it is known.
    """
    from netatlas.atlas.vectors import DEFAULT, likeness, vector_of
    from netatlas.atlas.why import made_of

    if graph is None:
        raise QueryError(f"{entry.id} has no graph, so nothing can be like it")
    vector = vector_of(atlas, entry) if is_stored else None
    alike = likeness(atlas, vector if vector is not None else ENCODERS.build(DEFAULT).encode(graph), entry.facts, among=among)
    return alike, _unknown(entry.id, graph), made_of(graph)


def _unknown(name: str, graph: Graph) -> tuple[str, ...]:
    """A note where many operators are unknown.

    Raises:
        QueryError: All of them are.
    """
    count, total = sum(graph.unknown.values()), sum(graph.op_counts().values())
    if not count or count <= MOST_UNKNOWN * total:
        return ()
    words = ", ".join(list(graph.unknown)[:3]) + (", ..." if len(graph.unknown) > 3 else "")
    if count >= total:
        raise QueryError(f"none of the {count:,} operators of {name} is known ({words}), so nothing can be like it")
    return (f"{count:,} of the {total:,} operators of {name} are unknown ({words}) and count as one and the same",)


def likeness_words(example: Example, row: int, ops: Any, reason: str) -> str:
    """How alike a row is and why, in words."""
    shared = sorted(example.ops & set(ops if isinstance(ops, tuple) else ()))
    told = [name.replace("_", " ") for name in shared if name not in ("add", "mul", "linear", "conv")]
    share = f"{100 * example.scores[row]:.0f} % {example.said}"
    if reason:
        return f"{share}: {reason}"
    return f"{share} ({', '.join(told[:4])})" if told else share
