"""Parser of expressions: precedence climbing over a `Scanner`, with unit checks; never ``eval``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from netatlas.atlas._where_lexer import Scanner
from netatlas.atlas._where_nodes import (
    COMPARISONS,
    MIRRORED,
    And,
    Arithmetic,
    Compare,
    Expression,
    Fact,
    Has,
    HasMotif,
    Known,
    Like,
    Negative,
    Not,
    Number,
    OneOf,
    Or,
    Term,
)
from netatlas.atlas._where_operators import find_motif, find_operator, is_mined, motif_words, operator_words
from netatlas.atlas._where_units import Quantity
from netatlas.atlas.columns import Columns
from netatlas.errors import QueryError, did_you_mean
from netatlas.facts import FactType, fact_words, find_fact

MAX_DEPTH = 100
"""Parentheses, negations and arithmetic operators inside one another."""
MAX_PATTERN = 200
"""Characters of a pattern after ``~``."""

_LEVELS = {"or": 1, "and": 2, **dict.fromkeys(COMPARISONS, 3), "in": 3, "not": 3, "~": 3, "+": 4, "-": 4, "*": 5, "/": 5}
_NOT_LEVEL, _SIGN_LEVEL = 2, 6
_FUNCTIONS = ("has", "has_motif", "known")
_NOTHING = Columns.from_entries(())

Unit = tuple[tuple[str, int], ...]
"""Powers of the units of the facts table, such as ``(("MAC", 1), ("ms", -1))``; ``()`` is a plain count."""


_SCALED = re.compile(r"[kmgt](?:mac|flop)s?", re.IGNORECASE)
"""Units people write where a fact belongs: ``gmacs < 2`` would mean two multiply-accumulates."""


@dataclass(frozen=True)
class _Value:
    """A term with its unit; ``None`` for numbers without one, which fit everything. ``quantity`` is set on literals."""

    term: Term
    unit: Unit | None
    at: int
    quantity: Quantity | None = None


def parse(text: str) -> Expression:
    """The condition that ``text`` states.

    Raises:
        QueryError: The text is no expression, or names an unknown fact, operator or unit. The message says where.
    """
    parser = _Parser(text)
    found = parser.condition(parser.level(0))
    if parser.scanner.at < len(parser.scanner.text):
        raise parser.scanner.error(f"{parser.scanner.here()} does not belong here: 'and', 'or' or the end is needed")
    return found


_SCALED = re.compile(r"[kmgt](?:mac|flop)s?", re.IGNORECASE)


class _Parser:
    def __init__(self, text: str) -> None:
        self.scanner = Scanner(text)
        self._depth = 0
        self._operators = 0

    def level(self, above: int) -> Expression | _Value:
        """Read operands joined by operators that bind tighter than ``above``."""
        left = self._operand()
        while (rank := _LEVELS.get(symbol := self.scanner.peek(), 0)) > above:
            at = self.scanner.at
            if rank <= 2:
                self.scanner.take(symbol)
                pair = (self.condition(left, at), self.condition(self.level(rank)))
                left = And(pair) if symbol == "and" else Or(pair)
            elif rank == 3:
                left = self._comparison(self._number(left, at))
            else:
                self.scanner.take(symbol)
                left = self._arithmetic(symbol, self._number(left, at), self._number(self.level(rank), at))
        return left

    def condition(self, found: Expression | _Value, at: int | None = None) -> Expression:
        if isinstance(found, Expression):
            return found
        if isinstance(found.term, Fact):
            raise self.scanner.error(f"{found.term} is not compared with anything, as in {found.term} < 10", at)
        raise self.scanner.error(f"'{found.term}' is a number where a condition is needed", at)

    def _number(self, found: Expression | _Value, at: int) -> _Value:
        if isinstance(found, Expression):
            raise self.scanner.error(f"'{found}' is a condition where a number is needed", at)
        return found

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.scanner.error(f"more than {MAX_DEPTH} parentheses or negations inside one another", at)

    def _operand(self) -> Expression | _Value:
        scanner, at = self.scanner, self.scanner.at
        if symbol := scanner.take("(", "not", "-"):
            self._deeper(at)
            found = self._prefixed(symbol, at)
            self._depth -= 1
            return found
        if (quantity := scanner.number()) is not None:
            unit = ((quantity.unit, 1),) if quantity.unit not in ("", "B?") else None
            return _Value(Number(quantity.value), unit, at, quantity)
        word = "" if scanner.peek() else scanner.word()
        if not word:
            raise scanner.error(f"a fact, a number or has(...) is needed here, not {scanner.here()}")
        if scanner.peek() == "(":
            return self._call(word, at)
        fact = self._fact(word, at)
        if fact.kind in ("text", "set"):
            return self._words(fact)
        return _Value(Fact(fact.name), ((fact.unit, 1),) if fact.unit else (), at)

    def _prefixed(self, symbol: str, at: int) -> Expression | _Value:
        if symbol == "not":
            return Not(self.condition(self.level(_NOT_LEVEL)))
        if symbol == "(":
            found = self.level(0)
            self.scanner.need(")", "to close the parenthesis")
            return found
        value = self._number(self.level(_SIGN_LEVEL), at)
        if isinstance(value.term, Number):
            return _Value(Number(-value.term.value), value.unit, at, value.quantity)
        return _Value(Negative(value.term), value.unit, at)

    def _fact(self, word: str, at: int) -> FactType:
        fact = find_fact(word)
        if fact is None:
            hint = did_you_mean(word[:60], fact_words())
            if word.lower() in ("nan", "inf", "infinity"):
                hint = ": it is not a number to compare with; known(...) asks whether a fact is known"
            elif word.lower() in _FUNCTIONS:
                hint = ": its argument goes in parentheses, as in has(attention) or known(top1)"
            elif _SCALED.fullmatch(word):
                hint = f": it is a unit, write {'flops' if 'flop' in word.lower() else 'macs'} < 2 {word[:60]}"
            elif find_operator(word):
                hint = f": has({word}) asks for an operator"
            raise self.scanner.error(f"unknown fact {word[:60]!r}{hint}", at)
        return fact

    def _call(self, word: str, at: int) -> Expression:
        scanner = self.scanner
        if (called := word.lower()) not in _FUNCTIONS:
            raise scanner.error(f"unknown function {word[:60]!r} (there are: {', '.join(_FUNCTIONS)})", at)
        scanner.take("(")
        found: list[Expression] = []
        while not found or scanner.take(","):
            start = scanner.at
            argument = scanner.argument()
            if called == "known":
                found.append(Known(self._fact(argument, start).name))
            else:
                found.append(self._has(argument, start) if called == "has" else self._has_motif(argument, start))
        scanner.need(")", f"after the arguments of {word}")
        return found[0] if len(found) == 1 else And(tuple(found))

    def _has(self, word: str, at: int) -> Has:
        if (name := find_operator(word)) is None:
            raise self.scanner.error(f"unknown operator {word[:60]!r}{did_you_mean(word[:60], operator_words())}", at)
        return Has(name)

    def _has_motif(self, word: str, at: int) -> Has | HasMotif:
        if (name := find_motif(word)) is None:
            raise self.scanner.error(f"unknown motif {word[:60]!r}{did_you_mean(word[:60], motif_words())}", at)
        return HasMotif(name) if is_mined(name) else Has(name)

    def _words(self, fact: FactType) -> Expression:
        """The condition on a text or set fact that begins after its name."""
        scanner, at = self.scanner, self.scanner.at
        negated = bool(scanner.take("not"))
        symbol = scanner.take("in", "~") if negated else scanner.take("=", "!=", "in", "~")
        if symbol == "~":
            start, pattern = scanner.at, scanner.value(pattern=True)
            if len(pattern) > MAX_PATTERN:  # thousands of wildcards take seconds to compile
                raise scanner.error(f"a pattern of {len(pattern):,} characters is too long (at most {MAX_PATTERN})", start)
            found: Expression = Like(fact.name, pattern)
        elif symbol == "in":
            found = self._one_of(fact, self._list())
        elif symbol:
            start = scanner.at
            found = self._one_of(fact, [(scanner.value(), start)])
        elif scanner.peek() in COMPARISONS:
            raise scanner.error(f"{fact.name} holds words, which have no order (=, !=, in, not in and ~ compare words)")
        else:
            raise scanner.error(f"{fact.name} is not compared with anything, as in {fact.name} = ...", at)
        return Not(found) if negated or symbol == "!=" else found

    def _list(self) -> list[tuple[str, int]]:
        self.scanner.need("(", "after 'in'")
        found: list[tuple[str, int]] = []
        while not found or self.scanner.take(","):
            at = self.scanner.at
            found.append((self.scanner.value(), at))
        self.scanner.need(")", "to close the list")
        return found

    def _one_of(self, fact: FactType, values: list[tuple[str, int]]) -> Expression:
        if fact.name == "ops":  # has() knows the aliases and families
            asked = tuple(self._has(value, at) for value, at in values)
            return asked[0] if len(asked) == 1 else Or(asked)
        if fact.name == "motifs":
            wanted = tuple(self._has_motif(value, at) for value, at in values)
            return wanted[0] if len(wanted) == 1 else Or(wanted)
        return OneOf(fact.name, tuple(dict.fromkeys(value for value, _ in values)))

    def _comparison(self, left: _Value) -> Expression:
        """Comparisons with numbers, chained ones as in ``1M < params < 2M``."""
        scanner, found = self.scanner, list[Expression]()
        while True:
            at = scanner.at
            if symbol := scanner.take("not", "in"):
                if symbol == "not":
                    scanner.need("in", "after 'not'")
                found.append(Not(self._among(left, at)) if symbol == "not" else self._among(left, at))
                break
            if scanner.take("~"):
                raise scanner.error(f"'{left.term}' is a number; ~ compares words", at)
            if not (symbol := scanner.take(*COMPARISONS)):
                break
            if symbol == "=" and scanner.peek() in COMPARISONS:  # params:<30M, as hub search has it
                symbol = scanner.take(*COMPARISONS)
            right = self._number(self.level(3), scanner.at)
            found.append(self._compare(symbol, left, right))
            left = right
        return found[0] if len(found) == 1 else And(tuple(found))

    def _compare(self, symbol: str, left: _Value, right: _Value) -> Expression:
        lhs, rhs, _ = self._aligned(left, right)
        if next(lhs.facts(), None) is None:
            symbol, lhs, rhs = MIRRORED[symbol], rhs, lhs
        if next(lhs.facts(), None) is None:
            raise self.scanner.error(f"'{lhs}' and '{rhs}' are both numbers: a comparison needs a fact", left.at)
        if isinstance(lhs, Fact) and isinstance(rhs, Number) and rhs.value < 0:
            raise self.scanner.error(f"{lhs} is never negative, got {rhs}", right.at)
        return Compare(symbol, lhs, rhs)

    def _among(self, left: _Value, at: int) -> Expression:
        scanner, term = self.scanner, left.term
        if not isinstance(term, Fact):
            raise scanner.error("'in' needs a fact before it", at)
        scanner.need("(", "after 'in'")
        numbers: dict[float, None] = {}
        while not numbers or scanner.take(","):
            start = scanner.at
            if (quantity := scanner.number()) is None:
                raise scanner.error(f"a number is needed here, not {scanner.here()}")
            numbers[self._fitted(_Value(Number(quantity.value), None, start, quantity), left.unit, str(term))] = None
        scanner.need(")", "to close the list")
        return OneOf(term.name, tuple(numbers)) if len(numbers) > 1 else Compare("=", term, Number(*numbers))

    def _arithmetic(self, symbol: str, left: _Value, right: _Value) -> _Value:
        self._operators += 1
        if self._operators > MAX_DEPTH:
            raise self.scanner.error(f"more than {MAX_DEPTH} arithmetic operators", left.at)
        if symbol in "+-":
            lhs, rhs, unit = self._aligned(left, right)
            return _Value(Arithmetic(symbol, lhs, rhs), unit, left.at)
        for value in (left, right):
            if value.quantity is not None and value.quantity.unit == "B?":
                raise self.scanner.error(f"'{value.quantity.text}' may be billions or bytes here: write 1e9 or bytes", value.at)
        if symbol == "/" and next(right.term.facts(), None) is None and not right.term.values(_NOTHING):
            raise self.scanner.error("division by zero", right.at)
        unit = left.unit if right.unit is None else _product(left.unit or (), right.unit, 1 if symbol == "*" else -1)
        return _Value(Arithmetic(symbol, left.term, right.term), unit, left.at)

    def _aligned(self, left: _Value, right: _Value) -> tuple[Term, Term, Unit | None]:
        """Both terms in one unit, and the unit: literals follow the other side, facts are never converted."""
        if left.quantity is not None and right.quantity is None:
            return Number(self._fitted(left, right.unit, str(right.term))), right.term, right.unit
        if right.quantity is not None:
            return left.term, Number(self._fitted(right, left.unit, str(left.term))), left.unit
        if left.unit is not None and right.unit is not None and left.unit != right.unit:
            sides = f"{left.term} is {_unit_text(left.unit)}, {right.term} is {_unit_text(right.unit)}"
            raise self.scanner.error(f"{sides}: their units differ", right.at)
        return left.term, right.term, left.unit if right.unit is None else right.unit

    def _fitted(self, literal: _Value, unit: Unit | None, subject: str) -> float:
        """The value of a literal in ``unit``."""
        quantity = literal.quantity
        assert quantity is not None, "only literals are fitted"
        assert isinstance(literal.term, Number), "a literal is a number"
        sign = -1.0 if literal.term.value < 0 else 1.0
        try:
            if unit is not None and (not unit or (len(unit) == 1 and unit[0][1] == 1)):
                return sign * quantity.for_unit(unit[0][0] if unit else "", subject)
            if quantity.unit == "B?" or unit is None:
                return sign * quantity.for_unit(quantity.unit if quantity.unit != "B?" else "", subject)
            return sign * quantity.for_unit(_unit_text(unit).removeprefix("in "), subject)
        except QueryError as error:
            raise self.scanner.error(str(error), literal.at) from None


def _product(left: Unit, right: Unit, power: int) -> Unit:
    powers = dict(left)
    for unit, exponent in right:
        powers[unit] = powers.get(unit, 0) + power * exponent
    return tuple(sorted((unit, exponent) for unit, exponent in powers.items() if exponent))


def _unit_text(unit: Unit) -> str:
    if not unit:
        return "a plain count"
    return "in " + " ".join(name if exponent == 1 else f"{name}^{exponent}" for name, exponent in unit)
