"""The difference of two networks as people read it: a text like a code diff, a summary, data, a drawing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from netatlas.graph._diff_rows import CHANGED, ONLY_A, ONLY_B, SAME, Line, Row, joined, placeless, rows
from netatlas.graph._drawing_labels import Words, describe, macs_text, params_text, shape_text
from netatlas.graph.align import Alignment, align
from netatlas.graph.difference import Difference, laid_out
from netatlas.graph.explain import Stage, counted, plural, shared_forms, staged, stages
from netatlas.graph.graph import Graph

CONTEXT = 2
"""Operators shown around a change within a part."""


@dataclass(frozen=True, eq=False)
class Diff(Difference):
    """Two networks compared.

    Attributes:
        alignment: Which operators belong together.
        name_a: What the first is called.
        name_b: What the second is called.
        notes: What to know before believing it, such as that only layers with weights could be compared.
    """

    alignment: Alignment
    name_a: str
    name_b: str
    notes: tuple[str, ...] = ()

    @property
    def is_same(self) -> bool:
        """Whether the two are one network; names of modules and weights do not count."""
        return self.alignment.is_same

    @cached_property
    def rows(self) -> list[Row]:
        """All parts of both networks side by side."""
        return rows(self.alignment)

    @cached_property
    def stages(self) -> list[Stage]:
        """Both networks stage by stage."""
        return stages(self.rows, self.alignment.words)

    # ------------------------------------------------------------ text

    def text(self, *, color: bool = False, width: int = 100) -> str:
        """A unified diff: parts that are alike in one line, the operators of others, equal differences once with a count."""
        return laid_out([*self._heading(), *self._hunks()], color, width)

    def _heading(self) -> list[str]:
        wide = max(len(self.name_a), len(self.name_b))
        words = self.alignment.words
        lines = [
            f"{sign} {name:<{wide}}  {_costs(w)}"
            for sign, name, w in (("---", self.name_a, words[0]), ("+++", self.name_b, words[1]))
        ]
        lines += [f"note: {note}" for note in (*self.notes, *self.alignment.notes)]
        if self.is_same:
            g = len(self.alignment.a)
            wired = len(self.alignment.a.edges) or g < 2
            lines.append(f"the same network: {_all(g)} equal{' and wired alike' if wired else ''}")
            if turned := self.alignment.laid_out_otherwise:
                lines.append(f"channels last in one, channels first in the other: the outputs of {turned:,}")
        return lines

    def _hunks(self) -> Iterator[str]:
        if self.is_same:
            return
        seen: dict[Edits, str] = {}
        for members, stage in staged(self.rows, self.alignment.words):
            if all(row.status == SAME for row in members):
                continue
            yield f"@@ {stage.text() if stage else members[0].label} @@"
            yield from self._stage_lines(joined(members), seen)

    def _stage_lines(self, members: Sequence[Row], seen: dict[Edits, str]) -> Iterator[str]:
        """Rows of a stage; of those that are the same only the nearest before and after a difference."""
        near = {m for n, row in enumerate(members) if row.status != SAME for m in (n - 1, n, n + 1)}
        hidden = 0
        for n, row in enumerate(members):
            if n not in near:
                hidden += row.times
                continue
            if hidden:
                yield f"  ... {hidden} part{'s' if hidden > 1 else ''} alike"
                hidden = 0
            yield from self._row_lines(row, seen)
        if hidden:
            yield f"  ... {hidden} part{'s' if hidden > 1 else ''} alike"

    def _row_lines(self, row: Row, seen: dict[Edits, str]) -> Iterator[str]:
        times = f" x {row.times}" if row.times > 1 else ""
        if row.status != CHANGED:
            sign = {SAME: " ", ONLY_A: "-", ONLY_B: "+"}[row.status]
            yield f"{sign} {row.label + times:<26} {self._made_of(row, int(bool(row.b)))}"
            return
        if row.is_replaced:
            for sign, side, label, parts in (("-", 0, row.label_a, row.a), ("+", 1, row.label, row.b)):
                if parts:
                    yield f"{sign} {label + times:<26} {self._made_of(row, side)}"
            return
        title = f"  {row.label}{times}{f'  {row.cls}' if row.cls else ''}{self._renamed(row)}:"
        before = seen.setdefault(_edits(row), row.label)
        if before != row.label and len(row.edits) > _FEW:
            yield f"{title} as {before} but for widths"
            return
        yield title
        yield from _within(row.lines)

    def _made_of(self, row: Row, side: int) -> str:
        unit = (row.a, row.b)[side][0]
        words = self.alignment.words[side]
        made = describe(words, unit.nodes) or ", ".join(words.word(i) for i in unit.nodes[:4])
        shape = shape_text(words.shapes[unit.nodes[-1]])
        return ": ".join(x for x in ((row.cls_a, row.cls)[side], made) if x) + (f" -> {shape}" if shape else "")

    def _renamed(self, row: Row) -> str:
        """What the first network calls the part, where that says something."""
        told = [row.label_a] if row.label_a and _plain(row.label_a) != _plain(row.label) else []
        told += [row.cls_a] if row.cls_a and row.cls_a != row.cls else []
        return f"  (for {' '.join(told)})" if told else ""

    # ------------------------------------------------------------ summary

    def stat(self) -> str:
        """How much differs: counts, costs, stages, what was changed most often, forms in common."""
        lines = "\n".join(self._heading())
        return lines if self.is_same else f"{lines}\n{self.explanation()}"

    def explanation(self) -> str:
        """`stat` without the names and costs of the networks."""
        found = self.alignment
        if self.is_same:
            return f"the same network: {_all(len(found.a))} equal"
        equal = len(found.pairs) - len(found.changed)
        counts = (
            f"{equal:,} operators alike, {len(found.changed):,} changed, {len(found.only_a):,} only in the first, "
            f"{len(found.only_b):,} only in the second ({100 * found.likeness:.0f} % alike)"
        )
        parts = [counts, self._stage_table(), self._changes_table(), self._forms_text()]
        return "\n\n".join(part for part in parts if part)

    def _stage_table(self) -> str:
        cells = [["stage", "size", "width", "blocks", "layers"]]
        for s in self.stages:
            pairs = (s.size, s.width, s.blocks, s.layers)
            cells.append([("  " if s.is_same else "* ") + s.name, *(_arrow(*map(_cell, p)) for p in pairs)])
        cells[0][0] = "  stage"
        return _columns(cells)

    def _changes_table(self) -> str:
        counts: Counter[tuple[str, str, str]] = Counter()
        for (what, before, after), n in self.alignment.counts().items():
            counts[what, placeless(before), placeless(after)] += n
        most = counts.most_common(12)
        one_sided = [
            (sign, word, n)
            for sign, side, nodes in (("-", 0, self.alignment.only_a), ("+", 1, self.alignment.only_b))
            for word, n in _counted_words(self.alignment.words[side], nodes)
        ]
        lines = [f"~ {n:>5} x {what} {before} -> {after}" for (what, before, after), n in most]
        lines += [f"{sign} {n:>5} x {word}" for sign, word, n in one_sided]
        return "\n".join(lines)

    @cached_property
    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        return counted(self.alignment.a), counted(self.alignment.b)

    def _forms_text(self) -> str:
        found = shared_forms(*self._counts)
        lines = []
        if found.common:
            lines.append("in common: " + ", ".join(plural(name, n) for name, n in list(found.common.items())[:8]))
        for name, more in ((self.name_a, found.more_a), (self.name_b, found.more_b)):
            if more:
                told = [f"{plural(form, max(p))} (not {min(p)})" if min(p) else plural(form, max(p)) for form, p in more.items()]
                lines.append(f"more in {name}: " + ", ".join(told[:8]))
        return "\n".join(lines)

    # ------------------------------------------------------------ data and drawing

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values; nodes are positions in the graphs."""
        found = self.alignment
        changed = [
            {"a": _node(found.words[0], i), "b": _node(found.words[1], found.to_b[i]),
             "changes": [{"what": c.what, "before": c.before, "after": c.after} for c in cs]}
            for i, cs in found.changed.items()
        ]  # fmt: skip
        parts = [
            {"status": r.status, "label": r.label, "class": r.cls, "times": r.times, "a": list(r.nodes_a), "b": list(r.nodes_b)}
            for r in joined(self.rows)
        ]
        return {
            "a": _summary(self.name_a, found.a),
            "b": _summary(self.name_b, found.b),
            **self.summary(),
            "changed": changed,
            "only_a": [_node(found.words[0], i) for i in found.only_a],
            "only_b": [_node(found.words[1], j) for j in found.only_b],
            "parts": parts,
        }

    def summary(self) -> dict[str, Any]:
        """What `explanation` says, as JSON values."""
        found, forms = self.alignment, shared_forms(*self._counts)
        return {
            "same": self.is_same,
            "likeness": round(found.likeness, 6),
            "notes": [*self.notes, *found.notes],
            "laid_out_otherwise": found.laid_out_otherwise,
            "operators": {"alike": len(found.pairs) - len(found.changed), "changed": len(found.changed),
                          "only_a": len(found.only_a), "only_b": len(found.only_b)},
            "changes": [{"what": w, "before": x, "after": y, "times": n} for (w, x, y), n in found.counts().most_common()],
            "stages": [
                {"name": s.name, "size": list(s.size), "width": list(s.width), "blocks": list(s.blocks), "layers": list(s.layers),
                 "same": s.is_same}
                for s in self.stages
            ],
            "forms": {"common": forms.common, "more_a": {k: list(v) for k, v in forms.more_a.items()},
                      "more_b": {k: list(v) for k, v in forms.more_b.items()}},
        }  # fmt: skip

    def svg(self) -> str:
        """Both networks side by side as a drawing: what is common, changed, and in one of them only in a colour each."""
        from netatlas.graph._diff_drawing import draw_diff

        return draw_diff(self)


def diff_graphs(a: Graph, b: Graph, name_a: str = "a", name_b: str = "b", notes: Sequence[str] = ()) -> Diff:
    """The difference of two graphs; see `netatlas.graph.align.align` for how operators are matched."""
    return Diff(align(a, b), name_a, name_b, tuple(notes))


Edits = tuple[tuple[str, str, str, float], ...]
"""Edits of a row without widths: sign, module, operator, and for a changed layer how much wider it became."""

_FEW = 2
"""Edits that are shown again rather than referred to."""


def _edits(row: Row) -> Edits:
    found, before = [], 0
    for line in row.edits:
        ratio = line.width / before if line.is_change and line.sign == "+" and before else 0.0
        found.append((line.sign, line.name, placeless(line.kind), ratio))
        before = line.width if line.sign == "-" else 0
    return tuple(found)


def _all(operators: int) -> str:
    return "the one operator is" if operators == 1 else f"all {operators:,} operators are"


def _costs(words: Words) -> str:
    graph = words.graph
    total = graph.total_params if graph.total_params is not None else int(graph.params.sum())
    macs = int(graph.macs.sum())
    return f"{params_text(total)} params, {f'{macs_text(macs)}, ' if macs else ''}{len(graph):,} operators"


def _summary(name: str, graph: Graph) -> dict[str, Any]:
    total = graph.total_params if graph.total_params is not None else int(graph.params.sum())
    return {"name": name, "params": total, "macs": int(graph.macs.sum()), "operators": len(graph)}


def _node(words: Words, node: int) -> dict[str, Any]:
    path = words.graph.scopes[words.graph.scope[node]].path
    return {
        "node": node,
        "operator": words.names[node],
        "text": words.word(node),
        "path": path,
        "shape": list(words.shapes[node]),
    }


def _within(lines: Sequence[Line]) -> Iterator[str]:
    """Changed lines with a little of what is around them."""
    near = {m for n, line in enumerate(lines) if line.sign != " " for m in range(n - CONTEXT, n + CONTEXT + 1)}
    shown = [line for n, line in enumerate(lines) if n in near]
    wide = min(max((len(line.name) for line in shown), default=0), 28)
    room = min(max((len(line.text) for line in shown), default=0), 40)
    hidden = 0
    for n, line in enumerate(lines):
        if n not in near:
            hidden += 1
            continue
        if hidden:
            yield f"      ... {hidden} operator{'s' if hidden > 1 else ''} alike"
            hidden = 0
        yield f"{line.sign}     {_tail(line.name, 28):<{wide}}  {line.text:<{room}}  {line.shape}".rstrip()
    if hidden:
        yield f"      ... {hidden} operator{'s' if hidden > 1 else ''} alike"


def _tail(text: str, room: int) -> str:
    return text if len(text) <= room else "…" + text[len(text) - room + 1 :]


def _plain(label: str) -> str:
    """A label without numbers and signs: ``layers.0`` and ``layers.3`` are one name."""
    return re.sub(r"[\W\d_]", "", label).lower()


def _cell(value: object) -> str:
    return str(value) if value else "-"


def _arrow(a: str, b: str) -> str:
    return a if a == b else f"{a} -> {b}"


def _columns(cells: Sequence[Sequence[str]]) -> str:
    wide = [max(len(row[c]) for row in cells) for c in range(len(cells[0]))]
    return "\n".join("  ".join(f"{text:<{w}}" for text, w in zip(row, wide, strict=True)).rstrip() for row in cells)


def _counted_words(words: Words, nodes: Sequence[int], most: int = 8) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for i in nodes:
        counts[words.kind(i)] = counts.get(words.kind(i), 0) + 1
    found = sorted(counts.items(), key=lambda x: (-x[1], x[0]))
    rest = sum(n for _, n in found[most:])
    return [*found[:most], *([("other operators", rest)] if rest else [])]
