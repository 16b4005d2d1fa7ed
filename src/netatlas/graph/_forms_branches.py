"""Named motifs: branches that are joined again, pyramids and skips between resolutions."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from netatlas.graph._forms_base import LAYERS, NORMS, PLAIN, POOLS, Nodes, View, form

_BRANCH = PLAIN | POOLS | {"conv", "pad", "mul"}


def _branch(f: View, end: int, limit: int = 24) -> list[int]:
    """A branch from its end up, as long as it is convolutions, pools, norms and activations, with the node it starts from last."""
    found = [end]
    while f.names[end] in _BRANCH and f.ins[end] and len(found) < limit:
        end = f.main(end)
        found.append(end)
    return found


def _parts(f: View, i: int) -> tuple[int, ...]:
    """What a join of feature maps joins, each once; empty for joins of other things."""
    parts = tuple(dict.fromkeys(f.ins[i]))
    return parts if len(f.shape[i]) >= 4 and not f.params[i] else ()


@form("dense_connection")
def _dense_connection(f: View) -> Iterator[Nodes]:
    """A join in which one feature takes part for at least the third time (DenseNet).

    Not a one-shot aggregation, where each does once, and only of what convolutions made.
    """
    joins: dict[int, list[int]] = {}
    for i in f.of("concat"):
        for x in _parts(f, i):
            joins.setdefault(x, []).append(i)
    for i in f.of("concat"):
        parts = _parts(f, i)
        kept = [x for x in parts if len(joins[x]) >= 3 and f.names[f.back(x, PLAIN | {"mul", "pad"})] == "conv"]
        # What grows shares two features or more with the join before or after it.
        if len(parts) >= 2 and any(len({*f.ins[j]} & {*parts}) >= 2 for x in kept[:2] for j in joins[x][:8] if j != i):
            yield (i,)


def _starts(branches: list[list[int]]) -> set[int]:
    """Nodes that every branch passes."""
    return set.intersection(*(set(b) for b in branches)) if branches else set()


@form("inception_branches")
def _inception(f: View) -> Iterator[Nodes]:
    """Three or more branches of different reach over one map, joined by channel (GoogLeNet)."""
    for i in f.of("concat"):
        parts = _parts(f, i)
        if len(parts) < 3:
            continue
        branches = [_branch(f, x) for x in parts]
        shared = _starts(branches)
        if not shared:
            continue
        source = max(shared)
        own = [[x for x in b if x > source] for b in branches]
        if sum(bool(o) for o in own) < 3 or any(x in o for x in parts for o in own if o and o[0] != x):
            continue
        reach = {tuple(f.kernel(x) for x in o if f.names[x] == "conv" or f.names[x] in POOLS) for o in own}
        plain = all(f.attr(x, "dilation") <= 1 for o in own for x in o if f.names[x] == "conv")
        if len(reach) >= 2 and plain and sum(f.names[x] == "conv" for o in own for x in o) >= 2:
            yield source, i


@form("atrous_pyramid")
def _atrous_pyramid(f: View) -> Iterator[Nodes]:
    """Convolutions of one map at several dilations, joined (ASPP of DeepLab)."""
    for i in f.of("concat"):
        dilations = Counter[int]()
        for x in _parts(f, i):
            layer = f.back(x, PLAIN)
            if f.names[layer] == "conv" and f.attr(layer, "dilation") > 1 and max(f.kernel(layer)) > 1:
                dilations[f.attr(layer, "dilation")] += 1
        if len(dilations) >= 3:
            yield max(f.previous(x) or 0 for x in f.ins[i]), i


@form("pyramid_pooling")
def _pyramid_pooling(f: View) -> Iterator[Nodes]:
    """A map joined with pooled versions of itself that were enlarged again (PSPNet)."""
    for i in f.of("concat"):
        parts = _parts(f, i)
        raised = [x for x in parts if f.names[x] == "upsample" and any(f.names[y] in _COARSE for y in _branch(f, f.ins[x][0]))]
        if len(raised) >= 3:
            yield *raised, i


_COARSE = frozenset({"adaptive_pool", "global_avg_pool", "avg_pool"})


@form("sequential_pooling")
def _sequential_pooling(f: View) -> Iterator[Nodes]:
    """A map joined with itself max-pooled once, twice and three times (SPPF of YOLO)."""
    for i in f.of("concat"):
        pools = [x for x in _parts(f, i) if f.names[x] == "max_pool"]
        if len(pools) >= 3 and all(f.stride(x) == 1 for x in pools):
            yield *pools, i


@form("cross_stage_partial")
def _cross_stage(f: View) -> Iterator[Nodes]:
    """A stage of blocks whose result is joined with a projection, or a part, of what went into it (CSPNet)."""
    for i in f.of("concat"):
        parts = _parts(f, i)
        for short, long in (parts, parts[::-1]) if len(parts) == 2 else ():
            begin = _stage_start(f, short, long) if f.numel[short] * 4 >= f.numel[long] else None
            if begin is not None:
                yield begin, i
                break


def _stage_start(f: View, short: int, long: int) -> int | None:
    """Where a stage begins of which ``long`` is the result and ``short`` went past it."""
    steps = _steps(f, long, short)
    if steps and any(x in f.residuals for x in steps):
        return short if any(f.names[u] == "conv" and f.reads_part(u) for u in f.users[short]) else None
    projection = f.back(short, PLAIN)
    if not f.is_pointwise(projection) or not f.ins[projection]:
        return None
    begin = f.ins[projection][0]
    steps = _steps(f, long, begin)
    return begin if steps and projection not in steps and any(x in f.residuals for x in steps) else None


def _steps(f: View, node: int, stop: int, limit: int = 400) -> list[int] | None:
    """The main way from ``node`` up to ``stop``, taking the short way through residual connections."""
    found: list[int] = []
    while node > stop and len(found) < limit:
        found.append(node)
        if node in f.residuals:
            node = f.residuals[node].source
        elif f.ins[node] and f.names[node] in _BRANCH:
            node = f.main(node)
        else:
            return None
    return found if node == stop else None


@form("one_shot_aggregation")
def _one_shot(f: View) -> Iterator[Nodes]:
    """All maps of a row of convolutions joined once at its end (VoVNet, HGNet)."""
    for i in f.of("concat"):
        parts = sorted(_parts(f, i))
        if len(parts) >= 4:
            follows = sum(a in _branch(f, b) for a, b in itertools.pairwise(parts))
            if follows == len(parts) - 1:
                yield *parts, i


@form("hierarchical_split")
def _hierarchical_split(f: View) -> Iterator[Nodes]:
    """Convolutions of parts of the channels, joined again, within one block (Res2Net)."""
    for i in f.of("concat"):
        layers = [f.back(x, PLAIN) for x in _parts(f, i)]
        convs = [x for x in layers if f.names[x] == "conv" and f.inner(x) > 1 and max(f.kernel(x)) > 1 and _narrow(f, x)]
        if len(layers) >= 3 and len(convs) >= len(layers) - 1 and any(f.reads_part(x) for x in convs):
            yield *convs, i


def _narrow(f: View, conv: int) -> bool:
    """Whether a convolution reads part of a map, or of a sum of two maps."""
    source = f.ins[conv][0] if f.ins[conv] else conv
    return f.reads_part(conv) or (f.names[source] == "add" and len(f.ins[source]) == 2)


@form("ghost_module")
def _ghost(f: View) -> Iterator[Nodes]:
    """A few maps joined with cheap depthwise versions of themselves (GhostNet)."""
    for i in f.of("concat"):
        parts = _parts(f, i)
        if len(parts) != 2:
            continue
        for whole, cheap in (parts, parts[::-1]):
            layer = f.back(cheap, PLAIN)
            made = f.is_pointwise(f.back(whole, PLAIN))
            if made and f.is_depthwise(layer) and f.ins[layer] == (whole,) and not f.reads_part(layer) and f.stride(layer) == 1:
                yield layer, i
                break


@form("channel_shuffle")
def _channel_shuffle(f: View) -> Iterator[Nodes]:
    """Half of the channels passed on, half convolved, then joined and shuffled for the next block (ShuffleNet V2)."""
    for i in f.of("concat"):
        parts = _parts(f, i)
        if len(parts) != 2:
            continue
        for whole, branch in (parts, parts[::-1]):
            layers = [x for x in _branch(f, branch) if f.names[x] == "conv" and x > whole]
            first = layers[-1] if layers else -1
            if first >= 0 and len(layers) >= 2 and f.ins[first] == (whole,) and [2 * f.inner(first)] == [*f.shape[whole][1:2]]:
                yield first, i
                break


# ---------------------------------------------------------------- resolutions


_RISES = frozenset({"upsample", "conv_transpose", "pixel_shuffle"})


def _is_raised(f: View, node: int) -> bool:
    """An upsampled map; a pooled vector spread out again is none."""
    return f.names[node] in _RISES and bool(f.ins[node]) and max(f.shape[f.ins[node][0]][2:], default=1) > 1


@form("unet_skip")
def _unet_skip(f: View) -> Iterator[Nodes]:
    """An enlarged map joined with an earlier one of that size (U-Net)."""
    for i in f.of("concat"):
        ends = [f.back(x, PLAIN | {"pad"}) for x in _parts(f, i)]
        raised = [_is_raised(f, x) for x in ends]
        if len(ends) == 2 and sum(raised) == 1:
            yield max(x for x, up in zip(ends, raised, strict=True) if up), i


@form("feature_pyramid")
def _feature_pyramid(f: View) -> Iterator[Nodes]:
    """An enlarged coarse map added to a finer one (FPN)."""
    for i in f.binary("add"):
        ends = [f.back(x, PLAIN) for x in f.ins[i]]
        raised = [_is_raised(f, x) for x in ends]
        if sum(raised) == 1 and len(f.shape[i]) == 4:
            up, fine = (ends if raised[0] else ends[::-1])[:2]
            # The finer map has a layer of its own; an enlarged branch added to where it started is a residual connection.
            if (
                not f.reaches(up, f.ins[i][0] if ends[0] == fine else f.ins[i][1], 40)
                and f.names[f.back(fine, NORMS)] in _LATERAL
            ):
                yield up, i


_LATERAL = LAYERS | {"add", "concat", "mul"}
