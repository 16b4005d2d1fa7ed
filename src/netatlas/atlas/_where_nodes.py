"""Expressions: conditions on facts as frozen values, with their canonical text and three-valued evaluation."""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import translate

import numpy as np

from netatlas.atlas._where_operators import operator_names
from netatlas.atlas.columns import Columns, Mask, Numbers
from netatlas.errors import did_you_mean
from netatlas.facts import FACTS

COMPARISONS: dict[str, Callable[[Numbers, Numbers], Mask]] = {
    "<": operator.lt, "<=": operator.le, "=": operator.eq, "!=": operator.ne, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
MIRRORED = {"<": ">", "<=": ">=", "=": "=", "!=": "!=", ">=": "<=", ">": "<"}
KEYWORDS = frozenset(("and", "or", "not", "in", "like"))

_ARITHMETIC: dict[str, Callable[[Numbers, Numbers], Numbers]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv,
}  # fmt: skip
_SUGGESTED_FROM = 2_000  # words; looking for near ones among 100,000 would take seconds
_BARE = re.compile(r"[^\W\d][\w.\-/]*")


@dataclass(frozen=True, eq=False)
class Truth:
    """What an expression is for each of ``m`` entries, in Kleene's three-valued logic.

    Attributes:
        true: ``(m,)`` where it holds.
        unknown: ``(m,)`` where a fact that is not known decides; never true at the same place as ``true``.
    """

    true: Mask
    unknown: Mask

    @property
    def false(self) -> Mask:
        """``(m,)`` where it surely does not hold."""
        return ~(self.true | self.unknown)


class Term(ABC):
    """A number for each entry: a literal, a fact, or arithmetic on them."""

    @abstractmethod
    def values(self, columns: Columns) -> Numbers:
        """``(m,)`` or scalar float64, NaN or infinite where unknown."""

    @abstractmethod
    def facts(self) -> Iterator[str]:
        """The facts it reads."""


@dataclass(frozen=True)
class Number(Term):
    """A literal, in the unit of the fact it is compared with."""

    value: float

    def values(self, columns: Columns) -> Numbers:
        return np.asarray(self.value, dtype=np.float64)

    def facts(self) -> Iterator[str]:
        return iter(())

    def __str__(self) -> str:
        return number_text(self.value)


@dataclass(frozen=True)
class Fact(Term):
    """The value of a count or number fact."""

    name: str

    def values(self, columns: Columns) -> Numbers:
        return columns.filled(self.name)

    def facts(self) -> Iterator[str]:
        yield self.name

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Arithmetic(Term):
    """``left operator right`` with one of ``+ - * /``; a quotient by zero is unknown."""

    operator: str
    left: Term
    right: Term

    def values(self, columns: Columns) -> Numbers:
        return np.asarray(_ARITHMETIC[self.operator](self.left.values(columns), self.right.values(columns)), dtype=np.float64)

    def facts(self) -> Iterator[str]:
        yield from self.left.facts()
        yield from self.right.facts()

    def __str__(self) -> str:
        loose = self.operator in "+-"
        left = f"({self.left})" if isinstance(self.left, Arithmetic) and not loose and self.left.operator in "+-" else self.left
        wrap = isinstance(self.right, Arithmetic) and not (loose and self.right.operator in "*/")
        return f"{left} {self.operator} {f'({self.right})' if wrap else self.right}"


@dataclass(frozen=True)
class Negative(Term):
    """``-term``."""

    term: Term

    def values(self, columns: Columns) -> Numbers:
        return np.asarray(-self.term.values(columns), dtype=np.float64)

    def facts(self) -> Iterator[str]:
        return self.term.facts()

    def __str__(self) -> str:
        return f"-{self.term}" if isinstance(self.term, Fact) else f"-({self.term})"


class Expression(ABC):
    """A condition on facts. ``str`` gives its canonical text, which parses to an equal expression."""

    @abstractmethod
    def evaluate(self, columns: Columns) -> Truth:
        """Where the condition holds, and where a fact that is not known leaves it open."""

    @abstractmethod
    def facts(self) -> Iterator[str]:
        """The facts it reads, in order of appearance, possibly more than once."""

    def warnings(self, columns: Columns) -> list[str]:
        """Remarks on values that no entry has, one line each."""
        return []


@dataclass(frozen=True)
class Compare(Expression):
    """``left operator right`` on numbers; unknown where either side is."""

    operator: str
    left: Term
    right: Term

    def evaluate(self, columns: Columns) -> Truth:
        with np.errstate(all="ignore"):
            left, right = np.broadcast_arrays(self.left.values(columns), self.right.values(columns))
            # An overflow is not knowledge either, so infinite counts as unknown.
            known = np.isfinite(left) & np.isfinite(right)
            true = COMPARISONS[self.operator](left, right) & known
        return Truth(true, ~known)

    def facts(self) -> Iterator[str]:
        yield from self.left.facts()
        yield from self.right.facts()

    def warnings(self, columns: Columns) -> list[str]:
        if not (isinstance(self.left, Fact) and isinstance(self.right, Number) and FACTS[self.left.name].unit == "%"):
            return []
        value = self.right.value
        if 0 < value < 1:
            return [f"{self.left.name} is in percent: {number_text(value)} means {number_text(value)} %, not {value * 100:.3g} %"]
        return [f"{self.left.name} is in percent and cannot exceed 100"] if value > 100 else []

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right}"


@dataclass(frozen=True)
class OneOf(Expression):
    """The fact is one of ``values``; a set fact: it holds one of them. Words compare without case, ``-`` or ``_``."""

    fact: str
    values: tuple[str | float, ...]

    def evaluate(self, columns: Columns) -> Truth:
        if FACTS[self.fact].kind in ("count", "number"):
            numbers = [value for value in self.values if not isinstance(value, str)]
            held = columns.filled(self.fact)
            return Truth(np.isin(held, numbers), np.isnan(held))
        wanted = {plain_word(str(value)) for value in self.values}
        return _words_truth(columns, self.fact, lambda word: plain_word(word) in wanted)

    def facts(self) -> Iterator[str]:
        yield self.fact

    def warnings(self, columns: Columns) -> list[str]:
        if FACTS[self.fact].kind in ("count", "number"):
            return []
        words = columns.words(self.fact)
        have = {plain_word(word) for word in words}
        return [
            f"no entry has {self.fact} = {value}{did_you_mean(str(value), words) if len(words) <= _SUGGESTED_FROM else ''}"
            for value in self.values
            if plain_word(str(value)) not in have
        ]

    def __str__(self) -> str:
        return self.text("=", "in")

    def text(self, equal: str, within: str) -> str:
        """The condition with other words for ``=`` and ``in``."""
        shown = [quoted(value) if isinstance(value, str) else number_text(value) for value in self.values]
        return f"{self.fact} {equal} {shown[0]}" if len(shown) == 1 else f"{self.fact} {within} ({', '.join(shown)})"


@dataclass(frozen=True)
class Like(Expression):
    """The text fact (or a word of the set fact) matches a glob with ``*``, ``?`` and ``[...]``."""

    fact: str
    pattern: str

    def evaluate(self, columns: Columns) -> Truth:
        return _words_truth(columns, self.fact, self._matcher())

    def _matcher(self) -> Callable[[str], bool]:
        # Underscores inside [...] stay, where a hyphen would make a range of them.
        match = re.compile(translate(re.sub(r"_(?![^\[]*\])", "-", self.pattern.lower()))).match
        return lambda word: match(plain_word(word)) is not None

    def facts(self) -> Iterator[str]:
        yield self.fact

    def warnings(self, columns: Columns) -> list[str]:
        matches = self._matcher()
        some = any(matches(word) for word in columns.words(self.fact))
        return [] if some else [f"no entry has {self.fact} like {self.pattern!r}"]

    def __str__(self) -> str:
        return f"{self.fact} ~ {quoted(self.pattern)}"


@dataclass(frozen=True)
class Has(Expression):
    """The graph holds an operator, a named form, or any operator of a family."""

    name: str

    def evaluate(self, columns: Columns) -> Truth:
        return Truth(columns.member("ops", *operator_names(self.name)), ~columns.known("ops"))

    def facts(self) -> Iterator[str]:
        yield "ops"

    def __str__(self) -> str:
        return f"has({self.name})"


@dataclass(frozen=True)
class HasMotif(Expression):
    """The graph holds the mined motif with this id; named ones are asked for by `Has`, as operators are."""

    name: str

    def evaluate(self, columns: Columns) -> Truth:
        return Truth(columns.member("motifs", self.name), ~columns.known("motifs"))

    def facts(self) -> Iterator[str]:
        yield "motifs"

    def __str__(self) -> str:
        return f"has_motif({self.name})"


@dataclass(frozen=True)
class Known(Expression):
    """The fact is known; itself never unknown."""

    fact: str

    def evaluate(self, columns: Columns) -> Truth:
        return Truth(columns.known(self.fact), np.zeros(len(columns), dtype=np.bool_))

    def facts(self) -> Iterator[str]:
        yield self.fact

    def __str__(self) -> str:
        return f"known({self.fact})"


@dataclass(frozen=True)
class Not(Expression):
    """The condition does not hold; unknown stays unknown."""

    item: Expression

    def evaluate(self, columns: Columns) -> Truth:
        truth = self.item.evaluate(columns)
        return Truth(truth.false, truth.unknown)

    def facts(self) -> Iterator[str]:
        return self.item.facts()

    def warnings(self, columns: Columns) -> list[str]:
        return self.item.warnings(columns)

    def __str__(self) -> str:
        if isinstance(self.item, OneOf):
            return self.item.text("!=", "not in")
        return f"not ({self.item})" if isinstance(self.item, (And, Or)) else f"not {self.item}"


@dataclass(frozen=True)
class And(Expression):
    """All conditions hold: false where one is false, else unknown where one is unknown."""

    items: tuple[Expression, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _flat(self.items, And))

    def evaluate(self, columns: Columns) -> Truth:
        truths = [item.evaluate(columns) for item in self.items]
        true, false = truths[0].true.copy(), truths[0].false
        for truth in truths[1:]:
            true &= truth.true
            false |= truth.false
        return Truth(true, ~(true | false))

    def facts(self) -> Iterator[str]:
        return (fact for item in self.items for fact in item.facts())

    def warnings(self, columns: Columns) -> list[str]:
        return [line for item in self.items for line in item.warnings(columns)]

    def __str__(self) -> str:
        return " and ".join(f"({item})" if isinstance(item, Or) else str(item) for item in self.items)


@dataclass(frozen=True)
class Or(Expression):
    """One of the conditions holds: true where one is true, else unknown where one is unknown."""

    items: tuple[Expression, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _flat(self.items, Or))

    def evaluate(self, columns: Columns) -> Truth:
        truths = [item.evaluate(columns) for item in self.items]
        true, unknown = truths[0].true.copy(), truths[0].unknown.copy()
        for truth in truths[1:]:
            true |= truth.true
            unknown |= truth.unknown
        return Truth(true, unknown & ~true)

    def facts(self) -> Iterator[str]:
        return (fact for item in self.items for fact in item.facts())

    def warnings(self, columns: Columns) -> list[str]:
        return [line for item in self.items for line in item.warnings(columns)]

    def __str__(self) -> str:
        return " or ".join(str(item) for item in self.items)


def _flat(items: tuple[Expression, ...], kind: type[And] | type[Or]) -> tuple[Expression, ...]:
    """``items`` with those of the same kind opened, so that grouping never makes equal conditions differ."""
    assert len(items) > 1, "a conjunction or disjunction joins at least two conditions"
    return tuple(
        part for item in items for part in (item.items if isinstance(item, (And, Or)) and isinstance(item, kind) else (item,))
    )


def _words_truth(columns: Columns, fact: str, matches: Callable[[str], bool]) -> Truth:
    known = columns.known(fact)
    if FACTS[fact].kind == "set":
        return Truth(columns.member(fact, *filter(matches, columns.words(fact))), ~known)
    codes, words = columns.text(fact)
    # One more place at the end takes the code -1 of unknown.
    hit = np.fromiter((matches(word) for word in words), dtype=np.bool_, count=len(words))
    return Truth(np.append(hit, False)[codes], ~known)


def plain_word(word: str) -> str:
    """A word for comparison: lower case, ``_`` as ``-``."""
    return word.lower().replace("_", "-")


def number_text(value: float) -> str:
    """The shortest text that reads back as the same double, whole numbers without a point."""
    return str(int(value)) if value == int(value) and abs(value) < 1e16 else repr(value)


def quoted(word: str) -> str:
    """A word as it may stand in an expression: bare where that is unambiguous, else in quotes."""
    if _BARE.fullmatch(word) and word.lower() not in KEYWORDS:
        return word
    return "'" + word.replace("\\", "\\\\").replace("'", "\\'") + "'"
