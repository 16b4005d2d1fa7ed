"""Edits of a network: depth, operators, insertions. Each changes a `Sketch` and says in words what it did, or finds nothing to do."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from netatlas.graph._mutate_width import LAYERS, Widths
from netatlas.graph._sketch import Node, Sketch
from netatlas.graph.blocks import Block
from netatlas.graph.graph import MAX_RANK

Blocks = Callable[[], Block]
"""The block structure of a network; found only when an edit asks for it, since that takes longer than most edits."""

Edit = Callable[[Sketch, Blocks, np.random.Generator], "str | None"]
"""Changes a sketch, given the block structure of the graph it was made of; ``None`` where there is nothing to change."""

_FACTORS = (Fraction(1, 2), Fraction(3, 4), Fraction(5, 4), Fraction(3, 2), Fraction(2))

_MOST_PLACES = 200
"""Copies of blocks that are tried for a change of depth; an unrolled recurrence has thousands, and they are all alike."""

_ACTIVATIONS = ("relu", "gelu", "silu", "relu6", "leaky_relu", "hardswish", "elu", "mish", "quick_gelu")
_NORMS = {"batch_norm": 2, "layer_norm": 2, "group_norm": 2, "instance_norm": 2, "rms_norm": 1}
"""Parameters per channel of each norm."""
_TOKEN_NORMS, _MAP_NORMS = ("layer_norm", "rms_norm", "batch_norm"), ("batch_norm", "layer_norm", "group_norm", "instance_norm")
_POOLS = (("max_pool", "avg_pool"), ("global_avg_pool", "global_max_pool"))
_KERNELS = (3, 5, 7)


# ---------------------------------------------------------------- width


def width(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Scale the widths of one class of tensors, of a stage, or of the whole network."""
    widths = Widths(sketch)
    classes = widths.scalable()
    if not classes:
        return None
    numbers = sorted(classes)
    chosen = numbers[int(rng.integers(len(numbers)))]
    reach = int(rng.integers(3))
    wanted, what = {chosen}, f"{len(classes[chosen])} operators"
    if reach == 1:
        stage = _stage(blocks(), classes[chosen][0])
        inside = set(stage.nodes)
        wanted |= {c for c in numbers if inside.issuperset(classes[c])}
        what = f"stage {stage.label}"
    elif reach == 2:
        wanted, what = set(numbers), "the whole network"
    factors = [_FACTORS[i] for i in rng.permutation(len(_FACTORS))]
    return next((f"width x {float(f):g} of {what}" for f in factors if widths.scale(wanted, f)), None)


def _stage(root: Block, node: int) -> Block:
    return next((block for block in root.children if node in block.nodes), root)


# ---------------------------------------------------------------- depth


def deeper(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """One more copy of a repeated block."""
    return _resize(sketch, blocks, rng, _repeat)


def shallower(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """One copy of a repeated block fewer."""
    return _resize(sketch, blocks, rng, _remove)


def _resize(
    sketch: Sketch, blocks: Blocks, rng: np.random.Generator, change: Callable[[Sketch, Sequence[int], Block], str | None]
) -> str | None:
    """Try the copies of all repeated blocks in random order."""
    places = [(block, copy) for block in repeated(blocks()) for copy in block.copies]
    for i in rng.permutation(len(places))[:_MOST_PLACES]:
        block, copy = places[i]
        if (said := change(sketch, copy, block)) is not None:
            return said
    return None


def repeated(block: Block) -> list[Block]:
    """All blocks that stand for several copies one after another, outer ones first."""
    own = [block] if block.copies and not block.parallel else []
    return own + [found for child in block.children for found in repeated(child)]


def _ports(sketch: Sketch, copy: Sequence[int]) -> tuple[int, int] | None:
    """What flows into a copy and out of it, if that is one tensor of one size on either side."""
    inside, users = set(copy), sketch.users()
    leaving = [i for i in copy if i in sketch.outputs or any(u not in inside for u in users[i])]
    if len(leaving) != 1 or leaving[0] in sketch.outputs:
        return None
    shape = sketch.nodes[leaving[0]].shape
    entering = {x for i in copy for x in sketch.nodes[i].ins} - inside
    same = [x for x in entering if sketch.nodes[x].shape == shape]
    return (max(same, key=lambda x: sketch.nodes[x].key), leaving[0]) if same else None


def _repeat(sketch: Sketch, copy: Sequence[int], block: Block) -> str | None:
    ports = _ports(sketch, copy)
    if ports is None:
        return None
    start, end = ports
    inside = set(copy)
    after = max(copy, key=lambda i: sketch.nodes[i].key)
    outside = [u for u in sketch.users()[end] if u not in inside]
    scopes = _fresh_scopes(sketch, copy)
    new = {start: end}
    for i in sorted(copy, key=lambda i: sketch.nodes[i].key):
        new[i] = sketch.copy(i, after=after)
    for i in copy:
        node = sketch.nodes[new[i]]
        node.ins = [new.get(x, x) for x in node.ins]
        node.scope = scopes[node.scope]
    sketch.redirect(end, new[end], outside)
    return f"{block.label} repeated once more"


def _remove(sketch: Sketch, copy: Sequence[int], block: Block) -> str | None:
    ports = _ports(sketch, copy)
    owns = any(sketch.nodes[i].params for i in copy)
    if ports is None or (owns and any(sketch.nodes[i].shared for i in block.nodes)):  # others may use what it owns
        return None
    start, end = ports
    inside = set(copy)
    sketch.redirect(end, start, [u for u in sketch.users()[end] if u not in inside])
    return f"{block.label} repeated once less"


def _fresh_scopes(sketch: Sketch, copy: Sequence[int]) -> dict[int, int]:
    """Scopes for another copy: the next free numbers in place of the numbers that tell copies apart."""
    used = sorted({sketch.nodes[i].scope for i in copy})
    paths = {s: sketch.scopes[s].path.split(".") for s in used}
    shared = 0
    while len({tuple(p[: shared + 1]) for p in paths.values()}) == 1 and all(len(p) > shared for p in paths.values()):
        shared += 1
    at = shared - 1 if shared and _number(next(iter(paths.values()))[shared - 1]) is not None else shared
    prefix = next(iter(paths.values()))[:at]
    beside = [p[at] for s in sketch.scopes if (p := s.path.split("."))[:at] == prefix and len(p) > at]
    count = max((n for part in beside if (n := _number(part)) is not None), default=-1) + 1
    names: dict[str, str] = {}
    result = {}
    for s, path in paths.items():
        if len(path) <= at or _number(path[at]) is None:
            result[s] = s
            continue
        if path[at] not in names:
            names[path[at]] = re.sub(r"\d+\Z", str(count), path[at])
            count += 1
        sketch.scopes.append(replace(sketch.scopes[s], path=".".join([*prefix, names[path[at]], *path[at + 1 :]])))
        result[s] = len(sketch.scopes) - 1
    return result


def _number(part: str) -> int | None:
    found = re.search(r"\d+\Z", part)
    return int(found[0]) if found else None


# ---------------------------------------------------------------- operators


def activation(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Another activation function in a stage, or everywhere."""
    return _swap(sketch, blocks, rng, lambda node: [x for x in _ACTIVATIONS if x != node.op] if node.op in _ACTIVATIONS else [])


def norm(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Another norm in a stage, or everywhere; scale and shift go on as the new one has them."""

    def others(node: Node) -> list[str]:
        if node.op not in _NORMS or not _norm_width(node):
            return []
        return [x for x in (_TOKEN_NORMS if node.rank <= 3 else _MAP_NORMS) if x != node.op]

    return _swap(sketch, blocks, rng, others)


def _norm_width(node: Node) -> int:
    """Channels of an affine norm, 0 where its parameters do not tell."""
    per_channel = _NORMS[node.op]
    channels = node.params // per_channel
    return channels if channels > 1 and channels in node.shape and node.params == channels * per_channel else 0


def pool(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Averages in place of maxima, or the other way round."""
    other = {a: b for pair in _POOLS for a, b in (pair, pair[::-1])}
    return _swap(sketch, blocks, rng, lambda node: [other[node.op]] if node.op in other else [])


def _swap(sketch: Sketch, blocks: Blocks, rng: np.random.Generator, others: Callable[[Node], list[str]]) -> str | None:
    """Choose an operator that can be swapped, and swap all of its kind in its stage or everywhere."""
    places = [i for i, node in sketch.nodes.items() if others(node)]
    if not places:
        return None
    first = places[int(rng.integers(len(places)))]
    old = sketch.nodes[first].op
    choices = others(sketch.nodes[first])
    new = choices[int(rng.integers(len(choices)))]
    stage = None if rng.integers(2) else _stage(blocks(), first)
    inside = sketch.nodes if stage is None else set(stage.nodes)
    for i in places:
        node = sketch.nodes[i]
        if node.op == old and i in inside:
            _become(node, new)
    return f"{old} -> {new} in {'the whole network' if stage is None else f'stage {stage.label}'}"


def _become(node: Node, op: str) -> None:
    if node.op in _NORMS:
        channels = _norm_width(node)
        node.params = channels * _NORMS[op]
        groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0)
        node.set(groups=groups if op == "group_norm" else 0)
    node.op = op


def kernel(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Another size of kernel for the convolutions of a stage that have one in common, or for one of them; sizes stay by padding."""
    places = [i for i, node in sketch.nodes.items() if _has_kernel(node)]
    if not places:
        return None
    first = places[int(rng.integers(len(places)))]
    old = sketch.nodes[first].attr("kernel_w")
    sizes = [n for n in _KERNELS if n != old]
    new = sizes[int(rng.integers(len(sizes)))]
    inside = set(_stage(blocks(), first).nodes) if rng.integers(2) else {first}
    changed = [i for i in places if i in inside and sketch.nodes[i].attr("kernel_w") == old]
    for i in changed:
        _resize_kernel(sketch.nodes[i], new)
    return f"kernel {old} -> {new} of {len(changed)} convolution{'s' * (len(changed) > 1)}"


def _weights(node: Node) -> int:
    """Weights of the kernel of a layer."""
    return node.channels * node.reads * (node.area if node.op == "conv" else 1)


def _has_kernel(node: Node) -> bool:
    sizes = {n for n in node.attrs[:3] if n}
    strided = max(node.attrs[3:6]) >= max(sizes, default=0)
    return (
        node.op == "conv" and len(sizes) == 1 and sizes <= set(_KERNELS) and not strided and not node.shared
        and node.params >= _weights(node) > 0
    )  # fmt: skip


def _resize_kernel(node: Node, size: int) -> None:
    before = _weights(node)
    reads = node.reads
    node.attrs[:3] = [size if n else 0 for n in node.attrs[:3]]
    node.macs = node.numel * reads * node.area
    node.params += _weights(node) - before


# ---------------------------------------------------------------- insertions


def squeeze_excite(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """A squeeze-and-excitation after a convolution and what normalises and activates it."""
    place = _map(sketch, rng, lambda node: node.op == "conv" and node.kernel_axes == 2 and node.channels >= 8)
    if place is None:
        return None
    i, width = place
    node = sketch.nodes[i]
    users = sketch.users()[i]
    reduced = max(width // 16, 4)
    scope = sketch.scope_like(i, "se", "SqueezeExcite")
    point = [*[0] * (MAX_RANK - node.rank), *node.shape[MAX_RANK - node.rank : MAX_RANK - 3], width, 1, 1]
    small = [*point[:-3], reduced, 1, 1]
    one = {"kernel_h": 1, "kernel_w": 1, "stride_h": 1, "stride_w": 1, "dilation": 1, "groups": 1}
    weights = width * reduced
    x = sketch.add("global_avg_pool", [i], point, after=i, scope=scope)
    x = sketch.add("conv", [x], small, after=i, scope=scope, params=weights + reduced, macs=weights, **one)
    x = sketch.add("relu", [x], small, after=i, scope=scope)
    x = sketch.add("conv", [x], point, after=i, scope=scope, params=weights + width, macs=weights, **one)
    x = sketch.add("sigmoid", [x], point, after=i, scope=scope)
    x = sketch.add("mul", [i, x], node.shape, after=i, scope=scope)
    sketch.redirect(i, x, users)
    return "a squeeze-and-excitation inserted"


def extra_layer(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """Convolution, norm and activation (or linear layer, norm and activation) of unchanged width."""
    place = _map(sketch, rng, lambda node: node.op in LAYERS)
    if place is None:
        return None
    i, width = place
    node = sketch.nodes[i]
    users = sketch.users()[i]
    spatial = _layer_above(sketch, i).kernel_axes
    scope = sketch.scope_like(i, "extra", "Sequential")
    activations = [n.op for n in sketch.nodes.values() if n.op in _ACTIVATIONS]
    norms = [n.op for n in sketch.nodes.values() if n.op in _NORMS]
    if spatial:
        attrs = {"dilation": 1, "groups": 1}
        for axis in ("kernel_w", "kernel_h", "kernel_d")[:spatial]:
            attrs |= {axis: 3, axis.replace("kernel", "stride"): 1}
        weights = width * width * 3**spatial
        x = sketch.add(
            "conv", [i], node.shape, after=i, scope=scope, params=weights, macs=node.numel * width * 3**spatial, **attrs
        )
    else:
        weights = width * width + width
        x = sketch.add("linear", [i], node.shape, after=i, scope=scope, params=weights, macs=node.numel * width)
    if norms:
        x = sketch.add("layer_norm", [x], node.shape, after=i, scope=scope, params=2 * width)
        _become(sketch.nodes[x], max(sorted(set(norms)), key=norms.count))
    x = sketch.add(max(sorted(set(activations)), key=activations.count, default="relu"), [x], node.shape, after=i, scope=scope)
    sketch.redirect(i, x, users)
    return f"an extra {'convolution' if spatial else 'linear layer'} inserted"


def residual(sketch: Sketch, blocks: Blocks, rng: np.random.Generator) -> str | None:
    """A shortcut around a run of operators that keeps the size of its tensor."""
    users = sketch.users()
    runs = [
        (i, start)
        for i, node in sketch.nodes.items()
        if users[i] and i not in sketch.outputs and node.op != "add" and (start := _run_start(sketch, users, i)) is not None
    ]
    if not runs:
        return None
    end, start = runs[int(rng.integers(len(runs)))]
    scope = sketch.nodes[end].scope
    x = sketch.add("add", [end, start], sketch.nodes[end].shape, after=end, scope=scope)
    sketch.redirect(end, x, users[end])
    return "a shortcut inserted"


def _run_start(sketch: Sketch, users: dict[int, list[int]], end: int) -> int | None:
    """The nearest tensor of the same size above a chain of operators with a layer with a wide view among them, or ``None``."""
    node = sketch.nodes[end]
    if node.rank < 3 or any(sketch.nodes[u].op == "add" for u in users[end]):
        return None
    seen_layer = False
    for _ in range(12):
        seen_layer |= node.op in LAYERS
        if len(set(node.ins)) != 1:
            return None
        above = node.ins[0]
        node = sketch.nodes[above]
        if node.op == "input":
            return None
        if seen_layer and node.shape == sketch.nodes[end].shape:
            return above
    return None


def _map(sketch: Sketch, rng: np.random.Generator, fits: Callable[[Node], bool]) -> tuple[int, int] | None:
    """A tensor after which something can be put, and its channels: that of a layer, or of the norm or activation after it."""
    users = sketch.users()
    places = [
        (i, node.channels)
        for i, node in sketch.nodes.items()
        if node.op in LAYERS and fits(node) and node.rank >= 3 and users[i] and i not in sketch.outputs and node.ins
        and node.numel > node.channels
    ]  # fmt: skip
    if not places:
        return None
    i, width = places[int(rng.integers(len(places)))]
    for _ in range(2):  # on to the norm and the activation that belong to the layer
        following = users[i]
        after = sketch.nodes[following[0]] if len(following) == 1 else None
        if after is None or after.op not in (*_NORMS, *_ACTIVATIONS) or after.shape != sketch.nodes[i].shape:
            break
        if not users[following[0]] or following[0] in sketch.outputs:
            break
        i = following[0]
    return i, width


def _layer_above(sketch: Sketch, i: int) -> Node:
    node = sketch.nodes[i]
    while node.op not in LAYERS:
        node = sketch.nodes[node.ins[0]]
    return node


GROUPS: dict[str, tuple[Edit, ...]] = {
    "width": (width,),
    "depth": (deeper, shallower),
    "operator": (activation, norm, kernel, pool),
    "block": (squeeze_excite, extra_layer, residual),
}
"""Edits by what they change."""
