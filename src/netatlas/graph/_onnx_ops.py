"""The table of ONNX operators, operator sets 7 to the newest and the fused ones of ONNX Runtime, in the vocabulary of netatlas.

Operators of one input and of arithmetic are listed here, the others are handled beside: `_onnx_layers` has those with weights,
`_onnx_layout` those that move numbers. Each handler writes one `Call` and returns its outputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence

from netatlas.graph import _onnx_shapes as shapes
from netatlas.graph._onnx_values import BOOL, FLOAT, INT64, Value
from netatlas.graph._onnx_writer import HANDLERS, Call, Handler, Result, handles
from netatlas.graph.aten import clamp_name, is_spatial, spatial


def table() -> Mapping[str, Handler]:
    """All handlers by ONNX operator name."""
    for name in ("_onnx_layers", "_onnx_layout"):
        importlib.import_module(f"netatlas.graph.{name}")
    return HANDLERS


# ---------------------------------------------------------------- activations


UNARY = {
    "Relu": "relu", "LeakyRelu": "leaky_relu", "Elu": "elu", "Celu": "elu", "Selu": "selu", "Gelu": "gelu", "Mish": "mish",
    "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish", "Tanh": "tanh", "Softplus": "softplus",
    "Softsign": "softsign", "Softmax": "softmax", "LogSoftmax": "log_softmax", "Hardmax": "argmax",
    "ThresholdedRelu": "threshold",
    "Shrink": "threshold", "Exp": "exp", "Log": "log", "Erf": "erf", "Sin": "sin", "Cos": "cos", "Tan": "sin", "Asin": "sin",
    "Acos": "cos",
    "Atan": "tanh", "Sinh": "exp", "Cosh": "exp", "Asinh": "log", "Acosh": "log", "Atanh": "log", "Sqrt": "sqrt",
    "Abs": "abs", "Neg": "neg",
    "Sign": "sign", "Floor": "round", "Ceil": "round", "Round": "round", "Not": "compare", "IsNaN": "compare", "IsInf": "compare",
    "BitwiseNot": "compare", "QuickGelu": "quick_gelu", "Swish": "silu", "Silu": "silu", "Rsqrt": "rsqrt",
}  # fmt: skip
_TO_BOOL = frozenset({"Not", "IsNaN", "IsInf"})


@handles(*UNARY)
def _unary(c: Call) -> Result:
    x, op = c.need(0), UNARY[c.op]
    if c.op == "QuickGelu" and c.a.get("alpha") == 1.0:
        op = "silu"
    if c.op == "Swish" and c.a.get("alpha", 1.0) != 1.0:
        op = "quick_gelu"
    attrs = {"axis": int(c.a["axis"])} if "axis" in c.a else {}
    return c.write(op, [x], x.shape, element=BOOL if c.op in _TO_BOOL else None, **attrs)


@handles("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax")
def _quantised_unary(c: Call) -> Result:
    return c.write(UNARY[c.op.removeprefix("QLinear")], [c.need(0)], c.shape(), element=FLOAT)


@handles("FastGelu", "BiasGelu", "BiasSplitGelu", "BiasSoftmax", "BiasAdd", "BiasDropout")
def _biased(c: Call) -> Result:
    x, bias = c.need(0), c.get(1)
    if bias is not None:
        x = c.write("add", [x, bias], x.shape)
    if c.op == "BiasAdd" and c.get(2) is not None:
        x = c.write("add", [x, c.need(2)], x.shape)
    if c.op == "BiasSplitGelu" and x.shape is not None:
        half = (*x.shape[:-1], x.shape[-1] // 2)
        keys = [((len(half) - 1, i * half[-1], (i + 1) * half[-1], 1),) for i in range(2)]
        left, right = (c.writer.cut(c.writer.position(x), key, half, x.element) for key in keys)
        return c.write("mul", [left, c.write("gelu", [right], half)], half)
    if c.op in ("BiasAdd", "BiasDropout"):
        return x
    return c.write("softmax" if c.op == "BiasSoftmax" else "gelu", [x], x.shape)


@handles("SwiGLU")
def _swiglu(c: Call) -> Result:
    gate, up = c.need(0), c.get(1)
    if up is None and gate.shape is not None:
        half = (*gate.shape[:-1], gate.shape[-1] // 2)
        keys = [((len(half) - 1, i * half[-1], (i + 1) * half[-1], 1),) for i in range(2)]
        gate, up = (c.writer.cut(c.writer.position(gate), key, half, gate.element) for key in keys)
    gated = c.write("silu", [gate], gate.shape)
    return c.write("mul", [gated, up], gate.shape) if up is not None else gated


@handles("PRelu")
def _prelu(c: Call) -> Result:
    return c.weighted("prelu", [c.need(0)], [c.need(1)], c.shape())


@handles("Clip")
def _clip(c: Call) -> Result:
    low, high = c.number("min", 1), c.number("max", 2)
    low = None if low is None or low < -3e38 else low
    high = None if high is None or high > 3e38 else high
    if not c.need(0).real:
        return c.write("clamp", [c.need(0)], c.shape())
    return c.write(clamp_name(low, high), [c.need(0)], c.shape(), low=low, high=high)


# ---------------------------------------------------------------- arithmetic


_BINARY = {
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Pow": "pow", "Mod": "round", "And": "compare", "Or": "compare",
    "Xor": "compare",
    "Equal": "compare", "Less": "compare", "Greater": "compare", "LessOrEqual": "compare", "GreaterOrEqual": "compare",
    "BitShift": "compare", "BitwiseAnd": "compare", "BitwiseOr": "compare", "BitwiseXor": "compare", "Sum": "add", "Mean": "mean",
    "Max": "maximum", "Min": "minimum",
}  # fmt: skip
_YES_NO = frozenset({"And", "Or", "Xor", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"})


@handles(*_BINARY)
def _binary(c: Call) -> Result:
    operands = c.present()
    if len(operands) == 1:
        return operands[0]
    if c.op == "Mean":
        total = _chain(c, "add", operands)
        return c.write("div", [total], total.shape, scalar=float(len(operands)), scalar_first=False)
    return _chain(c, _BINARY[c.op], operands)


def _integer_product(c: Call, left: Value, right: Value) -> Value | None:
    """The product of quantised operands that this multiplication only brings back to its scale."""
    for x, scale in ((left, right), (right, left)):
        made_by = c.writer.capture.nodes[x.node].foreign if x.node is not None else ""
        if made_by in ("MatMulInteger", "ConvInteger") and (scale.fixed or "scale" in scale.name):
            return x
    return None


def _chain(c: Call, op: str, operands: Sequence[Value]) -> Value:
    """Operands joined two by two; numbers become the ``scalar`` of the node."""
    left = operands[0]
    for right in operands[1:]:
        shape = shapes.broadcast([left.shape, right.shape])
        element = BOOL if c.op in _YES_NO else next((x.element for x in (left, right) if not x.fixed), left.element)
        if op == "mul" and (product := _integer_product(c, left, right)) is not None:
            left = product
            continue
        numbers = [(i, x.scalar) for i, x in enumerate((left, right)) if x.scalar is not None and not x.trained]
        if numbers and len(numbers) < 2:
            first, number = numbers[0]
            clamps: dict[str, tuple[float | None, float | None]] = {"maximum": (number, None), "minimum": (None, number)}
            kept = [left, right][1 - first]
            if op in clamps and kept.real:
                low, high = clamps[op]
                left = c.write(clamp_name(low, high), [kept], shape, element=element, low=low, high=high)
            else:
                left = c.write(op, [kept], shape, element=element, scalar=number, scalar_first=first == 0)
        else:
            left = c.write(op, [left, right], shape, element=element)
    return left


@handles("QLinearAdd", "QLinearMul")
def _quantised_binary(c: Call) -> Result:
    return c.write(
        c.op.removeprefix("QLinear").lower(), [c.need(0), c.need(3)], shapes.broadcast([c.shape(0), c.shape(3)]), element=FLOAT
    )


@handles("Reciprocal")
def _reciprocal(c: Call) -> Result:
    return c.write("div", [c.need(0)], c.shape(), scalar=1.0, scalar_first=True)


@handles("Where")
def _where(c: Call) -> Result:
    operands = c.present()
    return c.write("where", operands, shapes.broadcast([x.shape for x in operands]), element=c.need(1).element)


# ---------------------------------------------------------------- pools and reductions


@handles("MaxPool", "AveragePool", "LpPool", "QLinearAveragePool", "NhwcMaxPool")
def _pool(c: Call) -> Result:
    x, kernel = c.need(0), tuple(int(k) for k in c.a["kernel_shape"])
    kind = {"MaxPool": "max", "NhwcMaxPool": "max", "LpPool": "lp"}.get(c.op, "avg")
    strides, dilations, _ = shapes.window(c.a, len(kernel))
    shape = (*x.shape[:2], *shapes.slide(x.shape, kernel, c.a)) if x.shape is not None else None
    covers = x.shape is not None and shape is not None and kernel == x.shape[2:] and all(n == 1 for n in shape[2:])
    op = f"global_{kind}_pool" if covers and kind != "lp" and len(kernel) > 1 else f"{kind}_pool"
    attrs = {} if covers or not 0 < len(kernel) <= 3 else spatial(kernel, strides, dilations)
    out = c.write(op, [x], shape, **attrs)
    return [out, *(c.view(out, shape, element=INT64) for _ in range(c.outputs - 1))]


@handles("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool", "QLinearGlobalAveragePool")
def _global_pool(c: Call) -> Result:
    x = c.need(0)
    shape = (*x.shape[:2], *(1 for _ in x.shape[2:])) if x.shape is not None else None
    if shape is not None and shape == x.shape:
        return c.view(x, shape)
    op = {"GlobalMaxPool": "global_max_pool", "GlobalLpPool": "lp_pool"}.get(c.op, "global_avg_pool")
    return c.write(op, [x], shape, element=x.element if x.real else FLOAT)


_REDUCTIONS = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min", "ReduceProd": "prod", "ReduceL1": "norm",
    "ReduceL2": "norm", "ReduceLogSumExp": "logsumexp", "ReduceLogSum": "sum", "ReduceSumSquare": "sum", "ArgMax": "argmax",
    "ArgMin": "argmax",
}  # fmt: skip


@handles(*_REDUCTIONS)
def _reduce(c: Call) -> Result:
    x, op = c.need(0), _REDUCTIONS[c.op]
    arg = op == "argmax"
    axes = (int(c.a.get("axis", 0)),) if arg else c.ints("axes", 1)
    if not axes and c.a.get("noop_with_empty_axes"):
        return x
    if x.shape is None or (not axes and c.get(1) is not None and c.need(1).array is None):
        return c.write(op, [x], None, element=INT64 if arg else None)
    rank = len(x.shape)
    shape = shapes.reduce(x.shape, axes or None, bool(c.a.get("keepdims", 1)))
    gone = tuple(sorted(shapes.normal(axis, rank) for axis in axes)) if axes else tuple(range(rank))
    if rank >= 4 and is_spatial(gone, rank) and op in ("mean", "max"):
        op = "global_avg_pool" if op == "mean" else "global_max_pool"
        if shape == x.shape:
            return c.view(x, shape)
    if c.op == "ReduceSumSquare":
        x = c.write("pow", [x], x.shape, scalar=2.0, scalar_first=False)
    out = c.write(op, [x], shape, element=INT64 if arg else None, axes=gone, last=gone == (rank - 1,))
    return c.write("log", [out], shape) if c.op == "ReduceLogSum" else out


@handles("TopK")
def _topk(c: Call) -> Result:
    x, k = c.need(0), c.ints("k", 1)
    axis = int(c.a.get("axis", -1))
    shape = None
    if x.shape and k:
        shape = tuple(k[0] if i == axis % len(x.shape) else n for i, n in enumerate(x.shape))
    out = c.write("topk", [x], shape)
    return [out, c.view(out, shape, element=INT64)]


@handles("Unique")
def _unique(c: Call) -> Result:
    out = c.write("sort", [c.need(0)], None)
    return [out, *(c.view(out, None, element=INT64) for _ in range(3))]


@handles("NonZero")
def _non_zero(c: Call) -> Result:
    return c.write("compare", [c.need(0)], None, element=INT64)


# ---------------------------------------------------------------- spectra and detection


@handles("DFT", "STFT", "Rfft", "Irfft")
def _fft(c: Call) -> Result:
    x = c.need(0)
    same = c.op == "DFT" and x.shape is not None and not c.a.get("onesided") and c.get(1) is None
    return c.write("fft", [x], (*(x.shape or ())[:-1], 2) if same else None)


@handles("NonMaxSuppression")
def _nms(c: Call) -> Result:
    return c.write("nms", [c.need(0), c.need(1)], None)


@handles("RoiAlign", "MaxRoiPool")
def _roi(c: Call) -> Result:
    x, rois = c.need(0), c.need(1)
    size = (
        tuple(c.a["pooled_shape"])
        if "pooled_shape" in c.a
        else (int(c.a.get("output_height", 1)), int(c.a.get("output_width", 1)))
    )
    shape = (rois.shape[0], x.shape[1], *size) if rois.shape and x.shape else None
    return c.write("roi_align", [x, rois], shape)
