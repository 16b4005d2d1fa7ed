"""Tokens of a query in plain language, and the normal form that ids and queries share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from netatlas.atlas._reading_amounts import spelled_amount, unit_of
from netatlas.atlas._where_units import Quantity, read_quantity
from netatlas.atlas._where_words import stem
from netatlas.errors import QueryError

_NAME = re.compile(r"[a-z]{2,}?(?=v\d)|[a-z]\d+[a-z]*|[a-z]+|\d+[a-z]*")
_ALNUM = re.compile(r"[a-z0-9]+")
_TOKEN = re.compile(
    r"""(?P<call>(?:\bnot\s+)?\b(?:has_motif|has|known)\s*\([^()]{1,200}\))
      | (?P<square>(?<![\w.])(?:1[x×])?(?:3[x×])?(?P<side>\d{2,4})(?:\s?[x×]\s?|\sby\s)(?P=side)(?:\s?[x×]\s?3)?(?![\w.])|(?<![\w.])(?P<root>\d{2,4})²)
      | (?P<number>(?<![\w.])(?P<digits>\d[\d_]*(?:,\d{3})*(?:\.\d+)?(?:[eE][+-]?\d+)?)
          (?P<unit>\s?%|(?:\s?im(?:g|age)s?/s(?:ec)?)|[A-Za-zµ]+)?(?!\w|\.\d))
      | (?P<prefix>\b(?:sub|pre|post|under|over|non|mid|early|late)(?=-\d))-
      | (?P<rate>im(?:g|age)s?/s(?:ec)?\b)
      | (?P<chunk>[^\W_]+(?:[-_./'’@]+[^\W_]+)*)
      | (?P<mark><=|>=|=<|=>|==|!=|<>|[^\w\s])""",
    re.VERBOSE | re.IGNORECASE,
)
_BEFORE_SECONDS = frozenset(("under", "below", "than", "in", "within", "most", "<", "<="))  # yolo 5 s is a name
_PIECE = re.compile(r"[^\W_]+")


def name_tokens(text: str) -> list[str]:
    """The parts of a name, the same for ids and for what people type.

    Splits at everything but letters and digits, before a version (``mobilenetv3``: ``mobilenet v3``), and between two or more
    letters and a digit (``resnet50d``: ``resnet 50d``, ``patch16``: ``patch 16``); one letter stays with its digits (``b0``).
    """
    return [part for piece in _ALNUM.findall(text.lower()) for part in _NAME.findall(piece)]


def run_together(text: str) -> str:
    """The letters and digits of a name in lower case: ``"ConvNeXt-V2"`` gives ``"convnextv2"``."""
    return "".join(_ALNUM.findall(text.lower()))


class Token:
    """A piece of the query.

    Attributes:
        kind: ``word``, ``number``, ``mark``, ``call`` (``has(...)``), or ``name`` for ids and paths that are not read further.
        text: As written.
        start: Where it begins.
        end: Where it ends.
        key: Its stem, the unit of phrase look-ups.
        glued: Whether a hyphen or the like, without blanks, joins it to the token before.
        quantity: Value and unit of a number.
        digits: The number without its unit.
        suffix: The unit as it was written, ``""`` for none.
    """

    __slots__ = ("digits", "end", "glued", "key", "kind", "quantity", "start", "suffix", "text")

    def __init__(self, kind: str, text: str, start: int, glued: bool = False) -> None:
        self.kind, self.text, self.start, self.end, self.glued = kind, text, start, start + len(text), glued
        self.key = stem(text.lower()) if kind in ("word", "number") else ""
        self.quantity: Quantity | None = None
        self.digits, self.suffix = "", ""

    def __repr__(self) -> str:
        return f"{self.kind}:{self.text}"

    @property
    def is_year(self) -> bool:
        """Whether it is a bare number that can only be a year."""
        return self.kind == "number" and len(self.digits) == 4 and self.text == self.digits and 1940 <= int(self.digits) <= 2100


def tokenize(text: str, is_phrase: Callable[[str], bool]) -> list[Token]:
    """The tokens of a query.

    Args:
        text: The query.
        is_phrase: Says of a chunk with ``_``, ``/`` or ``.`` inside whether it is a phrase (``batch_norm``); else it is a name.
    """
    tokens: list[Token] = []
    for found in _TOKEN.finditer(text):
        match found.lastgroup:
            case "square" if int(found.group("side") or found.group("root")) >= 64:  # 3x3 and 7x7 are kernels
                tokens.append(_number(found.group(), found.start(), found.group("side") or found.group("root"), "px"))
            case "number":
                tokens.append(_number(found.group(), found.start(), found.group("digits"), (found.group("unit") or "").strip()))
            case "square" | "chunk":
                tokens.extend(_pieces(found.group(), found.start(), is_phrase))
            case "prefix":  # sub-5M, pre-2017: a comparison, no name
                tokens.append(Token("word", found.group("prefix"), found.start()))
            case "rate":
                tokens.append(Token("word", found.group(), found.start()))
                tokens[-1].key = "imgpersecond"
            case kind:
                tokens.append(Token(str(kind), found.group(), found.start()))
    return list(_with_units(list(_spelled(tokens, text)), text))


def _number(text: str, start: int, digits: str, unit: str) -> Token:
    try:
        quantity = read_quantity(digits, unit_of(unit))
    except QueryError:  # 1e999: no quantity, so a word
        quantity = None
    token = Token("number" if quantity is not None else "word", text, start)
    token.quantity, token.digits, token.suffix = quantity, digits, unit
    return token


def _pieces(chunk: str, start: int, is_phrase: Callable[[str], bool]) -> Iterator[Token]:
    if any(sign in chunk for sign in "_/.@") and not is_phrase(chunk):
        yield Token("name", chunk, start)
        return
    for found in _PIECE.finditer(chunk):
        yield Token("word", found.group(), start + found.start(), glued=found.start() > 0)


def _spelled(tokens: list[Token], text: str) -> Iterator[Token]:
    """Number words as numbers: ``twenty-five``, ``half a billion``. One word that is a number stays a word as well (``one``)."""
    words = [token.text.lower() if token.kind in ("word", "number") else "" for token in tokens]
    at = 0
    while at < len(tokens):
        digits, suffix, end = spelled_amount(words, at)
        if end == at:
            yield tokens[at]
            at += 1
            continue
        first, last = tokens[at], tokens[end - 1]
        token = Token("word" if end == at + 1 else "number", text[first.start : last.end], first.start, first.glued)
        token.digits, token.suffix, token.quantity = digits, suffix, read_quantity(digits, unit_of(suffix))
        yield token
        at = end


def _with_units(tokens: list[Token], text: str) -> Iterator[Token]:
    """Joins numbers to units after a blank or a hyphen: ``10 million``, ``1.5 GMACs``, ``6 M``, ``224-pixel``."""
    at = 0
    while at < len(tokens):
        token = tokens[at]
        at += 1
        if (
            token.quantity is not None
            and token.suffix == ""
            and at + 1 < len(tokens)
            and tokens[at].text == "+"
            and unit_of(tokens[at + 1].text, spaced=True)
        ):
            joined = _number(token.text + tokens[at + 1].text, token.start, token.digits, tokens[at + 1].text)  # 384+ px
            if joined.quantity is not None:
                joined.text, joined.end = text[token.start : tokens[at + 1].end], tokens[at + 1].end
                yield joined
                yield tokens[at]
                at += 2
                continue
        after = at + (at < len(tokens) and tokens[at].text == "-" and tokens[at].start == token.end)
        if token.quantity is not None and token.suffix == "" and after < len(tokens) and tokens[after].kind == "word":
            unit = tokens[after].text
            in_time = unit == "s" and at > 1 and tokens[at - 2].text.lower() in _BEFORE_SECONDS
            if in_time or (unit_of(unit, spaced=True) and tokens[after].quantity is None):
                joined = _number(text[token.start : tokens[after].end], token.start, token.digits, unit)
                if joined.quantity is not None:
                    token, at = joined, after + 1
        yield token


def same_scale(one: Token, other: Token) -> bool:
    """Whether two numbers may bound one thing: the same unit, and a prefix such as M on both or on neither."""
    assert one.quantity is not None, "only numbers have a scale"
    assert other.quantity is not None, "only numbers have a scale"
    # "at least 5M but at most 10M"; "over 80% and under 90%"
    return one.quantity.unit == other.quantity.unit and bool(one.suffix) == bool(other.suffix)
