"""Units: what ``1.5 GMACs``, ``10 ms`` or ``30M`` means for the fact it is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netatlas.errors import QueryError

_PREFIXES = {"": 0, "k": 3, "K": 3, "M": 6, "G": 9, "T": 12, "P": 15}
_COUNT_SUFFIXES = {"k": 3, "m": 6, "mio": 6, "g": 9, "b": 9, "bn": 9, "t": 12, "p": 15, "thousand": 3, "million": 6, "billion": 9,
                   "trillion": 12}  # fmt: skip
_BINARY = {"kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30, "tib": 2.0**40}
_TIMES = {"ns": -6, "us": -3, "µs": -3, "μs": -3, "ms": 0, "msec": 0, "s": 3, "sec": 3, "second": 3, "seconds": 3,
          "millisecond": 0, "milliseconds": 0, "microseconds": -3}  # fmt: skip
_WHOLE = {
    "%": "%", "percent": "%", "pct": "%", "px": "px", "pixel": "px", "pixels": "px", "img/s": "img/s", "img/sec": "img/s",
    "images/s": "img/s", "images/sec": "img/s", "imgs/s": "img/s", "fps": "img/s", "byte": "B", "bytes": "B",
}  # fmt: skip
_BASES = {"mac": "MAC", "macs": "MAC", "flop": "FLOP", "flops": "FLOP"}
_HALF = {("FLOP", "MAC"): 0.5, ("MAC", "FLOP"): 2.0}
"""A multiply-accumulate is two floating point operations."""


@dataclass(frozen=True)
class Quantity:
    """A number as written, with its unit.

    Attributes:
        value: In ``unit``.
        unit: A unit of the facts table, ``""`` for a bare or SI-scaled number, or ``"B?"`` for the letter B alone, which is
            billions for a count and bytes for a fact in bytes.
        text: As written, for messages.
    """

    value: float
    unit: str
    text: str

    def for_unit(self, unit: str, subject: str) -> float:
        """The value in ``unit``, the unit of ``subject``.

        Raises:
            QueryError: The quantity is in another unit.
        """
        if self.unit == "B?":
            return self.value if unit == "B" else _scaled(self.value, 9, self.text)
        if self.unit in ("", unit):
            return self.value
        if (self.unit, unit) in _HALF:
            return self.value * _HALF[self.unit, unit]
        expected = f"is in {unit}" if unit else "is a plain count"
        raise QueryError(f"{subject} {expected}: {self.text!r} has the unit {self.unit}")


def read_quantity(digits: str, suffix: str) -> Quantity | None:
    """The quantity that a number and the letters after it mean; ``None`` when the letters are no unit.

    Args:
        digits: A decimal literal; ``_`` and ``,`` between digits are ignored.
        suffix: A unit, an SI prefix, or both, such as ``"GMACs"``, ``"M"``, ``"%"``; blanks are ignored.

    Raises:
        QueryError: The number is too large for a double.
    """
    text = f"{digits} {suffix}".strip()
    number = digits.replace("_", "").replace(",", "")
    suffix = suffix.replace(" ", "")
    if suffix in ("", "B"):
        return Quantity(_parsed(number, 0, text), "B?" if suffix else "", text)
    if (unit := _WHOLE.get(suffix.lower())) is not None:
        return Quantity(_parsed(number, 0, text), unit, text)
    if (exponent := _TIMES.get(suffix.lower())) is not None:
        return Quantity(_parsed(number, exponent, text), "ms", text)
    if (binary := _BINARY.get(suffix.lower())) is not None:
        return Quantity(_finite(_parsed(number, 0, text) * binary, text), "B", text)
    for size in (1, 0, len(suffix)):
        prefix, base = suffix[:size], suffix[size:]
        exponent = _prefix(prefix)
        if exponent is not None and (found := _base(base, prefix)) is not None:
            return Quantity(_parsed(number, exponent, text), found, text)
    if (exponent := _COUNT_SUFFIXES.get(suffix.lower())) is not None:
        return Quantity(_parsed(number, exponent, text), "", text)
    return None


def _prefix(prefix: str) -> int | None:
    # People write 300m or 4g for counts; no fact is counted in thousandths, so a small letter is the large prefix.
    return _PREFIXES.get(prefix, _PREFIXES.get(prefix.upper()))


def _base(base: str, prefix: str) -> str | None:
    if not base:
        return "" if prefix else None
    return "B" if base == "B" or (base == "b" and prefix) else _BASES.get(base.lower())


def _parsed(number: str, exponent: int, text: str) -> float:
    mantissa, _, power = number.lower().partition("e")
    if len(power) > 5:
        raise QueryError(f"{_short(text)!r} is too large or too small a number")
    # One rounding: 0.07 * 1e9 is 70000000.00000001, 0.07e9 is not.
    return _finite(float(f"{mantissa}e{int(power or 0) + exponent}"), text)


def _scaled(value: float, exponent: int, text: str) -> float:
    return _finite(float(f"{value!r}e{exponent}") if "e" not in repr(value) else value * 10.0**exponent, text)


def _finite(value: float, text: str) -> float:
    if not math.isfinite(value):
        raise QueryError(f"{_short(text)!r} is too large a number")
    return value


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
