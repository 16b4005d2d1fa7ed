"""Words of the field: operators, forms, tasks and the rest, by every name people have for them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parent.parent / "data" / "words.toml"
_ENTRY = re.compile(r"(?:([\w-]+)|'([^']+)') = '([^']*)'")
_PIECE = re.compile(r"[a-z0-9]+")


@cache
def word_table() -> Mapping[str, Mapping[str, str]]:
    """``words.toml``: for each section, key to aliases separated by ``|``.

    Read line by line: the file keeps to the part of TOML that needs no more, and importing tomllib alone takes 11 ms, a tenth of
    what a cold find may cost. A test holds the result equal to tomllib's.
    """
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in _TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line[1 : line.index("]")], {})
        elif entry := _ENTRY.match(line):
            section[entry.group(1) or entry.group(2)] = entry.group(3)
    return found


def aliases(section: str) -> Iterator[tuple[str, str]]:
    """Every ``(alias, key)`` of a section; a key is an alias of itself."""
    for key, words in word_table()[section].items():
        yield key, key
        yield from ((alias, key) for alias in words.split("|") if alias)


@cache
def stem(word: str) -> str:
    """A lower-case word without its plural ending, in American spelling: ``"normalisations"`` gives ``"normalization"``."""
    if len(word) > 3 and word[-1] == "s" and word[-2] not in "su":
        word = word[:-1]
    return word.replace("isation", "ization").replace("ised", "ized").replace("ising", "izing") if "is" in word else word


def word_key(phrase: str) -> str:
    """What spellings of one phrase share: stems run together, so ``"Batch-Norms"`` and ``"batchnorm"`` are one key."""
    return "".join([stem(piece) for piece in _PIECE.findall(phrase.lower())])


def word_keys(phrases: str) -> frozenset[str]:
    """The word keys of phrases separated by ``|``."""
    return frozenset([word_key(phrase) for phrase in phrases.split("|")])
