"""The block structure of a network: stages and blocks from module scopes and from repetition, as a tree and as text.

Siblings that follow one another and are built alike become one block with ``repeat``: exactly alike, or, for the numbered members
of a stage, alike but for strides, widths of the input and a projection on the shortcut. Graphs without scopes are first cut where
a single tensor passes, then searched for periods.
"""

from __future__ import annotations

import heapq
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from netatlas.graph._drawing_labels import SHORT, Words, describe, macs_text, params_text, shape_text
from netatlas.graph.graph import Graph
from netatlas.graph.ops import FLAGS, OPERATORS

MOST_DEPTH = 24
"""Levels of module nesting that are told apart; no library comes near."""

LONGEST_PERIOD = 512
"""Longest repeated sequence of siblings that is looked for."""

_CORE = frozenset({"convolution", "linear", "attention", "recurrence", "spectral"})
_SHARED = ~FLAGS["shared"]
_MINOR = frozenset(SHORT.get(op.name, op.label) for op in OPERATORS if op.family in ("normalisation", "activation"))
"""Words that notes on variants leave out: norms and activations come with the layers they follow."""

_NUMBERED = re.compile(r"(.*?)(\d+)\Z")


@dataclass(frozen=True)
class Block:
    """A part of a network: an operator, a module, or ``repeat`` modules built alike.

    Attributes:
        label: Name within its parent, ``"layer1"``; ``"0-2"`` for numbered members of a stage.
        cls: Class of the module, ``""`` where it is not known.
        path: Dotted path of the module, for a repeated block of what holds the copies.
        nodes: All nodes of all copies, ascending.
        pattern: The nodes of the copy that stands for all: of the most frequent variant, the last one when they tie.
        children: Parts of ``pattern`` in topological order; empty for an operator.
        repeat: Number of copies.
        params: Parameters owned by ``nodes``.
        macs: Multiply-accumulates of ``nodes``.
        shape_in: Output shape of the first node outside that it reads; empty when it reads none.
        shape_out: Output shape of its last node that is read outside, or of its last node.
        parallel: Whether the copies stand side by side instead of feeding one another.
        varies: How other copies differ from ``pattern``, in words; ``""`` when they do not.
        copies: The nodes of every copy, in order; empty unless ``repeat`` is above 1.
    """

    label: str
    cls: str
    path: str
    nodes: tuple[int, ...]
    pattern: tuple[int, ...]
    children: tuple[Block, ...] = ()
    repeat: int = 1
    params: int = 0
    macs: int = 0
    shape_in: tuple[int, ...] = ()
    shape_out: tuple[int, ...] = ()
    parallel: bool = False
    varies: str = ""
    copies: tuple[tuple[int, ...], ...] = ()

    @property
    def is_operator(self) -> bool:
        """Whether it is one operator (or one operator repeated), with nothing inside to show."""
        return not self.children


def is_thin(words: Words, block: Block) -> bool:
    """Whether a block is one operator, alone or with the norms and activations that follow it."""
    if block.repeat > 1 or len(block.nodes) > 4:
        return False
    return block.is_operator or all(
        words.families[i] in ("normalisation", "activation") and words.inputs[i] == (before,)
        for before, i in zip(block.nodes, block.nodes[1:], strict=False)
    )


def structure(graph: Graph) -> Block:
    """The tree of blocks of ``graph``; the root holds every node and has ``repeat`` 1."""
    return _Builder(graph).root()


class _Builder:
    def __init__(self, graph: Graph) -> None:
        self.words = words = Words(graph)
        self.inputs, self.users = words.inputs, words.users
        self.paths = [_parts(s.path) for s in graph.scopes]
        self.scope: list[int] = graph.scope.tolist()
        self.classes = {tuple(parts): s.cls for parts, s in zip(self.paths, graph.scopes, strict=True)}
        self._keys: list[tuple[object, ...]] = [
            (op, *attrs[:-1], attrs[-1] & _SHARED, words.shapes[i], words.macs[i])
            for i, (op, attrs) in enumerate(zip(words.names, words.attrs, strict=True))
        ]
        self._profiles: dict[tuple[int, ...], tuple[Counter[object], int, int]] = {}

    # ------------------------------------------------------------ the tree

    def root(self) -> Block:
        nodes = tuple(range(len(self.inputs)))
        children = self._level(nodes, 0, open_top=True)
        if len(children) == 1 and not children[0].is_operator and children[0].repeat == 1:
            children = list(children[0].children)
        return self._make("", self.classes.get((), ""), "", nodes, nodes, tuple(self._ends(children)))

    def _level(self, nodes: Sequence[int], depth: int, open_top: bool = False) -> list[Block]:
        """The parts at ``depth`` of the nodes of one module."""
        blocks = []
        items = self._items(nodes, depth)
        times = Counter(part for part, _ in items)
        for part, members in items:
            if len(members) == 1 or part is None:
                blocks.append(self._operator(members[0], part))
                if part is not None and times[part] > 1:  # one of several members that take turns has its own name
                    blocks[-1] = replace(blocks[-1], label=".".join(blocks[-1].path.split(".")[depth:]))
                continue
            block = self._module(part, members, depth + 1, open_top and 5 * len(members) >= 4 * len(nodes))
            if open_top and block.repeat == 1 and 5 * len(members) >= 4 * len(nodes):
                prefix = block.label
                blocks += [replace(b, label=f"{prefix}.{b.label}") if b.label[:1].isdigit() else b for b in block.children]
            else:
                blocks.append(block)
            if times[part] > 1:
                blocks[-1] = replace(blocks[-1], label=".".join(blocks[-1].path.split(".")[depth:]) or part)
        if depth == 0 and len(nodes) > 8 and 10 * sum(b.is_operator for b in blocks) >= 9 * len(nodes):
            return self._numbered(self._collapse(self._cut(nodes)))
        return self._collapse(blocks)

    def _module(self, part: str, nodes: Sequence[int], depth: int, open_top: bool) -> Block:
        children = self._level(nodes, depth, open_top)
        path = self.paths[self.scope[nodes[0]]][:depth]
        cls = self.classes.get(tuple(path), "")
        if len(children) == 1 and children[0].children:
            only = children[0]
            known = only.cls if only.repeat > 1 else cls or only.cls
            inner = only.path if only.repeat == 1 and only.path else ".".join(path)
            return replace(only, label=part, path=inner, cls=known)
        return self._make(part, cls, ".".join(path), tuple(nodes), tuple(nodes), tuple(children))

    def _operator(self, node: int, part: str | None = None) -> Block:
        parts = self.paths[self.scope[node]]
        label = part or self.words.short(node)
        return self._make(label, self.classes.get(tuple(parts), ""), ".".join(parts), (node,), (node,))

    def _make(
        self, label: str, cls: str, path: str, nodes: tuple[int, ...], pattern: tuple[int, ...], children: tuple[Block, ...] = ()
    ) -> Block:
        inside = set(nodes)
        outer = next((x for i in nodes for x in self.inputs[i] if x not in inside), None)
        leaving = [i for i in nodes if not self.users[i] or any(u not in inside for u in self.users[i])]
        words = self.words
        return Block(
            label, cls, path, nodes, pattern, children,
            params=sum(words.params[i] for i in nodes), macs=sum(words.macs[i] for i in nodes),
            shape_in=words.shapes[outer] if outer is not None else (),
            shape_out=words.shapes[leaving[-1]] if leaving else (),
        )  # fmt: skip

    def _ends(self, blocks: list[Block]) -> list[Block]:
        """Operators before the first block as ``stem``, after the last as ``head``; inputs stay on their own."""
        plain = [self._is_plain(b) for b in blocks]
        sources = [self.words.families[b.nodes[0]] == "source" for b in blocks]
        if all(p or s for p, s in zip(plain, sources, strict=True)):
            return blocks
        solid = [i for i, (p, source) in enumerate(zip(plain, sources, strict=True)) if not p and not source]
        first, last = solid[0], solid[-1]
        front, middle, back = blocks[:first], blocks[first : last + 1], blocks[last + 1 :]
        given = [b for b, source in zip(front, sources, strict=False) if source]
        named = {b.label for b in middle}
        if len(front) - len(given) > 1:
            stem = [b for b in front if b not in given]
            front = [*given, self._wrap("entry" if "stem" in named else "stem", stem)]
        if len(back) > 1 and not any(sources[last + 1 :]):
            back = [self._wrap("exit" if "head" in named else "head", back)]
        return [*front, *middle, *back]

    def _is_plain(self, block: Block) -> bool:
        """Whether it is one operator, or one with its norm and activation in one module, and no input."""
        return is_thin(self.words, block) and self.words.families[block.nodes[0]] != "source"

    def _wrap(self, label: str, blocks: Sequence[Block]) -> Block:
        nodes = tuple(sorted(i for b in blocks for i in b.nodes))
        return self._make(label, "", "", nodes, nodes, tuple(blocks))

    # ------------------------------------------------------------ the parts of a level

    def _items(self, nodes: Sequence[int], depth: int) -> list[tuple[str | None, list[int]]]:
        """Nodes by their scope's name at ``depth``, in topological order; ``None`` for operators of the module itself.

        A module that is called twice appears twice where its nodes would otherwise depend on themselves through others.
        """
        items: list[tuple[str | None, list[int]]] = []
        for i in nodes:
            parts = self.paths[self.scope[i]]
            part = parts[depth] if len(parts) > depth else None
            if part is not None and items and items[-1][0] == part:
                items[-1][1].append(i)
            else:
                items.append((part, [i]))
        seen = Counter(part for part, _ in items if part is not None)
        again = {part for part, n in seen.items() if 1 < n <= 64}
        return self._merge(items, again) if again else items

    def _merge(self, items: list[tuple[str | None, list[int]]], again: set[str]) -> list[tuple[str | None, list[int]]]:
        of = {i: n for n, (_, members) in enumerate(items) for i in members}
        after: list[set[int]] = [set() for _ in items]
        for i, n in of.items():
            after[n].update(m for u in self.users[i] if (m := of.get(u, n)) != n)
        group = list(range(len(items)))
        members = {n: {n} for n in group}

        def reaches(start: int, goal: int) -> bool:
            """Whether ``goal`` depends on ``start`` through another group."""
            todo = [m for n in members[start] for x in after[n] if (m := group[x]) not in (start, goal)]
            seen = set(todo)
            while todo:
                for n in members[todo.pop()]:
                    for x in after[n]:
                        m = group[x]
                        if m == goal:
                            return True
                        if m != start and m not in seen:
                            seen.add(m)
                            todo.append(m)
            return False

        latest: dict[str, int] = {}
        for n, (part, _) in enumerate(items):
            if part not in again or part is None:
                continue
            old = latest.get(part)
            if old is None or reaches(old, n) or reaches(n, old):
                latest[part] = n
                continue
            members[old] |= members.pop(n)
            group[n] = old
        merged = {g: (items[g][0], sorted(i for n in ms for i in items[n][1])) for g, ms in members.items()}
        return [merged[g] for g in _ordered(members, group, after)]

    def _cut(self, nodes: Sequence[int]) -> list[Block]:
        """Operators without scopes, cut wherever one tensor alone passes; what lies between two cuts is a block."""
        last = {i: max((u for u in self.users[i]), default=i) for i in nodes}
        pieces: list[list[int]] = [[]]
        alive: list[int] = []
        for i in nodes:
            alive = [x for x in alive if last[x] > i]
            pieces[-1].append(i)
            if last[i] > i:
                alive.append(i)
            if alive in ([i], []):
                pieces.append([])
        blocks = []
        for piece in filter(None, pieces):
            leaves = [self._operator(i) for i in piece]
            many = self._collapse(leaves) if len(leaves) > 24 else leaves
            if len(many) == len(leaves) > 24:
                many = self._collapse(leaves, closely=False)
            one = len(many) == 1
            blocks.append(many[0] if one else self._make("block", "", "", tuple(piece), tuple(piece), tuple(many)))
        return blocks

    def _numbered(self, blocks: list[Block]) -> list[Block]:
        """Parts without names: what lies between two blocks becomes one, and blocks are counted."""
        grouped: list[Block] = []
        run: list[Block] = []

        def close() -> None:
            if len(run) > 1 and any(not b.is_operator for b in (*grouped, *run)):
                grouped.append(self._wrap("block", [x for b in run for x in (b.children or (b,))]))
            else:
                grouped.extend(run)
            run.clear()

        for block in blocks:
            joins = block.repeat == 1 and self.words.names[block.nodes[-1]] != "add" and len(block.nodes) <= 12
            if joins and self.words.families[block.nodes[0]] != "source":
                run.append(block)
                continue
            close()
            grouped.append(block)
        tail = [x for b in run for x in (b.children or (b,))]
        grouped += tail if all(b.is_operator for b in run) else [self._wrap("block", tail)]
        count = iter(range(1, len(grouped) + 1))
        return [b if b.is_operator and b.repeat == 1 else replace(b, label=f"block {next(count)}") for b in grouped]

    # ------------------------------------------------------------ repetition

    def _collapse(self, blocks: list[Block], closely: bool = True) -> list[Block]:
        """Runs of alike neighbours as one block each; operators only need be of one kind when not ``closely``."""
        if len(blocks) < 2:
            return blocks
        result: list[Block] = []
        position = 0
        worth = np.array([not b.is_operator for b in blocks], dtype=np.int64)
        for start, period, copies, slack in sorted(_repeats(self._tokens(blocks, closely), worth)):
            start += self._phase(blocks[start : start + period + slack], period)
            result += blocks[position:start]
            position = start + period * copies
            result.append(self._repeated([blocks[i : i + period] for i in range(start, position, period)]))
        return result + blocks[position:]

    def _phase(self, blocks: Sequence[Block], period: int) -> int:
        """Where in the slack of a repetition its copies begin: where the fewest tensors pass from copy to copy, early if tied."""
        crossing = []
        for start in range(len(blocks) - period + 1):
            inside = {i for b in blocks[start : start + period] for i in b.nodes}
            crossing.append(sum(any(u not in inside for u in self.users[i]) for i in inside))
        return crossing.index(min(crossing))

    def _repeated(self, copies: list[list[Block]]) -> Block:
        sizes = [tuple(sorted(i for b in copy for i in b.nodes)) for copy in copies]
        made_of = [Counter(self.words.kind(i) for i in nodes) for nodes in sizes]
        kinds = [frozenset(made.items()) for made in made_of]
        signs = [(kind, self._sign(nodes)) for kind, nodes in zip(kinds, sizes, strict=True)]
        common = Counter[object]([*kinds, *signs])
        chosen = max(range(len(copies)), key=lambda n: (common[kinds[n]], common[signs[n]], n))
        first, last, pattern = copies[0], copies[-1], copies[chosen]
        nodes = tuple(sorted(i for size in sizes for i in size))
        label = _range(first[0].label, last[-1].label)
        if len(pattern) == 1:
            base = pattern[0]
            cls = next((c[0].cls for c in copies if c[0].cls), "")
            path, children = first[0].path.rpartition(".")[0], base.children
            inner_nodes = base.pattern if base.repeat == 1 else base.nodes
            if base.repeat > 1:
                children = (base,)
        else:
            flat = [x for b in pattern for x in (b.children if b.label == "block" and not b.path and b.repeat == 1 else (b,))]
            cls, path, children, inner_nodes = "", first[0].path.rpartition(".")[0], tuple(self._collapse(flat)), sizes[chosen]
        made = self._make(label, cls, path, nodes, inner_nodes, children)
        feeds = [not set(a).isdisjoint(x for i in b for x in self.inputs[i]) for a, b in pairwise(sizes)]
        varies = _varies(made_of, len(set(signs)) == 1, chosen)
        return replace(made, repeat=len(copies), parallel=not any(feeds), varies=varies, copies=tuple(sizes))

    def _sign(self, nodes: Sequence[int]) -> int:
        """A number that is equal for parts that are built exactly alike: operators, attributes, shapes and wiring."""
        place = {i: n for n, i in enumerate(nodes)}
        outer: dict[int, int] = {}
        rows = []
        for i in nodes:
            wires = tuple(place[x] if x in place else ~outer.setdefault(x, len(outer)) for x in self.inputs[i])
            rows.append((self._keys[i], wires))
        return hash(tuple(rows))

    def _tokens(self, blocks: Sequence[Block], closely: bool) -> np.ndarray:
        """A number per sibling, equal for those that may be copies of each other."""
        if not closely:
            words = [self.words.word(b.nodes[0]) for b in blocks]
            return np.unique(words, return_inverse=True)[1]
        numbers: dict[object, int] = {}
        stages: list[tuple[tuple[str, ...], Block, int]] = []
        tokens = []
        for block in blocks:
            sign = (self._sign(block.nodes), block.repeat)
            stem = _stem(block)
            if block.is_operator or stem is None:
                tokens.append(numbers.setdefault(sign, len(numbers)))
                continue
            found = next((t for s, b, t in reversed(stages[-8:]) if s == stem and self._alike(b, block)), None)
            if found is None:
                found = numbers.setdefault(sign, len(numbers))
            stages.append((stem, block, found))
            tokens.append(found)
        return np.array(tokens, dtype=np.int64)

    def _alike(self, a: Block, b: Block) -> bool:
        """Whether two members of a stage differ in no more than strides, input width, bookkeeping and one projection."""
        if a.cls and b.cls and a.cls != b.cls:
            return False
        (core_a, points_a, out_a), (core_b, points_b, out_b) = self._profile(a), self._profile(b)
        return (
            out_a == out_b and core_a == core_b and abs(points_a - points_b) <= 1 and min(points_a, points_b) + core_a.total() > 1
        )

    def _profile(self, block: Block) -> tuple[Counter[object], int, int]:
        """Layers other than pointwise ones, number of pointwise ones, elements of the last output."""
        if block.nodes not in self._profiles:
            words, inside = self.words, set(block.nodes)
            core: Counter[object] = Counter()
            points = 0
            for i in block.nodes:
                if words.families[i] not in _CORE:
                    continue
                if words.is_pointwise(i):
                    points += 1
                else:
                    core[(words.names[i], words.kernel(i), words.grouping(i)[:1])] += 1
            leaving = (i for i in reversed(block.nodes) if not self.users[i] or any(u not in inside for u in self.users[i]))
            self._profiles[block.nodes] = core, points, words.numel[next(leaving)]
        return self._profiles[block.nodes]


def _parts(path: str) -> list[str]:
    parts = path.split(".") if path else []
    return parts if len(parts) <= MOST_DEPTH else [*parts[: MOST_DEPTH - 1], ".".join(parts[MOST_DEPTH - 1 :])]


def _ordered(members: dict[int, set[int]], group: Sequence[int], after: Sequence[set[int]]) -> list[int]:
    """Groups in topological order, the earliest first where there is a choice."""
    following = {g: {group[x] for n in ms for x in after[n]} - {g} for g, ms in members.items()}
    waiting = Counter(x for xs in following.values() for x in xs)
    ready = [g for g in members if not waiting[g]]
    heapq.heapify(ready)
    order = []
    while ready:
        g = heapq.heappop(ready)
        order.append(g)
        for x in sorted(following[g]):
            waiting[x] -= 1
            if not waiting[x]:
                heapq.heappush(ready, x)
    assert len(order) == len(members), "merging siblings made a cycle"
    return order


def _stem(block: Block) -> tuple[str, ...] | None:
    """What members of one stage share in their names: ``denselayer3`` and ``denselayer4`` match, ``fc1`` and ``conv2`` do not."""
    if block.label == "block" and not block.path:
        return ("block",)
    numbered = _NUMBERED.match(block.label)
    return (numbered[1],) if numbered else None


def _range(first: str, last: str) -> str:
    if first == last:
        return first
    a, b = _NUMBERED.match(first), _NUMBERED.match(last)
    return f"{first}-{b[2]}" if a and b and a[1] == b[1] else f"{first}-{last}"


def _varies(made_of: Sequence[Counter[str]], is_exact: bool, chosen: int) -> str:
    """How copies differ from the chosen one, by the operators they are made of."""
    odd = [n for n, made in enumerate(made_of) if made != made_of[chosen]]
    if not odd:
        return "" if is_exact else "widths or wiring vary"
    more, less = ({w: n for w, n in sorted(x.items()) if w not in _MINOR} for x in _difference(made_of[odd[0]], made_of[chosen]))
    who = "first" if odd == [0] else "last" if odd == [len(made_of) - 1] else f"{len(odd)} of {len(made_of)}"
    strides = {}
    for word in list(more):  # a layer that strides, or has other heads, is the same layer
        plain, _, stride = word.rpartition("/")
        heads = next((w for w in less if w.startswith("Attention ") and word.startswith("Attention ")), "")
        if less.get(plain, 0) >= more[word]:
            less[plain] -= more[word]
            strides[f"stride {stride}"] = more.pop(word)
        elif heads and less[heads] == more[word]:
            strides[word.removeprefix("Attention ")] = more.pop(word)
            del less[heads]
    parts = [
        *strides,
        *(f"+ {w}" for w in _listed(more)),
        *(f"without {w}" for w in _listed({w: n for w, n in less.items() if n})),
    ]
    return f"{who}: {', '.join(parts[:4])}" if parts else "widths or wiring vary"


def _difference(a: Counter[str], b: Counter[str]) -> tuple[Counter[str], Counter[str]]:
    return a - b, b - a


def _listed(words: dict[str, int]) -> list[str]:
    return [f"{n} {word}" if n > 1 else word for word, n in words.items()]


def _repeats(tokens: np.ndarray, worth: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Disjoint repetitions ``(start, period, copies, slack)`` in a sequence, longest cover first, then shortest period.

    O(n min(n, LONGEST_PERIOD)). Repetitions of bare operators (``worth`` 0) must cover six of them in three copies, or have a
    period of five: two convolutions in a row are not a stage.
    """
    n = len(tokens)
    parts = np.concatenate([[0], np.cumsum(worth)])
    heap: list[tuple[int, int, int, int]] = []

    def offer(start: int, stop: int, period: int) -> None:
        copies = (stop - start) // period
        if copies < 2:
            return
        bare = parts[start + period * copies] == parts[start]
        if bare and not (period >= 5 or (copies >= 3 and copies * period >= 6)):
            return
        heapq.heappush(heap, (-copies * period, period, start, stop))

    for period in range(1, min(n // 2, LONGEST_PERIOD) + 1):
        same = np.concatenate([[False], tokens[:-period] == tokens[period:], [False]])
        edges = np.flatnonzero(np.diff(same.astype(np.int8)))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if end - begin >= period:
                offer(begin, end + period, period)
    taken = np.zeros(n, dtype=bool)
    found = []
    while heap:
        _, period, start, stop = heapq.heappop(heap)
        if taken[start:stop].any():
            free = np.concatenate([[False], ~taken[start:stop], [False]])
            edges = np.flatnonzero(np.diff(free.astype(np.int8)))
            for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                offer(start + begin, start + end, period)
            continue
        copies = (stop - start) // period
        taken[start:stop] = True
        found.append((start, period, copies, stop - start - period * copies))
    return found


# ---------------------------------------------------------------- as text

MOST_ROWS = 48
LARGEST_LINE = 24
"""A block of at most this many operators without repetition inside is described in one row, however deep the outline goes."""

_NAME, _WHAT, _SHAPE, _PARAMS, _MACS = 22, 46, 12, 7, 9
_LAYERS = frozenset({"convolution", "linear", "attention", "recurrence", "lookup", "pooling", "spectral", "detection"})


def outline(graph: Graph, depth: int = 3) -> str:
    """The block structure as aligned columns of at most 100 characters: name, made of, output shape, parameters, MACs.

    Args:
        graph: Any graph.
        depth: Levels to show; fewer are shown when there would be more than `MOST_ROWS` rows.
    """
    words, root = Words(graph), structure(graph)
    for levels in range(max(depth, 1), 0, -1):
        rows = _rows(words, root, levels, 0)
        if len(rows) <= MOST_ROWS:
            break
    if len(rows) > MOST_ROWS:
        half, hidden = MOST_ROWS // 2, len(rows) - MOST_ROWS + 1
        rows = [*rows[:half], [f"... {hidden} more rows"], *rows[half + hidden :]]
    return "\n".join(line for row in rows for line in row)


def _rows(words: Words, block: Block, levels: int, indent: int) -> list[list[str]]:
    rows = []
    for child in block.children or ((block,) if block.nodes else ()):
        family = words.families[child.nodes[0]]
        if child.is_operator and (family == "source" or (indent and family not in _LAYERS)):
            continue
        is_large = len(child.pattern) > LARGEST_LINE or (child.repeat == 1 and _has_repeats(child))
        is_open = levels > 1 and is_large and any(not c.is_operator for c in child.children)
        rows.append(_row(words, child, indent, is_open))
        if is_open:
            rows += _rows(words, child, levels - 1, indent + 1)
    return rows


def _has_repeats(block: Block) -> bool:
    return any(c.repeat > 1 or _has_repeats(c) for c in block.children)


def _row(words: Words, block: Block, indent: int, is_open: bool) -> list[str]:
    """The lines of one row; an open row names only the operators that get no row of their own."""
    times = f" x {block.repeat}" if block.repeat > 1 else ""
    name = "  " * indent + _clip(block.label, max(_NAME - 2 * indent - len(times), 6)) + times
    rest = [i for c in block.children if c.is_operator and words.families[c.nodes[0]] not in _LAYERS for i in c.nodes]
    made = describe(words, rest if is_open else block.pattern)
    what = ": ".join(x for x in ("" if block.is_operator else block.cls, made) if x)
    lines = textwrap.wrap(what, _WHAT, max_lines=2, placeholder=" ...") or [""]
    shared = not block.params and any(words.flag(i, "shared") for i in block.nodes)
    costs = f"{'shared' if shared else params_text(block.params):>{_PARAMS}} {macs_text(block.macs):>{_MACS}}"
    first = f"{name:<{_NAME}} {lines[0]:<{_WHAT}} {_clip(shape_text(block.shape_out), _SHAPE):>{_SHAPE}} {costs}"
    return [first, *(f"{'':{_NAME}} {line}" for line in lines[1:])]


def _clip(text: str, room: int) -> str:
    return text if len(text) <= room else text[: room - 2].rstrip(" ,:") + ".."
