"""What all verbs share in printing: the width of the terminal, and JSON."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from netatlas.errors import StoreError

UNICODE = {"…": "...", "·": "|", "≥": ">=", "≤": "<=", "×": "x", "–": "-"}
"""Signs we print and what stands for them where the terminal cannot show them."""


def width() -> int:
    """Columns of the terminal; 0, for no limit, when the output is not one."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def say(text: str, *, color: bool | None = None) -> None:
    """Print to stdout, in ASCII where its encoding knows no more; in a pipe colours are kept where ``color`` is true."""
    if (sys.stdout.encoding or "").lower().replace("-", "") not in ("utf8", "utf16"):
        for sign, plain in UNICODE.items():
            text = text.replace(sign, plain)
    click.echo(text, color=color)


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def write(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all.

    Raises:
        StoreError: The folder is missing or cannot be written to.
    """
    target = Path(path)
    draft = target.with_name(target.name + ".tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
