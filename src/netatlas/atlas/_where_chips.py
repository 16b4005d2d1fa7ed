"""Chips: a condition in the few words in which it is shown back to people."""

from __future__ import annotations

from netatlas.atlas._where_nodes import (
    And,
    Compare,
    Expression,
    Fact,
    Has,
    HasMotif,
    Known,
    Like,
    Not,
    Number,
    OneOf,
    Or,
    number_text,
)
from netatlas.facts import FACTS

_SCALED = {"params": "TBMk", "macs": "TGMk", "flops": "TGMk", "activations": "TGMk", "peak_memory": "TGMk", "peak_rss": "TGMk"}
_SHORTEST = 6  # characters; 5,288,548 is better written out than as 5.288548M


def chips(expression: Expression) -> list[str]:
    """One phrase for each condition of a conjunction, such as ``"params < 6M"``, ``"no attention"``, ``"top1 > 75 %"``.

    A lower and an upper bound on one fact share a chip. Numbers are exact: a chip states what is filtered, never a rounding.
    """
    items = expression.items if isinstance(expression, And) else (expression,)
    found: list[str] = []
    bounds: dict[str, tuple[int, Compare]] = {}
    for item in items:
        if isinstance(item, Compare) and (bound := _bound(item)):
            fact, side = bound
            other = bounds.pop(f"{fact}{'>' if side == '<' else '<'}", None)
            if other is not None:
                lower, upper = (item, other[1]) if side == ">" else (other[1], item)
                found[other[0]] = _range(fact, lower, upper)
                continue
            bounds.setdefault(f"{fact}{side}", (len(found), item))
        found.append(_chip(item))
    return found


def _bound(item: Compare) -> tuple[str, str] | None:
    if isinstance(item.left, Fact) and isinstance(item.right, Number) and item.operator[0] in "<>":
        return item.left.name, item.operator[0]
    return None


def _range(fact: str, lower: Compare, upper: Compare) -> str:
    assert isinstance(lower.right, Number), "bounds compare with numbers"
    assert isinstance(upper.right, Number), "bounds compare with numbers"
    low = "<=" if "=" in lower.operator else "<"
    return f"{amount(fact, lower.right.value)} {low} {fact} {upper.operator} {amount(fact, upper.right.value)}"


def _chip(item: Expression) -> str:
    match item:
        case Compare(symbol, Fact(name), Number(value)):
            return f"{name} {symbol} {amount(name, value)}"
        case Has(name):
            return f"with {_spoken(name)}"
        case Not(Has(name)):
            return f"no {_spoken(name)}"
        case HasMotif(name):
            return f"with motif {name}"
        case Not(HasMotif(name)):
            return f"no motif {name}"
        case OneOf():
            return _one_of(item, "=")
        case Not(OneOf() as inner):
            return _one_of(inner, "!=")
        case Like(fact, pattern):
            return f"{fact} like {pattern}"
        case Known(fact):
            return f"{fact} known"
        case Not(Known(fact)):
            return f"{fact} unknown"
        case Or(items):
            return " or ".join(f"({' and '.join(chips(part))})" if isinstance(part, And) else _chip(part) for part in items)
        case Not(inner):
            return f"not ({' and '.join(chips(inner))})"
        case _:
            return str(item)


def _one_of(item: OneOf, symbol: str) -> str:
    values = [amount(item.fact, value) if isinstance(value, float) else value for value in item.values]
    return f"{item.fact} {symbol} {(' or ' if symbol == '=' else ', ').join(values)}"


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def amount(fact: str, value: float) -> str:
    """A number as people write it for a fact: ``6M``, ``1.5 GMAC``, ``75 %``; exact, so written out where no short form is."""
    unit = FACTS[fact].unit
    digits, suffix = number_text(value), ""
    for exponent, letter in zip((12, 9, 6, 3), _SCALED.get(fact, ""), strict=False):
        short = number_text(value / 10.0**exponent)
        if value >= 10.0**exponent and len(short) <= _SHORTEST and float(f"{short}e{exponent}") == value:
            digits, suffix = short, letter
            break
    return f"{digits} {suffix}{unit}" if unit else f"{digits}{suffix}"
