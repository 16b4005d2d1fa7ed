"""An alignment as rows: parts of both networks side by side, and the operators of those parts as lines with signs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from netatlas.graph._align_changes import Change
from netatlas.graph._diff_units import Unit, belonging, joined_labels, units
from netatlas.graph._drawing_labels import SPATIAL, Words, params_text, shape_text
from netatlas.graph.align import Alignment

SAME, CHANGED, ONLY_A, ONLY_B = "same", "changed", "only a", "only b"

_KEPT, _FEW_EDITS = 0.5, 6
"""A part keeps less than this share of its layers, other widths counted half, and has more edits than this: it was replaced."""


@dataclass(frozen=True)
class Line:
    """One operator in a row.

    Attributes:
        sign: ``" "`` in both, ``"-"`` in the first network only, ``"+"`` in the second only; a changed one is two lines.
        name: Module path within the part.
        text: The operator in words, with what was changed where its words do not show it.
        shape: Output shape.
        is_change: Whether it is one of the two lines of a changed operator.
        kind: ``text`` without widths: what rows of different stages are compared by.
        width: Output width of a layer that chooses it, 0 of anything else.
        is_layer: Whether it is what blocks are told apart by: a convolution, linear layer, attention, recurrence or embedding.
    """

    sign: str
    name: str
    text: str
    shape: str
    is_change: bool = False
    kind: str = ""
    width: int = 0
    is_layer: bool = False


@dataclass(frozen=True)
class Row:
    """Parts that belong together, with copies that differ in the same way.

    Attributes:
        status: ``"same"``, ``"changed"``, ``"only a"`` or ``"only b"``.
        a: Parts of the first network.
        b: Parts of the second.
        lines: The operators of the first copy.
        times: Copies.
        nodes_a: Nodes of the parts of the first network, ascending.
        nodes_b: Those of the second.
        made_of: The words of both.
        stage: How many halvings of resolution (in positions) lie before its output.
    """

    status: str
    a: tuple[Unit, ...]
    b: tuple[Unit, ...]
    lines: tuple[Line, ...]
    stage: int
    times: int = 1
    nodes_a: tuple[int, ...] = ()
    nodes_b: tuple[int, ...] = ()
    made_of: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def label(self) -> str:
        """The parts' names: those of the second network, those of the first where it has them alone."""
        return joined_labels([unit.label for unit in (self.b or self.a)])

    @property
    def label_a(self) -> str:
        """The parts' names in the first network, ``""`` where it has none."""
        return joined_labels([unit.label for unit in self.a]) if self.a else ""

    @property
    def cls(self) -> str:
        """Class of the modules `label` names, ``""`` where it is not known."""
        return _cls(self.b or self.a)

    @property
    def cls_a(self) -> str:
        """Class of the modules in the first network, ``""`` where it is not known."""
        return _cls(self.a)

    @property
    def is_replaced(self) -> bool:
        """Whether so little is left of the first network's part that the two are better told one after the other."""
        if self.status != CHANGED or len(self.edits) <= _FEW_EDITS:
            return False
        ours, theirs = ([line for line in self.lines if line.is_layer and line.sign in f" {sign}"] for sign in "-+")
        wider = sum(x.is_change and y.is_change and x.kind == y.kind for x, y in pairwise(self.lines) if x.is_layer)
        kept = sum(line.sign == " " for line in ours) + wider / 2
        return kept < _KEPT * min(len(ours), len(theirs)) or not ours or not theirs

    @property
    def edits(self) -> tuple[Line, ...]:
        """The lines that are not in both."""
        return tuple(line for line in self.lines if line.sign != " ")


def _cls(parts: Sequence[Unit]) -> str:
    return next((unit.cls for unit in parts if unit.cls), "")


def rows(found: Alignment) -> list[Row]:
    """Every part of both networks in one row each, in the order of the second; neighbours that are alike are not yet joined."""
    return _Rows(found).all()


def joined(found: Sequence[Row]) -> list[Row]:
    """Rows with neighbours that read the same as one, counted."""
    result: list[Row] = []
    for _, group in groupby(found, key=_signature):
        members = list(group)
        first = members[0]
        result.append(
            first
            if len(members) == 1
            else replace(
                first,
                a=tuple(u for r in members for u in r.a),
                b=tuple(u for r in members for u in r.b),
                times=sum(r.times for r in members),
                nodes_a=tuple(i for r in members for i in r.nodes_a),
                nodes_b=tuple(i for r in members for i in r.nodes_b),
            )
        )
    return result


def _signature(row: Row) -> tuple[object, ...]:
    """What neighbours share that are shown once: for changed rows the edits, for others class and operators."""
    if row.is_replaced:
        return (row.status, row.stage, row.cls, row.cls_a, row.made_of)
    if row.status == CHANGED:
        return (row.status, row.stage, tuple((e.sign, e.name, placeless(e.text)) for e in row.edits))
    kinds = Counter(line.text for line in row.lines)
    return (row.status, row.stage, row.cls, _stem(row), frozenset(kinds.items()))


def placeless(text: str) -> str:
    """``"LN of blocks.3.norm1"`` as ``"LN"``."""
    return re.sub(r" of \S+?(?=,| and |$)", "", text)


def _stem(row: Row) -> str:
    return row.label.rstrip("0123456789")


class _Rows:
    def __init__(self, found: Alignment) -> None:
        from netatlas.graph._align_labels import Side

        self.found = found
        self.words = found.words
        self.units = (units(found.a, self.words[0]), units(found.b, self.words[1]))
        self.of = tuple({i: n for n, unit in enumerate(side) for i in unit.nodes} for side in self.units)
        self.stages = (Side(found.a).stage.tolist(), Side(found.b).stage.tolist())
        self.leaving = tuple(
            [max((i for i in u.nodes if _leaves(w, u, i)), default=u.nodes[-1]) for u in side]
            for w, side in zip(self.words, self.units, strict=True)
        )

    def all(self) -> list[Row]:
        found = [self._row(a, b) for a, b in self._ordered(self._groups())]
        return found

    # ------------------------------------------------------------ which parts belong together

    def _groups(self) -> list[tuple[list[int], list[int]]]:
        """Parts connected by a large enough share of matched operators."""
        sizes = [{n: len(unit.nodes) for n, unit in enumerate(side)} for side in self.units]
        together = belonging(((self.of[0][i], self.of[1][j]) for i, j in self.found.pairs), sizes[0], sizes[1])
        parent = list(range(len(self.units[0]) + len(self.units[1])))

        def root(x: int) -> int:
            while parent[x] != x:
                parent[x] = parent[parent[x]]
                x = parent[x]
            return x

        for ua, ub in sorted(together):
            parent[root(len(self.units[0]) + ub)] = root(ua)
        groups: dict[int, tuple[list[int], list[int]]] = {}
        for x in range(len(parent)):
            side = int(x >= len(self.units[0]))
            groups.setdefault(root(x), ([], []))[side].append(x - side * len(self.units[0]))
        return list(groups.values())

    def _ordered(self, groups: list[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[int]]]:
        """Groups in the order of the second network; those of the first alone go after what they follow there."""
        place = {a: max(bs) for members, bs in groups if bs for a in members}
        before = -1
        follows = []  # for every part of the first network, the part of the second that what lies before it goes to
        for x in range(len(self.units[0])):
            before = place.get(x, before)
            follows.append(before)
        keyed = []
        for n, (members, bs) in enumerate(groups):
            if bs:
                keyed.append(((min(bs), 1, 0), n))
            else:
                keyed.append(((follows[members[0]], 2, members[0]), n))
        return [groups[n] for _, n in sorted(keyed)]

    # ------------------------------------------------------------ what a row says

    def _row(self, ours: list[int], theirs: list[int]) -> Row:
        a, b = tuple(self.units[0][n] for n in ours), tuple(self.units[1][n] for n in theirs)
        nodes_a = tuple(sorted(i for u in a for i in u.nodes))
        nodes_b = tuple(sorted(j for u in b for j in u.nodes))
        lines = tuple(self._lines(a, b, nodes_a, nodes_b))
        stage = self.stages[1][self.leaving[1][theirs[-1]]] if theirs else self.stages[0][self.leaving[0][ours[-1]]]
        signs, (w, v) = {line.sign for line in lines}, self.words
        if not b and signs == {"-"}:
            status = ONLY_A
        elif not a and signs == {"+"}:
            status = ONLY_B
        else:
            status = SAME if signs <= {" "} else CHANGED
        made_of = tuple(w.word(i) for i in nodes_a), tuple(v.word(j) for j in nodes_b)
        return Row(status, a, b, lines, stage, 1, nodes_a, nodes_b, made_of)

    def _lines(self, a: Sequence[Unit], b: Sequence[Unit], nodes_a: Sequence[int], nodes_b: Sequence[int]) -> list[Line]:
        to_a, to_b = self.found.to_a, self.found.to_b
        base = tuple(_base(units) for units in (a, b))
        lone = [i for i in nodes_a if i not in to_b]
        lines: list[Line] = []
        at = 0
        for j in nodes_b:
            i = to_a.get(j, -1)
            while i >= 0 and at < len(lone) and lone[at] < i:
                lines.append(self._line("-", 0, lone[at], base[0]))
                at += 1
            if i < 0:
                lines.append(self._line("+", 1, j, base[1]))
            elif i in self.found.changed:
                changed = self.found.changed[i]
                lines.append(self._line("-", 0, i, base[0], changed))
                lines.append(self._line("+", 1, j, base[1], changed))
            else:
                lines.append(self._line(" ", 1, j, base[1]))
        lines += [self._line("-", 0, i, base[0]) for i in lone[at:]]
        if not b:  # its partners stand in rows of their own
            lines += [self._line(" ", 0, i, base[0]) for i in nodes_a if i in to_b]
        return _grouped(lines)

    def _line(self, sign: str, side: int, node: int, base: str, changed: Sequence[Change] = ()) -> Line:
        words = self.words[side]
        path = words.graph.scopes[words.graph.scope[node]].path
        name = path[len(base) + 1 :] if base and path.startswith(f"{base}.") else "" if path == base else _short(path)
        told = [_detail(words, node, change, side) for change in changed]
        what = words.word(node) if words.shapes[node] else f"{words.kind(node)}, {params_text(words.params[node])} params"
        text = ", ".join(dict.fromkeys([what, *(t for t in told if t)]))
        kind = ", ".join(dict.fromkeys([words.kind(node), *(t for t in told if t)]))
        width = words.width(node) if words.has_width(node) else 0
        return Line(sign, name, text, shape_text(words.shapes[node]), bool(changed), kind, width, words.families[node] in LAYERS)


def _grouped(lines: Sequence[Line]) -> list[Line]:
    """Runs of changes with what went before what came, but for runs of changed operators, which stay side by side."""
    found: list[Line] = []
    for is_edit, run in groupby(lines, key=lambda line: line.sign != " "):
        members = list(run)
        if is_edit and not all(line.is_change for line in members):
            members.sort(key=lambda line: line.sign == "+")
        found += members
    return found


LAYERS = frozenset({"convolution", "linear", "attention", "recurrence", "lookup"})
"""Families of operators that blocks are told apart by."""

_YES_NO = frozenset({"yes", "no"})


def _detail(words: Words, node: int, change: Change, side: int) -> str:
    """What a changed operator's words do not show."""
    value = change.after if side else change.before
    name = words.names[node]
    shown = {"operator"}
    if name in SPATIAL:
        shown |= {"kernel", "stride", "dilation", "groups"}
    if words.has_width(node):
        shown |= {"width"}
    if name == "attention":
        shown |= {"heads"}
    if change.what in shown:
        return ""
    if change.what == "shape":  # has a column
        return ""
    if change.what == "inputs":
        return f"reads {'nothing' if value == 'none' else value}"
    if change.what == "params" and not words.shapes[node]:  # said already
        return ""
    if change.what == "params":
        return f"{params_text(int(value.replace(',', '')))} params"
    if value in _YES_NO:
        return f"{'with' if value == 'yes' else 'without'} {change.what}"
    return f"{change.what} {value}"


def _leaves(words: Words, unit: Unit, node: int) -> bool:
    first, last = unit.nodes[0], unit.nodes[-1]
    return not words.users[node] or any(not first <= u <= last for u in words.users[node])


def _base(parts: Sequence[Unit]) -> str:
    """The module that lines of a row are named within: that of its one part."""
    return parts[0].label if len(parts) == 1 and parts[0].is_module else ""


def _short(path: str) -> str:
    """The end of a path that says something: ``downsample.1``, not ``layer1.0.downsample.1``; ``""`` for a mere number."""
    names = path.split(".")
    start = next((n for n in range(len(names) - 1, -1, -1) if not names[n].isdigit()), 0)
    return "" if all(name.isdigit() for name in names) or len(names) - start > 2 else ".".join(names[start:])
