"""ONNX operators with weights: convolutions, matrix products, attention, recurrence, norms; quantised and fused ones included.

What exporters do to a network without changing it is undone here: a quantised operator is the operator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from netatlas.graph import _onnx_shapes as shapes
from netatlas.graph import costs
from netatlas.graph._onnx_ops import UNARY
from netatlas.graph._onnx_values import FLOAT, Shape, Value
from netatlas.graph._onnx_writer import Call, Result, handles
from netatlas.graph.aten import clamp_name, spatial
from netatlas.graph.ops import FLAGS

# ---------------------------------------------------------------- convolutions


@handles("Conv", "FusedConv", "NhwcFusedConv", "ConvInteger", "QLinearConv", "DeformConv", "CausalConvWithState")
def _conv(c: Call) -> Result:
    quantised = c.op == "QLinearConv"
    x, w = c.need(0), c.need(3 if quantised else 1)
    bias = c.get({"QLinearConv": 8, "DeformConv": 3, "ConvInteger": 99}.get(c.op, 2))
    extra = [c.need(2), *c.present(*range(4))] if c.op == "DeformConv" else []
    if x.shape is None or w.shape is None:
        return c.weighted("conv", [x, *extra], [w, bias], None)
    kernel = w.shape[2:]
    n = len(kernel)
    strides, dilations, _ = shapes.window(c.a, n)
    groups = int(c.a.get("group", 1))
    blocked = c.domain == "com.microsoft.nchwc"  # channels filled up to whole vector registers
    if len(x.shape) != len(w.shape) or n == 0 or (x.shape[1] != w.shape[1] * groups and not blocked):
        raise ValueError(f"weights {w.shape} in {groups} groups do not fit an input {x.shape}")
    if c.op == "CausalConvWithState":
        shape: Shape = x.shape
    else:
        shape = (x.shape[0], w.shape[0], *shapes.slide(x.shape, kernel, c.a))
    attrs = spatial(kernel, strides, dilations, groups) if n <= 3 else {"groups": groups}
    op = "deform_conv" if c.op == "DeformConv" else "conv"
    out = c.weighted(op, [x, *extra], [w, bias], shape, macs=costs.conv_macs(shape, w.shape), **attrs)
    out = c.unfold(out) if c.unfold is not None else out
    if c.op in ("FusedConv", "NhwcFusedConv") or blocked:
        added = c.get(3)
        out = c.write("add", [out, added], out.shape) if added is not None else out
        return _fused_activation(c, out)
    return out


def _fused_activation(c: Call, x: Value) -> Value:
    name = str(c.a.get("activation", ""))
    if not name:
        return x
    op = UNARY.get(name, "unknown")
    if name == "Clip":
        low, high = ([*c.a.get("activation_params", []), None, None])[:2]
        return c.write(clamp_name(low, high), [x], x.shape, low=low, high=high)
    if op == "unknown":
        return c.writer.foreign(name, [c.writer.position(x)], x.shape, x.element)
    return c.write(op, [x], x.shape)


@handles("ConvTranspose", "ConvTransposeWithDynamicPads")
def _conv_transpose(c: Call) -> Result:
    x, w, bias = c.need(0), c.need(1), c.get(2) if c.op == "ConvTranspose" else c.get(3)
    if x.shape is None or w.shape is None:
        return c.weighted("conv_transpose", [x], [w, bias], None)
    kernel, groups = w.shape[2:], int(c.a.get("group", 1))
    strides, dilations, _ = shapes.window(c.a, len(kernel))
    shape = (x.shape[0], w.shape[1] * groups, *shapes.unslide(x.shape, kernel, c.a))
    attrs = spatial(kernel, strides, dilations, groups) if 0 < len(kernel) <= 3 else {"groups": groups}
    out = c.weighted("conv_transpose", [x], [w, bias], shape, macs=costs.conv_transpose_macs(x.shape, w.shape), **attrs)
    return c.unfold(out) if c.unfold is not None else out


# ---------------------------------------------------------------- matrix products


def _product(c: Call, a: Value, b: Value, bias: Value | None = None, shape: Shape | None = None) -> Value:
    """``a @ b``, with trained weights on either side or none; the recogniser makes linear layers of those with weights."""
    if shape is None and a.shape is not None and b.shape is not None:
        shape = shapes.matmul(a.shape, b.shape)
    inner = a.shape[-1] if a.shape else 0
    macs = costs.matmul_macs(shape, inner) if shape is not None and a.shape else 0
    positions = [c.weight(x) if _is_weight(x) else c.writer.position(x) for x in (a, b)]
    element = next((x.element for x in (a, b) if x.real), FLOAT)
    attrs: dict[str, Any] = {}
    if bias is not None and not (bias.zero and not bias.trained):
        positions.append(c.weight(bias) if _is_weight(bias) else c.writer.position(bias))
        attrs["bias"] = True
    return c.writer.add("matmul", positions, shape, element, macs, c.op, **attrs)


def _is_weight(value: Value) -> bool:
    return bool(value.root or value.trained or (value.name and len(value.shape or ()) >= 2))


@handles("MatMul", "FusedMatMul", "TransposeMatMul", "MatMulInteger", "MatMulIntegerToFloat", "QLinearMatMul",
         "DynamicQuantizeMatMul",
         "FusedMatMulActivation", "MatMulInteger16", "GemmFastGelu")  # fmt: skip
def _matmul(c: Call) -> Result:
    a, b = c.need(0), c.need(3 if c.op == "QLinearMatMul" else 1)
    bias = {"MatMulIntegerToFloat": c.get(6), "DynamicQuantizeMatMul": c.get(4), "GemmFastGelu": c.get(2)}.get(c.op)
    if c.op.startswith(("Fused", "Transpose")):
        a, b = (_turned(c, x, bool(c.a.get(f"trans{letter}"))) for x, letter in ((a, "A"), (b, "B")))
    out = _product(c, a, b, bias)
    if c.op == "GemmFastGelu":
        return c.write("gelu", [out], out.shape)
    return _fused_activation(c, out) if c.op == "FusedMatMulActivation" else out


def _turned(c: Call, x: Value, wanted: bool) -> Value:
    """``x`` with its last two axes exchanged when ``wanted``."""
    if not wanted or x.shape is None:
        return x
    return c.view(x, (*x.shape[:-2], *x.shape[:-3:-1]))


@handles("Gemm", "FusedGemm", "QGemm")
def _gemm(c: Call) -> Result:
    a, b = c.need(0), c.need(3 if c.op == "QGemm" else 1)
    bias = c.get(6 if c.op == "QGemm" else 2)
    a, b = (_turned(c, x, bool(c.a.get(f"trans{letter}"))) for x, letter in ((a, "A"), (b, "B")))
    if bias is None or _is_weight(bias) or bias.fixed:
        out = _product(c, a, b, bias)
    else:
        product = _product(c, a, b)
        out = c.write("add", [product, bias], product.shape)
    return _fused_activation(c, out) if c.op == "FusedGemm" else out


@handles("MatMulNBits", "MatMulBnb4", "MatMulFpQ4")
def _matmul_bits(c: Call) -> Result:
    x, packed = c.need(0), c.need(1)
    n, k = (int(c.a[key]) for key in ("N", "K"))
    weight = Value((n, k), FLOAT, name=packed.name or f"packed weight {id(packed)}", trained=True)
    if packed.node is None:
        packed.node = c.writer.position(weight)
    weight.node = packed.node
    shape = (*x.shape[:-1], n) if x.shape is not None else None
    bias = c.get(5) if c.op == "MatMulNBits" else None
    return _product(c, x, weight, bias, shape)


@handles("Einsum")
def _einsum(c: Call) -> Result:
    operands, equation = c.present(), str(c.a["equation"])
    known = [x.shape for x in operands if x.shape is not None]
    complete = len(known) == len(operands)
    shape = shapes.einsum(equation, known) if complete else None
    if len(operands) == 1:
        smaller = shape is not None and math.prod(shape) < math.prod(known[0])
        return c.write("sum" if smaller else "view", operands, shape)
    macs = costs.einsum_macs(equation, known) if complete else 0
    return c.write("matmul", operands, shape, macs=macs, equation=equation)


# ---------------------------------------------------------------- attention


def _heads_last(shape: Shape | None, heads: int) -> Shape | None:
    """``(b, n, h * c)`` as ``(b, h, n, c)``."""
    if shape is None or len(shape) != 3 or heads < 1:
        return shape
    return (shape[0], heads, shape[1], shape[2] // heads)


def _attend(
    c: Call, q: Value, k: Value, v: Value, extra: Sequence[Value], heads: int, kv_heads: int, shape: Shape | None, flags: int = 0
) -> Value:
    query, key, value = (_heads_last(x.shape, h) for x, h in ((q, heads), (k, kv_heads), (v, kv_heads)))
    macs = 0
    if query and key and value and min(map(len, (query, key, value))) >= 3:
        macs = costs.attention_macs(query, key[-2], value[-1])
    flags |= FLAGS["grouped_query"] * (kv_heads < heads) | FLAGS["biased"] * bool(extra)
    if query is not None and len(query) >= 4:
        heads = query[-3]
    return c.write("attention", [q, k, v, *extra], shape, element=q.element, macs=macs, heads=heads, flags=flags)


@handles("Attention")
def _attention(c: Call) -> Result:
    if "num_heads" in c.a:  # ONNX Runtime's, which has the projection inside
        return _packed_attention(c)
    q, k, v = c.need(0), c.need(1), c.need(2)
    heads = int(c.a.get("q_num_heads", q.shape[1] if q.shape and len(q.shape) == 4 else 1))
    kv_heads = int(c.a.get("kv_num_heads", k.shape[1] if k.shape and len(k.shape) == 4 else heads))
    shape = None
    if q.shape is not None and v.shape is not None:
        shape = (*q.shape[:-1], v.shape[-1] if len(q.shape) == 4 else heads * (v.shape[-1] // max(kv_heads, 1)))
    mask = c.get(3)
    out = _attend(
        c, q, k, v, [mask] if mask is not None else [], heads, kv_heads, shape, FLAGS["causal"] * bool(c.a.get("is_causal"))
    )
    return [out, *_states(c, k, v)]


def _states(c: Call, k: Value, v: Value) -> list[Value]:
    """Further outputs of an attention: keys and values for the next step."""
    return [c.view(x, x.shape) for x in (k, v)][: max(c.outputs - 1, 0)] + [
        Value(None, FLOAT, fixed=True) for _ in range(max(c.outputs - 3, 0))
    ]


@handles("QAttention", "PackedAttention")
def _packed_attention(c: Call) -> Result:
    x, w, bias = c.need(0), c.need(1), c.get(2)
    heads = int(c.a["num_heads"])
    if x.shape is None or w.shape is None:
        return c.unknown()
    sizes = [int(n) for n in c.a.get("qkv_hidden_sizes", [w.shape[1] // 3] * 3)]
    joined = _product(c, x, w, bias)
    cuts, start = [], 0
    for n in sizes:
        key = ((len(x.shape) - 1, start, start + n, 1),)
        cuts.append(c.writer.cut(c.writer.position(joined), key, (*x.shape[:-1], n), joined.element))
        start += n
    mask = c.get(5) if c.op == "Attention" else None
    flags = FLAGS["causal"] * bool(c.a.get("unidirectional"))
    q, k, v = cuts
    out = _attend(c, q, k, v, [mask] if mask is not None else [], heads, heads, (*x.shape[:-1], sizes[2]), flags)
    return [out, *_states(c, k, v)]


@handles("MultiHeadAttention", "GroupQueryAttention", "DecoderMaskedMultiHeadAttention", "SparseAttention", "PagedAttention",
         "PackedMultiHeadAttention", "FlexAttention")  # fmt: skip
def _multi_head_attention(c: Call) -> Result:
    q = c.need(0)
    heads = int(c.a.get("num_heads", q.shape[1] if q.shape and len(q.shape) == 4 else 1))
    kv_heads = int(c.a.get("kv_num_heads", heads))
    if c.get(1) is None and q.shape is not None:  # queries, keys and values side by side
        total = heads + 2 * kv_heads
        size = q.shape[-1] if len(q.shape) == 3 else math.prod(q.shape[2:])
        each = size // total
        parts = []
        for place, n in ((0, heads), (heads, kv_heads), (heads + kv_heads, kv_heads)):
            key = ((2, place * each, (place + n) * each, 1),)
            parts.append(c.writer.cut(c.writer.position(q), key, (*q.shape[:2], n * each), q.element))
        q, k, v = parts
    else:
        k, v = c.need(1), c.get(2) or c.need(1)
    grouped = c.op in ("GroupQueryAttention", "SparseAttention", "PagedAttention")
    biases = [] if grouped or c.get(3) is None else [c.need(3)]
    bias = None if grouped else c.get(5)
    shape = None
    if q.shape is not None and v.shape is not None:
        shape = q.shape if len(q.shape) == 4 else (*q.shape[:-1], heads * (v.shape[-1] // max(kv_heads, 1)))
    causal = c.op == "GroupQueryAttention" or bool(c.a.get("unidirectional"))
    out = _attend(c, q, k, v, [bias] if bias is not None else [], heads, kv_heads, shape, FLAGS["causal"] * causal)
    for x in biases:
        c.writer.capture.nodes[c.writer.position(out)].inputs.append(c.weight(x))
    return [out, *_states(c, k, v)]


@handles("LinearAttention")
def _linear_attention(c: Call) -> Result:
    q, v = c.need(0), c.need(2)
    heads = int(c.a.get("q_num_heads", q.shape[1] if q.shape and len(q.shape) == 4 else 1))
    query, value = _heads_last(q.shape, heads), _heads_last(v.shape, int(c.a.get("kv_num_heads", heads)))
    macs = 2 * math.prod(query) * value[-1] if query and value else 0  # the state is written and read once per step
    shape = (*q.shape[:-1], v.shape[-1]) if q.shape is not None and v.shape is not None else None
    return [
        c.write("linear_attention", c.present(), shape, macs=macs, heads=heads),
        *(Value(None, FLOAT, fixed=True) for _ in range(c.outputs - 1)),
    ]


@handles("RotaryEmbedding", "GemmaRotaryEmbedding")
def _rope(c: Call) -> Result:
    out = c.write("rope", [c.need(0)], c.shape())
    return out if c.outputs < 2 else [out, c.write("rope", [c.need(1)], c.shape(1))]


# ---------------------------------------------------------------- recurrence


@handles("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
def _recurrent(c: Call) -> Result:
    x, w, r = c.need(0), c.need(1), c.need(2)
    bias, states = c.get(3), [y for i in (5, 6) if (y := c.get(i)) is not None and not y.fixed]
    two = str(c.a.get("direction", "forward")) == "bidirectional"
    shape = state = None
    macs = 0
    if x.shape is not None and r.shape is not None and w.shape is not None:
        hidden, directions = int(c.a.get("hidden_size", r.shape[-1])), 1 + two
        batch_first = bool(c.a.get("layout"))
        n, b = (x.shape[1], x.shape[0]) if batch_first else (x.shape[0], x.shape[1])
        shape = (b, n, directions, hidden) if batch_first else (n, directions, b, hidden)
        state = (b, directions, hidden) if batch_first else (directions, b, hidden)
        macs = costs.recurrent_macs(n * b, math.prod(w.shape) + math.prod(r.shape))
    op = c.op.removeprefix("DynamicQuantize").lower()
    out = c.weighted(op, [x, *states], [w, r, bias], shape, macs=macs, flags=FLAGS["bidirectional"] * two)
    return [out, *(c.view(out, state, ("state", i)) for i in range(max(c.outputs - 1, 0)))]


@handles("CumSum", "CumProd")
def _cumulative(c: Call) -> Result:
    return c.write("cumulative", [c.need(0)], c.shape())


# ---------------------------------------------------------------- norms


@handles("BatchNormalization")
def _batch_norm(c: Call) -> Result:
    out = c.weighted("batch_norm", [c.need(0)], [c.get(1), c.get(2)], c.shape())
    return [out, *(Value(c.shape(3), FLOAT, fixed=True) for _ in range(max(c.outputs - 1, 0)))]


@handles("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization", "InstanceNormalization", "GroupNormalization",
         "MeanVarianceNormalization")  # fmt: skip
def _norm(c: Call) -> Result:
    op = {"InstanceNormalization": "instance_norm", "GroupNormalization": "group_norm", "LayerNormalization": "layer_norm",
          "MeanVarianceNormalization": "instance_norm"}.get(c.op, "rms_norm")  # fmt: skip
    attrs = {"groups": int(c.a["num_groups"])} if op == "group_norm" else {}
    if op == "instance_norm" and _is_bare(c):  # groups as channels, scale and shift by operators that follow
        return c.write("group_norm", [c.need(0)], c.shape(), groups=(c.shape() or (0, 0))[1], bare=True)
    out = c.weighted(op, [c.need(0)], [c.get(1), c.get(2)], c.shape(), **attrs)
    return [out, *(Value(None, FLOAT, fixed=True) for _ in range(max(c.outputs - 1, 0)))]


def _is_bare(c: Call) -> bool:
    """Whether an instance norm over ``(b, groups, n)`` scales by ones and shifts by zeros that the exporter made up."""
    scale, shift, shape = c.get(1), c.get(2), c.shape()
    if shape is None or len(shape) != 3 or scale is None or shift is None:
        return False
    made = all(x.fixed or c.writer.is_made(x.name) for x in (scale, shift))
    return made and shift.zero and scale.array is not None and bool((scale.array == 1).all())


@handles("SkipLayerNormalization", "SkipSimplifiedLayerNormalization")
def _skip_norm(c: Call) -> Result:
    simplified = c.op.startswith("SkipSimplified")
    joined = c.write("add", [c.need(0), c.need(1)], c.shape())
    bias = c.get(3 if simplified else 4)
    if bias is not None:
        joined = c.write("add", [joined, bias], c.shape())
    out = c.weighted(
        "rms_norm" if simplified else "layer_norm", [joined], [c.need(2), None if simplified else c.get(3)], c.shape()
    )
    return [out, Value(None, FLOAT, fixed=True), Value(None, FLOAT, fixed=True), joined][: max(c.outputs, 1)]


@handles("EmbedLayerNormalization")
def _embed_norm(c: Call) -> Result:
    ids = c.need(0)
    words, places, kinds = (c.get(i) for i in (2, 3, 4))
    width = (words.shape or (0, 0))[-1] if words is not None else 0
    shape = (*ids.shape, width) if ids.shape is not None else None
    total: Value | None = None
    for index, table in ((ids, words), (c.get(8), places), (c.get(1), kinds)):
        if table is None:
            continue
        positions = [c.writer.position(index if index is not None else ids), c.weight(table)]
        looked = c.writer.add("embedding", positions, shape, FLOAT, 0, c.op)
        total = looked if total is None else c.write("add", [total, looked], shape)
    if total is None:
        raise ValueError("it has no table")
    out = c.weighted("layer_norm", [total], [c.get(5), c.get(6)], shape)
    return [out, Value(None, 6, fixed=True), total][: max(c.outputs, 1)]


@handles("GroupNorm", "SkipGroupNorm")
def _runtime_group_norm(c: Call) -> Result:
    x = c.need(0)
    for i in (3, 4) if c.op == "SkipGroupNorm" else ():
        x = c.write("add", [x, c.need(i)], c.shape()) if c.get(i) is not None else x
    out = c.weighted("group_norm", [x], [c.get(1), c.get(2)], c.shape(), groups=int(c.a["groups"]))
    out = c.write("silu", [out], out.shape) if c.a.get("activation") else out
    return [out, x][: max(c.outputs, 1)]


@handles("LpNormalization")
def _lp_norm(c: Call) -> Result:
    x = c.need(0)
    if int(c.a.get("p", 2)) == 2:
        return c.write("l2_norm", [x], x.shape)
    return c.write("div", [x, c.write("norm", [x], x.shape)], x.shape)


@handles("LRN")
def _lrn(c: Call) -> Result:
    return c.write("local_response_norm", [c.need(0)], c.shape())
