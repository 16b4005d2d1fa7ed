"""ONNX operators that move numbers: views, cuts, joins, look-ups, padding and the making of constants."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from netatlas.graph import _onnx_shapes as shapes
from netatlas.graph._onnx_values import BOOL, FLOAT, INT64, MOST_ELEMENTS, Shape, Value
from netatlas.graph._onnx_writer import Call, Result, handles


@handles("Identity", "Dropout", "CastLike", "Optional", "OptionalGetElement")
def _same(c: Call) -> Result:
    outputs = [c.need(0)]
    if c.outputs > 1:  # the mask of a dropout
        outputs.append(c.write("view", [c.need(0)], c.shape(), element=BOOL))
    return outputs


@handles("Cast", "BitCast")
def _cast(c: Call) -> Result:
    x, element = c.need(0), int(c.a.get("to", FLOAT))
    if x.real and Value(element=element).real:
        return x
    return c.view(x, x.shape, element=element)


@handles("Reshape")
def _reshape(c: Call) -> Result:
    x, target = c.need(0), c.ints("shape", 1)
    shape = None if target is None else shapes.reshape(x.shape, target, bool(c.a.get("allowzero")))
    return c.view(x, shape)


@handles("Flatten")
def _flatten(c: Call) -> Result:
    x, axis = c.need(0), int(c.a.get("axis", 1))
    if x.shape is None:
        return c.view(x, None)
    at = axis if axis >= 0 else axis + len(x.shape)
    return c.view(x, (math.prod(x.shape[:at]), math.prod(x.shape[at:])))


@handles("Transpose")
def _transpose(c: Call) -> Result:
    x = c.need(0)
    if x.shape is None:
        return c.view(x, None)
    order = c.a.get("perm") or range(len(x.shape))[::-1]
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError(f"{list(order)} is no order of {len(x.shape)} axes")
    return c.view(x, tuple(x.shape[i] for i in order), ("transpose", tuple(order)))


@handles("Squeeze")
def _squeeze(c: Call) -> Result:
    x, axes = c.need(0), c.ints("axes", 1)
    return c.view(x, None if x.shape is None else shapes.squeeze(x.shape, axes))


@handles("Unsqueeze")
def _unsqueeze(c: Call) -> Result:
    x, axes = c.need(0), c.ints("axes", 1)
    return c.view(x, None if x.shape is None or axes is None else shapes.unsqueeze(x.shape, axes))


@handles("Expand")
def _expand(c: Call) -> Result:
    x, target = c.need(0), c.ints("shape", 1)
    return c.view(x, shapes.broadcast([x.shape, target]) if target is not None else None)


@handles("Tile")
def _tile(c: Call) -> Result:
    x, times = c.need(0), c.ints("repeats", 1)
    known = x.shape is not None and times is not None
    return c.view(x, tuple(n * t for n, t in zip(x.shape or (), times or (), strict=True)) if known else None)


@handles("ReorderInput", "ReorderOutput")
def _reorder(c: Call) -> Result:
    x = c.need(0)
    channels = c.a.get("channels")
    return c.view(x, (x.shape[0], int(channels), *x.shape[2:]) if x.shape and channels else x.shape)


@handles("QuantizeLinear", "DequantizeLinear")
def _quantise(c: Call) -> Result:
    x = c.need(0)
    element = x.element if x.real else FLOAT
    if x.name and not x.real and x.numel != 1:  # quantised weights are weights
        x.trained, x.fixed = True, False
    return c.view(x, x.shape, element=element)


@handles("DynamicQuantizeLinear")
def _dynamic_quantise(c: Call) -> Result:
    x = c.need(0)
    return [c.view(x, x.shape), *(Value((), element, fixed=True) for element in (FLOAT, 2))]


@handles("Shape")
def _shape(c: Call) -> Result:
    x = c.need(0)
    if x.shape is None:
        return c.write("view", [x], None, element=INT64)
    rank = len(x.shape)
    start, end = (int(c.a.get(key, default)) for key, default in (("start", 0), ("end", rank)))
    return c.constant(np.array(x.shape[slice(start, end)], dtype=np.int64))


@handles("Size")
def _size(c: Call) -> Result:
    x = c.need(0)
    return c.write("view", [x], (), element=INT64) if x.numel is None else c.constant(np.array(x.numel, dtype=np.int64))


@handles("ConstantOfShape")
def _constant_of_shape(c: Call) -> Result:
    target, fill = c.need(0).ints(), c.a.get("value")
    content = np.zeros((), np.float32) if fill is None else np.asarray(fill).reshape(-1)[0]
    element = c.constant(np.asarray(content)).element
    if target is None:
        return c.write("view", [c.need(0)], None, element=element)
    if math.prod(target) > MOST_ELEMENTS:
        return Value(tuple(target), element, fixed=True, zero=not content)
    return c.constant(np.full(target, content))


@handles("Range")
def _range(c: Call) -> Result:
    start, limit, step = (c.need(i).scalar for i in range(3))
    if start is None or limit is None or not step:
        return c.write("view", c.present(), None)
    n = max(0, math.ceil((limit - start) / step))
    return Value((n,), c.need(0).element, fixed=True)


@handles("EyeLike", "HannWindow", "HammingWindow", "BlackmanWindow", "MelWeightMatrix")
def _made(c: Call) -> Result:
    return Value(c.shape() if c.op == "EyeLike" else None, FLOAT, fixed=True)


@handles("RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial")
def _random(c: Call) -> Result:
    shape = tuple(c.a["shape"]) if "shape" in c.a else (c.shape() if c.inputs else None)
    return Value(None if c.op == "Multinomial" else shape, INT64 if c.op == "Multinomial" else FLOAT, fixed=True)


@handles("Slice")
def _slice(c: Call) -> Result:
    x, starts, ends = c.need(0), c.ints("starts", 1), c.ints("ends", 2)
    if x.shape is None or starts is None or ends is None:
        return c.write("slice", [x], None)
    rank = len(x.shape)
    axes = [shapes.normal(axis, rank) for axis in (c.ints("axes", 3) or range(len(starts)))]
    steps = c.ints("steps", 4) or (1,) * len(starts)
    shape, key = list(x.shape), []
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        taken = range(
            *slice(start, end if not (step < 0 and end < -x.shape[axis]) else None, step or None).indices(x.shape[axis])
        )
        shape[axis] = shapes.cut(x.shape[axis], start, end, step)
        key += [(axis, taken.start, taken.stop, taken.step)] if len(taken) < x.shape[axis] or step != 1 else []
    if not key:
        return c.view(x, tuple(shape))
    if tuple(shape) == x.shape and any(step < 0 for *_, step in key):
        return c.write("flip", [x], x.shape)
    return c.writer.cut(c.writer.position(x), tuple(sorted(key)), tuple(shape), x.element)


@handles("Split", "SplitToSequence")
def _split(c: Call) -> Result:
    x = c.need(0)
    axis = shapes.normal(int(c.a.get("axis", 0)), len(x.shape)) if x.shape else 0
    sizes = c.ints("split", 1)
    size = x.shape[axis] if x.shape else None
    in_sequence = c.op == "SplitToSequence"
    if in_sequence and size is not None and (sizes is None or (c.get(1) is not None and c.need(1).shape == ())):
        each = sizes[0] if sizes else 1
        sizes = tuple(min(each, size - i) for i in range(0, size, max(each, 1)))
    elif sizes is None and size is not None:
        each = -(-size // c.outputs)
        sizes = tuple(min(each, size - i * each) for i in range(c.outputs))
    if (
        x.shape is None
        or sizes is None
        or (size is not None and sum(sizes) != size)
        or min(sizes) < 0
        or len(sizes) > MOST_ELEMENTS
    ):
        raise ValueError(f"sizes {sizes} do not split an axis of {size}")
    pieces, start = [], 0
    for n in sizes:
        shape = (*x.shape[:axis], n, *x.shape[axis + 1 :])
        key = ((axis, start, start + n, 1),)
        pieces.append(c.view(x, shape) if n == size else c.writer.cut(c.writer.position(x), key, shape, x.element))
        start += n
    if in_sequence and not c.a.get("keepdims", 1) and c.get(1) is None:
        pieces = [c.view(x, shapes.squeeze(x.shape, [axis])) for x in pieces if x.shape is not None]
    return Value(items=pieces) if in_sequence else pieces


@handles("SequenceConstruct")
def _sequence(c: Call) -> Result:
    return Value(items=c.present())


@handles("SequenceEmpty")
def _sequence_empty(c: Call) -> Result:
    return Value(items=[])


@handles("SequenceInsert")
def _sequence_insert(c: Call) -> Result:
    items = list(c.need(0).items or [])
    place = c.number("position", 2)
    items.insert(len(items) if place is None else int(place), c.need(1))
    return Value(items=items)


@handles("SequenceLength")
def _sequence_length(c: Call) -> Result:
    return c.constant(np.array(len(c.need(0).items or []), dtype=np.int64))


@handles("SequenceAt")
def _sequence_at(c: Call) -> Result:
    items, place = c.need(0).items, c.number("position", 1)
    if items is None or place is None:
        return c.unknown()
    return items[int(place)]


@handles("Concat", "ConcatFromSequence", "QLinearConcat")
def _concat(c: Call) -> Result:
    parts = c.present()
    if c.op == "ConcatFromSequence":
        parts = c.need(0).items or []
    elif c.op == "QLinearConcat":
        parts = [c.need(i) for i in range(2, len(c.inputs), 3)]
    known = [x.shape for x in parts if x.shape is not None]
    rank = max((len(shape) for shape in known), default=1) + bool(c.a.get("new_axis"))
    axis = shapes.normal(int(c.a.get("axis", 0)), rank)
    parts = [x for x in parts if not (x.shape and x.numel == 0)] or parts[:1]  # an empty cache joined to new keys
    shape: Shape | None = None
    if len(known) >= len(parts) and all(x.shape is not None and len(x.shape) == len(known[0]) for x in parts):
        kept = [x.shape for x in parts if x.shape is not None]
        if c.a.get("new_axis"):
            shape = (*kept[0][:axis], len(kept), *kept[0][axis:])
        else:
            shape = (*kept[0][:axis], sum(x[axis] for x in kept), *kept[0][axis + 1 :])
    if len(parts) == 1:
        return c.view(parts[0], shape)
    return _rejoined(c, parts, axis, shape) or c.write("concat", parts, shape, axis=axis)


def _rejoined(c: Call, parts: Sequence[Value], axis: int, shape: Shape | None) -> Value | None:
    """The two pieces of one tensor cut along an axis and joined along it the other way round: a roll, as exporters write it."""
    cuts = [c.writer.cut_of(x) for x in parts]
    if len(cuts) != 2 or shape is None or any(cut is None or len(cut[1]) != 1 for cut in cuts):
        return None
    (source, ((a, start, stop, step),)), (other, ((b, first, last, pace),)) = (cut for cut in cuts if cut is not None)
    if source == other and a == b == axis and step == pace == 1 and first == 0 and last == start and stop == shape[axis]:
        return c.writer.add("roll", [source], shape, parts[0].element, 0, c.op)
    return None


@handles("Gather", "GatherElements", "GatherND", "Compress", "ArrayFeatureExtractor", "GatherBlockQuantized")
def _gather(c: Call) -> Result:
    x, index = c.need(0), c.need(1)
    axis = shapes.normal(int(c.a.get("axis", c.a.get("gather_axis", 0))), len(x.shape)) if x.shape else 0
    shape = _gathered(c, x, index, axis)
    if "as_strided" in c.aten:  # written out by the exporter as a look-up in the flattened tensor
        return c.view(x, shape)
    if c.op in ("Gather", "GatherBlockQuantized") and axis == 0 and (x.root or x.trained or c.op == "GatherBlockQuantized"):
        is_lookup = "embedding" in c.aten if c.aten else not (index.fixed and len(index.shape or ()) < 2)
        if is_lookup and len(x.shape or (0, 0)) == 2:
            return c.writer.add(
                "embedding", [c.writer.position(index), c.weight(x)], shape, x.element if x.real else FLOAT, 0, c.op
            )
    if c.op == "Gather" and index.scalar is not None and x.shape is not None:
        place = int(index.scalar) % max(x.shape[axis], 1)
        if x.shape[axis] == 1:
            return c.view(x, shape)
        return c.writer.cut(
            c.writer.position(x), ((axis, place, place + 1, 1), "select", len(index.shape or ())), shape, x.element
        )
    return c.write("gather", [x, index], shape)


def _gathered(c: Call, x: Value, index: Value, axis: int) -> Shape | None:
    if c.op == "GatherElements":
        return index.shape
    if x.shape is None or index.shape is None or c.op == "Compress":
        return None
    if c.op == "GatherND":
        batch = int(c.a.get("batch_dims", 0))
        return (*index.shape[:-1], *x.shape[batch + index.shape[-1] :])
    return (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


@handles("Scatter", "ScatterElements", "ScatterND", "TensorScatter", "MaxUnpool")
def _scatter(c: Call) -> Result:
    shape = c.shape()
    if c.op == "MaxUnpool":
        shape = c.ints("output_shape", 2)
    return c.write("scatter", c.present(), shape)


@handles("Pad")
def _pad(c: Call) -> Result:
    x, pads, axes = c.need(0), c.ints("pads", 1), c.ints("axes", 3)
    if x.shape is None or pads is None:
        return c.write("pad", [x], None)
    chosen = [shapes.normal(axis, len(x.shape)) for axis in (axes if axes is not None else range(len(x.shape)))]
    if len(pads) != 2 * len(chosen):
        raise ValueError(f"{len(pads)} pads do not fit {len(chosen)} axes")
    shape = list(x.shape)
    for i, axis in enumerate(chosen):
        shape[axis] += pads[i] + pads[i + len(chosen)]
    if not any(pads):
        return c.view(x, x.shape)
    if all(p <= 0 for p in pads):
        return c.writer.cut(c.writer.position(x), ("pad", tuple(pads)), tuple(shape), x.element)
    return c.write("pad", [x], tuple(shape))


@handles("CenterCropPad")
def _crop(c: Call) -> Result:
    x, target, axes = c.need(0), c.ints("shape", 1), c.ints("axes")
    shape = list(x.shape or ())
    for axis, n in zip(axes if axes is not None else range(len(shape)), target or (), strict=False):
        shape[axis] = n
    return c.write("slice", [x], tuple(shape) if x.shape is not None and target is not None else None)


@handles("DepthToSpace", "SpaceToDepth")
def _pixel_shuffle(c: Call) -> Result:
    x, block = c.need(0), int(c.a["blocksize"])
    if x.shape is None or len(x.shape) != 4:
        return c.write("pixel_shuffle", [x], None)
    n, channels, h, w = x.shape
    up = c.op == "DepthToSpace"
    shape = (n, channels // block**2, h * block, w * block) if up else (n, channels * block**2, h // block, w // block)
    return c.write("pixel_shuffle", [x], shape)


@handles("Resize", "Upsample")
def _resize(c: Call) -> Result:
    x = c.need(0)
    newer = c.op == "Resize" and c.opset > 10
    scales = c.get(2 if newer else 1)
    sizes = c.need(3).ints() if newer and c.get(3) is not None else None
    factors = c.a.get("scales") or (
        scales.array.reshape(-1).tolist() if scales is not None and scales.array is not None else None
    )
    shape = None
    if x.shape is not None and (sizes or factors):
        axes = c.ints("axes") or tuple(range(len(x.shape)))
        full = list(x.shape)
        for i, axis in enumerate(axes):
            full[axis] = sizes[i] if sizes else math.floor(full[axis] * (factors or [1])[i])
        shape = tuple(full)
    return c.view(x, shape) if shape is not None and shape == x.shape else c.write("upsample", [x], shape)


@handles("OneHot")
def _one_hot(c: Call) -> Result:
    index, depth = c.need(0), c.number("depth", 1)
    shape = None
    if index.shape is not None and depth is not None:
        axis = int(c.a.get("axis", -1)) % (len(index.shape) + 1)
        shape = (*index.shape[:axis], int(depth), *index.shape[axis:])
    return c.write("one_hot", [index], shape, element=c.need(2).element)


@handles("Col2Im")
def _fold(c: Call) -> Result:
    x, image, block = c.need(0), c.ints("image_shape", 1), c.ints("block_shape", 2)
    known = x.shape is not None and image is not None and block is not None
    return c.write(
        "fold", [x], ((x.shape or ())[0], (x.shape or ())[1] // math.prod(block or ()), *(image or ())) if known else None
    )


@handles("GridSample")
def _grid_sample(c: Call) -> Result:
    x, grid = c.shape(0), c.shape(1)
    return c.write("grid_sample", [c.need(0), c.need(1)], (*x[:2], *grid[1:-1]) if x is not None and grid is not None else None)


@handles("ReverseSequence")
def _reverse(c: Call) -> Result:
    return c.write("flip", [c.need(0)], c.shape())


@handles("Trilu")
def _triangle(c: Call) -> Result:
    return c.write("triangle", [c.need(0)], c.shape())
