"""What the importer knows of a tensor of an ONNX graph, and arithmetic on small constants.

Exporters compute shapes, axes and scale factors with operators of the graph itself (``Shape``, ``Gather``, ...). Those
chains are evaluated here, so that what reads them sees numbers, as it does when PyTorch is traced.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

MOST_ELEMENTS = 4096
"""Constants with more elements are known by their shape alone."""

FLOAT, INT64, BOOL = 1, 7, 9
"""`TensorProto.DataType` of what operators make that state no type."""

REAL_TYPES = frozenset({1, 10, 11, 14, 15, 16, 17, 18, 19, 20, 23, 24, 27})
"""Element types of floating point and complex numbers."""

_NUMPY: Mapping[int, Any] = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64,
                             9: np.bool_, 10: np.float32, 11: np.float64, 12: np.uint32, 13: np.uint64,
                             16: np.float32}  # fmt: skip
_ELEMENT = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float64": 11,
"uint32": 12,
            "uint64": 13}  # fmt: skip


@dataclass(eq=False, slots=True)
class Value:
    """One tensor.

    Attributes:
        shape: ``None`` where it is not known.
        element: `TensorProto.DataType`, 0 where it is not known.
        node: Its node in the capture; ``None`` until something that stays reads it.
        array: Contents of a small constant.
        name: Name of an initializer, for parameters; ``""`` otherwise.
        trained: Whether an initializer that becomes a node is a parameter (else a constant).
        fixed: Whether it follows from constants alone.
        root: The initializer of which it is another view.
        items: Members, when it is a sequence of tensors.
        zero: Whether it is known to hold nothing but zeros.
    """

    shape: Shape | None = None
    element: int = FLOAT
    node: int | None = None
    array: Array | None = None
    name: str = ""
    trained: bool = False
    fixed: bool = False
    root: Value | None = None
    items: list[Value] | None = None
    zero: bool = False

    @property
    def real(self) -> bool:
        """Whether it holds floating point or complex numbers."""
        return self.element in REAL_TYPES or self.element == 0

    @property
    def numel(self) -> int | None:
        """Number of elements."""
        return None if self.shape is None else math.prod(self.shape)

    @property
    def scalar(self) -> float | None:
        """The number in a constant of one element."""
        if self.array is None or self.array.size != 1 or self.array.dtype.kind not in "fiub":
            return None
        return float(self.array.reshape(()))

    def ints(self) -> tuple[int, ...] | None:
        """The integers in a small constant."""
        if self.array is None or self.array.dtype.kind not in "iuf":
            return None
        return tuple(int(x) for x in self.array.reshape(-1).tolist())


def of_array(array: Array) -> Value:
    """A constant with known contents."""
    element = _ELEMENT.get(array.dtype.name, 0)
    return Value(tuple(array.shape), element, array=array, fixed=True, zero=array.dtype.kind in "fiub" and not array.any())


def numpy_type(element: int) -> Any:
    """The numpy type for an ONNX element type, float32 for those numpy does not have, ``None`` for text."""
    return _NUMPY.get(element, None if element == 8 else np.float32)


Attributes = Mapping[str, Any]
_Evaluate = Callable[[Sequence[Any], Attributes], Array]


def _slice(x: Sequence[Any], a: Attributes) -> Array:
    starts = a.get("starts") or x[1].tolist()
    ends = a.get("ends") or x[2].tolist()
    axes = a.get("axes") or (x[3].tolist() if len(x) > 3 and x[3] is not None else range(len(starts)))
    steps = x[4].tolist() if len(x) > 4 and x[4] is not None else [1] * len(starts)
    cuts = [slice(None)] * x[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        stop = None if step < 0 and end < -x[0].shape[axis] else end
        cuts[axis] = slice(start, stop, step)
    return np.asarray(x[0][tuple(cuts)])


def _axes(x: Sequence[Any], a: Attributes) -> tuple[int, ...] | None:
    given = a.get("axes") or (x[1].tolist() if len(x) > 1 and x[1] is not None else None)
    return tuple(given) if given is not None else None


def _reduced(function: Callable[..., Any]) -> _Evaluate:
    return lambda x, a: np.asarray(function(x[0], axis=_axes(x, a), keepdims=bool(a.get("keepdims", 1))))


def _divide(x: Sequence[Any], a: Attributes) -> Array:
    if x[0].dtype.kind in "iu" and x[1].dtype.kind in "iu":
        return np.asarray(np.trunc(np.true_divide(x[0], x[1])).astype(x[0].dtype))  # ONNX rounds towards zero
    return np.asarray(np.true_divide(x[0], x[1]))


def _unsqueeze(x: Sequence[Any], a: Attributes) -> Array:
    axes = _axes(x, a) or ()
    rank = x[0].ndim + len(axes)
    found = x[0]
    for axis in sorted(axis % rank for axis in axes):
        found = np.expand_dims(found, axis)
    return np.asarray(found)


def _reshape(x: Sequence[Any], a: Attributes) -> Array:
    target = [x[0].shape[i] if n == 0 and not a.get("allowzero") else n for i, n in enumerate(x[1].tolist())]
    return np.asarray(x[0].reshape(target))


def _cast(x: Sequence[Any], a: Attributes) -> Array:
    return np.asarray(x[0].astype(numpy_type(a["to"])))


def _fold(function: Callable[[Any, Any], Any]) -> _Evaluate:
    def evaluate(x: Sequence[Any], a: Attributes) -> Array:
        found = x[0]
        for other in x[1:]:
            found = function(found, other)
        return np.asarray(found)

    return evaluate


def _plain(function: Callable[..., Any]) -> _Evaluate:
    return lambda x, a: np.asarray(function(*x))


EVALUATE: Mapping[str, _Evaluate] = {
    **{name: _plain(cast(Callable[..., Any], function)) for name, function in {
        "Sub": np.subtract, "Pow": np.power, "Neg": np.negative, "Abs": np.abs, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log,
        "Floor": np.floor,
        "Ceil": np.ceil, "Round": np.round, "Equal": np.equal, "Less": np.less, "Greater": np.greater,
        "LessOrEqual": np.less_equal,
        "GreaterOrEqual": np.greater_equal, "Not": np.logical_not, "And": np.logical_and, "Or": np.logical_or,
        "Xor": np.logical_xor,
        "Where": np.where, "Sign": np.sign, "Cos": np.cos, "Sin": np.sin, "Reciprocal": np.reciprocal, "Identity": np.asarray,
        "MatMul": np.matmul, "Range": np.arange,
    }.items()},
    "Add": _fold(np.add), "Mul": _fold(np.multiply), "Sum": _fold(np.add), "Max": _fold(np.maximum), "Min": _fold(np.minimum),
    "Div": _divide,
    "Mod": lambda x, a: np.asarray((np.fmod if a.get("fmod") else np.mod)(x[0], x[1])),
    "Gather": lambda x, a: np.take(x[0], x[1], axis=a.get("axis", 0)),
    "Concat": lambda x, a: np.concatenate(x, axis=a["axis"]),
    "Squeeze": lambda x, a: np.squeeze(x[0], axis=_axes(x, a)), "Unsqueeze": _unsqueeze, "Reshape": _reshape, "Slice": _slice,
    "Flatten": lambda x, a: x[0].reshape(math.prod(x[0].shape[: a.get("axis", 1)]), -1),
    "Transpose": lambda x, a: np.transpose(x[0], a.get("perm")), "Cast": _cast,
    "Expand": lambda x, a: x[0] * np.ones(x[1].tolist(), x[0].dtype),
    "Tile": lambda x, a: np.tile(x[0], x[1].tolist()), "NonZero": lambda x, a: np.stack(np.nonzero(x[0])),
    "ReduceProd": _reduced(np.prod), "ReduceSum": _reduced(np.sum), "ReduceMax": _reduced(np.max), "ReduceMin": _reduced(np.min),
    "ReduceMean": _reduced(np.mean), "CumSum": lambda x, a: np.cumsum(x[0], axis=int(x[1])),
    "Trilu": lambda x, a: (np.triu if a.get("upper", 1) else np.tril)(x[0], int(x[1]) if len(x) > 1 and x[1] is not None else 0),
}  # fmt: skip
"""Operators that are computed when all inputs are small constants."""


def evaluate(op: str, arrays: Sequence[Array | None], attributes: Attributes) -> Array | None:
    """The result of a one-output operator on constants, or ``None`` where it is not computed.

    The caller has made sure that the result has at most `MOST_ELEMENTS` elements.
    """
    function = EVALUATE.get(op)
    if function is None or not arrays or arrays[0] is None:
        return None
    with np.errstate(all="ignore"):
        try:
            return np.asarray(function(arrays, attributes))
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError):
            return None  # a combination of types or shapes numpy has no rule for: known by its shape alone
