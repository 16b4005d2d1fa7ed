"""A network as an SVG drawing that reads like a figure in a paper: stages as cards, repeated blocks drawn once, skips as arcs."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import quoteattr

from netatlas.graph._drawing_labels import Words, fit, macs_text, params_text, shape_text, text_width
from netatlas.graph._drawing_layout import Place
from netatlas.graph._drawing_rows import Row, plan_rows
from netatlas.graph._drawing_style import style
from netatlas.graph._drawing_svg import clean, number, ranges, rect, xml
from netatlas.graph._drawing_units import DETAIL, HIGH, TITLE, Unit, detail_width, tag_width, tooltip
from netatlas.graph.blocks import structure
from netatlas.graph.graph import Graph
from netatlas.graph.ops import FAMILIES

_MARGIN, _PAD, _HEAD, _BETWEEN, _TRACK = 24.0, 16.0, 30.0, 30.0, 11.0
_NARROWEST = 620.0
_MOST_TRACKS = 10


def draw(graph: Graph, title: str = "", subtitle: str = "") -> str:
    """``graph`` as an SVG document.

    The same graph gives the same bytes. Groups carry ``data-node`` (graph nodes, as ranges) and ``data-path`` (module scope), and
    a ``<title>`` that browsers show on hovering; about 60 operator boxes are drawn, the rest collapses and is counted.

    Args:
        graph: Any graph, an empty one too.
        title: Heading.
        subtitle: Text below it, before the total parameters and MACs.
    """
    return _Sheet(graph, title, subtitle).svg()


class _Sheet:
    def __init__(self, graph: Graph, title: str, subtitle: str) -> None:
        self.graph = graph
        self.words = Words(graph)
        self.inputs, self.rows, self.hidden = plan_rows(self.words, structure(graph))
        self.ends = frozenset(graph.outputs)
        self.title, self.subtitle = title, subtitle
        self.out: list[str] = []
        self.families: set[str] = set()
        self.dropped = 0

    # ------------------------------------------------------------ the page

    def svg(self) -> str:
        inner = max([self._wanted(row) for row in self.rows], default=0.0)
        links = self._links(self.rows)
        width = max(inner + self._margin(links), _NARROWEST, self._title_width())
        body = round(width, 1)
        y = self._heading(body)
        y = self._input_pills(y)
        y = self._stack(self.rows, links, 0.0, y, body, is_top=True)
        y = self._outputs(y)
        y = self._legend(y + 14, body)
        full, tall = round(body + 2 * _MARGIN), round(y + _MARGIN)
        label = quoteattr(clean(self.title or "operator graph"))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="netatlas" role="img" aria-label={label} '
            f'width="{full}" height="{tall}" viewBox="0 0 {full} {tall}">'
            f'<style>{style()}</style><rect class="ground" width="{full}" height="{tall}"/>'
            f'<g transform="translate({number(_MARGIN)} 0)">{"".join(self.out)}</g></svg>\n'
        )

    def _title_width(self) -> float:
        return min(text_width(self.title, 18, bold=True), 1100.0)

    def _heading(self, width: float) -> float:
        y = _MARGIN
        if self.title:
            y += 14
            self._text(0, y, fit(self.title, 18, width, bold=True), "title")
            y += 8
        total = self.graph.total_params if self.graph.total_params is not None else int(self.graph.params.sum())
        costs = f"{params_text(total)} params · {macs_text(int(self.graph.macs.sum()))} · {len(self.graph):,} operators"
        y += 11
        self._text(0, y, fit(f"{self.subtitle} · {costs}" if self.subtitle else costs, 11.5, width), "subtitle")
        return y + 20

    def _input_pills(self, y: float) -> float:
        if not self.inputs:
            return y
        x = 0.0
        for n, node in enumerate(self.inputs[:6]):
            name = "input" if len(self.inputs) == 1 else f"input {n + 1}"
            shape = shape_text(self.words.shapes[node], "×")
            text = f"{name}  {shape}" if shape else name
            w = text_width(text, TITLE) + 22
            self.out.append(f'<g class="unit source" data-node="{node}"><title>{xml(f"{name}, output {shape}")}</title>')
            self.out.append(f'<rect class="box" x="{number(x)}" y="{number(y)}" width="{number(w)}" height="24" rx="12"/>')
            self._text(x + w / 2, y + 16, text, "middle")
            self.out.append("</g>")
            x += w + 12
        if len(self.inputs) > 6:
            self._text(x, y + 16, f"… {len(self.inputs) - 6} more inputs", "note")
        self.families.add("source")
        y += 24
        if self.rows:
            self._arrow(30, y, y + _BETWEEN - 6)
            y += _BETWEEN
        return y

    def _outputs(self, y: float) -> float:
        outputs = self.graph.outputs
        last = set(self.rows[-1].block.nodes) if self.rows else set()
        ends = [i for i in outputs if i in last]
        if not ends:
            return y
        self._arrow(30, y, y + 20)
        shapes = [shape_text(self.words.shapes[i], "×") for i in ends]
        text = "output " + ", ".join(s for s in shapes[:4] if s) + (f" and {len(ends) - 4} more" if len(ends) > 4 else "")
        self._text(22, y + 34, text.strip(), "shape")
        return y + 38

    def _legend(self, y: float, width: float) -> float:
        x = 0.0
        self.out.append('<g class="legend">')
        for family in [*(f for f in FAMILIES if f in self.families), *(f for f in ("block",) if f in self.families)]:
            name = {"block": "collapsed block", "source": "input"}.get(family, family)
            w = text_width(name, 10) + 32
            if x + w > width and x:
                x, y = 0.0, y + 18
            self.out.append(f'<g class="key {family}" data-family="{family}">{rect("box", x, y, 14, 10, 2)}')
            self._text(x + 19, y + 9, name, "port")
            self.out.append("</g>")
            x += w
        self.out.append("</g>")
        y += 10
        if self.dropped:
            self._text(0, y + 18, f"{self.dropped} more connections between stages are named at their ends only", "note")
            y += 18
        if not self.rows and not self.inputs:
            self._text(0, y, "an empty graph", "note")
        return y

    # ------------------------------------------------------------ rows

    def _wanted(self, row: Row) -> float:
        """Width that a row needs."""
        head = self._head_width(row)
        if beside := self._beside(row):
            return beside + (row.layout.width if row.layout else 0.0) + 36 + text_width(self._costs(row), 10)
        if row.layout is not None:
            return max(row.layout.width + 2 * _PAD + 24, head)
        links = self._links(row.rows)
        return max(max(self._wanted(r) for r in row.rows) + 2 * _PAD + self._margin(links), head)

    def _head_width(self, row: Row) -> float:
        name = text_width(row.block.label[:40], 12.5, bold=True)
        return min(name + text_width(row.block.cls[:40], 11.5) + text_width(self._costs(row), 10) + 2 * _PAD + 90, 900.0)

    def _costs(self, row: Row) -> str:
        block = row.block
        shared = not block.params and any(self.words.flag(i, "shared") for i in block.nodes)
        params = "shared params" if shared else f"{params_text(block.params)} params"
        shape = shape_text(block.shape_out, "×")
        if row is not self.rows[-1] and any(i in self.ends for i in block.nodes):
            shape = f"output {shape}".strip()
        return " · ".join(x for x in (params, macs_text(block.macs), shape) if x)

    def _links(self, rows: Sequence[Row]) -> list[tuple[int, int, int]]:
        """Pairs of rows that a tensor passes between, with the last node that sends one."""
        home = {i: n for n, row in enumerate(rows) for i in row.block.nodes}
        found: dict[tuple[int, int], int] = {}
        for i, n in home.items():
            for x in self.words.inputs[i]:
                m = home.get(x, n)
                if m != n:
                    found[(m, n)] = max(found.get((m, n), -1), x)
        return sorted((a, b, x) for (a, b), x in found.items())

    def _far(self, links: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int, int]]:
        """Links between rows that are not neighbours, as ``(source, target, node, track)``, short ones first."""
        far = sorted(((a, b, x) for a, b, x in links if b != a + 1), key=lambda link: (abs(link[1] - link[0]), link))
        taken: list[list[tuple[int, int]]] = []
        tracked = []
        for a, b, x in far:
            low, high = min(a, b), max(a, b)
            n = 0
            while n < len(taken) and any(p < high and low < q for p, q in taken[n]):
                n += 1
            if n == len(taken):
                taken.append([])
            taken[n].append((low, high))
            if n < _MOST_TRACKS:
                tracked.append((a, b, x, n))
        return tracked

    def _margin(self, links: Sequence[tuple[int, int, int]]) -> float:
        tracks = max((track + 1 for *_, track in self._far(links)), default=0)
        return tracks * _TRACK + 14 if tracks else 0.0

    def _stack(
        self, rows: Sequence[Row], links: list[tuple[int, int, int]], x: float, y: float, width: float, is_top: bool
    ) -> float:
        """Rows one below the other; the bottom of the last one."""
        margin = self._margin(links)
        near = {(a, b): node for a, b, node in links if b == a + 1}
        spans = []
        for n, row in enumerate(rows):
            top = y
            y = self._row(row, x, y, width - margin)
            spans.append((top, y))
            if n + 1 < len(rows):
                if (n, n + 1) in near:
                    self._arrow(x + 30, y + (6 if row.block.repeat > 1 else 0), y + _BETWEEN - 6)
                    self._text(x + 40, y + _BETWEEN / 2 + 4, shape_text(self.words.shapes[near[(n, n + 1)]], "×"), "shape")
                y += _BETWEEN
                if is_top and self.hidden and n + 1 == len(rows) - 10:
                    self._text(x + 40, y + 4, f"… {self.hidden} more blocks", "note")
                    y += _BETWEEN / 2
        far = self._far(links)
        self.dropped += sum(1 for a, b, _ in links if b != a + 1) - len(far)
        for a, b, node, track in far:
            self._bow(x + width - margin, spans[a], spans[b], track, rows[a], node)
        return y

    def _bow(self, x: float, source: tuple[float, float], target: tuple[float, float], track: int, row: Row, node: int) -> None:
        """A skip connection between rows, in the right margin."""
        shift = 4.0 * track
        y0, y1 = source[1] - 12 - min(shift, source[1] - source[0] - 18), target[0] + 12 + min(shift, target[1] - target[0] - 18)
        far, r = x + 10 + track * _TRACK, 7.0
        down = 1 if y1 > y0 else -1
        start = x + (6 if row.block.repeat > 1 else 0)
        shape = shape_text(self.words.shapes[node], "×")
        self.out.append(f'<g class="link" data-node="{node}"><title>{xml(f"{row.block.label} {shape}".strip())}</title>')
        self.out.append(
            f'<path class="wire skip" d="M{number(start)} {number(y0)}H{number(far - r)}Q{number(far)} {number(y0)} {number(far)} {number(y0 + down * r)}'
            f'V{number(y1 - down * r)}Q{number(far)} {number(y1)} {number(far - r)} {number(y1)}H{number(x + 5)}"/>'
        )
        self.out.append(f'<path class="tip" d="M{number(x)} {number(y1)}l6 -3v6z"/></g>')

    def _row(self, row: Row, x: float, y: float, width: float) -> float:
        block = row.block
        second = self._needs_second_line(row, width)
        head = 7.0 if (beside := self._beside(row)) else _HEAD + (14 if second else 0)
        self.out.append(
            f'<g class="row" data-node="{ranges(block.nodes)}" data-path={quoteattr(clean(block.path))} '
            f'data-repeat="{block.repeat}">'
        )
        self.out.append(f"<title>{xml(self._row_title(row))}</title>")
        if row.rows:
            mark = len(self.out)
            links = self._links(row.rows)
            bottom = self._stack(row.rows, links, x + _PAD, y + head, width - 2 * _PAD, is_top=False) + _PAD
            self.out.insert(mark, rect("holder", x, y, width, bottom - y, 10))
        else:
            assert row.layout is not None
            bottom = y + (HIGH + 14 if beside else head + row.layout.height + _PAD - 2)
            if block.repeat > 1:
                self.out += [rect("card", x + d, y + d, width, bottom - y, 8) for d in (6, 3)]
            self.out.append(rect("card", x, y, width, bottom - y, 8))
            self._panel(row, x + (beside or _PAD), y + head + ((HIGH - row.layout.height) / 2 if beside else 0))
        self._head(row, x, y + (11 if beside else 0), width, second)
        self.out.append("</g>")
        return bottom

    def _beside(self, row: Row) -> float:
        """Where the boxes of a small card start, right of its name; 0 for cards that put the name above."""
        if row.panel is None or row.layout is None or row.block.repeat > 1 or self._note(row):
            return 0.0
        is_small = len(row.panel.units) <= 4 and row.layout.height <= HIGH and row.layout.width < 420
        return max(130.0, 12 + self._left_width(row) + 12) if is_small else 0.0

    def _row_title(self, row: Row) -> str:
        block = row.block
        times = f" × {block.repeat}{' side by side' if block.parallel else ''}" if block.repeat > 1 else ""
        return "\n".join(t for t in (f"{block.path or block.label}{times}", block.cls, self._costs(row), self._note(row)) if t)

    def _note(self, row: Row) -> str:
        side = "side by side" if row.block.parallel else ""
        return ", ".join(t for t in (row.note, row.block.varies, side) if t)

    def _left_width(self, row: Row) -> float:
        block = row.block
        w = text_width(block.label, 12.5, bold=True)
        w += text_width(f"× {block.repeat}", 11, bold=True) + 22 if block.repeat > 1 else 0
        return w + (text_width(block.cls, 11.5) + 10 if block.cls and not block.is_operator else 0)

    def _needs_second_line(self, row: Row, width: float) -> bool:
        note = self._note(row)
        if row.rows and not note:
            return False
        used = self._left_width(row) + text_width(self._costs(row), 10) + 2 * _PAD + 24
        return bool(note) and used + text_width(note, 10) > width

    def _head(self, row: Row, x: float, y: float, width: float, second: bool) -> None:
        block, base = row.block, y + 19
        costs = self._costs(row)
        room = width - 2 * _PAD - text_width(costs, 10) - 16
        left = x + 12
        badge = text_width(f"× {block.repeat}", 11, bold=True) + 12 if block.repeat > 1 else 0.0
        label = fit(block.label, 12.5, room - badge - 10, bold=True)
        self._text(left, base, label, "label")
        left += text_width(label, 12.5, bold=True) + 8
        if badge:
            self.out.append(rect("badge", left, base - 12.5, badge, 16, 8))
            self._text(left + badge / 2, base - 0.5, f"× {block.repeat}", "times middle")
            left += badge + 8
        if block.cls and not block.is_operator:
            cls = fit(block.cls, 11.5, x + 12 + room - left)
            self._text(left, base, cls, "cls")
            left += text_width(cls, 11.5) + 10
        if note := self._note(row):
            if second:
                self._text(x + 12, base + 14, fit(note, 10, width - 28), "note")
            else:
                self._text(left, base, note, "note")
        self._text(x + width - 12, base, costs, "cost end")

    # ------------------------------------------------------------ boxes

    def _panel(self, row: Row, x: float, y: float) -> None:
        plan, boxes = row.layout, row.panel
        assert plan is not None
        assert boxes is not None
        self.out.append(f'<g transform="translate({number(x + 8)} {number(y)})">')
        for data, tip_x, tip_y, way, is_skip in plan.paths:
            self.out.append(f'<path class="wire{" skip" if is_skip else ""}" d="{data}"/>')
            tip = "l-6 -3v6z" if way == "r" else "l-3 -6h6z"
            self.out.append(f'<path class="tip" d="M{number(tip_x)} {number(tip_y)}{tip}"/>')
        self.out += [f'<circle class="dot" cx="{number(a)}" cy="{number(b)}" r="1.8"/>' for a, b in plan.dots]
        for name, px, py in plan.ports:
            self._text(px - 2, py + 3.5, name, "port")
        for unit, place in zip(boxes.units, plan.places, strict=True):
            self._unit(unit, place)
        self.out.append("</g>")

    def _unit(self, unit: Unit, at: Place) -> None:
        self.families.update({unit.family, *(family for _, family in unit.tags)})
        nodes, path = ranges(unit.nodes), quoteattr(clean(unit.path))
        self.out.append(f'<g class="unit {unit.kind} {unit.family}" data-node="{nodes}" data-path={path}>')
        self.out.append(f"<title>{xml(tooltip(self.words, unit))}</title>")
        radius = at.h / 2 if unit.kind == "sign" else 12 if unit.kind == "gate" else 5
        self.out.append(rect("box", at.x, at.y, at.w, at.h, radius))
        middle = at.x + at.w / 2
        if unit.kind == "sign":
            self._text(middle, at.middle + 5, unit.title, "middle")
        elif at.h < HIGH:
            self._text(middle, at.middle + 4, unit.title, "middle")
        else:
            self._text(middle, at.y + 15.5, unit.title, "middle bold" if unit.kind == "block" and unit.detail else "middle")
            self._second_line(unit, middle, at.y + 29.5)
        self.out.append("</g>")

    def _second_line(self, unit: Unit, middle: float, base: float) -> None:
        x = middle - detail_width(unit) / 2
        if unit.detail:
            self._text(x, base, unit.detail, "detail")
            x += text_width(unit.detail, DETAIL) + 3
        for text, family in unit.tags:
            w = tag_width(text)
            self.out.append(f'<g class="tag {family}">{rect("box", x, base - 9.5, w, 12.5, 3)}')
            self._text(x + w / 2, base - 0.2, text, "middle")
            self.out.append("</g>")
            x += w + 3

    def _text(self, x: float, y: float, text: str, cls: str) -> None:
        if text:
            self.out.append(f'<text class="{cls}" x="{number(x)}" y="{number(y)}">{xml(text)}</text>')

    def _arrow(self, x: float, y0: float, y1: float) -> None:
        self.out.append(
            f'<path class="wire" d="M{number(x)} {number(y0)}V{number(y1)}"/><path class="tip" d="M{number(x)} {number(y1 + 6)}l-3.5 -7h7z"/>'
        )
