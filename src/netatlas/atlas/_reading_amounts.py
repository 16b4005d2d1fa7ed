"""Amounts in words: ``five``, ``twenty-five million``, ``half a billion``, and the words that people write for units."""

from __future__ import annotations

from collections.abc import Sequence

_ONES = {
    word: value
    for value, word in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {"single": 1, "dozen": 12}
_TENS = {word: 10 * i for i, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)}
_SCALES = {"thousand": "thousand", "thousands": "thousand", "million": "million", "millions": "million", "billion": "billion",
           "billions": "billion", "trillion": "trillion", "trillions": "trillion"}  # fmt: skip

_UNITS = {
    **_SCALES, "mil": "M", "mill": "M", "mln": "M", "mn": "M", "bn": "bn", "mio": "mio", "bil": "B", "bln": "B", "mega": "M", "giga": "G", "tera": "T", "kilo": "k",
    "megabyte": "MB", "megabytes": "MB", "mbyte": "MB", "mbytes": "MB", "gigabyte": "GB", "gigabytes": "GB", "gbyte": "GB", "gbytes": "GB", "kilobyte": "kB", "kilobytes": "kB",
    "gigaflop": "GFLOP", "gigaflops": "GFLOP", "megaflop": "MFLOP", "megaflops": "MFLOP", "teraflop": "TFLOP", "teraflops": "TFLOP",
    "gigamac": "GMAC", "gigamacs": "GMAC", "megamac": "MMAC", "megamacs": "MMAC",
    "msecs": "ms", "millis": "ms", "secs": "s", "microsecond": "us", "microseconds": "us",
}  # fmt: skip
_SPACED = frozenset((
    *_UNITS, "ms", "msec", "millisecond", "milliseconds", "us", "sec", "second", "seconds", "gmac", "gmacs", "mmac", "mmacs", "tmac", "tmacs",
    "gflop", "gflops", "mflop", "mflops", "tflop", "tflops", "kb", "mb", "gb", "kib", "mib", "gib", "px", "pixel", "pixels",
    "percent", "pct", "fps",
))  # fmt: skip
_LETTERS = frozenset("kKMGBT")
SCALED = {
    f"{scale.lower()}{unit}": f"{scale}{unit.rstrip('s').upper()}" for scale in "GMT" for unit in ("flop", "flops", "mac", "macs")
}
"""Units that stand for their fact: ``GFLOPs under 0.5``."""


def unit_of(word: str, *, spaced: bool = False) -> str:
    """The unit that ``word`` means as ``where`` spells it; ``word`` itself where that is how it is spelled.

    Args:
        word: Letters after a number.
        spaced: Whether they stand apart from it; then ``""`` where they are more likely a word of their own.
    """
    if spaced and not (word in _LETTERS or word.lower() in _SPACED):
        return ""
    return _UNITS.get(word.lower(), word)


def spelled_amount(words: Sequence[str], at: int) -> tuple[str, str, int]:
    """Digits and scale of the amount that ``words`` spell from ``at`` on, and where it ends; ``("", "", at)`` for none.

    Args:
        words: Words in lower case, ``""`` for what is no word.
        at: Where it would begin.
    """
    value, end = _half(words, at)
    if end == at:
        value, end = _below_thousand(words, at)
        if end > at and words[end : end + 3] == ["and", "a", "half"]:
            value, end = value + 0.5, end + 3
    if end == at and words[at] in ("a", "an", "one"):
        if at + 1 < len(words) and words[at + 1] in _SCALES:
            return "1", _SCALES[words[at + 1]], at + 2
        return "", "", at
    if end == at:
        return "", "", at
    if end < len(words) and words[end] in _SCALES:
        return f"{value:g}", _SCALES[words[end]], end + 1
    whole = value == int(value) or (end < len(words) and unit_of(words[end], spaced=True) != "")  # half a GMAC
    return (f"{value:g}", "", end) if whole else ("", "", at)


def _half(words: Sequence[str], at: int) -> tuple[float, int]:
    """``half a``, ``a quarter of a`` before a scale."""
    start = at + (words[at] == "a")
    share = {"half": 0.5, "quarter": 0.25}.get(words[start] if start < len(words) else "", 0.0)
    end = start + 1
    while end < len(words) and words[end] in ("of", "a"):
        end += 1
    scaled = end < len(words) and (words[end] in _SCALES or unit_of(words[end], spaced=True) != "")
    return (share, end) if share and scaled else (0.0, at)


def _below_thousand(words: Sequence[str], at: int) -> tuple[float, int]:
    value, end = _below_hundred(words, at)
    start = end
    if end == at and words[at] == "a" and at + 1 < len(words) and words[at + 1] == "hundred":
        value, start = 1, at + 1
    if start < len(words) and words[start] == "hundred":
        rest, end = _below_hundred(words, start + 1 + (start + 1 < len(words) and words[start + 1] == "and"))
        return value * 100 + rest, end if rest else start + 1
    return value, end


def _below_hundred(words: Sequence[str], at: int) -> tuple[float, int]:
    word = words[at] if at < len(words) else ""
    if word in _TENS:
        following = words[at + 1] if at + 1 < len(words) else ""
        if 0 < _ONES.get(following, 0) < 10 and following != "single":
            return _TENS[word] + _ONES[following], at + 2
        return _TENS[word], at + 1
    return (_ONES[word], at + 1) if word in _ONES else (0, at)
