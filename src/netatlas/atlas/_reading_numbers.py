"""Numbers in plain language: ``at most 1.5 GMACs``, ``between 5 and 10M params``, ``from the last three years``.

A constraint is an amount, a comparison and a measure, in any order and with small words between them. The unit, the comparison or the
letter after the number stands for a measure that is not said; what remains open is not used, and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from netatlas.atlas._reading_amounts import SCALED
from netatlas.atlas._reading_comparisons import MIRRORED, ORDERS, Comparisons, phrase, skip
from netatlas.atlas._reading_tokens import Token, same_scale
from netatlas.atlas._where_nodes import And, Compare, Expression, Fact, Number, OneOf
from netatlas.atlas._where_units import Quantity, read_quantity
from netatlas.atlas._where_words import word_keys
from netatlas.errors import QueryError
from netatlas.facts import FACTS, Value

__all__ = ["Found", "NumberReader", "phrase"]

Lookup = Callable[[str], "tuple[str, Mapping[str, Value]] | None"]
"""Id and facts of the entry that people call by a name; ``None`` when no entry is called so."""

_DASHES = frozenset(("-", "–", "—"))
_LINKS = word_keys(
    "of|is|are|be|should|must|that|with|a|an|being|was|has|to|the|on imagenet|on|imagenet|which|can|at|stay|staying|remain|"
    "has to be|value|equals|"
    "budget|limit|cap|ceiling|number|in|cpu|gpu|laptop|i7|time|size|count"
)
_LIMITS = {
    **dict.fromkeys(word_keys("budget|limit|cap|ceiling|max|maximum"), "<="),
    **dict.fromkeys(word_keys("floor|threshold|min|minimum"), ">="),
}
_OPENERS = word_keys(
    "between|from|in the range|in the range of|in range|range|somewhere between|anywhere from|anywhere between|ranging from|"
    "in a range of|of between"
)
_TO = word_keys("to|through|thru|until|till|up to")
_PUBLISHED = word_keys(
    "published|released|introduced|proposed|dated|invented|appeared|paper|came out|designed|presented|developed|created|year"
)
_YEAR_IN = word_keys("from|in|from the year|in the year|of|from year|during|of the year")
_YEAR_NOUNS = word_keys("paper|publication|work|release")
_QUALIFIERS = word_keys(
    "trainable|total|learnable|of|imagenet|validation|in|the|cpu|gpu|published|on imagenet|on|for|all|overall|float32|fp32|"
    "model|output|input|unique|image|inference|single|"
    "training|weighted|transformer|encoder|at|a|number of"
)
_UNIT_FACTS = {"MAC": "macs", "FLOP": "flops", "ms": "latency_ms", "%": "top1", "img/s": "gpu_throughput", "px": "input_size"}
_EXACT = frozenset(("heads", "outputs", "input_size", "vocab", "year"))
_APPROXIMATE = frozenset(("params", "macs", "flops", "activations"))
_PICTURES = word_keys("image|picture|crop|input|photo|resolution|size|inputs")
_SPEEDS = frozenset(("latency_ms", "cpu_ms", "gpu_throughput", "speed"))
_CPU, _GPU = word_keys("cpu|processor|i7|intel|laptop"), word_keys("gpu|4090|rtx|cuda|graphics card")
_AGO = word_keys("ago|back")
_PER = frozenset(("per", "/"))
_RECENT = word_keys("last|past|recent|previous")
_LEAD = word_keys("from|in|within|over|of|during|published|released|introduced|proposed|the|not older than")
_NOUGHTS = {
    "twenty": "20",
    "thirties": "30",
    "forties": "40",
    "fifties": "50",
    "sixties": "60",
    "seventies": "70",
    "eighties": "80",
    "nineties": "90",
}
_DATA = word_keys("imagenet|ilsvrc|coco|voc|cityscapes|kinetics|in1k|in21k")
_FIRST_BARE_YEAR = 2010
_CONVERTIBLE = {
    **dict.fromkeys(("macs", "flops"), frozenset(("MAC", "FLOP"))), "params": frozenset(("B",)), "error": frozenset(("%",)),
    "top5_error": frozenset(("%",)), **dict.fromkeys(_SPEEDS, frozenset(("ms", "img/s"))),
}  # fmt: skip
"""Units beside a fact's own that a number may have: `_converted` turns them into the fact's."""

_JOINTS = word_keys("and|but|with|at|yet|also|while|being|having|a|using|needing|,")
_BYTES_PER_PARAM = 4


@dataclass(frozen=True)
class Bounds:
    """Numbers with their comparisons, read from tokens ``start`` to ``end``.

    Attributes:
        pairs: Comparison and number.
        start: First token.
        end: The token after the last.
        bare: Whether no comparison was said.
        about: What the comparison is about, where it says so.
        sure: Whether the comparison named that fact.
        either: Whether one of the pairs is enough.
    """

    pairs: tuple[tuple[str, Token], ...]
    start: int
    end: int
    bare: bool = False
    about: str = ""
    either: bool = False
    sure: bool = False


@dataclass(frozen=True)
class Found:
    """A constraint on a number: the condition, the token after it, and remarks on how it was read."""

    condition: Expression | None
    end: int
    notes: tuple[str, ...] = ()


class NumberReader:
    """Reads constraints on numbers from the tokens of a query.

    Args:
        tokens: The query.
        measures: Word keys of phrases that name a number fact in plain language.
        spellings: Word keys of all names and aliases of facts, which count only beside a sign such as ``<``.
        understood: Says whether something other than an unknown word begins at a token.
        named: The end of the name of an architecture that begins at a token.
        lookup: Finds the entry of a name, for ``smaller than resnet50``.
        year: The current year, for ``the last three years``; ``None`` leaves these unread.
    """

    def __init__(
        self, tokens: Sequence[Token], measures: Mapping[str, str], spellings: Mapping[str, str],
        understood: Callable[[int], bool] = lambda at: False, named: Callable[[int], int] = lambda at: at,
        lookup: Lookup | None = None, year: int | None = None,
    ) -> None:  # fmt: skip
        self._tokens, self._measures, self._spellings = tokens, measures, spellings
        self._understood, self._named, self._lookup, self._today = understood, named, lookup, year
        self._comparisons = Comparisons(tokens, measures)
        self._before_name: dict[int, tuple[tuple[str, str], ...]] = {}  # comparisons that share the "than" of a later one
        self.near: dict[str, float] = {}  # values that were asked for roughly, by fact
        self._last: tuple[int, str] = (-1, "")  # where the last constraint ended, and its comparison

    def read(self, at: int, *, after_noun: bool = False) -> Found | None:
        """The constraint that begins at token ``at``; ``None`` when there is surely none.

        Args:
            at: Position in the tokens.
            after_noun: Whether a word that nobody has understood stands before it, which may be what the number measures.
        """
        if at >= len(self._tokens):
            return None
        return (
            self._fact_first(at)
            or self._than_name(at)
            or self._age(at)
            or self._year(at)
            or self._decade(at, "")
            or self._number_first(at, after_noun)
        )

    # ------------------------------------------------------------ tokens

    def _is(self, at: int, words: frozenset[str]) -> bool:
        return 0 <= at < len(self._tokens) and (self._tokens[at].key in words or self._tokens[at].text in words)

    def _numeric(self, at: int) -> Token | None:
        token = self._tokens[at] if at < len(self._tokens) else None
        return token if token is not None and token.quantity is not None else None

    def _said(self, start: int, end: int) -> str:
        return " ".join(token.text for token in self._tokens[start:end])

    def device(self, at: int) -> str:
        """``cpu`` or ``gpu``, whichever is named nearest to token ``at``; ``""`` for neither."""
        near = [
            (abs(i - at), kind)
            for i, token in enumerate(self._tokens)
            if token.kind == "word"
            for kind, keys in (("cpu", _CPU), ("gpu", _GPU))
            if token.key in keys
        ]
        return min(near)[1] if near else ""

    # ------------------------------------------------------------ orders of the parts

    def _fact_first(self, at: int) -> Found | None:
        """``params below 5M``, ``accuracy of at least 82 percent``, ``max latency 10 ms``."""
        limit = _LIMITS.get(self._tokens[at].key, "") if self._tokens[at].kind == "word" else ""
        here = at + bool(limit)
        name, end = phrase(self._measures, self._tokens, here)
        spelled, after = phrase(self._spellings, self._tokens, here)
        if (
            spelled
            and after >= end
            and self._is(after, frozenset(("<", ">", "=", ":", "<=", ">=", "==", "!=", "≤", "≥", "=<", "=>", "~")))
            and FACTS[spelled].kind in ("count", "number")
        ):
            name, end = spelled, after
        scaled = SCALED.get(self._tokens[here].text.lower(), "") if here < len(self._tokens) else ""
        if scaled and end <= here + 1:
            name, end = _UNIT_FACTS[scaled[1:]], here + 1
        if not name:
            return None
        if self._is(end, _PER) and (over := phrase(self._measures, self._tokens, end + 1))[0]:
            bounds = self._bounds(skip(self._tokens, over[1], _LINKS, 5), after_fact=True)
            stop = bounds.end if bounds is not None else over[1]
            return Found(
                None,
                stop,
                (f"'{self._said(at, stop)}' is a ratio: write '{name} / {over[0]} < ...' as a constraint; not used as a filter",),
            )
        limit = limit or (
            _LIMITS.get(self._tokens[end].key, "") if end < len(self._tokens) and self._tokens[end].kind == "word" else ""
        )
        start = skip(self._tokens, end, _LINKS, 5)
        if found := self._decade(start, name) or (self._year(start) if name == "year" else None):
            return found
        # The links may have swallowed what a comparison begins with ("at most", "in the range").
        for begin in range(start, end - 1, -1):
            bounds = self._bounds(begin, after_fact=True)
            if bounds is not None and not (bounds.bare and begin < start):
                break
        else:
            bounds = self._further(start)
        if bounds is None:
            return None
        if bounds.about and bounds.about not in (name, "memory", "speed") and not (bounds.about == "params" or name in ("top5",)):
            return None
        if bounds.bare and limit:
            bounds = replace(bounds, bare=False, pairs=tuple((limit, token) for _, token in bounds.pairs))
        elif bounds.bare and not self._definite(name, bounds, begin == end):
            return None
        if bounds.bare and self._measure_after(bounds.end)[0] not in ("", name):
            return None  # "accuracy 5M params": the number belongs to what follows
        again, end = phrase(self._measures, self._tokens, bounds.end)
        bounds = replace(bounds, end=end) if again == name else bounds
        if scaled:
            bounds = replace(bounds, pairs=tuple((symbol, _in_unit(token, scaled)) for symbol, token in bounds.pairs))
        return self._condition(name, bounds, first=True)

    def _further(self, at: int) -> Bounds | None:
        """A comparison and its number behind one or two words that say nothing: ``top-1 lies between``, ``memory usage under``."""
        for begin in range(at + 1, min(at + 3, len(self._tokens))):
            passed = self._tokens[begin - 1]
            if passed.kind != "word" or passed.quantity is not None or self._understood(begin - 1):
                return None
            bounds = self._bounds(begin, after_fact=True)
            if bounds is not None and not bounds.bare and not self._measure_after(bounds.end)[0]:
                return bounds
        return None

    def _definite(self, name: str, bounds: Bounds, adjacent: bool) -> bool:
        """Whether a bare number after a measure says how much: ``hidden size 768``, but not ``layers 3x3``."""
        units = {token.quantity.unit for _, token in bounds.pairs if token.quantity is not None}
        if name in ("input_size", "dim", "depth", "heads", "outputs", "vocab", "seq_len", "year"):
            return units <= {"", "px"} and (
                adjacent or not self._understood(bounds.start - 1) or self._is(bounds.start - 1, _LINKS)
            )
        return True

    def _than_name(self, at: int) -> Found | None:
        """``smaller than resnet50``: the fact of the entry that is named."""
        found = self._comparisons.before(at)
        if (
            found is None and (first := self._comparisons.bare(at)) is not None and self._is(first.end, _JOINTS)
        ):  # smaller and faster than
            joined = skip(self._tokens, first.end, _JOINTS, 2)
            second = self._comparisons.before(joined)
            if second is not None and second.than:
                self._before_name[joined] = ((first.symbol, "cpu_ms" if first.about == "speed" else first.about),)
                return self._than_name(joined)
        if found is None or not found.than:
            return None
        start = skip(self._tokens, found.end, word_keys("a|an|the|original|plain|standard|that of|those of|of"))
        end = self._named(start)
        if end == start:
            return None
        said = self._text(start, end)
        name = found.about
        symbol = found.symbol
        if name == "speed":
            name = "gpu_throughput" if self.device(at) == "gpu" else "cpu_ms"
            symbol = MIRRORED[symbol] if name == "gpu_throughput" else symbol
        entry = self._lookup(said) if self._lookup is not None else None
        if entry is not None and name:
            more, end = self._also(end, entry[1])
            less = self._before_name.get(at, ())
            wanted = [(symbol, name), *less, *more]
            if all(isinstance(entry[1].get(fact), (int, float)) for _, fact in wanted):
                parts = tuple(Compare(sign, Fact(fact), Number(float(entry[1][fact]))) for sign, fact in wanted)  # type: ignore[arg-type]
                return Found(And(parts) if len(parts) > 1 else parts[0], end, (f"'{said}' read as {entry[0]}",))
        if not name:
            return Found(None, end, (f"'{self._said(at, end)}' does not say in what: not used as a filter",))
        if entry is None or not isinstance(value := entry[1].get(name), (int, float)):
            reason = f"'{said}' is not one entry" if entry is None else f"{name} of {entry[0]} is not known"
            return Found(None, end, (f"{reason}: '{self._said(at, end)}' is not used as a filter",))
        return Found(Compare(symbol, Fact(name), Number(float(value))), end, (f"'{said}' read as {entry[0]}",))

    def _also(self, at: int, facts: Mapping[str, Value]) -> tuple[list[tuple[str, str]], int]:
        """Further comparisons with the entry that was just named: ``... than resnet50 with fewer parameters``, ``... but smaller``."""
        found: list[tuple[str, str]] = []
        while True:
            start = skip(self._tokens, at, _JOINTS, 3)
            item = self._comparisons.bare(start) if start > at else None
            if item is None or self._numeric(self._comparisons.fill(item.end)) is not None:
                return found, at
            about = "cpu_ms" if item.about == "speed" else item.about
            if not isinstance(facts.get(about), (int, float)):
                return found, at
            found.append((item.symbol, about))
            at = item.end

    def _text(self, start: int, end: int) -> str:
        return "".join(
            ("" if i == start else "-" if self._tokens[i].glued else " ") + self._tokens[i].text for i in range(start, end)
        )

    def _number_first(self, at: int, after_noun: bool) -> Found | None:
        bounds = self._bounds(at, after_fact=False)
        if bounds is None:
            return None
        if bounds.bare and self._is(at - 1, frozenset(("than",))):
            said = self._said(max(0, at - 2), bounds.end)
            return Found(None, bounds.end, (f"'{said}' is not understood as more or less: not used as a filter",))
        name, end = self._measure_after(bounds.end)
        if name and self._fits(name, bounds):
            bounds = self._trailing(replace(bounds, end=end), year=False)
            return self._condition(name, bounds)
        return self._by_unit(bounds, after_noun)

    def _fits(self, name: str, bounds: Bounds) -> bool:
        """Whether the numbers can be amounts of ``name``; otherwise the word after them belongs to something else."""
        units = {token.quantity.unit for _, token in bounds.pairs if token.quantity is not None}
        own = FACTS[name].unit if name in FACTS else ""
        if units <= {"", "B?"} or own in units:
            return not (
                name == "top1" and any(token.suffix.lower() in ("m", "million", "b", "billion") for _, token in bounds.pairs)
            )
        return bounds.bare or name == "disk" or not units & _UNIT_FACTS.keys() or units <= _CONVERTIBLE.get(name, frozenset())

    def _trailing(self, bounds: Bounds, year: bool) -> Bounds:
        """``bounds`` with a comparison that comes after the noun: ``5M params or less``."""
        symbol, end = self._comparisons.after(bounds.end, year=year)
        if not bounds.bare or not symbol:
            return bounds
        return replace(bounds, pairs=tuple((symbol, token) for _, token in bounds.pairs), end=end, bare=False)

    def _measure_after(self, at: int) -> tuple[str, int]:
        if at < len(self._tokens) and self._tokens[at].text == "-":  # a 12-head layer
            at += 1
        here = at
        for _ in range(4):
            name, end = phrase(self._measures, self._tokens, here)
            if name:
                return name, end
            here = skip(self._tokens, here, _QUALIFIERS, 1) if self._is(here, _QUALIFIERS) else here
            if not self._is(here - 1, _QUALIFIERS) or here == at:
                break
        return "", at

    def _by_unit(self, bounds: Bounds, after_noun: bool) -> Found | None:
        """A constraint whose unit, comparison or letter alone says what it is about."""
        name, note = self._implied(bounds, after_noun)
        if name and name != "input_size" and bounds.bare and not self._joined(bounds):
            name = name if name == "top1" or (name == "params" and self._is_size(bounds)) else ""
        if name == "input_size":
            bounds = replace(bounds, end=skip(self._tokens, bounds.end, _PICTURES, 2))
        if name:
            found = self._condition(name, bounds)
            return replace(found, notes=(note, *found.notes)) if found is not None and note else found
        if bounds.bare or (self._tokens[bounds.start].kind == "mark" and bounds.pairs[0][0] not in ORDERS):
            return None
        if bounds.pairs[0][0] in ("=", "~") and self._tokens[bounds.start].kind != "mark":
            return None  # "some 3D network", "in 3 stages"
        said = self._said(bounds.start, bounds.end)
        return Found(None, bounds.end, (f"'{said}' does not say of what (params, MACs, ms, top-1, ...): not used as a filter",))

    def _implied(self, bounds: Bounds, after_noun: bool) -> tuple[str, str]:
        units = {token.quantity.unit for _, token in bounds.pairs if token.quantity is not None}
        unit = next(iter(units)) if len(units) == 1 else "?"
        alone = self._stands_alone(bounds)
        if bounds.sure and self._fits(bounds.about, bounds):
            return bounds.about, ""
        if unit == "%" and bounds.bare:
            return ("top1", "") if alone and not after_noun else ("", "")
        if unit == "%":
            return ("top1", "") if bounds.about == "top1" or (alone and not after_noun) else ("", "")
        if unit == "px" and any(token.key.startswith("patch") for token in self._tokens[max(0, bounds.start - 3) : bounds.start]):
            return "", ""  # patches of 8 pixels, not images
        if unit in _UNIT_FACTS:
            return _UNIT_FACTS[unit], ""
        if all(token.is_year for _, token in bounds.pairs) and (
            bounds.about == "year" or (len(bounds.pairs) == 2 and not bounds.bare)
        ):
            return "year", ""
        if unit == "B" and bounds.about == "memory":
            return "peak_memory", ""
        if unit not in ("", "B?"):
            return "", ""
        if self._is(bounds.start, word_keys("at")) or self._is(bounds.start - 1, word_keys("at")):
            sizes = [token.quantity.value for _, token in bounds.pairs if token.quantity is not None and not token.suffix]
            if bounds.bare and alone and sizes and all(64 <= size <= 2048 for size in sizes):
                return "input_size", f"'{self._said(bounds.start, bounds.end)}' read as the size of the input"
        if after_noun or not alone:
            return "", ""
        said = self._said(bounds.start, bounds.end)
        letter = bounds.pairs[-1][1].suffix
        if bounds.about in ("macs", "depth", "dim") or (bounds.about == "params" and letter):
            return bounds.about, ""
        if bounds.about == "top1" and all(
            token.quantity is not None and 1 <= token.quantity.value < 100 for _, token in bounds.pairs
        ):
            return "top1", f"'{said}' read as top-1"
        if bounds.about in ("", "params") and letter:
            if letter in ("G", "g", "giga"):
                return "macs", f"'{said}' read as multiply-accumulates"
            if letter.lower() not in ("k", "thousand"):
                return "params", f"'{said}' read as parameters"
        return "", ""

    def _is_size(self, bounds: Bounds) -> bool:
        """Whether a bare ``7B`` is the size of what follows: ``7B language model``; after a name it is part of the name."""
        token = bounds.pairs[-1][1]
        following = (
            bounds.end < len(self._tokens) and self._tokens[bounds.end].kind in ("word", "name") and self._understood(bounds.end)
        )
        return token.suffix in ("M", "B", "million", "billion") and following and len(bounds.pairs) == 1

    def _stands_alone(self, bounds: Bounds) -> bool:
        """Whether nothing after the numbers could name what they measure, as ``sparsity`` in ``above 75% sparsity`` does."""
        following = self._tokens[bounds.end] if bounds.end < len(self._tokens) else None
        return following is None or following.kind == "mark" or self._understood(bounds.end)

    # ------------------------------------------------------------ bounds

    def _bounds(self, at: int, *, after_fact: bool) -> Bounds | None:
        pair = self._between(at)
        if pair is not None:
            return pair
        number = self._numeric(at)
        if number is not None:
            symbol, end = self._comparisons.after(at + 1)
            return self._second(Bounds(((symbol or "=", number),), at, end, bare=not symbol), after_fact)
        found = self._comparisons.before(at)
        if found is None:
            return None
        here = self._comparisons.fill(found.end)
        further = self._comparisons.before(here)
        if (
            further is not None
            and self._tokens[at].text not in ORDERS
            and self._numeric(self._comparisons.fill(further.end)) is not None
        ):
            # "within at most 5M": the second one counts.
            found, here = replace(further, about=further.about or found.about), self._comparisons.fill(further.end)
        number = self._numeric(here)
        if number is None or not (after_fact or found.symbol in ORDERS or self._tokens[at].kind != "mark"):
            return None
        symbol, end = found.symbol, here + 1
        if symbol in ("=", "~") or (found.about in ("top1",) and symbol == ">=" and self._tokens[at].kind == "word"):
            later, stop = self._comparisons.after(end)  # "reaches 82% or better"
            symbol, end = (later, stop) if later else (symbol, end)
        return self._second(Bounds(((symbol, number),), at, end, about=found.about, sure=found.sure), after_fact)

    def _between(self, at: int) -> Bounds | None:
        start = at
        if at + 4 < len(self._tokens) and self._tokens[at].text in ("[", "("):
            low, high = self._numeric(at + 1), self._numeric(at + 3)
            if (
                low is not None
                and high is not None
                and self._tokens[at + 2].text in (",", "-", ";")
                and self._tokens[at + 4].text in ("]", ")")
            ):
                return Bounds(((">=", self._scaled(low, high)), ("<=", high)), start, at + 5)
        at = skip(self._tokens, at, _OPENERS, 3)
        opened = at > start
        low, high = self._numeric(at), self._numeric(at + 2)
        if low is None or high is None:
            high = self._numeric(at + 3)  # up to
            if low is None or high is None or self._said(at + 1, at + 3).lower() != "up to":
                return None
            return Bounds(((">=", self._scaled(low, high)), ("<=", high)), start, at + 4)
        joint = self._tokens[at + 1].text.lower()
        if joint in _DASHES or joint in _TO or (opened and joint == "and"):
            return Bounds(((">=", self._scaled(low, high)), ("<=", high)), start, at + 3)
        return None

    def _scaled(self, low: Token, high: Token) -> Token:
        """``low`` with the unit of ``high`` when it has none: ``5`` in ``5-10M``."""
        assert high.quantity is not None, "only numbers are scaled"
        if low.suffix or not high.suffix:
            return low
        scaled = Token("number", low.text, low.start)
        quantity = high.quantity
        suffix = quantity.text[len(high.digits) :].strip()
        scaled.digits, scaled.suffix, scaled.quantity = low.digits, high.suffix, read_quantity(low.digits, suffix)
        return scaled

    def _second(self, first: Bounds, after_fact: bool) -> Bounds:
        """``first`` with a second bound on the same thing: ``over 5M and under 10M``."""
        at = first.end
        if first.bare or not self._is(at, frozenset(("and", "but", ","))):
            return first
        at += 1 + self._is(at + 1, frozenset(("but", "and")))
        found = self._comparisons.before(at)
        if found is None:
            return first
        here = self._comparisons.fill(found.end)
        number = self._numeric(here)
        if found.symbol not in ORDERS or number is None or found.symbol[0] == first.pairs[0][0][0]:
            return first
        if found.about not in ("", first.about) or not same_scale(number, first.pairs[0][1]):
            return first
        if after_fact and self._measure_after(here + 1)[0]:
            return first  # under 6M params and over 80 top-1: another thing is bounded
        return replace(first, pairs=(*first.pairs, (found.symbol, number)), end=here + 1)

    # ------------------------------------------------------------ years

    def _year(self, at: int) -> Found | None:
        here = skip(self._tokens, at, _PUBLISHED, 2)
        published = here > at
        for begin in dict.fromkeys((here, skip(self._tokens, here, word_keys("in|:|=|the|is"), 2))):
            bounds = self._year_bounds(begin, said=published)
            if bounds is not None:
                return self._condition("year", replace(bounds, start=at, end=skip(self._tokens, bounds.end, _YEAR_NOUNS, 1)))
        return None

    def _year_bounds(self, at: int, *, said: bool) -> Bounds | None:
        pair = self._between(at) or self._between(skip(self._tokens, at, _YEAR_IN, 2))
        if pair is not None:
            named = self._measure_after(pair.end)[0]
            return pair if all(token.is_year for _, token in pair.pairs) and not named else None
        found = self._comparisons.before(at)
        here = self._comparisons.fill(found.end) if found is not None else skip(self._tokens, at, _YEAR_IN, 2)
        number = self._numeric(here)
        if number is None or not number.is_year:
            return None
        if self._measure_after(here + 1)[0]:
            return None
        if found is not None:
            # "over 2000" and "at least 2021" say of what only for the years in which there were networks
            dated = (
                found.about == "year"
                or said
                or (found.about == "" and self._recent(number) and self._stands_alone(Bounds((), here, here + 1)))
            )
            return (
                self._second(Bounds(((found.symbol, number),), at, here + 1), False)
                if dated and found.about in ("", "year")
                else None
            )
        symbol, end = self._comparisons.after(here + 1, year=True)
        if symbol and self._measure_after(end)[0]:
            return None
        if symbol:
            return Bounds(((symbol, number),), at, end)
        years = [number]
        while (
            (self._is(end, frozenset(("or", ",", "and"))) or end > here + 1)
            and (following := self._numeric(end + 1)) is not None
            and following.is_year
        ):
            years.append(following)
            end += 2
        if len(years) > 1:
            return Bounds(tuple(("=", year) for year in years), at, end, either=True)
        return Bounds((("=", number),), at, here + 1) if here > at or said or self._is_bare_year(here) else None

    def _recent(self, number: Token) -> bool:
        return _FIRST_BARE_YEAR <= int(number.digits) <= (self._today or 2100)

    def _is_bare_year(self, at: int) -> bool:
        """Whether a lone 2021 is when it was published: not the name of a data set, no size and no part of a name."""
        number = self._tokens[at]
        before, after = self._tokens[at - 1] if at else None, self._tokens[at + 1] if at + 1 < len(self._tokens) else None
        return (
            number.kind == "number" and self._recent(number) and not number.glued and not self._is(at - 1, _DATA)
            and (before is None or (before.kind == "word" and before.quantity is None)) and (after is None or after.kind != "mark" or after.text in ",?.!;")
            and (self._stands_alone(Bounds((), at, at + 1)) or self._is(at + 1, _YEAR_NOUNS))
        )  # fmt: skip

    def _age(self, at: int) -> Found | None:
        """``the last three years``, ``this year``, ``at most 3 years old``, ``5 years ago``."""
        if self._today is None:
            return None
        here = skip(self._tokens, at, _LEAD, 4)
        token = self._tokens[here] if here < len(self._tokens) else None
        if token is None:
            return None
        key = self._tokens[here + 1].key if here + 1 < len(self._tokens) else ""
        if here > at or token.key == "this":
            if token.key in ("thi", "this", "current") and key in ("year", "decade"):
                start = self._today // 10 * 10
                return (
                    self._dated(">=", start, here + 2, last=start + 9)
                    if key == "decade"
                    else self._dated("=", self._today, here + 2)
                )
            if token.key in _RECENT:
                if key in ("year", "decade"):
                    return self._dated(
                        "=" if key == "year" and token.key in ("last", "previous") else ">=",
                        self._today - (1 if key == "year" else 10),
                        here + 2,
                    )
                if key in ("few", "couple"):
                    end = skip(self._tokens, here + 2, word_keys("of|year"), 2)
                    years = {"few": 3, "couple": 2}[key]
                    return replace(
                        self._dated(">=", self._today - years, end),
                        notes=(f"'{self._said(here, end)}' read as the last {years} years",),
                    )
                number = self._numeric(here + 1)
                if number is not None and self._is(here + 2, word_keys("year|decade")):
                    span = 10 if self._tokens[here + 2].key == "decade" else 1
                    return self._dated(">=", self._today - int(number.quantity.value) * span if number.quantity else 0, here + 3)
        return self._aged(at)

    def _aged(self, at: int) -> Found | None:
        bounds = self._bounds(skip(self._tokens, at, _PUBLISHED, 1), after_fact=False)
        if bounds is None or len(bounds.pairs) > 1 or not self._is(bounds.end, word_keys("year")):
            return None
        (symbol, number), end = bounds.pairs[0], bounds.end + 1
        old, ago = self._is(end, word_keys("old")), self._is(end, _AGO)
        if number.quantity is None or not (old or ago or bounds.about == "year"):
            return None
        end += old or ago
        later, stop = self._comparisons.after(end)
        if bounds.bare and later:
            symbol, end = later, stop
        # An age grows as the year falls; "older than 3 years" already compares the year.
        symbol = symbol if bounds.about == "year" else MIRRORED[symbol]
        return self._dated(symbol, (self._today or 0) - int(number.quantity.value), end)

    def _dated(self, symbol: str, year: int, end: int, last: int | None = None) -> Found:
        low = Compare(symbol, Fact("year"), Number(float(year)))
        return Found(And((low, Compare("<=", Fact("year"), Number(float(last))))) if last is not None else low, end)

    def _decade(self, at: int, name: str) -> Found | None:
        """``the 2020s`` as years, ``in the eighties`` and ``80s`` as percent after a measure in percent."""
        here = skip(self._tokens, at, word_keys("in|from|of|during|the|published|released|high|mid|low|early|late"), 4)
        token = self._tokens[here] if here < len(self._tokens) else None
        if token is None or token.kind not in ("word", "number"):
            return None
        digits = token.digits if token.suffix == "s" and token.text.endswith("s") else _NOUGHTS.get(token.text.lower(), "")
        end = here + 1
        if not digits and token.digits and self._is(end, frozenset(("'", "’"))) and self._is(end + 1, frozenset(("s",))):
            digits, end = token.digits, end + 2
        if not digits.isdigit() or int(digits) % 10:
            return None
        low = int(digits)
        part = next((t.text for t in self._tokens[at:here] if t.key in word_keys("high|mid|low|early|late")), "")
        note = (f"'{part} {token.text}' read as {low} to {low + 9}",) if part else ()
        if len(digits) == 4 and 1940 <= low <= 2100 and name in ("", "year"):
            return replace(self._dated(">=", low, end, last=low + 9), notes=note)
        if name and name in FACTS and FACTS[name].unit == "%" and len(digits) == 2:
            bounds = (Compare(">=", Fact(name), Number(float(low))), Compare("<", Fact(name), Number(float(low + 10))))
            return Found(And(bounds), end, note)
        return None

    # ------------------------------------------------------------ conditions

    def _condition(self, name: str, bounds: Bounds, *, first: bool = False) -> Found | None:
        name, bounds, notes = self._converted(name, bounds)
        if not name:
            return Found(None, bounds.end, tuple(notes))
        if bounds.bare:
            settled = self._settled(name, bounds, first, notes)
            if settled is None:
                return Found(None, bounds.end, tuple(notes)) if notes else None
            bounds = settled
        if bounds.either:
            return Found(
                OneOf(name, tuple(float(token.quantity.value) for _, token in bounds.pairs if token.quantity is not None)),
                bounds.end,
            )
        parts: list[Expression] = []
        for symbol, token in bounds.pairs:
            try:
                parts.extend(_compared(name, symbol, token, notes))
                if symbol == "~" and token.quantity is not None:
                    self.near[name] = token.quantity.for_unit(FACTS[name].unit, name)
            except QueryError as error:
                return Found(None, bounds.end, (f"{error}: not used as a filter",))
        self._last = (bounds.end, bounds.pairs[-1][0])
        return Found(And(tuple(parts)) if len(parts) > 1 else parts[0], bounds.end, tuple(notes))

    def _joined(self, bounds: Bounds) -> bool:
        """Whether the comparison of the constraint before counts here too: ``at most 30M params and 5 GMACs``."""
        return self._is(bounds.start - 1, frozenset(("and", ","))) and self._last[0] == bounds.start - 1

    def _settled(self, name: str, bounds: Bounds, first: bool, notes: list[str]) -> Bounds | None:
        """``bounds`` with the comparison that a bare number of ``name`` stands for; ``None`` when it stands for none."""

        def with_symbol(symbol: str) -> Bounds:
            return replace(bounds, bare=False, pairs=tuple((symbol, token) for _, token in bounds.pairs))

        joined = self._joined(bounds)
        said = self._said(bounds.start, bounds.end)
        if joined and name in _APPROXIMATE and self._last[1] in ORDERS:  # at most 300M MACs and 6M params
            return with_symbol(self._last[1])
        if name in _APPROXIMATE:
            return (
                with_symbol("~")
                if all(token.suffix or (token.quantity is not None and token.quantity.value >= 1000) for _, token in bounds.pairs)
                else None
            )
        if name in _EXACT or (name in ("dim", "depth", "seq_len") and first):
            return bounds
        if name == "dim" and all(token.quantity is not None and token.quantity.value >= 16 for _, token in bounds.pairs):
            return bounds
        better = FACTS[name].better
        if better and name not in ("unknown_ops",):
            symbol = ">=" if better == "higher" else "<="
            notes.append(f"'{said}' read as {'at least' if symbol == '>=' else 'at most'}")
            return with_symbol(symbol)
        if name == "depth" and not first:
            notes.append(f"'{said}' is not used as a filter: write 'depth = ...' for layers with weights on the longest path")
        return None

    def _converted(self, name: str, bounds: Bounds) -> tuple[str, Bounds, list[str]]:
        """The fact that is meant and the bounds in its unit: CPU latency, error instead of accuracy, bytes of weights."""
        quantities = [token.quantity for _, token in bounds.pairs if token.quantity is not None]
        units = {quantity.unit for quantity in quantities}
        if name in _SPEEDS:
            return self._speed(name, bounds, units)
        if name == "activations" and units == {"B"}:
            return "peak_memory", bounds, []
        if name == "macs" and units == {"FLOP"}:
            return "flops", bounds, []
        if name in ("error", "top5_error"):
            notes = ["an error of x % is an accuracy of 100 - x %"]
            return {"error": "top1"}.get(name, "top5"), self._mapped(bounds, lambda value: 100 - value, "%", mirror=True), notes
        if name == "disk" and units == {""} and all(token.suffix == "" for _, token in bounds.pairs):
            return "models", bounds, []  # more than three checkpoints
        if name == "disk" or (name == "params" and units == {"B"}):
            if units != {"B"}:
                return "", bounds, [f"'{self._said(bounds.start, bounds.end)}' is no size in bytes: not used as a filter"]
            notes = [f"{quantities[0].text} read as parameters of {_BYTES_PER_PARAM} bytes each"]
            return "params", self._mapped(bounds, lambda value: value / _BYTES_PER_PARAM, "", mirror=False), notes
        return name, bounds, []

    def _speed(self, name: str, bounds: Bounds, units: set[str]) -> tuple[str, Bounds, list[str]]:
        device = self.device(bounds.end)
        faster = bounds.about == "speed"
        if not units & {"ms"}:
            throughput = units == {"img/s"} or name == "gpu_throughput"
            if throughput and device == "cpu":
                note = "images per second on the CPU read as 1000 / cpu_ms"
                return (
                    "cpu_ms",
                    self._mapped(bounds, lambda value: 1000 / value if value else float("inf"), "ms", mirror=not faster),
                    [note],
                )
            if throughput:
                return "gpu_throughput", self._mapped(bounds, lambda value: value, "img/s", mirror=faster), []
        if device == "gpu":
            return (
                "",
                bounds,
                [
                    f"'{self._said(bounds.start, bounds.end)}': no latency on a GPU is known, only gpu_throughput: not used as a filter"
                ],
            )
        return ("cpu_ms" if device == "cpu" else "latency_ms"), bounds, []

    def _mapped(self, bounds: Bounds, change: Callable[[float], float], unit: str, *, mirror: bool) -> Bounds:
        pairs = []
        for symbol, token in bounds.pairs:
            assert token.quantity is not None, "only numbers are bounds"
            copy = Token("number", token.text, token.start)
            copy.digits, copy.suffix = token.digits, token.suffix
            copy.quantity = Quantity(change(token.quantity.value), unit, token.text)
            pairs.append((MIRRORED[symbol] if mirror else symbol, copy))
        return replace(bounds, pairs=tuple(pairs))


def _in_unit(token: Token, unit: str) -> Token:
    """A bare number in a unit such as ``GFLOP``; a number that has a unit or a scale of its own as it is."""
    if token.suffix or (token.quantity is not None and token.quantity.unit):
        return token
    copy = Token("number", token.text, token.start)
    copy.digits, copy.suffix, copy.quantity = token.digits, token.suffix, read_quantity(token.digits, unit)
    return copy


def _compared(name: str, symbol: str, token: Token, notes: list[str]) -> list[Expression]:
    assert token.quantity is not None, "only numbers are compared"
    fact = FACTS[name]
    value = token.quantity.for_unit(fact.unit, name)
    if fact.unit == "%" and token.quantity.unit == "" and 0 < value < 1:
        value = float(f"{value!r}e2") if "e" not in repr(value) else value * 100
        notes.append(f"{token.text} read as {value:.6g} %")
    if name == "flops":
        notes.append("a FLOP is half a multiply-accumulate: write MACs where a paper's FLOPs mean those")
    if symbol == "~":
        notes.append(f"'{token.text}' read as within 20 %")
        return [Compare(">=", Fact(name), Number(value * 8 / 10)), Compare("<=", Fact(name), Number(value * 12 / 10))]
    return [Compare(symbol, Fact(name), Number(value))]
