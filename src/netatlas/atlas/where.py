"""The query language: ``params < 6M and not has(attention)`` as a typed filter over `Columns`.

`parse` reads it, `Expression.evaluate` answers it in three-valued logic (unknown is never zero and never false), ``str`` writes
it canonically and `chips` for people. The grammar is in ``docs/query-language.md``.
"""

from __future__ import annotations

from collections.abc import Iterable

from netatlas.atlas._where_chips import amount, chips
from netatlas.atlas._where_lexer import MAX_LENGTH
from netatlas.atlas._where_nodes import (
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
    Truth,
)
from netatlas.atlas._where_operators import find_operator, operator_names, operator_words
from netatlas.atlas._where_order import Axis, pareto_axes, pareto_front, sort_key
from netatlas.atlas._where_parser import MAX_DEPTH, parse
from netatlas.atlas._where_units import Quantity, read_quantity

__all__ = [
    "MAX_DEPTH", "MAX_LENGTH", "And", "Arithmetic", "Axis", "Compare", "Expression", "Fact", "Has", "HasMotif", "Known", "Like", "Negative",
    "Not", "Number", "OneOf", "Or", "Quantity", "Term", "Truth", "all_of", "amount", "chips", "find_operator", "operator_names",
    "operator_words", "pareto_axes", "pareto_front", "parse", "read_quantity", "sort_key",
]  # fmt: skip


def all_of(conditions: Iterable[Expression | None]) -> Expression | None:
    """The condition that all ``conditions`` hold, each stated once; ``None`` stands for no condition, here and in the result."""
    items: dict[Expression, None] = {}
    for condition in conditions:
        if condition is not None:
            items |= dict.fromkeys(condition.items if isinstance(condition, And) else (condition,))
    return And(tuple(items)) if len(items) > 1 else next(iter(items), None)
