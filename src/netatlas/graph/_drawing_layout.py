"""Where the boxes of a row go: columns by longest path, the main path on lane 0, branches on lanes below, skips as arcs above."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netatlas.graph._drawing_labels import text_width
from netatlas.graph._drawing_units import Panel

GAP, LANE_GAP, TRACK = 24.0, 9.0, 10.0
"""Pixels between columns, between lanes, and between arcs."""

MOST_TRACKS = 14


@dataclass(frozen=True)
class Place:
    """Left, top, width and height of a box within its row, in pixels."""

    x: float
    y: float
    w: float
    h: float

    @property
    def middle(self) -> float:
        return self.y + self.h / 2


@dataclass(frozen=True)
class Layout:
    """Boxes and lines of one row.

    Attributes:
        places: One per unit.
        paths: SVG path data of every line with the tip of its arrow: ``(data, x, y, direction, is_skip)``; direction is
            ``"r"`` or ``"d"``.
        ports: Name and place (x, y) of every entry but the main one.
        dots: Where a line leaves another one.
        width: Pixels.
        height: Pixels.
    """

    places: tuple[Place, ...]
    paths: tuple[tuple[str, float, float, str, bool], ...]
    ports: tuple[tuple[str, float, float], ...]
    dots: tuple[tuple[float, float], ...]
    width: float
    height: float


class _Plan:
    """Columns and lanes of units and of the pseudo-units for entries and the exit."""

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        g = len(panel.units)
        self.entry = {g + n: name for n, (name, _) in enumerate(panel.entries)}
        self.exit = g + len(panel.entries)
        self.size = self.exit + 1
        self.edges = list(panel.edges)
        self.edges += [(g + n, u) for n, (_, users) in enumerate(panel.entries) for u in users]
        self.edges += [(u, self.exit) for u in panel.exits]
        self.before: list[list[int]] = [[] for _ in range(self.size)]
        self.after: list[list[int]] = [[] for _ in range(self.size)]
        for a, b in self.edges:
            self.before[b].append(a)
            self.after[a].append(b)
        self.order = [*self.entry, *range(g), self.exit]
        self.col = self._columns()
        self.lane = self._lanes()

    def _columns(self) -> list[int]:
        col = [0] * self.size
        aside = {i for i, name in self.entry.items() if name}
        free = set(aside)  # what reads no main input
        for i in self.order:
            start = 1 if self.entry and i not in self.entry else 0
            col[i] = max((col[b] + 1 for b in self.before[i]), default=start)
            if i not in self.entry and all(b in free for b in self.before[i]):
                free.add(i)
        for i in reversed(self.order[len(self.entry) : -1]):  # stands right before its reader
            if i in free and self.after[i]:
                col[i] = max(col[i], min(col[u] for u in self.after[i]) - 1)
        for i in aside:
            col[i] = max(min(col[u] for u in self.after[i]) - 1, 0)
        col[self.exit] = max([c for i, c in enumerate(col) if i != self.exit], default=0) + 1
        return col

    def _lanes(self) -> list[int]:
        lane = [-1] * self.size
        node = self.exit
        lane[node] = 0
        while self.before[node]:
            node = max(self.before[node], key=lambda b: (not self._is_aside(b), self.col[b], self._weight(b), -b))
            lane[node] = 0
        taken: list[list[tuple[int, int]]] = [[]]
        for start in self.order:
            if lane[start] >= 0:
                continue
            chain = [start]
            while nexts := [u for u in self.after[chain[-1]] if lane[u] < 0 and u not in chain]:
                chain.append(min(nexts, key=lambda u: (self.col[u], u)))
            low = max((self.col[b] for b in self.before[start]), default=self.col[start] - 1)
            high = min((self.col[u] for u in self.after[chain[-1]]), default=self.col[chain[-1]] + 1)
            n = 1
            while n < len(taken) and any(a < high and low < b for a, b in taken[n]):
                n += 1
            if n == len(taken):
                taken.append([])
            taken[n].append((low, high))
            for i in chain:
                lane[i] = n
        return lane

    def _is_aside(self, i: int) -> bool:
        """Gates and named entries never lie on the main path while there is another way."""
        return bool(self.entry.get(i)) or (i < len(self.panel.units) and self.panel.units[i].kind == "gate")

    def _weight(self, i: int) -> int:
        """Main paths rather pass through layers than along shortcuts and gates."""
        if i >= len(self.panel.units):
            return 0
        unit = self.panel.units[i]
        return 0 if unit.kind in ("gate", "sign") else len(unit.nodes)


def layout(panel: Panel) -> Layout:
    """The layout of a row; boxes never overlap, and lines run between columns or above all boxes."""
    plan = _Plan(panel)
    g = len(panel.units)
    cols = max(plan.col, default=0) + 1
    wide = [0.0] * cols
    lanes = max(plan.lane) + 1
    high = [0.0] * lanes
    for i, unit in enumerate(panel.units):
        wide[plan.col[i]] = max(wide[plan.col[i]], unit.width)
        high[plan.lane[i]] = max(high[plan.lane[i]], unit.height)
    for i, name in plan.entry.items():
        wide[plan.col[i]] = max(wide[plan.col[i]], text_width(name, 9.5) + 4 if name else 0.0)
    boxed = {(plan.lane[i], plan.col[i]) for i in range(g)} | {(plan.lane[i], plan.col[i]) for i in plan.entry}
    routes = [_route(plan, boxed, a, b) for a, b in plan.edges]
    arcs = [(a, b) for (a, b), how in zip(plan.edges, routes, strict=True) if how == "arc"]
    tracks = _tracks([(plan.col[a], plan.col[b]) for a, b in arcs])
    top = (max(tracks, default=-1) + 1) * TRACK + (6.0 if tracks else 0.0)
    gaps = [GAP] * cols
    for _, b in arcs:  # verticals of arcs to lower lanes need room in the gap they run down
        if plan.lane[b]:
            gaps[plan.col[b] - 1] = min(gaps[plan.col[b] - 1] + 4, 2 * GAP)
    left = [0.0] * cols
    for c in range(1, cols):
        left[c] = left[c - 1] + wide[c - 1] + gaps[c - 1]
    tops = [top + sum(max(h, 8.0) + LANE_GAP for h in high[:n]) for n in range(lanes)]
    places = []
    for i in range(plan.size):
        w, h = (panel.units[i].width, panel.units[i].height) if i < g else (0.0, 0.0)
        x = left[plan.col[i]] + ((wide[plan.col[i]] - w) / 2 if i < g else 0.0)
        if plan.entry.get(i):
            w = wide[plan.col[i]]
        places.append(Place(round(x, 1), round(tops[plan.lane[i]] + (max(high[plan.lane[i]], 8.0) - h) / 2, 1), w, h))
    track_of = dict(zip(arcs, tracks, strict=True))
    paths, dots = [], []
    for (a, b), how in zip(plan.edges, routes, strict=True):
        y = top - 6.0 - track_of[(a, b)] * TRACK if how == "arc" else 0.0
        path, dot = _path(plan, places, left, wide, a, b, how, y)
        paths.append(path)
        if dot:
            dots.append(dot)
    ports = tuple((name, places[i].x, places[i].middle) for i, name in plan.entry.items() if name)
    bottom = tops[-1] + max(high[-1], 8.0) if lanes else 0.0
    return Layout(tuple(places[:g]), tuple(paths), ports, tuple(dict.fromkeys(dots)), left[-1] + wide[-1], bottom)


def _route(plan: _Plan, boxed: set[tuple[int, int]], a: int, b: int) -> str:
    between = range(plan.col[a] + 1, plan.col[b])
    la, lb = plan.lane[a], plan.lane[b]
    if la == lb:
        return "straight" if not any((la, c) in boxed for c in between) else "arc"
    if not any((lb, c) in boxed for c in between):
        return "early"
    if not any((la, c) in boxed for c in between):
        return "late"
    return "arc"


def _tracks(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A track for every arc, short ones nearest to the boxes."""
    taken: list[list[tuple[int, int]]] = []
    track = [0] * len(spans)
    for i in sorted(range(len(spans)), key=lambda i: (spans[i][1] - spans[i][0], spans[i])):
        low, high = spans[i]
        n = 0
        while n < len(taken) and any(a < high and low < b for a, b in taken[n]):
            n += 1
        if n == len(taken):
            taken.append([])
        taken[n].append((low, high))
        track[i] = min(n, MOST_TRACKS - 1)
    return track


def _path(
    plan: _Plan, places: Sequence[Place], left: Sequence[float], wide: Sequence[float], a: int, b: int, how: str, track: float
) -> tuple[tuple[str, float, float, str, bool], tuple[float, float] | None]:
    p, q = places[a], places[b]
    x0, y0, x1, y1 = p.x + p.w, p.middle, q.x, q.middle
    if how == "straight":
        return (f"M{_n(x0)} {_n(y0)}H{_n(x1)}", x1, y1, "r", False), None
    if how == "early":
        bend = left[plan.col[a] + 1] - 2  # the curve stays in the gap after the source's column
        start = min(left[plan.col[a]] + wide[plan.col[a]], bend - 8)
        return (f"M{_n(x0)} {_n(y0)}H{_n(start)}{_curve(start, y0, bend, y1)}H{_n(x1)}", x1, y1, "r", False), None
    if how == "late":
        bend = left[plan.col[b] - 1] + wide[plan.col[b] - 1] + 1
        return (f"M{_n(x0)} {_n(y0)}H{_n(bend)}{_curve(bend, y0, x1 - 2, y1)}H{_n(x1)}", x1, y1, "r", False), None
    out = left[plan.col[a]] + wide[plan.col[a]] + 6
    r = min(12.0, abs(y0 - track) / 2)
    head = f"M{_n(x0)} {_n(y0)}H{_n(out - 4)}{_bend(out, y0, out, y0 - 4)}V{_n(track + r)}{_bend(out, track, out + r, track)}"
    if plan.lane[b] == 0 and b < len(plan.panel.units):
        tip = q.x + q.w / 2
        data = f"{head}H{_n(tip - r)}{_bend(tip, track, tip, track + r)}V{_n(q.y)}"
        return (data, tip, q.y, "d", True), (out - 4, y0)
    down = left[plan.col[b]] - 10
    tail = f"H{_n(down - r)}{_bend(down, track, down, track + r)}V{_n(y1 - 4)}{_bend(down, y1, down + 4, y1)}H{_n(x1)}"
    return (head + tail, x1, y1, "r", True), (out - 4, y0)


def _bend(corner_x: float, corner_y: float, x: float, y: float) -> str:
    """A rounded corner that ends at ``(x, y)``."""
    return f"Q{_n(corner_x)} {_n(corner_y)} {_n(x)} {_n(y)}"


def _curve(x0: float, y0: float, x1: float, y1: float) -> str:
    middle = (x0 + x1) / 2
    return f"C{_n(middle)} {_n(y0)} {_n(middle)} {_n(y1)} {_n(x1)} {_n(y1)}"


def _n(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")
