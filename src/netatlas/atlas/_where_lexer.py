"""Scanner: reads an expression character by character, as the parser asks for what may come next."""

from __future__ import annotations

import re

from netatlas.atlas._where_nodes import KEYWORDS
from netatlas.atlas._where_units import Quantity, read_quantity
from netatlas.errors import QueryError
from netatlas.facts import find_fact

MAX_LENGTH = 10_000
"""Characters of an expression. Nobody types more, and a limit keeps hostile input cheap."""

_BLANK = re.compile(r"\s*")
_DIGITS = re.compile(r"(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SUFFIX = re.compile(r"\s*(%|(?:img|imgs|images)/s(?:ec)?\b|[^\W\d_]+)")
_BASE = re.compile(r"\s+((?:macs?|flops?|bytes?|B)\b)", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d]\w*(?:-\w+)*")
_VALUE = re.compile(r"[^\s(),<>=!~'\"&|]+")
_PATTERN = re.compile(r"[^\s(),<>='\"&|]+")
_ARGUMENT = re.compile(r"[^(),'\"<>=]+")
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"", re.DOTALL)
_SYMBOLS = {
    "<=": "<=", ">=": ">=", "==": "=", "!=": "!=", "<>": "!=", "&&": "and", "||": "or", "≤": "<=", "≥": ">=", "≠": "!=",
    "<": "<", ">": ">", "=": "=", ":": "=", "~": "~", "+": "+", "-": "-", "−": "-", "*": "*", "/": "/", "(": "(", ")": ")",
    ",": ",",
}  # fmt: skip


class Scanner:
    """A position in the text of an expression.

    Args:
        text: The expression.

    Raises:
        QueryError: The text is empty or longer than `MAX_LENGTH`.
    """

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise QueryError(f"the expression has {len(text):,} characters, at most {MAX_LENGTH:,} are read")
        if not text.strip():
            raise QueryError("the expression is empty; an example: params < 6M and not has(attention)")
        self.text = text
        self.at = 0
        self.skip()

    def error(self, message: str, at: int | None = None) -> QueryError:
        """An error that shows where in the text it is, counting characters from 1."""
        at = self.at if at is None else at
        start = max(0, at - 30)
        shown = ("..." if start else "") + self.text[start : at + 30] + ("..." if at + 30 < len(self.text) else "")
        return QueryError(f"{message}, at position {at + 1} of {shown!r}")

    def skip(self) -> None:
        """Move past blanks."""
        found = _BLANK.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def here(self) -> str:
        """What stands at the position, for messages."""
        if self.at >= len(self.text):
            return "the end"
        found = _WORD.match(self.text, self.at) or _DIGITS.match(self.text, self.at)
        return repr(found.group()[:40] if found else self.text[self.at])

    def peek(self) -> str:
        """The symbol or keyword at the position in its canonical spelling; ``""`` for anything else."""
        for length in (2, 1):
            if symbol := _SYMBOLS.get(self.text[self.at : self.at + length]):
                return symbol
        found = _WORD.match(self.text, self.at)
        word = found.group().lower() if found else ""
        return ("~" if word == "like" else word) if word in KEYWORDS else ""

    def take(self, *wanted: str) -> str:
        """The symbol or keyword at the position when it is one of ``wanted``, moving past it; else ``""``."""
        if (symbol := self.peek()) not in wanted or not symbol:
            return ""
        if self.text[self.at : self.at + 2] in _SYMBOLS:
            self.at += 2
        elif self.text[self.at] in _SYMBOLS:
            self.at += 1
        else:
            self.at += len("like" if symbol == "~" else symbol)
        self.skip()
        return symbol

    def need(self, symbol: str, why: str) -> None:
        """Move past ``symbol``.

        Raises:
            QueryError: Something else stands here.
        """
        if not self.take(symbol):
            raise self.error(f"{symbol!r} is needed {why}, not {self.here()}")

    def number(self) -> Quantity | None:
        """The number with its unit at the position; ``None`` when there is no number.

        Raises:
            QueryError: The letters after the number are no unit, or the number is too large.
        """
        start = self.at
        if (digits := _DIGITS.match(self.text, start)) is None:
            return None
        suffix, end = self._suffix(digits.end())
        try:
            quantity = read_quantity(digits.group(), suffix)
        except QueryError as error:
            raise self.error(str(error), start) from None
        if quantity is None:
            raise self.error(f"unknown unit {suffix[:40]!r} (units: k M G T, MAC, FLOP, B, ms, s, %, px, img/s)", digits.end())
        self.at = end
        self.skip()
        return quantity

    def _suffix(self, at: int) -> tuple[str, int]:
        found = _SUFFIX.match(self.text, at)
        if found is None or found.group(1).lower() in KEYWORDS:
            return "", at
        suffix, end = found.group(1), found.end()
        if len(suffix) == 1 and (base := _BASE.match(self.text, end)):  # 300M MACs
            return suffix + base.group(1), base.end()
        return suffix, end

    def word(self) -> str:
        """The name at the position, ``""`` when there is none.

        A hyphen belongs to it only where the whole is a fact: ``top-1`` is one word, ``macs-params`` a difference.
        """
        found = _WORD.match(self.text, self.at)
        if found is None:
            return ""
        word = found.group()
        while "-" in word and find_fact(word) is None:
            word = word.rpartition("-")[0]
        self.at += len(word)
        self.skip()
        return word

    def value(self, pattern: bool = False) -> str:
        """The word or quoted text a text fact is compared with; a ``pattern`` may hold ``!`` and ``~``.

        Raises:
            QueryError: No value stands here, or its quotation mark is not closed.
        """
        start = self.at
        if (found := _QUOTED.match(self.text, start)) is not None:
            text = found.group(1) if found.group(1) is not None else found.group(2)
            value = re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
        elif self.text[start : start + 1] in ("'", '"'):
            raise self.error("this quotation mark is never closed")
        elif (found := (_PATTERN if pattern else _VALUE).match(self.text, start)) and found.group().lower() not in KEYWORDS:
            value = found.group()
        else:
            raise self.error(f"a word is needed here, not {self.here()} (words with blanks or signs go in quotes)")
        if not value or not value.isprintable():
            raise self.error("a value must be printable text and not empty", start)
        self.at = found.end()
        self.skip()
        return value

    def argument(self) -> str:
        """One argument of ``has(...)`` or ``known(...)``: all up to the next comma or parenthesis, or quoted text."""
        found = _ARGUMENT.match(self.text, self.at)
        if found is None:
            return self.value()
        self.at = found.end()
        self.skip()
        return found.group().strip()
