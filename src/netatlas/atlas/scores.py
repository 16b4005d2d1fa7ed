"""How well every entry fits the words, wishes and examples of a query."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from netatlas.atlas.columns import Columns, Mask
from netatlas.atlas.derived import SIZES, Derived
from netatlas.atlas.examples import Example, Scores
from netatlas.atlas.reading import Reading, name_tokens, run_together

MOST_WORDS = 24
"""Words of a query that are looked up."""

_FAMILY_WEIGHT, _PREFERENCE_WEIGHT, _PRIOR_WEIGHT, _HINT_WEIGHT, _TOY_WEIGHT = 0.8, 0.6, 0.15, 0.3, 2.0
_EVERY_WORD, _WORDS_BESIDE_WISHES = 2.0, 0.3
_SAME_NAME, _NAME_BEGINS, _FIRST_WORD = 1.0, 0.5, 0.25

MOST_NAMED = 3_000
"""Rows whose names are compared with the query; more have all its words only where these are no name."""


def score(
    derived: Derived, text: str, reading: Reading, mask: Mask, example: Example | None, wanted: int
) -> tuple[Scores, dict[int, str], Mask]:
    """Scores of all rows, matched words by row, and which rows are found at all."""
    columns = derived.columns
    scores = _PRIOR_WEIGHT * _prior(columns)
    reasons: dict[int, str] = {}
    found = np.ones(len(columns), dtype=bool)
    stated = _words(reading.words, text)
    words = [group for group in stated if derived.words.knows(group)]
    named = of_family(columns, reading.family)
    every = found
    if words:
        lexical, every = _lexical(derived, words, mask, reading, named, wanted)
        found &= lexical > 0
        if reading.where is not None and not reading.family and np.count_nonzero(found & mask) < wanted:
            found[:] = True  # the constraints hold without the words, which only order
        # A wish decides among entries that have all the words; without one their own order does.
        scores += lexical * np.where(every, 1.0 if not reading.prefer else _WORDS_BESIDE_WISHES, 1.0) + _EVERY_WORD * every
        scores += _names_first(columns, np.flatnonzero(every & mask), reading, words)
        said = " ".join(group[0] for group in words)
        reasons = {
            row: f"words: {said}" if every[row] else f"some of the words: {said}"
            for row in np.flatnonzero((lexical > 0) & mask).tolist()
        }
    elif reading.family:
        found &= named
    elif stated and reading.where is None and not reading.prefer:
        found[:] = False
    scores += _FAMILY_WEIGHT * named
    if reading.hints:
        scores += _HINT_WEIGHT * _hinted(derived, reading.hints)
    for fact, direction in reading.prefer:
        scores += _PREFERENCE_WEIGHT * _rank(
            columns.number(fact), mask & found & (every if bool((every & mask).any()) else True), direction
        )
    for fact, value in reading.near:
        away = np.abs(columns.number(fact) - value) / max(abs(value), 1e-9)
        scores += _PREFERENCE_WEIGHT * np.nan_to_num(np.maximum(0.0, 1.0 - 5.0 * away))
    if "test" not in text:
        scores -= _TOY_WEIGHT * derived.toys
    if example is not None:
        found &= example.scores >= 0
        scores = np.where(example.scores >= 0, example.scores, 0.0) + (
            0.5 * scores if words or reading.family or reading.prefer else 0.0
        )
    return scores, reasons, found


def of_family(columns: Columns, families: Sequence[str]) -> Mask:
    """Rows of the given families."""
    codes, keys = columns.text("family")
    return np.isin(codes, [keys.index(key) for key in families if key in keys])


def _words(words: str, text: str) -> list[list[str]]:
    """What must occur, each with its other spellings: the parts of every word as names are split, sizes also spelled out.

    Args:
        words: What reading left to search for, other spellings of names among them.
        text: The query; parts that are not in it are other spellings, not demands.
    """
    said = set(name_tokens(text))
    tokens = [t for t in dict.fromkeys(t for word in words.split() for t in name_tokens(word)) if t in said]
    return [[token, *([SIZES[token]] if token in SIZES else [])] for token in tokens[:MOST_WORDS]]


def _lexical(
    derived: Derived, words: list[list[str]], mask: Mask, reading: Reading, named: Mask, wanted: int
) -> tuple[Scores, Mask]:
    """BM25 scores of the rows that are found, divided by the best, and which of them have every word.

    Rows with every word come first. Where they are fewer than ``wanted``, rows with some of the words follow; if a family is named,
    only rows of that family; and none if the words are nothing but a name, so that "swin tiny" gives no other network.
    """
    size = min(len(mask), 20_000)
    every = _searched(derived, words, size, True)
    enough = int(np.count_nonzero(every[mask]))
    if enough >= wanted or (enough and {*name_tokens(reading.name)} >= {group[0] for group in words}):
        return every / max(float(every.max()), 1e-9), every > 0
    some = _searched(derived, words, size, False)
    if reading.family and bool((named | (every > 0))[mask].any()):
        some[~named] = 0.0
    scores = np.maximum(every, some)
    return scores / max(float(scores.max(initial=0.0)), 1e-9), every > 0


def _searched(derived: Derived, words: list[list[str]], limit: int, every: bool) -> Scores:
    scores = np.zeros(len(derived.columns))
    found = derived.words.search(words, limit=limit, every=every)
    if found:
        rows, values = zip(*found, strict=True)
        scores[list(rows)] = values
    return scores


def _hinted(derived: Derived, hints: str) -> Scores:
    """How well rows fit words that a constraint was made of, in [0, 1]."""
    scores = _searched(derived, [[word] for word in dict.fromkeys(hints.split())], min(len(derived.columns), 5_000), False)
    return scores / max(float(scores.max(initial=0.0)), 1e-9)


def _names_first(columns: Columns, rows: npt.NDArray[np.int64], reading: Reading, words: list[list[str]]) -> Scores:
    """A bonus for rows whose name is, or begins with, the name that was typed: ``resnet50``, then ``resnet50d``, then the others."""
    bonus = np.zeros(len(columns))
    typed = {
        run_together(form)
        for form in (reading.words, "".join(group[-1] for group in words), "".join(group[0] for group in words))
    }
    if len(rows) > MOST_NAMED:
        return bonus
    first = words[0][0]
    for row in rows.tolist():
        name = run_together(columns.ids[row].partition("/")[2].partition(".")[0])
        if name in typed:
            bonus[row] = _SAME_NAME
        elif any(name.startswith(form) for form in typed if form):
            bonus[row] = _NAME_BEGINS
        elif name.startswith(first):
            bonus[row] = _FIRST_WORD
    return bonus


def _prior(columns: Columns) -> Scores:
    """A mild preference among equals: weights exist, accuracy is known and good, the name is short. In [0, 1]."""
    models = np.nan_to_num(np.log1p(columns.number("models")), nan=0.0)
    top1 = np.nan_to_num(columns.number("top1"), nan=0.0) / 100
    return np.asarray(0.3 * models / max(float(models.max(initial=0.0)), 1e-9) + 0.7 * top1)


def _rank(values: Scores, mask: Mask, direction: str) -> Scores:
    """Each value's rank among the rows of ``mask``, 1 for the best and 0 for the worst or unknown."""
    known = mask & ~np.isnan(values)
    ranks = np.zeros(len(values))
    order = np.argsort(values[known], kind="stable")
    steps = np.empty(len(order))
    steps[order] = np.linspace(0.0, 1.0, len(order)) if len(order) > 1 else 1.0
    ranks[known] = steps if direction == "higher" else 1.0 - steps
    return ranks
