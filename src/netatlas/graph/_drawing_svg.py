"""Pieces of SVG text that drawings are written with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.sax.saxutils import escape

_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def rect(cls: str, x: float, y: float, w: float, h: float, radius: float) -> str:
    return f'<rect class="{cls}" x="{number(x)}" y="{number(y)}" width="{number(w)}" height="{number(h)}" rx="{number(radius)}"/>'


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    return f"{value:.1f}".removesuffix(".0")


def clean(text: str) -> str:
    """Text without characters that XML forbids."""
    return _ILLEGAL.sub("", text)


def xml(text: str) -> str:
    return escape(clean(text))


def ranges(nodes: Sequence[int]) -> str:
    """``(3, 4, 5, 9)`` as ``"3-5 9"``."""
    parts: list[str] = []
    start = before = -2
    for i in (*sorted(nodes), -1):
        if i == before + 1 and i >= 0:
            before = i
            continue
        if start >= 0:
            parts.append(f"{start}-{before}" if before > start else str(start))
        start = before = i
    return " ".join(parts)
