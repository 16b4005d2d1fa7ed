"""Comparisons in words: ``no more than``, ``lighter than``, ``capped at``, and what some of them say about the thing compared.

A comparison is built from parts, so that any combination of them is understood: an optional negation (``no``, ``doesn't``), an
optional adverb (``strictly``), and an adjective with ``than`` (``fewer``, ``more accurate``), a preposition (``under``) or a
verb (``exceed``). A negation turns the comparison around.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from netatlas.atlas._reading_tokens import Token
from netatlas.atlas._where_words import word_key, word_keys

_LONGEST = 6  # tokens of a phrase


def phrase(table: Mapping[str, str], tokens: Sequence[Token], at: int) -> tuple[str, int]:
    """What the longest phrase of ``table`` that begins at ``at`` means and where it ends; ``("", at)`` when there is none."""
    key, found, end = "", "", at
    for i in range(at, min(at + _LONGEST, len(tokens))):
        if tokens[i].kind not in ("word", "number"):
            break
        key += tokens[i].key
        if key in table:
            found, end = table[key], i + 1
    return found, end


def _table(rows: Mapping[str, str]) -> dict[str, str]:
    return {word_key(text): meaning for meaning, phrases in rows.items() for text in phrases.split("|")}


MARKS = {
    "<": "<", "<=": "<=", "≤": "<=", "=<": "<=", ">": ">", ">=": ">=", "≥": ">=", "=>": ">=", "~": "~", "≈": "~",
    "=": "=", "==": "=", ":": "=", "!=": "!=",
}  # fmt: skip
ORDERS = frozenset(("<", "<=", ">", ">=", "~"))
TURNED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "=": "!=", "~": "~"}
MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "~": "~", "!=": "!="}

# Meaning of an adjective before "than", a preposition or a verb: a comparison, and after a blank the fact it is about, where it is
# about one. "speed" is a latency or a throughput, as the unit says; "quality" an accuracy; "year" a point in time.
_ADJECTIVES = _table({
    "<": "less|fewer|lower|lesser",
    ">": "more|greater|higher",
    "< params": "smaller|lighter|tinier|leaner|slimmer|more lightweight|more compact|more parameter efficient",
    "> params": "larger|bigger|heavier",
    "< macs": "cheaper|more efficient|less expensive|less costly",
    "> macs": "more expensive|costlier|more costly",
    "< depth": "shallower|less deep",
    "> depth": "deeper",
    "> dim": "wider",
    "< dim": "narrower",
    "< speed": "faster|quicker|speedier",
    "> speed": "slower",
    "> top1": "better|more accurate|stronger|superior to|more precise",
    "< top1": "worse|less accurate|weaker",
    "> year": "newer|later|more recent|younger|more modern",
    "< year": "older|earlier|less recent",
})  # fmt: skip
_PLAIN = _table({
    "<": "under|below|beneath|sub|beneath",
    ">": "over|above|exceeding|exceed|exceeded|beyond|upward of|in excess of|surpassing|surpass|surpasses|north of",
    "<=": "at most|at the most|at the very most|up to|maximum|maximum of|max|max of|maximal|maximally|within|capped at|"
    "limited to|bounded by|restricted to|"
    "not more than|at or below|at or under|no more than|a maximum of|a max of|at maximum|a limit of|a budget of|a cap of",
    ">=": "at least|at the least|at the very least|minimum|minimum of|min|min of|minimal|minimally|a minimum of|at minimum|"
    "at or above|at or over",
    "~": "around|about|roughly|approximately|approx|circa|close to|ca|some|nearly|almost|near|approaching|in the order of|"
    "on the order of",
    "=": "exactly|equal to|equals|precisely",
    "> top1": "beating|beat|outperforming|outperform|outperforms",
    ">= year": "in or after|on or after|since|starting in|starting from|as of",
    "> year": "after|past|post|since after",
    "< year": "before|prior to|pre|predating|predate|predates",
    "<= year": "until|till|up to and including|in or before|on or before|until the end of|through",
})  # fmt: skip
_WEAK = _table({  # the comparison only when no other follows: "reaches 82%", but "reaches over 82%"
    ">= top1": "reaching|reach|reaches|achieve|achieves|achieving|hit|hitting|score|scoring|get|getting|gets|attain|attaining|"
    "obtain|obtaining|deliver|delivering",
    "<= memory": "fit in|fitting in|fit into|fit within|fit inside",
})  # fmt: skip
_AFTER = _table({
    "<=": "or less|or fewer|or lower|or smaller|or below|max|maximum|at most|at the most|and below|or under|and under|"
    "or lighter|and less|and fewer|"
    "or older|or earlier|or before|budget|limit|cap|ceiling|and earlier|and before|and older|or shallower|or faster|or quicker|"
    "at maximum|and smaller|or cheaper",
    ">=": "or more|or higher|or better|or above|or larger|min|minimum|at least|at the least|plus|and above|and up|or over|"
    "or greater|and more|and higher|"
    "and better|or bigger|or newer|or later|or after|and later|and newer|onward|on|and after|or more recent|and onward|"
    "or onward|or up|"
    "and beyond|or beyond|or deeper|at minimum|or slower|or heavier|and larger",
    "~": "or so|ish|or thereabouts|give or take|more or less",
})  # fmt: skip
_ONLY_YEARS = word_keys("on|onward|and onward|or onward")
_NEGATIONS = word_keys(
    "no|not|never|isn|aren|doesn|don|does not|do not|is not|are not|cannot|can not|without|won|shouldn|mustn|should not|"
    "must not|may not"
)
_GLUE = word_keys(
    "t|released|published|introduced|be|being|have|having|use|using|need|needing|require|contain|go|going|take|taking|any|much|"
    "a lot"
)
_ADVERBS = word_keys(
    "strictly|much|significantly|slightly|considerably|way|even|far|substantially|a bit|a little|clearly|still|well|just|only"
)
_FILL = word_keys("the|a|an|of|about|around|only|some|just|or equal to|year|roughly|to|level of|in|end of|the end of")
_EQUAL = word_keys("or equal to|or equal|or equals")


@dataclass(frozen=True)
class Comparison:
    """``symbol`` and the fact it is about (``""`` where it does not say), read up to token ``end``.

    Attributes:
        symbol: ``<``, ``<=``, ``>``, ``>=``, ``~``, ``=`` or ``!=``.
        about: A fact, ``"speed"``, ``"memory"`` or ``""``.
        end: The token after it, where a number or a name is expected.
        sure: Whether the fact itself was said, as in ``fewer parameters than``.
        than: Whether ``than`` or a verb such as ``beats`` was said, so that a name may follow.
    """

    symbol: str
    about: str
    end: int
    than: bool = False
    sure: bool = False


def skip(tokens: Sequence[Token], at: int, words: frozenset[str], most: int = 4) -> int:
    """The first of the next tokens that is not, alone or with those after it, one of ``words``."""
    for _ in range(most):
        end = phrase(dict.fromkeys(words, "x"), tokens, at)[1] if at < len(tokens) and tokens[at].kind == "word" else at
        if end == at:
            break
        at = end
    return at


class Comparisons:
    """Finds comparisons among tokens.

    Args:
        tokens: The query.
        measures: Word keys of phrases that name a number fact.
    """

    def __init__(self, tokens: Sequence[Token], measures: Mapping[str, str]) -> None:
        self._tokens, self._measures = tokens, measures

    def before(self, at: int) -> Comparison | None:
        """The comparison that begins at ``at``, ahead of its number: ``no more than``, ``<``, ``fewer parameters than``."""
        tokens = self._tokens
        if at >= len(tokens):
            return None
        if tokens[at].kind == "mark":
            symbol = MARKS.get(tokens[at].text, "")
            return Comparison(symbol, "", at + 1) if symbol else None
        weak, end = phrase(_WEAK, tokens, at)
        if weak:
            symbol, _, about = weak.partition(" ")
            strong = self._strong(end) or Comparison(symbol, about, end)
            return Comparison(strong.symbol, strong.about or about, strong.end, strong.than)
        return self._strong(at)

    def _strong(self, at: int) -> Comparison | None:
        start = skip(self._tokens, at, _NEGATIONS, 1)
        negated = start > at
        if negated:
            start = skip(self._tokens, start, _GLUE)
        start = skip(self._tokens, start, _ADVERBS, 2)
        found = self._adjective(start) or self._preposition(start)
        if found is None:
            return None
        symbol = found.symbol
        if negated:
            # "no more than" is <=; "no at most" is nothing people say, and "not exactly" is no filter.
            symbol = TURNED[symbol] if symbol[0] in "<>" else ""
        return Comparison(symbol, found.about, found.end, found.than, found.sure) if symbol else None

    def _adjective(self, at: int) -> Comparison | None:
        meaning, end = phrase(_ADJECTIVES, self._tokens, at)
        if not meaning:
            return None
        symbol, _, about = meaning.partition(" ")
        here = skip(self._tokens, end, word_keys("total|trainable|learnable|number of|imagenet|the"))
        measured, after = phrase(self._measures, self._tokens, here)
        if measured:
            if about == "top1" and measured not in ("top1", "top5"):  # better latency
                symbol = "<" if (symbol == ">") == (measured not in ("gpu_throughput",)) else ">"
            about, end = measured, after
        if end >= len(self._tokens) or self._tokens[end].key != "than":
            return None
        end += 1
        equal = skip(self._tokens, end, _EQUAL, 1)
        return Comparison(symbol + ("=" if equal > end else ""), about, equal, True, bool(measured))

    def bare(self, at: int) -> Comparison | None:
        """An adjective that compares without "than", with the fact it is about: ``smaller``, ``fewer parameters``."""
        meaning, end = phrase(_ADJECTIVES, self._tokens, at)
        symbol, _, about = meaning.partition(" ")
        measured, after = phrase(self._measures, self._tokens, end)
        if measured:
            about, end = measured, after
        return Comparison(symbol, about, end) if meaning and about and about != "year" else None

    def _preposition(self, at: int) -> Comparison | None:
        meaning, end = phrase(_PLAIN, self._tokens, at)
        if not meaning:
            return None
        symbol, _, about = meaning.partition(" ")
        end += (
            end < len(self._tokens) and self._tokens[end].text == "." and self._tokens[end].start == self._tokens[end - 1].end
        )  # max.
        return Comparison(symbol, about, end, symbol[0] in "<>" and self._tokens[at].key in _VERBS)

    def fill(self, at: int) -> int:
        """Past the small words between a comparison and its number: ``up to about 5M``."""
        return skip(self._tokens, at, _FILL)

    def after(self, at: int, *, year: bool = False) -> tuple[str, int]:
        """The comparison that follows its number: ``or less``, ``+``, ``max``; ``("", at)`` for none."""
        tokens = self._tokens
        if at < len(tokens) and tokens[at].text == "+":
            return ">=", at + 1
        start = at + (at + 1 < len(tokens) and tokens[at].text == "-" and tokens[at].start == tokens[at - 1].end)
        symbol, end = phrase(_AFTER, tokens, start)
        if symbol and not year and "".join(token.key for token in tokens[start:end]) in _ONLY_YEARS:
            return "", at
        following = self.fill(end) if symbol else at
        if symbol and following < len(tokens) and tokens[following].quantity is not None:
            return "", at  # "from 2020 and under 10M params": it belongs to the number that follows
        return symbol, end if symbol else at


_VERBS = word_keys(
    "beating|beat|outperforming|outperform|outperforms|exceeding|exceed|surpassing|surpass|surpasses|over|above|below|under|"
    "after|before|predate|predates"
)
