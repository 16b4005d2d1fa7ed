"""Operators in queries: what ``has(...)`` may name, and which words of an entry's ``ops`` answer it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

from netatlas.atlas._where_words import aliases, word_key, word_table
from netatlas.graph.ops import FAMILIES, OP_ID, OPERATORS

_MORE = {
    # An attention that the recogniser named by its form is attention, whatever operator carries it.
    "attention": ("self_attention", "cross_attention", "causal_attention", "grouped_query_attention", "window_attention"),
}
_HIDDEN = frozenset(("source", "layout", "arithmetic", "reduction", "random", "unknown", "lookup", "position"))
"""Families that say nothing about an architecture; their operators are still askable one by one."""

_MINED = re.compile(r"m[0-9a-f]{5}")

_ENGLISH = frozenset(("threshold", "clamp", "exp", "log", "scan", "cumulative"))


@cache
def operator_names(name: str) -> tuple[str, ...]:
    """The words of ``ops`` any of which answers ``has(name)``: a family's operators, or the operator or form itself.

    A name that is both a family and an operator (``attention``, ``linear``) means the family.
    """
    if name in FAMILIES:
        return (*(op.name for op in OPERATORS if op.family == name), *_MORE.get(name, ()))
    return (name,)


@cache
def operator_keys() -> Mapping[str, str]:
    """Every spelling that names an operator, a form or a family, as a word key, with what it names."""
    names = (*OP_ID, *(family for family in FAMILIES if family not in _HIDDEN))
    found = {word_key(name): name for name in names}
    # The table has the last word: has(norm) asks for a normalisation, not for the vector norm.
    return found | {word_key(alias): name for section in ("operators", "forms") for alias, name in aliases(section)}


@cache
def spoken_operator_keys() -> Mapping[str, str]:
    """The part of `operator_keys` that is safe in running text: ``max``, ``view`` or ``exp`` are English words there."""
    spoken = {op.name for op in OPERATORS if op.family not in _HIDDEN and op.name not in _ENGLISH}
    spoken |= {*word_table()["operators"], *word_table()["forms"], *FAMILIES} - _HIDDEN
    return {key: name for key, name in operator_keys().items() if name in spoken}


def find_operator(word: str) -> str | None:
    """The operator, form or family that people call ``word``; ``None`` when there is none."""
    return operator_keys().get(word_key(word))


def find_motif(word: str) -> str | None:
    """Name of the named motif or operator, or id of the mined motif, that people call ``word``; ``None`` when there is none."""
    name = find_operator(word)
    if name is not None and (name in word_table()["forms"] or name in OP_ID):
        return name
    return word.lower() if is_mined(word) else None


def is_mined(word: str) -> bool:
    """Whether a word is the id of a mined motif."""
    if not _MINED.fullmatch(word.lower()):
        return False
    from netatlas.graph.mined import mined

    return word.lower() in mined()


def motif_words() -> list[str]:
    """Names of all motifs, by every name they have, for suggestions."""
    from netatlas.graph.mined import mined

    return sorted({*(alias.replace("_", " ") for alias, _ in aliases("forms")), *mined()})


def operator_words() -> list[str]:
    """Names of all operators, forms and families, for suggestions."""
    return sorted({*operator_keys().values()})
