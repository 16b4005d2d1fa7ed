"""Operator-path patterns: ``conv[depthwise] -> norm -> act{1,2}``, found along the edges of graphs.

The grammar (docs/structure-search.md has it with examples)::

    pattern := path ("|" path)*
    path    := item ("->" item)*
    item    := atom ("?" | "+" | "{m}" | "{m,}" | "{m,n}")?
    atom    := name ("[" attribute ("," attribute)* "]")? | "*" | "**" | "(" pattern ")"

A pattern becomes a position automaton (Glushkov, "The abstract theory of automata", 1961): one state for each name in it. It runs
over all edges of all graphs at once and enters every pair of node and state once, so the time is O(edges x states) whatever
repetitions are nested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from netatlas.errors import QueryError, did_you_mean
from netatlas.graph.graph import Graph
from netatlas.graph.ops import FAMILIES, FLAGS, OP_ID, OPERATORS
from netatlas.graph.pool import COLUMNS, Ints, Mask, Pool, per_graph, pool_of

MOST_STATES = 64
"""Names of a pattern once its repetitions are written out."""

LONGEST = 1_000
"""Characters of a pattern."""

MOST_REPEATS = 50

_NOT_ACTIVATIONS = {"softmax", "log_softmax", "clamp", "threshold", "exp", "log", "erf", "sin", "cos"}


def _members(family: str) -> frozenset[int]:
    return frozenset(i for i, op in enumerate(OPERATORS) if op.family == family)


CLASSES: dict[str, frozenset[int]] = {
    **{family: _members(family) for family in FAMILIES if family not in ("source", "unknown") and family not in OP_ID},
    "norm": _members("normalisation"),
    "act": frozenset(i for i in _members("activation") if OPERATORS[i].name not in _NOT_ACTIVATIONS),
    "pool": _members("pooling"),
    "attention": _members("attention"),
}
"""Names that stand for several operators. ``norm`` and ``attention`` are also operators; the class has the name."""

_SOURCES = _members("source")
NAMES = frozenset({*CLASSES, *(op.name for i, op in enumerate(OPERATORS) if i not in _SOURCES)})

_COMPARE: dict[str, Callable[[Ints, int], Mask]] = {
    "=": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}  # fmt: skip
_NUMBERS = ("k", "stride", "dilation", "groups", "heads", "axis", "params", "channels")
_WORDS = ("depthwise", "pointwise", "grouped", *FLAGS)
_TOKEN = re.compile(r"\s*(?:(->)|(\*\*|[*|()?+])|(\{[^{}]*\})|(\[[^\[\]]*\])|([A-Za-z_][A-Za-z0-9_]*))")
_ATTRIBUTE = re.compile(r"(not\s+)?([a-z_]+)\s*(?:(<=|>=|!=|=|<|>)\s*(\d{1,9})(?:x(\d{1,9}))?)?")


@dataclass(frozen=True)
class Attribute:
    """One condition in brackets: a word (``depthwise``), or a number compared (``k>=7``, ``k=1x7``)."""

    name: str
    compare: str = ""
    value: int = 0
    other: int | None = None
    negated: bool = False

    def holds(self, table: Ints) -> Mask:
        """Which distinct nodes ``(r, len(COLUMNS))`` satisfy it, ``(r,)``."""
        found = self._number(table) if self.compare else self._word(table)
        return ~found if self.negated else found

    def _word(self, table: Ints) -> Mask:
        groups, kernel = _column(table, "groups"), _kernel(table)
        if self.name == "depthwise":
            return np.asarray((groups > 1) & (_column(table, "inner") == 1))
        if self.name == "pointwise":
            return np.asarray((kernel.max(axis=1) == 1) & (groups <= 1))
        if self.name == "grouped":
            return np.asarray((groups > 1) & (_column(table, "inner") != 1))
        return np.asarray((_column(table, "flags") & FLAGS[self.name]) != 0)

    def _number(self, table: Ints) -> Mask:
        test = _COMPARE[self.compare]
        if self.name not in ("k", "stride"):
            return test(_column(table, self.name), self.value)
        sizes = _kernel(table) if self.name == "k" else _columns(table, "stride")
        if self.other is not None:
            same = (sizes[:, 1] == self.value) & (sizes[:, 2] == self.other)
            return np.asarray(same if self.compare == "=" else ~same)
        # Every axis that the operator has: k=7 is 7x7, not 1x7. A node without a kernel has none.
        fits = (test(sizes, self.value) | (sizes == 0)).all(axis=1) if self.compare != "!=" else (sizes != self.value).any(axis=1)
        return np.asarray(fits & (sizes > 0).any(axis=1))


@dataclass(frozen=True)
class State:
    """One name of a pattern: the operators it stands for, ``None`` for any, and its conditions."""

    ops: frozenset[int] | None
    attributes: tuple[Attribute, ...] = ()

    def holds(self, table: Ints) -> Mask:
        """Which distinct nodes ``(r, len(COLUMNS))`` it stands for, ``(r,)``. Inputs and bare parameters are no operators."""
        allowed = self.ops if self.ops is not None else frozenset(range(len(OPERATORS))) - _SOURCES
        found = np.isin(table[:, 0], sorted(allowed))
        for attribute in self.attributes:
            found &= attribute.holds(table)
        return found


@dataclass(frozen=True)
class Pattern:
    """A compiled pattern.

    Attributes:
        text: As it was written.
        states: Its names, repetitions written out.
        first: States a match can begin with.
        last: States a match can end with.
        follow: For each state those that can come next.
        required: States that occur in every match.
        fine: Whether it names ``matmul`` or ``softmax``, and so looks into recognised attention.
    """

    text: str
    states: tuple[State, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]
    follow: tuple[tuple[int, ...], ...]
    required: tuple[int, ...]
    fine: bool


@dataclass(frozen=True)
class _Part:
    """A piece of a pattern with its states numbered from 0."""

    states: tuple[State, ...] = ()
    first: frozenset[int] = frozenset()
    last: frozenset[int] = frozenset()
    follow: frozenset[tuple[int, int]] = frozenset()
    required: frozenset[int] = frozenset()
    empty: bool = True

    def shifted(self, by: int) -> _Part:
        def move(numbers: frozenset[int]) -> frozenset[int]:
            return frozenset(n + by for n in numbers)

        follow = frozenset((a + by, b + by) for a, b in self.follow)
        return replace(self, first=move(self.first), last=move(self.last), follow=follow, required=move(self.required))

    def then(self, other: _Part) -> _Part:
        moved = other.shifted(len(self.states))
        return _Part(
            self.states + moved.states,
            self.first | (moved.first if self.empty else frozenset()),
            moved.last | (self.last if moved.empty else frozenset()),
            self.follow | moved.follow | frozenset((a, b) for a in self.last for b in moved.first),
            self.required | moved.required,
            self.empty and moved.empty,
        )

    def either(self, other: _Part) -> _Part:
        moved = other.shifted(len(self.states))
        return _Part(
            self.states + moved.states, self.first | moved.first, self.last | moved.last, self.follow | moved.follow, frozenset(),
            self.empty or moved.empty,
        )  # fmt: skip

    def optional(self) -> _Part:
        return replace(self, empty=True, required=frozenset())

    def again(self) -> _Part:
        return replace(self, follow=self.follow | {(a, b) for a in self.last for b in self.first})


def parse(text: str) -> Pattern:
    """The pattern that ``text`` writes.

    Raises:
        QueryError: It is no pattern, an operator or attribute is unknown, it matches the empty path, or it has more than
            `MOST_STATES` names once repetitions are written out. The message gives the position and the nearest name.
    """
    if len(text) > LONGEST:
        raise QueryError(f"pattern has {len(text):,} characters, at most {LONGEST:,} are allowed")
    parser = _Parser(text)
    part = parser.pattern(0)
    if parser.peek()[0]:
        raise parser.error(f"unexpected {parser.peek()[0]!r}, expected '->' or the end")
    if part.empty:
        raise QueryError(f"pattern {text!r} matches a path of no operators: name at least one that must occur")
    follow = tuple(tuple(sorted(b for a, b in part.follow if a == state)) for state in range(len(part.states)))
    return Pattern(
        text, part.states, tuple(sorted(part.first)), tuple(sorted(part.last)), follow, tuple(sorted(part.required)), parser.fine
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.fine = False
        self._tokens: list[tuple[str, int]] = []
        self._at = 0
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                place += len(text[place:]) - len(text[place:].lstrip())
                raise QueryError(f"pattern: cannot read {text[place]!r} at position {place + 1} of {text!r}")
            token = next(group for group in found.groups() if group)
            self._tokens.append((token, found.end() - len(token)))
            place = found.end()

    def peek(self) -> tuple[str, int]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", len(self.text))

    def take(self) -> str:
        token = self.peek()[0]
        self._at += 1
        return token

    def error(self, message: str, at: int | None = None, hint: str = "") -> QueryError:
        where = self.peek()[1] if at is None else at
        return QueryError(f"pattern: {message} at position {where + 1} of {self.text!r}{hint}")

    def pattern(self, depth: int) -> _Part:
        if depth > 20:
            raise self.error("parentheses nest deeper than 20")
        part = self.path(depth)
        while self.peek()[0] == "|":
            self.take()
            part = self.checked(part, self.path(depth)).either(self._last)
        return part

    def path(self, depth: int) -> _Part:
        part = self.item(depth)
        while self.peek()[0] == "->":
            self.take()
            part = self.checked(part, self.item(depth)).then(self._last)
        return part

    def checked(self, part: _Part, other: _Part) -> _Part:
        """``part``, after a check that both together are not too large."""
        self._last = other
        self._limit(len(part.states) + len(other.states))
        return part

    def _limit(self, states: int) -> None:
        if states > MOST_STATES:
            raise self.error(f"{states} names once repetitions are written out, at most {MOST_STATES} are allowed,")

    def item(self, depth: int) -> _Part:
        part = self.atom(depth)
        token = self.peek()[0]
        if token == "?":
            self.take()
            return part.optional()
        if token == "+":
            self.take()
            return part.again()
        return self.repeated(part) if token.startswith("{") else part

    def repeated(self, part: _Part) -> _Part:
        found = re.fullmatch(r"\{\s*(\d{1,4})\s*(?:(,)\s*(\d{1,4})?\s*)?\}", self.peek()[0])
        if found is None:
            raise self.error(f"cannot read {self.peek()[0]!r}, repetitions are {{m}}, {{m,}} or {{m,n}},")
        low = int(found[1])
        high = int(found[3]) if found[3] else (None if found[2] else low)
        if high == 0 or (high is not None and high < low) or max(low, high or 0) > MOST_REPEATS:
            raise self.error(f"repetition {self.peek()[0]} is not between 1 and {MOST_REPEATS} with the smaller first,")
        self._limit(len(part.states) * max(low, high or 1))
        self.take()
        copies = [part] * low + [part.optional()] * ((high or max(low, 1)) - low)
        if high is None:
            copies[-1] = copies[-1].again()
        whole = copies[0]
        for copy in copies[1:]:
            whole = whole.then(copy)
        return whole

    def atom(self, depth: int) -> _Part:
        token, at = self.peek()
        if token == "(":
            self.take()
            part = self.pattern(depth + 1)
            if self.peek()[0] != ")":
                raise self.error("expected ')'")
            self.take()
            return part
        if token == "*":
            self.take()
            return _single(State(None, self.attributes()))
        if token == "**":
            self.take()
            return _single(State(None)).again().optional()
        if not re.fullmatch(r"[A-Za-z_]\w*", token):
            raise self.error(f"expected an operator, '*', '**' or '(', found {token or 'the end'!r}")
        self.take()
        return _single(State(self.operators(token.lower(), at), self.attributes()))

    def operators(self, name: str, at: int) -> frozenset[int]:
        if name not in NAMES:
            raise self.error(f"unknown operator {name!r}", at, did_you_mean(name, NAMES))
        self.fine |= name in ("matmul", "softmax")
        return CLASSES.get(name, frozenset({OP_ID.get(name, -1)}))

    def attributes(self) -> tuple[Attribute, ...]:
        token, at = self.peek()
        if not token.startswith("["):
            return ()
        self.take()
        return tuple(self.attribute(words.strip(), at) for words in token[1:-1].split(","))

    def attribute(self, words: str, at: int) -> Attribute:
        found = _ATTRIBUTE.fullmatch(words)
        if found is None:
            raise self.error(f"cannot read {words!r} in brackets, write a word or name=number,", at)
        negated, name, compare, value, other = found.groups()
        known = _NUMBERS if compare else _WORDS
        if name not in known or (other and (name not in ("k", "stride") or compare not in ("=", "!="))):
            hint = (
                did_you_mean(name, (*_NUMBERS, *_WORDS)) or f" (there are {', '.join((*_WORDS, *(f'{n}=' for n in _NUMBERS)))})"
            )
            raise self.error(f"no attribute {words!r}", at, hint)
        return Attribute(name, compare or "", int(value or 0), int(other) if other else None, bool(negated))


def _single(state: State) -> _Part:
    one = frozenset({0})
    return _Part((state,), one, one, frozenset(), one, False)


# ---- running


def count(pool: Pool, pattern: Pattern) -> npt.NDArray[np.int64]:
    """How many operators of each graph end a match, ``(m,)``; graphs without a required operator are never walked."""
    found = np.zeros(len(pool), dtype=np.int64)
    maybe = np.ones(len(pool), dtype=bool)
    attends = per_graph(pool, (pool.column("op") == OP_ID["attention"])[pool.row]) > 0 if pattern.fine else ~maybe
    for number in pattern.required:
        state = pattern.states[number]
        inside = state.ops is None or any(state.ops & {OP_ID[name] for name in ("matmul", "mul", "softmax")})
        maybe &= (per_graph(pool, state.holds(pool.table)[pool.row]) > 0) | (attends & inside)
    if not maybe.any():
        return found
    chosen = pool if maybe.all() else pool.select(maybe)
    walked, origin = unfold_attention(chosen) if pattern.fine else (chosen, np.arange(len(chosen.row)))
    ends = np.zeros(len(chosen.row), dtype=bool)
    ends[origin[_run(walked, pattern)[list(pattern.last)].any(axis=0)]] = True
    found[maybe] = per_graph(chosen, ends)
    return found


def paths(graph: Graph, pattern: Pattern, limit: int = 1_000) -> list[tuple[int, ...]]:
    """A shortest match for each operator that ends one, as nodes of the graph in order; at most ``limit``."""
    pool = pool_of(graph)
    walked, origin = unfold_attention(pool) if pattern.fine else (pool, np.arange(len(pool.row)))
    parent = np.full((len(pattern.states), len(walked.row)), -2, dtype=np.int64)
    seen = _run(walked, pattern, parent)
    nodes = len(walked.row)
    found: dict[int, tuple[int, ...]] = {}
    for state in pattern.last:
        for end in np.flatnonzero(seen[state]).tolist():
            key, path = state * nodes + end, []
            while key >= 0:
                path.append(int(origin[key % nodes]))
                key = int(parent[key // nodes, key % nodes])
            found.setdefault(path[0], tuple(dict.fromkeys(reversed(path))))
    return [found[end] for end in sorted(found)[:limit]]


def _run(pool: Pool, pattern: Pattern, parent: Ints | None = None) -> Mask:
    """Which nodes each state reaches ``(states, g)``; ``parent`` gets ``state * g + node`` of the step before, -1 at a beginning."""
    fits = [state.holds(pool.table) for state in pattern.states]  # (r,) each
    nodes = len(pool.row)
    seen = np.zeros((len(pattern.states), nodes), dtype=bool)
    front: dict[int, Ints] = {}
    for state in pattern.first:
        front[state] = np.flatnonzero(fits[state][pool.row])
        seen[state, front[state]] = True
        if parent is not None:
            parent[state, front[state]] = -1
    while front:
        front = _step(pool, pattern, fits, seen, front, parent)
    return seen


def _step(
    pool: Pool, pattern: Pattern, fits: Sequence[Mask], seen: Mask, front: dict[int, Ints], parent: Ints | None
) -> dict[int, Ints]:
    reached: dict[int, list[Ints]] = {}
    for state, here in front.items():
        if not pattern.follow[state] or not len(here):
            continue
        origin, there = pool.successors(here)
        rows = pool.row[there]
        for following in pattern.follow[state]:
            new = fits[following][rows] & ~seen[following, there]
            if not new.any():
                continue
            targets = there[new]
            seen[following, targets] = True
            if parent is not None:
                parent[following, targets] = state * len(pool.row) + here[origin[new]]
            reached.setdefault(following, []).append(np.unique(targets))
    return {state: np.concatenate(parts) for state, parts in reached.items()}


_INSIDE = ("matmul", "mul", "softmax", "matmul")


def unfold_attention(pool: Pool) -> tuple[Pool, Ints]:
    """The pool with each recognised ``attention`` also written out as ``matmul -> mul -> softmax -> matmul``, the scale optional.

    Users look for attention by its parts, and a fused kernel and hand-written operators are one ``attention`` here. The parts
    stand beside the operator: every input enters the first and the last product, the last feeds what the operator feeds.

    Returns:
        The larger pool (graph bounds are not kept), and for each of its nodes the node of ``pool`` it stands for.
    """
    attends = np.flatnonzero((pool.column("op") == OP_ID["attention"])[pool.row])
    g, a = len(pool.row), len(attends)
    if not a:
        return pool, np.arange(g)
    table = np.concatenate([pool.table, np.zeros((4, len(COLUMNS)), dtype=np.int64)])
    table[-4:, 0] = [OP_ID[name] for name in _INSIDE]
    part = g + np.arange(4)[:, None] * a + np.arange(a)  # (4, a)
    place = np.full(g, -1, dtype=np.int64)
    place[attends] = np.arange(a)
    into, out = place[pool.edges[:, 1]], place[pool.edges[:, 0]]
    entering, leaving = into >= 0, out >= 0
    sources = np.where(leaving, part[3][out], pool.edges[:, 0])
    extra = [np.stack([sources[entering], part[which][into[entering]]], 1) for which in (0, 3)]
    extra.append(np.stack([part[3][out[leaving]], pool.edges[leaving, 1]], 1))
    extra += [np.stack([part[x], part[y]], 1) for x, y in ((0, 1), (1, 2), (0, 2), (2, 3))]
    edges = np.concatenate([pool.edges, *extra])
    row = np.concatenate([pool.row, np.repeat(len(pool.table) + np.arange(4), a)]).astype(np.int32)
    edges = edges[np.argsort(edges[:, 0], kind="stable")].astype(np.int32)
    larger = Pool(("",), np.array([0, len(row)], dtype=np.int64), row, table, edges)
    return larger, np.concatenate([np.arange(g), np.tile(attends, 4)])


def place_of(graph: Graph, nodes: Sequence[int]) -> str:
    """The innermost module that holds all ``nodes``, or the root's first and last layers where that is the whole network."""
    scopes = [graph.scopes[int(graph.scope[n])].path for n in nodes]
    shared = _common(scopes)
    if shared or len(set(scopes)) == 1:
        return shared or "(root)"
    return f"{scopes[0] or '(root)'} to {scopes[-1] or '(root)'}"


def _common(paths: Sequence[str]) -> str:
    parts = [path.split(".") for path in paths]
    kept: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        kept.append(level[0])
    return ".".join(kept)


def _column(table: Ints, name: str) -> Ints:
    return np.asarray(table[:, COLUMNS.index(name)])


def _columns(table: Ints, name: str) -> Ints:
    return np.stack([_column(table, f"{name}_{axis}") for axis in "dhw"], axis=1)


def _kernel(table: Ints) -> Ints:
    return _columns(table, "kernel")


def describe_classes() -> Iterator[tuple[str, list[str]]]:
    """Every class with its operators, for the documentation."""
    for name, members in CLASSES.items():
        yield name, [OPERATORS[i].name for i in sorted(members)]
