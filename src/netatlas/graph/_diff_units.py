"""The parts of a network that a comparison speaks of: every copy of a repeated block, what stands between them, stem and head."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from netatlas.graph._drawing_labels import Words
from netatlas.graph.blocks import Block, is_thin, structure
from netatlas.graph.graph import Graph

LARGEST = 64
"""A part of more operators is opened where it has parts of its own."""

_SMALL = 32
"""A network or part of at most this many operators is one part, unless something repeats in it."""

_CUT_FROM = 12
"""Operators of the shortest part that is cut at its poolings."""


@dataclass(frozen=True)
class Unit:
    """One part.

    Attributes:
        label: Module path, or what stands for one where there are no modules.
        cls: Class of the module, ``""`` where it is not known.
        nodes: Its nodes, ascending.
        is_module: Whether it is a whole module, called by its path.
    """

    label: str
    cls: str
    nodes: tuple[int, ...]
    is_module: bool = True


def units(graph: Graph, words: Words) -> list[Unit]:
    """The parts of ``graph`` in the order they begin; together they hold every node once."""
    root = structure(graph)
    flat = _flat(words, root)
    parts = [(block, piece, n) for block, nodes, n in flat or _parts(root) for piece in _pooled(words, nodes, n)]
    paths = _paths(graph)
    under = Counter(tuple(path[:n]) for path in paths for n in range(1, len(path) + 1))
    found = [_named(paths, words, under, *part) for part in parts]
    return sorted(found, key=lambda unit: unit.nodes[0])


def _flat(words: Words, root: Block) -> list[tuple[Block, tuple[int, ...], int]]:
    """A small network, or one of single layers, as one part beside its inputs; empty where there are larger parts."""
    is_small = len(root.nodes) <= _SMALL and not _has_repeats(root)
    is_thin_all = len(root.nodes) <= LARGEST and all(is_thin(words, c) or c.is_operator for c in root.children)
    if not root.children or not (is_small or is_thin_all):
        return []
    inputs = [c for c in root.children if words.names[c.nodes[0]] == "input"]
    rest = tuple(sorted(i for c in root.children if c not in inputs for i in c.nodes))
    return [*((c, c.nodes, -1) for c in inputs), *([(root, rest, -1)] if rest else [])]


def _parts(block: Block) -> Iterator[tuple[Block, tuple[int, ...], int]]:
    """Blocks with the nodes of one copy and its number; -1 where there is one copy."""
    for child in block.children or ((block,) if block.nodes else ()):
        if child.repeat > 1 and not child.is_operator:
            for n, copy in enumerate(child.copies or (child.nodes,)):
                yield child, copy, n
            if child.copies and (rest := set(child.nodes) - {i for copy in child.copies for i in copy}):
                yield child, tuple(sorted(rest)), -1
        elif not child.is_operator and (_has_repeats(child) or len(child.nodes) > LARGEST):
            yield from _parts(child)
        else:
            yield child, child.nodes, -1


def _pooled(words: Words, nodes: tuple[int, ...], number: int) -> Iterator[tuple[int, ...]]:
    """A long part that is no copy, cut after every pooling that one tensor passes: the stages of VGG stand in no module."""
    if number >= 0 or len(nodes) < _CUT_FROM:
        yield nodes
        return
    inside, start, reach = set(nodes), 0, -1
    for n, i in enumerate(nodes[:-1]):
        users = [u for u in words.users[i] if u in inside]
        alone = reach <= i  # nothing made earlier is read later
        reach = max([reach, *users])
        if alone and words.names[i] in ("max_pool", "avg_pool") and n + 1 - start > 1:
            yield nodes[start : n + 1]
            start = n + 1
    yield nodes[start:]


def _has_repeats(block: Block) -> bool:
    return any((c.repeat > 1 and not c.is_operator) or _has_repeats(c) for c in block.children)


def _named(
    every: Sequence[list[str]],
    words: Words,
    under: Mapping[tuple[str, ...], int],
    block: Block,
    nodes: tuple[int, ...],
    number: int,
) -> Unit:
    """A unit called by its module, by the first and last of the modules it takes, or by the block where there are none."""
    paths = [every[i] for i in nodes]
    path = tuple(_shared(paths))
    if path and under[path] == len(nodes):
        return Unit(".".join(path), block.cls, nodes)
    ends = [".".join(p[: len(path) + 1]) for p in (paths[0], paths[-1])]
    if all(ends) and (path or ends[0] == ends[1]):
        return Unit(joined_labels(ends), block.cls, nodes, is_module=False)
    if len(nodes) == 1:
        return Unit(words.names[nodes[0]].replace("_", " "), "", nodes, is_module=False)
    label = f"{block.label}{f' #{number + 1}' if number >= 0 else ''}"
    return Unit(label or "network", block.cls, nodes, is_module=False)


def _paths(graph: Graph) -> list[list[str]]:
    """Names of the modules around every node."""
    parts = [s.path.split(".") if s.path else [] for s in graph.scopes]
    return [parts[i] for i in graph.scope.tolist()]


def _shared(paths: Sequence[list[str]]) -> list[str]:
    first = paths[0]
    n = len(first)
    for path in paths[1:]:
        n = next((k for k in range(min(n, len(path))) if path[k] != first[k]), min(n, len(path)))
    return first[:n]


_SHARE, _LARGE_SHARE = 0.25, 0.67
"""Two parts belong together when this share of the smaller is matched with the other; more, when either has a better partner."""


def belonging(pairs: Iterable[tuple[int, int]], sizes_a: Mapping[int, int], sizes_b: Mapping[int, int]) -> set[tuple[int, int]]:
    """Parts of two networks that belong together, as a large enough share of their operators is matched.

    Args:
        pairs: Parts of each two matched operators.
        sizes_a: Operators of every part of the first network.
        sizes_b: Operators of every part of the second.
    """
    shared = Counter(pairs)
    best = (Counter[int](), Counter[int]())
    for (x, y), n in shared.items():
        best[0][x], best[1][y] = max(best[0][x], n), max(best[1][y], n)
    return {
        (x, y)
        for (x, y), n in shared.items()
        if n >= (_SHARE if n == best[0][x] == best[1][y] else _LARGE_SHARE) * min(sizes_a[x], sizes_b[y])
    }


def joined_labels(labels: Sequence[str]) -> str:
    """``layer3.6`` to ``layer3.22`` as ``layer3.6-22``; labels that do not count up are listed, or the ends named."""
    distinct = list(dict.fromkeys(labels))
    if len(distinct) == 1:
        return distinct[0]
    first, last = (_NUMBERED.fullmatch(label) for label in (distinct[0], distinct[-1]))
    if first and last and first["head"] == last["head"]:
        return f"{first['head']}{first['start']}-{last['stop'] or last['start']}"
    if inner := _counting(distinct[0], distinct[-1]):
        return inner
    return ", ".join(distinct) if len(distinct) == 2 else f"{distinct[0]} … {distinct[-1]}"


def _counting(first: str, last: str) -> str:
    """``block.1.layer`` to ``block.4.layer`` as ``block.1-4.layer``; ``""`` where more than one number differs."""
    x, y = (re.split(r"(\d+)", label) for label in (first, last))
    apart = [n for n, (a, b) in enumerate(zip(x, y, strict=False)) if a != b]
    if len(x) != len(y) or len(apart) != 1 or not apart[0] % 2:
        return ""
    return "".join([*x[: apart[0]], f"{x[apart[0]]}-{y[apart[0]]}", *x[apart[0] + 1 :]])


_NUMBERED = re.compile(r"(?P<head>.*?)(?P<start>\d{1,9})(?:-(?P<stop>\d{1,9}))?")
