"""What every comparison of two networks can do, whether their graphs were compared or their tensors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class Difference(ABC):
    """Two networks compared; truthy where they differ, prints as a diff, shows as a drawing in a notebook."""

    name_a: str
    name_b: str

    @property
    @abstractmethod
    def is_same(self) -> bool:
        """Whether nothing that was compared differs."""

    @abstractmethod
    def text(self, *, color: bool = False, width: int = 100) -> str:
        """The difference like a code diff: lines of both, ``-`` for the first alone, ``+`` for the second alone.

        Args:
            color: Whether to colour it for a terminal.
            width: Columns lines are cut at; 0 for no limit.
        """

    @abstractmethod
    def stat(self) -> str:
        """How much differs, in a few lines."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""

    @abstractmethod
    def svg(self) -> str:
        """Both networks side by side as an SVG document."""

    def __bool__(self) -> bool:
        return not self.is_same

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        return self.svg()


MOST_LINES = 400
"""Lines of a text beyond which the rest is counted."""

RED, GREEN, CYAN, BOLD, FAINT, PLAIN = "\x1b[31m", "\x1b[32m", "\x1b[36m", "\x1b[1m", "\x1b[2m", "\x1b[0m"


def laid_out(lines: list[str], color: bool, width: int) -> str:
    """Lines as one text: at most `MOST_LINES`, cut at ``width`` columns, coloured where asked."""
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... {len(lines) - MOST_LINES:,} more lines"]
    cut = [line if len(line) <= width or not width else line[: width - 1] + "…" for line in lines]
    return "\n".join(map(coloured, cut) if color else cut)


def coloured(line: str) -> str:
    """One line of a diff with the colours terminals show diffs in."""
    if line.startswith(("--- ", "+++ ")) or (line.startswith("  ") and line.endswith(":")):
        return f"{BOLD}{line}{PLAIN}"
    colour = {"-": RED, "+": GREEN, "@": CYAN}.get(line[:1])
    if colour is None:
        return f"{FAINT}{line}{PLAIN}" if line.lstrip().startswith("...") else line
    return f"{colour}{line}{PLAIN}"
