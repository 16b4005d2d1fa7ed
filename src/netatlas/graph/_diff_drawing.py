"""Two networks side by side as a drawing: what is common, what changed, what only one of them has, each in a colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from netatlas.graph._diff_rows import CHANGED, ONLY_A, ONLY_B, SAME, Row, joined
from netatlas.graph._diff_units import Unit, joined_labels
from netatlas.graph._drawing_labels import Words, describe, fit, macs_text, params_text, shape_text, text_width
from netatlas.graph._drawing_layout import Layout, Place, layout
from netatlas.graph._drawing_style import FONT, mixed
from netatlas.graph._drawing_svg import clean, number, ranges, rect, xml
from netatlas.graph._drawing_units import DETAIL, HIGH, Panel, detail_width, panel, tag_width, tooltip
from netatlas.graph._drawing_units import Unit as Box
from netatlas.graph.blocks import Block
from netatlas.graph.explain import staged

if TYPE_CHECKING:
    from netatlas.graph.diff import Diff

INK = {"same": "#5b8db8", "changed": "#e69f00", "only_a": "#d55e00", "only_b": "#009e73"}
"""Okabe and Ito's colours, told apart without red and green; what is common is the quiet one."""

_MARGIN, _GUTTER, _PAD, _HEAD, _BETWEEN = 24.0, 44.0, 14.0, 28.0, 20.0
_NARROW, _WIDE = 540.0, 760.0
"""Least and largest width of a column: as wide as the widest part needs that is not wrapped then."""

_MOST_ROWS = 40
_OPEN_ROWS = 16
"""Rows up to which parts that are alike show their operators too."""

_SMALLEST = 0.72
"""Scale below which the operators of a part are wrapped into lines instead of shrunk further."""

_LEGIBLE = 7
"""Letters that a cut name needs to say something."""

_MOST_BOXES = 48
_CHIP_GAP, _LINE_GAP = 8.0, 8.0


@dataclass(frozen=True)
class _Card:
    """One part of one network, laid out.

    Attributes:
        units: The parts (copies) it stands for.
        nodes: Operators of the copy that is drawn.
        boxes: Their boxes.
        places: Where they go.
        wires: Lines between them; empty when the boxes are wrapped.
        scale: How much the boxes are shrunk.
        height: Pixels of the boxes, shrunk.
        words: One line said instead of boxes.
        more: Operators that have no box, for want of room.
    """

    units: tuple[Unit, ...]
    nodes: tuple[int, ...]
    boxes: tuple[Box, ...] = ()
    places: tuple[Place, ...] = ()
    wires: Layout | None = None
    scale: float = 1.0
    height: float = 0.0
    words: str = ""
    more: int = 0


def draw_diff(diff: Diff) -> str:
    """``diff`` as an SVG document; the same difference gives the same bytes.

    Boxes carry ``data-node`` (graph nodes, as ranges) and the class ``same``, ``changed``, ``only_a`` or ``only_b``.
    """
    return _Sheet(diff).svg()


class _Sheet:
    def __init__(self, diff: Diff) -> None:
        self.diff = diff
        self.words = diff.alignment.words
        self.out: list[str] = []
        self.column = _NARROW
        self._plans: dict[tuple[int, tuple[int, ...]], tuple[Panel, Layout]] = {}
        found = diff.alignment
        self.status = (
            {**dict.fromkeys(found.only_a, "only_a"), **dict.fromkeys(found.changed, "changed")},
            {**dict.fromkeys(found.only_b, "only_b"), **{found.to_b[i]: "changed" for i in found.changed}},
        )

    # ------------------------------------------------------------ the page

    def svg(self) -> str:
        self.rows = self._shown()
        self.column = self._column()
        width = 2 * self.column + _GUTTER
        y = self._heading()
        y = self._legend(y)
        y = self._rows(y)
        full, tall = round(width + 2 * _MARGIN), round(y + _MARGIN)
        label = quoteattr(clean(f"{self.diff.name_a} and {self.diff.name_b} compared"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="netatlas diff" role="img" aria-label={label} '
            f'width="{full}" height="{tall}" viewBox="0 0 {full} {tall}">'
            f'<style>{_style()}</style><rect class="ground" width="{full}" height="{tall}"/>'
            f'<g transform="translate({number(_MARGIN)} 0)">{"".join(self.out)}</g></svg>\n'
        )

    def _x(self, side: int) -> float:
        return side * (self.column + _GUTTER)

    def _heading(self) -> float:
        y = _MARGIN + 16
        for side, name in enumerate((self.diff.name_a, self.diff.name_b)):
            graph = self.words[side].graph
            total = graph.total_params if graph.total_params is not None else int(graph.params.sum())
            macs = int(graph.macs.sum())
            costs = f"{params_text(total)} params · {f'{macs_text(macs)} · ' if macs else ''}{len(graph):,} operators"
            self._text(self._x(side), y, fit(name, 18, self.column, bold=True), "title")
            self._text(self._x(side), y + 19, costs, "subtitle")
        return y + 38

    def _legend(self, y: float) -> float:
        found = self.diff.alignment
        same = len(found.pairs) - len(found.changed)
        told = [
            ("same", f"common: {same:,} operators"),
            ("changed", f"changed: {len(found.changed):,}"),
            ("only_a", f"only in {self.diff.name_a}: {len(found.only_a):,}"),
            ("only_b", f"only in {self.diff.name_b}: {len(found.only_b):,}"),
        ]
        x = 0.0
        self.out.append('<g class="legend">')
        for status, text in told:
            w = text_width(text, 11) + 40
            if x and x + w > 2 * self.column + _GUTTER:
                x, y = 0.0, y + 18
            self.out.append(f'<g class="unit {status}">{rect("box", x, y, 18, 12, 3)}</g>')
            self._text(x + 24, y + 10, text, "key")
            x += w
        self.out.append("</g>")
        for note in (*self.diff.notes, *found.notes):
            y += 18
            self._text(0, y + 10, fit(note, 10, 2 * self.column + _GUTTER), "note")
        return y + 30

    # ------------------------------------------------------------ rows

    def _rows(self, y: float) -> float:
        is_open = self._is_open
        below: list[float | None] = [None, None]  # where the last card of each column ends
        titles = self._stage_titles()
        stage: int | None = None
        for row in self.rows:
            if isinstance(row, str):
                self._text(self.column + _GUTTER / 2, y + 4, row, "note middle")
                y += 22
                continue
            if row.stage != stage:
                stage = row.stage
                if title := titles.get(id(row), ""):
                    y = self._stage(y, title)
            cards = [self._card(side, row, is_open) for side in (0, 1)]
            height = max(self._height(card) for card in cards if card is not None)
            for side, card in enumerate(cards):
                if card is None:
                    self._gap(side, y, height)
                    continue
                if (start := below[side]) is not None:
                    self._arrow(self._x(side) + 26, start, y)
                self._draw(side, card, row, y, height)
                below[side] = y + height
            if all(cards):
                self._link(y + height / 2, row.status)
            y += height + _BETWEEN
        return y

    def _shown(self) -> list[Row | str]:
        """Joined rows; where they are too many, those that are alike are counted, then the middle is."""
        found: list[Row | str] = list(joined(self.diff.rows))
        if len(found) > _OPEN_ROWS:
            near = {m for n, row in enumerate(found) if isinstance(row, Row) and row.status != SAME for m in (n - 1, n, n + 1)}
            folded: list[Row | str] = []
            hidden = 0
            for n, row in enumerate(found):
                if n in near:
                    if hidden:
                        folded.append(_alike(hidden))
                    hidden = 0
                    folded.append(row)
                else:
                    hidden += row.times if isinstance(row, Row) else 0
            found = [*folded, _alike(hidden)] if hidden else folded
        if len(found) > _MOST_ROWS:
            half = _MOST_ROWS // 2
            found = [*found[:half], f"… {len(found) - 2 * half:,} more rows", *found[-half:]]
        return found

    @property
    def _is_open(self) -> bool:
        """Whether parts that are alike show their operators too."""
        return len(self.rows) <= _OPEN_ROWS

    def _column(self) -> float:
        """Width of the two columns: what the widest part needs to be legible, within bounds; wider parts are wrapped anyway."""
        needs = [_NARROW]
        for row in self.rows:
            if isinstance(row, str) or (row.status == SAME and not self._is_open):
                continue
            for side in (0, 1):
                nodes = _copy(row, side)
                if nodes and len(nodes) <= 4 * _MOST_BOXES:
                    boxes, plan = self._plan(side, nodes)
                    if len(boxes.units) <= _MOST_BOXES:
                        needs.append((plan.width + 16) * _SMALLEST + 2 * _PAD)
        return max(need for need in needs if need <= _WIDE)

    def _stage_titles(self) -> dict[int, str]:
        """What is said above the first shown row of each stage, by the row's identity."""
        firsts: dict[int, str] = {}
        shown = [row for row in self.rows if isinstance(row, Row)]
        for run, stage in staged(self.diff.rows, self.words):
            if stage is None or not any(stage.blocks):
                continue
            heads = {(row.nodes_a[:1], row.nodes_b[:1]) for row in run}
            for row in shown:
                if (row.nodes_a[:1], row.nodes_b[:1]) in heads:
                    firsts[id(row)] = stage.text()
                    break
        return firsts

    def _stage(self, y: float, title: str) -> float:
        name, _, rest = title.partition(": ")
        left = 42.0  # right of the arrow
        wide = text_width(name, 11, bold=True) + text_width(rest, 11) + 22
        self.out.append(
            f'<text class="stage" x="{number(left)}" y="{number(y + 8)}"><tspan class="strong">{xml(name)}</tspan>'
            f'<tspan dx="8">{xml(rest)}</tspan></text>'
        )
        self.out.append(f'<path class="rule" d="M{number(left + wide)} {number(y + 4)}H{number(2 * self.column + _GUTTER)}"/>')
        return y + 24

    def _gap(self, side: int, y: float, height: float) -> None:
        """The place where the other network has something."""
        x = self._x(side)
        self.out.append(rect("hole", x + 0.5, y, self.column - 1, height, 8))
        self._text(x + self.column / 2, y + height / 2 + 4, "nothing here", "note middle")

    def _link(self, y: float, status: str) -> None:
        x = self.column
        sign = "=" if status == SAME else "≠"
        kind = "same" if status == SAME else "changed"
        self.out.append(f'<g class="tie {kind}"><path d="M{number(x + 3)} {number(y)}H{number(x + 12)}"/>')
        self.out.append(f'<path d="M{number(x + _GUTTER - 12)} {number(y)}H{number(x + _GUTTER - 3)}"/></g>')
        self._text(x + _GUTTER / 2, y + 5, sign, f"sign middle {kind}")

    def _arrow(self, x: float, y0: float, y1: float) -> None:
        self.out.append(
            f'<path class="wire" d="M{number(x)} {number(y0)}V{number(y1 - 6)}"/>'
            f'<path class="tip" d="M{number(x)} {number(y1)}l-3.5 -7h7z"/>'
        )

    # ------------------------------------------------------------ cards

    def _card(self, side: int, row: Row, is_open: bool) -> _Card | None:
        units = (row.a, row.b)[side]
        if not units:
            return None
        nodes = _copy(row, side)
        words = self.words[side]
        room = self.column - 2 * _PAD
        if (row.status == SAME and not is_open) or len(nodes) > 4 * _MOST_BOXES:
            made = describe(words, nodes) or words.word(nodes[0])
            return _Card(units, nodes, words=fit(made, 11, room), height=18)
        boxes, plan = self._plan(side, nodes)
        scale = min(1.0, room / (plan.width + 16))
        if scale >= _SMALLEST and len(boxes.units) <= _MOST_BOXES:
            return _Card(units, nodes, boxes.units, plan.places, plan, scale, plan.height * scale)
        places, height = _wrapped(boxes.units[:_MOST_BOXES], room)
        more = sum(len(box.nodes) for box in boxes.units[_MOST_BOXES:])
        return _Card(units, nodes, boxes.units[:_MOST_BOXES], places, None, 1.0, height + (18 if more else 0), more=more)

    def _plan(self, side: int, nodes: tuple[int, ...]) -> tuple[Panel, Layout]:
        """Boxes of some nodes and where they go; made once for the width of the columns and for the drawing."""
        if (side, nodes) not in self._plans:
            boxes = self._panel(self.words[side], nodes)
            self._plans[side, nodes] = boxes, layout(boxes)
        return self._plans[side, nodes]

    @staticmethod
    def _panel(words: Words, nodes: tuple[int, ...]) -> Panel:
        leaves = tuple(Block(words.short(i), "", _path(words, i), (i,), (i,)) for i in nodes)
        return panel(words, Block("", "", "", nodes, nodes, leaves), 0, lambda node: "")

    @staticmethod
    def _height(card: _Card) -> float:
        return _HEAD + card.height + _PAD - 2

    def _draw(self, side: int, card: _Card, row: Row, y: float, height: float) -> None:
        x, words = self._x(side), self.words[side]
        times = max(len(card.units) // max(len(card.units) // row.times, 1), 1)
        whole = {SAME: "same", CHANGED: "mixed", ONLY_A: "only_a", ONLY_B: "only_b"}[row.status]
        every = tuple(sorted(i for u in card.units for i in u.nodes))
        self.out.append(f'<g class="part {whole}" data-node="{ranges(every)}">')
        if times > 1:
            self.out += [rect("card", x + d, y + d, self.column - 6, height, 8) for d in (6, 3)]
        self.out.append(rect("card", x, y, self.column - (6 if times > 1 else 0), height, 8))
        self._head(words, card, every, times, x, y)
        y += (height - self._height(card)) / 2
        if card.words:
            self._text(x + _PAD, y + _HEAD + 10, card.words, "made")
        else:
            self._boxes(side, card, x + _PAD, y + _HEAD)
        self.out.append("</g>")

    def _head(self, words: Words, card: _Card, every: tuple[int, ...], times: int, x: float, y: float) -> None:
        left, base = x + _PAD, y + 18
        shape = shape_text(words.shapes[card.nodes[-1]], "×")
        params = sum(words.params[i] for i in every)
        costs = " · ".join(t for t in (f"{params_text(params)} params" if params else "", shape) if t)
        room = self.column - 3 * _PAD - text_width(costs, 10)
        badge = f"× {times}" if times > 1 else ""
        wide = text_width(badge, 11, bold=True) + 12 if badge else 0.0
        label = fit(joined_labels([u.label for u in card.units]), 12.5, room - wide - 8, bold=True)
        self._text(left, base, label, "label")
        left += text_width(label, 12.5, bold=True) + 8
        if badge:
            self.out.append(rect("badge", left, base - 12.5, wide, 16, 8))
            self._text(left + wide / 2, base - 0.5, badge, "times middle")
            left += wide + 8
        cls = card.units[0].cls
        told = fit(cls, 11, x + _PAD + room - left) if left < x + _PAD + room else ""
        if told == cls or len(told) > _LEGIBLE:
            self._text(left, base, told, "cls")
        self._text(x + self.column - _PAD - (6 if times > 1 else 0), base, costs, "cost end")

    def _boxes(self, side: int, card: _Card, x: float, y: float) -> None:
        shrunk = f" scale({card.scale:.3f})" if card.scale < 1 else ""
        self.out.append(f'<g transform="translate({number(x + (8 if card.wires else 0))} {number(y)}){shrunk}">')
        if card.wires is not None:
            for data, tip_x, tip_y, way, is_skip in card.wires.paths:
                tip = "l-6 -3v6z" if way == "r" else "l-3 -6h6z"
                self.out.append(f'<path class="wire{" skip" if is_skip else ""}" d="{data}"/>')
                self.out.append(f'<path class="tip" d="M{number(tip_x)} {number(tip_y)}{tip}"/>')
            self.out += [f'<circle class="dot" cx="{number(a)}" cy="{number(b)}" r="1.8"/>' for a, b in card.wires.dots]
        for box, place in zip(card.boxes, card.places, strict=True):
            self._box(side, box, place)
        if card.more:
            self._text(0, card.height - 4, f"… {card.more:,} more operators", "note")
        self.out.append("</g>")

    def _box(self, side: int, box: Box, at: Place) -> None:
        tagged = box.nodes[1:] if box.tags else ()
        head = box.nodes[:1] if box.tags else box.nodes
        status = self._status(side, head)
        self.out.append(f'<g class="unit {status}" data-node="{ranges(box.nodes)}">')
        self.out.append(f"<title>{xml(self._told(side, box))}</title>")
        radius = at.h / 2 if box.kind == "sign" else 12 if box.kind == "gate" else 5
        self.out.append(rect("box", at.x, at.y, at.w, at.h, radius))
        middle = at.x + at.w / 2
        if at.h < HIGH:
            self._text(middle, at.middle + (5 if box.kind == "sign" else 4), box.title, "middle")
        else:
            self._text(middle, at.y + 15.5, box.title, "middle")
            left = middle - detail_width(box) / 2
            if box.detail:
                self._text(left, at.y + 29.5, box.detail, "detail")
                left += text_width(box.detail, DETAIL) + 3
            for node, (text, _) in zip(tagged, box.tags, strict=True):
                w = tag_width(text)
                self.out.append(f'<g class="tag {self._status(side, (node,))}">{rect("box", left, at.y + 20, w, 12.5, 3)}')
                self._text(left + w / 2, at.y + 29.3, text, "middle")
                self.out.append("</g>")
                left += w + 3
        self.out.append("</g>")

    def _told(self, side: int, box: Box) -> str:
        """What a box says when pointed at: what it is, and what was changed."""
        found = self.diff.alignment
        ours = box.nodes if side == 0 else [found.to_a[i] for i in box.nodes if i in found.to_a]
        changed = [f"{c.what}: {c.before} → {c.after}" for i in ours for c in found.changed.get(i, ())]
        return "\n".join([tooltip(self.words[side], box), *changed])

    def _status(self, side: int, nodes: Sequence[int]) -> str:
        found = {self.status[side].get(i, "same") for i in nodes}
        return next(iter(found)) if len(found) == 1 else "changed"

    def _text(self, x: float, y: float, text: str, cls: str) -> None:
        if text:
            self.out.append(f'<text class="{cls}" x="{number(x)}" y="{number(y)}">{xml(text)}</text>')


def _copy(row: Row, side: int) -> tuple[int, ...]:
    """Nodes of the first copy of a row in one of the networks."""
    units = (row.a, row.b)[side]
    count = max(len(units) // row.times, 1)
    return tuple(sorted(i for u in units[:count] for i in u.nodes))


def _alike(parts: int) -> str:
    return f"… {parts:,} part{'s' if parts != 1 else ''} alike"


def _path(words: Words, node: int) -> str:
    return words.graph.scopes[int(words.graph.scope[node])].path


def _wrapped(boxes: Sequence[Box], room: float) -> tuple[tuple[Place, ...], float]:
    """Boxes in reading order, line by line, and the height they take."""
    places, x, y = [], 0.0, 0.0
    for box in boxes:
        if x and x + box.width > room:
            x, y = 0.0, y + HIGH + _LINE_GAP
        places.append(Place(round(x, 1), round(y + (HIGH - box.height) / 2, 1), box.width, box.height))
        x += box.width + _CHIP_GAP
    return tuple(places), y + HIGH


def _style() -> str:
    """The style sheet: light, and dark where the reader prefers it."""
    light = _rules("#ffffff", "#1f2328", "#59636e", "#f6f8fa", "#d0d7de", 0.0)
    dark = _rules("#0d1117", "#e6edf3", "#9aa4af", "#161b22", "#3d444d", 0.25)
    fixed = (
        f".netatlas text{{font-family:{FONT};font-size:11px}}.netatlas .title{{font-size:18px;font-weight:600}}"
        ".netatlas .subtitle{font-size:11.5px}.netatlas .label{font-size:12.5px;font-weight:600}"
        ".netatlas .cost,.netatlas .note{font-size:10px}.netatlas .note{font-style:italic}.netatlas .detail{font-size:9.5px}"
        ".netatlas .tag text{font-size:8.5px}.netatlas .sign{font-size:15px;font-weight:600}"
        ".netatlas .times{font-size:11px;font-weight:700}.netatlas .strong{font-weight:600}"
        ".netatlas .wire,.netatlas .rule{fill:none;stroke-width:1.2}.netatlas .tie path{stroke-width:1.5}"
        ".netatlas .hole{fill:none;stroke-dasharray:4 4}.netatlas .middle{text-anchor:middle}.netatlas .end{text-anchor:end}"
    )
    return f"{fixed}{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(ground: str, text: str, quiet: str, card: str, line: str, lighter: float) -> str:
    rules = [
        f".netatlas .ground{{fill:{ground}}}.netatlas text{{fill:{text}}}",
        f".netatlas .subtitle,.netatlas .cls,.netatlas .cost,.netatlas .note,.netatlas .detail,.netatlas .stage{{fill:{quiet}}}",
        f".netatlas .stage .strong{{fill:{text}}}",
        f".netatlas .card{{fill:{card};stroke:{line}}}.netatlas .hole,.netatlas .rule{{stroke:{line}}}",
        f".netatlas .wire{{stroke:{quiet}}}.netatlas .tip,.netatlas .dot{{fill:{quiet}}}",
        f".netatlas .badge{{fill:{quiet}}}.netatlas .times{{fill:{ground}}}",
    ]
    for status, ink in INK.items():
        stroke = mixed("#ffffff", ink, lighter)
        fill = mixed(ink, ground, 0.12 if status == "same" else 0.34)
        rules.append(f".netatlas .unit.{status}>.box,.netatlas .tag.{status}>.box{{fill:{fill};stroke:{stroke}}}")
        rules.append(f".netatlas .tie.{status} path{{stroke:{stroke}}}.netatlas text.sign.{status}{{fill:{stroke}}}")
        if status.startswith("only"):
            rules.append(f".netatlas .part.{status}>.card{{fill:{mixed(ink, ground, 0.08)};stroke:{stroke}}}")
    rules.append(f".netatlas .part.mixed>.card{{stroke:{mixed('#ffffff', INK['changed'], lighter)}}}")
    return "".join(rules)
