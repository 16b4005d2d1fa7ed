"""Plain-text tables that fit a terminal, and the same as HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence

GAP = "  "
SHORTEST = 12
"""A column is not cut below this many characters."""


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = (), width: int = 0, cut: Sequence[int] = ()
) -> str:
    """Aligned columns under a header, one line a row.

    Args:
        header: Column titles.
        rows: Cells as text.
        right: Columns aligned to the right.
        width: Longest line, 0 for no limit; the columns of ``cut`` are shortened with an ellipsis, the last one first, and when
            that is not enough the last columns are left out.
        cut: Columns that may be shortened.
    """
    widths = [max(len(title), *(len(row[i]) for row in rows), 0) if rows else len(title) for i, title in enumerate(header)]
    shown = len(header)
    if width:
        for i in reversed(cut):
            excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
            if excess > 0:
                widths[i] = max(min(SHORTEST, widths[i]), widths[i] - excess)
        while shown > 1 and sum(widths[:shown]) + len(GAP) * (shown - 1) > width:
            shown -= 1

    def line(cells: Sequence[str]) -> str:
        fitted = [_fit(cell, widths[i]) for i, cell in enumerate(cells[:shown])]
        return GAP.join(c.rjust(widths[i]) if i in right else c.ljust(widths[i]) for i, c in enumerate(fitted)).rstrip()

    return "\n".join([line(header), *(line(row) for row in rows)])


def _fit(cell: str, width: int) -> str:
    return cell if len(cell) <= width else cell[: max(width - 1, 0)] + "…"


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """The same as an HTML table; every cell is escaped."""

    def cells(tag: str, values: Sequence[str]) -> str:
        styles = [' style="text-align:right"' if i in right else ' style="text-align:left"' for i in range(len(values))]
        return "".join(f"<{tag}{style}>{html.escape(value)}</{tag}>" for value, style in zip(values, styles, strict=True))

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', header)}</tr></thead><tbody>{body}</tbody></table>"
