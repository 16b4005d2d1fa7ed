"""Output shapes of ONNX operators, as the ONNX specification defines them; ``None`` is a shape that is not known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

Shape = tuple[int, ...]


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Common shape of element-wise operands.

    Raises:
        ValueError: Two sizes differ and neither is 1.
    """
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max((len(shape) for shape in known), default=0)
    result = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in known if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            raise ValueError(f"operands of shapes {' and '.join(map(str, known))} do not fit")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def convolved(size: int, kernel: int, stride: int, dilation: int, pads: int, auto: str = "NOTSET", ceil: bool = False) -> int:
    """Size of one axis after a convolution or pool; ``pads`` is the sum of both sides."""
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        return -(-size // stride)
    span = size + (0 if auto == "VALID" else pads) - dilation * (kernel - 1) - 1
    if span < 0:
        raise ValueError(f"a kernel of {kernel} is larger than an axis of {size}")
    return (-(-span // stride) if ceil else span // stride) + 1


def window(a: Any, n: int) -> tuple[list[int], list[int], list[int]]:
    """Strides, dilations and summed pads of an operator with ``n`` spatial axes."""
    strides = list(a.get("strides") or [1] * n)
    dilations = list(a.get("dilations") or [1] * n)
    pads = list(a.get("pads") or [0] * 2 * n)
    if len(strides) != n or len(dilations) != n or len(pads) != 2 * n or min(strides, default=1) < 1:
        raise ValueError(f"strides {strides}, dilations {dilations} and pads {pads} do not fit {n} spatial axes")
    return strides, dilations, [pads[i] + pads[i + n] for i in range(n)]


def slide(x: Shape, kernel: Sequence[int], a: Any) -> Shape:
    """Spatial axes of ``x`` after a convolution or pool with attributes ``a``."""
    n = len(kernel)
    strides, dilations, pads = window(a, n)
    auto, ceil = a.get("auto_pad", "NOTSET"), bool(a.get("ceil_mode"))
    found = []
    for i, size in enumerate(x[-n:] if n else ()):
        out = convolved(size, kernel[i], strides[i], dilations[i], pads[i], auto, ceil)
        if ceil and auto == "NOTSET" and (out - 1) * strides[i] >= size + (a.get("pads") or [0] * n)[i]:
            out -= 1  # a window that would start in the padding behind the end is left out
        found.append(out)
    return tuple(found)


def unslide(x: Shape, kernel: Sequence[int], a: Any) -> Shape:
    """Spatial axes of ``x`` after a transposed convolution."""
    n = len(kernel)
    strides, dilations, pads = window(a, n)
    if a.get("output_shape"):
        return tuple(a["output_shape"][-n:])
    extra = a.get("output_padding") or [0] * n
    if a.get("auto_pad", "NOTSET") in ("SAME_UPPER", "SAME_LOWER"):
        return tuple(size * stride for size, stride in zip(x[-n:], strides, strict=True))
    return tuple(strides[i] * (x[-n:][i] - 1) + extra[i] + (kernel[i] - 1) * dilations[i] + 1 - pads[i] for i in range(n))


def matmul(a: Shape, b: Shape) -> Shape:
    """Shape of ``a @ b`` with numpy's rules."""
    if not a or not b:
        raise ValueError("a matrix product needs operands with axes")
    left, right = (1, *a) if len(a) == 1 else a, (*b, 1) if len(b) == 1 else b
    if left[-1] != right[-2]:
        raise ValueError(f"the inner sizes of {a} and {b} differ")
    lead = broadcast([left[:-2], right[:-2]])
    assert lead is not None
    return (*lead, *(left[-2:-1] if len(a) > 1 else ()), *(right[-1:] if len(b) > 1 else ()))


def reshape(x: Shape | None, target: Sequence[int], allow_zero: bool = False) -> Shape | None:
    """Shape after ``Reshape``; 0 copies an axis, -1 takes what is left."""
    if x is None:
        return tuple(target) if all(n > 0 for n in target) else None
    result = [x[i] if n == 0 and not allow_zero else n for i, n in enumerate(target)]
    if result.count(-1) > 1 or any(n < -1 for n in result):
        raise ValueError(f"{tuple(target)} is no shape")
    if -1 in result:
        known = math.prod(n for n in result if n != -1)
        result[result.index(-1)] = math.prod(x) // known if known else 0
    if math.prod(result) != math.prod(x):
        raise ValueError(f"{math.prod(x)} elements do not fit the shape {tuple(target)}")
    return tuple(result)


def reduce(x: Shape, axes: Sequence[int] | None, keep: bool) -> Shape:
    """Shape after a reduction; ``None`` stands for all axes."""
    gone = set(range(len(x))) if axes is None else {normal(axis, len(x)) for axis in axes}
    return tuple(1 if i in gone else n for i, n in enumerate(x) if keep or i not in gone)


def normal(axis: int, rank: int) -> int:
    """``axis`` counted from the front.

    Raises:
        ValueError: There is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"axis {axis} does not exist in a tensor of {rank} axes")
    return axis % rank


def cut(size: int, start: int, end: int, step: int) -> int:
    """Elements that a slice takes from an axis of ``size``."""
    if step == 0:
        raise ValueError("a slice has step 0")
    return len(range(*slice(start, end if not (step < 0 and end < -size) else None, step).indices(size)))


def squeeze(x: Shape, axes: Sequence[int] | None) -> Shape:
    """Shape after ``Squeeze``."""
    gone = {i for i, n in enumerate(x) if n == 1} if axes is None else {normal(axis, len(x)) for axis in axes}
    return tuple(n for i, n in enumerate(x) if i not in gone)


def unsqueeze(x: Shape, axes: Sequence[int]) -> Shape:
    """Shape after ``Unsqueeze``."""
    rank = len(x) + len(axes)
    new = {normal(axis, rank) for axis in axes}
    rest = iter(x)
    return tuple(1 if i in new else next(rest) for i in range(rank))


def einsum(equation: str, shapes: Sequence[Shape]) -> Shape | None:
    """Shape of an einsum without ellipses; ``None`` for those with."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    if "." in equation:
        return None
    sizes = {
        letter: size
        for term, shape in zip(left.split(","), shapes, strict=True)
        for letter, size in zip(term, shape, strict=True)
    }
    letters = right if arrow else "".join(sorted(c for c in sizes if left.count(c) == 1))
    return tuple(sizes[letter] for letter in letters)
