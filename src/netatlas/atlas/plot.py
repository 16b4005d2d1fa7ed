"""Pictures of cost and quality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netatlas.errors import ConfigError, MissingExtraError, QueryError
from netatlas.facts import FACTS

Point = tuple[str, float, float]

_SCALES = {"params": (1e6, "million parameters"), "macs": (1e9, "GMACs"), "flops": (1e9, "GFLOPs"), "activations": (1e6, "million activations"),
           "peak_memory": (1e6, "MB of activations at once"), "peak_rss": (1e6, "MB resident")}  # fmt: skip
ENDINGS = (".png", ".svg", ".pdf")


def scatter(path: str | Path, points: Sequence[Point], background: Sequence[Point], x: str, y: str) -> None:
    """Draw points by two facts, labelled, with the Pareto front of all points as a line.

    Args:
        path: File ending in one of `ENDINGS`.
        points: Label and the two values, in the facts' units.
        background: Further points, drawn small and grey without labels.
        x: Fact on the horizontal axis, logarithmic when its values span more than a factor of five.
        y: Fact on the vertical axis.

    Raises:
        QueryError: A fact is unknown or no number, or there is no point.
        ConfigError: The file's ending is not one we can write.
        MissingExtraError: matplotlib is not installed.
    """
    for name in (x, y):
        if name not in FACTS or FACTS[name].kind not in ("count", "number"):
            raise QueryError(f"cannot plot {name!r}: it is not a number")
    if not points:
        raise QueryError(f"nothing to plot: no entry has both {x} and {y}")
    if Path(path).suffix.lower() not in ENDINGS:
        raise ConfigError(f"cannot write a picture to {str(path)!r}: its name must end in {', '.join(ENDINGS)}")
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("a plot", "plot") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    scaled, faint = ([(label, a / _scale(x), b / _scale(y)) for label, a, b in group] for group in (points, background))
    figure, axes = pyplot.subplots(figsize=(8, 5.2), layout="constrained")
    if faint:
        axes.scatter([p[1] for p in faint], [p[2] for p in faint], s=9, color="#c3c7cd", linewidths=0, zorder=1)
    axes.scatter(
        [p[1] for p in scaled], [p[2] for p in scaled], s=46, color="#0b62a4", edgecolor="white", linewidths=0.8, zorder=3
    )
    front = pareto_front([*scaled, *faint], x, y)
    if len(front) > 1:
        axes.plot(
            [p[1] for p in front],
            [p[2] for p in front],
            color="#d1495b",
            linewidth=1.4,
            drawstyle="steps-post",
            zorder=2,
            label="Pareto front",
        )
        axes.legend(frameon=False, loc="lower right")
    values = [p[1] for p in (*scaled, *faint) if p[1] > 0]
    if values and max(values) > 5 * min(values):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    _label(axes, scaled)
    axes.set_xlabel(_axis(x))
    axes.set_ylabel(_axis(y))
    axes.grid(color="#e8eaed", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(0.12)
    figure.savefig(path, dpi=150, metadata={"Date": None} if str(path).lower().endswith(".svg") else None)
    pyplot.close(figure)


def _label(axes: object, points: Sequence[Point]) -> None:
    """Names beside their points, moved to the side with room and spread vertically where they would collide."""
    figure = axes.figure  # type: ignore[attr-defined]
    figure.canvas.draw()
    taken: list[tuple[float, float]] = []
    left, right = axes.bbox.x0, axes.bbox.x1  # type: ignore[attr-defined]
    for name, a, b in sorted(points, key=lambda p: p[2]):
        px, py = axes.transData.transform((a, b))  # type: ignore[attr-defined]
        on_left = px > (left + right) / 2
        offset = 0.0
        while any(abs(py + offset - ty) < 24 and abs(px - tx) < 260 for tx, ty in taken):
            offset += 24.0
        taken.append((px, py + offset))
        axes.annotate(  # type: ignore[attr-defined]
            name.partition("/")[2], (a, b), xytext=(-9 if on_left else 9, offset * 72 / figure.dpi), textcoords="offset points",
            ha="right" if on_left else "left", va="center", fontsize=8.5, color="#22303c",
            bbox={"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}, zorder=4,
            arrowprops={"arrowstyle": "-", "color": "#8a94a0", "linewidth": 0.7, "shrinkB": 4} if offset else None,
        )  # fmt: skip


def _scale(name: str) -> float:
    return _SCALES.get(name, (1.0, ""))[0]


def _axis(name: str) -> str:
    if name in _SCALES:
        return _SCALES[name][1]
    return f"{name} ({FACTS[name].unit})" if FACTS[name].unit else name


def pareto_front(points: Sequence[Point], x: str, y: str) -> list[Point]:
    """The points that no other point beats in both facts, by rising x; directions come from the facts table."""
    x_sign = -1.0 if FACTS[x].better == "higher" else 1.0
    y_sign = -1.0 if FACTS[y].better == "lower" else 1.0
    front: list[Point] = []
    best = float("-inf")
    for point in sorted(points, key=lambda p: (x_sign * p[1], -y_sign * p[2], p[0])):
        if y_sign * point[2] > best:
            best = y_sign * point[2]
            front.append(point)
    return sorted(front, key=lambda p: p[1])
