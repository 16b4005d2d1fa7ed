"""Measured figures as tables, for people and for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | float | tuple[float, float, float] | list[float] | None
"""A word, a figure, a difference with the ends of its interval, or nothing."""


@dataclass(frozen=True)
class Table:
    """Measured figures.

    Attributes:
        title: What was measured, on what.
        columns: Names; the first column names the method.
        rows: As many cells a row; ``None`` where there is no figure.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def text(self, width: int = 0) -> str:
        """Title and aligned columns.

        Args:
            width: Longest line, 0 for no limit; the last columns are left out where they do not fit.
        """
        from netatlas.atlas.tables import table

        rows = [[shown(cell) for cell in row] for row in self.rows]
        return f"{self.title}\n{table(self.columns, rows, right=range(1, len(self.columns)), width=width, cut=(0,))}"

    def markdown(self) -> str:
        """Title and a table of a page of Markdown."""
        lines = [self.columns, ["---", *["---:"] * (len(self.columns) - 1)], *([shown(c) for c in row] for row in self.rows)]
        return f"{self.title}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def shown(cell: Cell) -> str:
    """A cell as text: shares to three places, larger figures to fewer, an interval in brackets."""
    if cell is None:
        return "-"
    if isinstance(cell, str):
        return cell
    if isinstance(cell, tuple | list):
        mean, low, high = cell
        return f"{mean:+.3f} ({low:+.3f}, {high:+.3f})"
    if isinstance(cell, int):
        return str(cell)
    return f"{cell:.3f}" if abs(cell) < 10 else f"{cell:.1f}" if abs(cell) < 100 else f"{cell:.0f}"
