"""Named motifs: residual blocks of convolutions, gates on channels and places."""

from __future__ import annotations

from collections.abc import Iterator

from netatlas.graph._forms_base import ACTIVATIONS, GLOBAL_POOLS, LAYERS, NORMS, PLAIN, Nodes, View, form

# ---------------------------------------------------------------- residual connections


@form("residual")
def _residual(f: View) -> Iterator[Nodes]:
    """A value added to what was computed from it."""
    return (((f.body(r) or [r.body])[-1], r.add) for r in f.residuals.values())


@form("projection_shortcut")
def _projection_shortcut(f: View) -> Iterator[Nodes]:
    """A residual connection whose short way is a 1x1 convolution, where width or size changes."""
    for r in f.residuals.values():
        layer = f.back(r.skip, NORMS)
        if r.is_projected and f.is_pointwise(layer) and len(f.shape[layer]) >= 4:
            yield layer, r.add


@form("pooled_shortcut")
def _pooled_shortcut(f: View) -> Iterator[Nodes]:
    """A projected residual connection that averages instead of dropping places (ResNet-D)."""
    for r in f.residuals.values():
        layer = f.back(r.skip, NORMS)
        if r.is_projected and f.ins[layer] and f.names[f.ins[layer][0]] == "avg_pool":
            yield f.ins[layer][0], r.add


@form("basic_block")
def _basic_block(f: View) -> Iterator[Nodes]:
    """Two 3x3 convolutions and a residual connection (ResNet-18 and -34)."""
    for r, body, kinds in f.bodies:
        layers = [i for i in reversed(body) if f.names[i] in LAYERS] if kinds == "cc" else []
        if layers and all(set(f.kernel(i)) == {3} and len(f.kernel(i)) == 2 for i in layers):
            yield *layers, r.add


@form("preactivation_block")
def _preactivation(f: View) -> Iterator[Nodes]:
    """A residual block whose norms and activations come before its convolutions (ResNetV2)."""
    for r, body, kinds in f.bodies:
        end = next((i for i in body if f.names[i] != "mul"), -1)  # behind gates and scales
        if end < 0 or f.names[end] != "conv" or "c" not in kinds.replace("g", "c"):
            continue
        opening = [f.names[i] for i in body[-3:][::-1]]
        if r.is_projected and f.names[r.source] in ACTIVATIONS and f.ins[r.source]:  # the shortcut starts behind them
            opening = [f.names[f.ins[r.source][0]], f.names[r.source], *opening[:1]]
        if len(opening) == 3 and opening[0] in NORMS and opening[1] in ACTIVATIONS and opening[2] == "conv":
            yield body[-1], r.add


@form("bottleneck")
def _bottleneck(f: View) -> Iterator[Nodes]:
    """A 1x1 convolution down, a wider one, a 1x1 convolution up (ResNet-50)."""
    for i in f.of("conv"):
        if not f.is_pointwise(i) or f.channels(i) < 2 * f.inner(i):
            continue
        middle = f.previous(i, PLAIN | {"mul", "avg_pool"})
        if middle is None or f.kind(middle) not in ("c", "g") or max(f.kernel(middle)) < 3:
            continue
        first = f.previous(middle)
        if first is not None and f.is_pointwise(first):
            yield first, middle, i, *_addition(f, i)


def _addition(f: View, node: int) -> Nodes:
    """The end of the residual connection that a layer at the end of a block leads to, empty when there is none."""
    for _ in range(4):
        users = set(f.users[node])
        if len(users) != 1:
            break
        node = users.pop()
        if node in f.residuals:
            return (node,)
        if f.names[node] not in NORMS and f.names[node] != "mul":
            break
    return ()


@form("grouped_bottleneck")
def _grouped_bottleneck(f: View) -> Iterator[Nodes]:
    """A residual block of 1x1, grouped 3x3 and 1x1 convolutions (ResNeXt, RegNet)."""
    for r, body, kinds in f.bodies:
        if kinds == "pgp":
            yield *(i for i in reversed(body) if f.names[i] in LAYERS), r.add


@form("inverted_residual")
def _inverted_residual(f: View) -> Iterator[Nodes]:
    """A pointwise expansion, a depthwise convolution, a pointwise projection (MobileNetV2)."""
    for i in f.of("conv"):
        if not f.is_pointwise(i):
            continue
        middle = f.previous(i, PLAIN | {"mul"})
        if middle is None or not f.is_depthwise(middle):
            continue
        first = f.previous(middle)
        if first is not None and f.is_pointwise(first) and f.channels(first) > f.inner(first) and f.channels(i) < f.inner(i):
            yield first, middle, i, *_addition(f, i)


@form("fused_inverted_residual")
def _fused_inverted_residual(f: View) -> Iterator[Nodes]:
    """An expansion by a full convolution, then a pointwise projection (Fused-MBConv)."""
    for i in f.of("conv"):
        if not f.is_pointwise(i) or f.channels(i) * 3 > f.inner(i) * 2:
            continue
        first = f.previous(i, PLAIN | {"mul"})
        if first is None or not f.is_spatial(first) or not 12 < f.inner(first) * 3 <= f.channels(first) == f.inner(i):
            continue
        if min(f.kernel(first)) == 3 and max(f.shape[i][2:], default=1) > 1 and _is_private(f, first, i):
            yield first, i, *_addition(f, i)


def _is_private(f: View, first: int, last: int) -> bool:
    """Whether nothing but a channel gate reads what passes from one layer to the next."""
    for i in f.chain(last, first) or ():
        others = [u for x in f.ins[i] for u in f.users[x] if u != i]
        if i != last and any(f.names[u] not in GLOBAL_POOLS and f.names[u] != "mul" for u in others):
            return False
    return not any(u != last and f.names[u] not in GLOBAL_POOLS and f.names[u] != "mul" for u in f.users[f.ins[last][0]])


@form("convnext_block")
def _convnext_block(f: View) -> Iterator[Nodes]:
    """A wide depthwise convolution, a norm, a pointwise expansion and projection, a residual connection (ConvNeXt)."""
    for r, body, kinds in f.bodies:
        if kinds != "dpp":
            continue
        wide, first, last = (i for i in reversed(body) if f.names[i] in LAYERS)
        after = body[body.index(wide) - 1]
        if (
            max(f.kernel(wide)) >= 5
            and f.names[after] in NORMS
            and f.channels(first) > f.channels(last)
            and not any(f.names[i] in ACTIVATIONS for i in body if wide < i < first)
        ):
            yield wide, first, last, r.add


@form("conditional_position")
def _conditional_position(f: View) -> Iterator[Nodes]:
    """A depthwise convolution added to what it reads, which tells tokens their place (CPVT)."""
    for r, body, _ in f.bodies:
        if len(body) == 1 and f.is_depthwise(body[0]) and len(f.kernel(body[0])) == 2 and not r.is_projected:
            yield body[0], r.add


@form("pooling_mixer")
def _pooling_mixer(f: View) -> Iterator[Nodes]:
    """An average over neighbours less the value itself, in place of attention (PoolFormer)."""
    for i in f.binary("sub"):
        pool, whole = f.ins[i]
        if f.names[pool] == "avg_pool" and f.ins[pool] == (whole,) and f.stride(pool) == 1:
            yield pool, i


@form("reparameterised_branch")
def _reparameterised(f: View) -> Iterator[Nodes]:
    """Parallel branches that each end in a batch norm and can become one convolution (RepVGG)."""

    def source(node: int) -> int | None:
        if f.names[node] != "batch_norm":
            return None
        below = f.ins[node][0]
        return f.ins[below][0] if f.names[below] == "conv" and f.ins[below] else below

    for i in f.binary("add"):
        a, b = (source(x) for x in f.ins[i])
        if a is not None and a == b:
            yield *f.ins[i], i


# ---------------------------------------------------------------- gates


def channel_gate(f: View, product: int) -> tuple[list[int], int] | None:
    """``(layers, pool)`` where one factor of ``product`` is made from a globally pooled vector by layers."""
    for gate in f.ins[product]:
        layers, node = list[int](), gate
        for _ in range(8):
            name = f.names[node]
            if name in GLOBAL_POOLS:
                return (layers, node) if layers else None
            if name in LAYERS:
                layers.append(node)
            elif name not in PLAIN and name not in ("add", "concat"):
                break
            if not f.ins[node]:
                break
            node = f.ins[node][0]
    return None


@form("squeeze_excite")
def _squeeze_excite(f: View) -> Iterator[Nodes]:
    """Channels weighted by two layers that see their averages (SENet)."""
    for i in f.binary("mul"):
        if (found := channel_gate(f, i)) and len(found[0]) == 2:
            yield found[1], i


@form("efficient_channel_attention")
def _efficient_channel_attention(f: View) -> Iterator[Nodes]:
    """Channels weighted by a one-dimensional convolution over their averages (ECA)."""
    for i in f.binary("mul"):
        if (found := channel_gate(f, i)) and len(found[0]) == 1:
            kernel = f.kernel(found[0][0])
            if len(kernel) == 1 and kernel[0] > 1:
                yield found[1], i


@form("channel_attention")
def _channel_attention(f: View) -> Iterator[Nodes]:
    """Channels weighted by layers that see their averages, of any kind."""
    return ((found[1], i) for i in f.binary("mul") if (found := channel_gate(f, i)))


@form("spatial_attention")
def _spatial_attention(f: View) -> Iterator[Nodes]:
    """Places weighted by a map of one channel made by a convolution (CBAM)."""
    for i in f.binary("mul"):
        for gate in f.ins[i]:
            shape = f.shape[gate]
            if f.names[gate] in ("sigmoid", "hardsigmoid") and len(shape) == 4 and shape[1] == 1 and min(shape[2:]) > 1:
                layer = f.previous(gate)
                if layer is not None and f.names[layer] == "conv":
                    yield layer, gate, i


def _selection(f: View, i: int) -> tuple[int, int] | None:
    """``(softmax, other)`` of the product under a sum, where the softmax is made from a pooled vector."""
    product = f.ins[i][0] if f.ins[i] else i
    if f.names[product] != "mul" or len(f.ins[product]) != 2:
        return None
    for gate, other in (f.ins[product], f.ins[product][::-1]):
        if f.names[gate] == "softmax":
            found = channel_gate(f, product)
            return (gate, other) if found is not None else None
    return None


@form("split_attention")
def _split_attention(f: View) -> Iterator[Nodes]:
    """Splits of a grouped convolution weighted against each other by channel (ResNeSt)."""
    for i in f.of("sum"):
        if (found := _selection(f, i)) and f.names[found[1]] != "concat":
            yield found[1], found[0], i


@form("selective_kernel")
def _selective_kernel(f: View) -> Iterator[Nodes]:
    """Convolutions of different reach weighted against each other by channel (SKNet)."""
    for i in f.of("sum"):
        if (found := _selection(f, i)) and f.names[found[1]] == "concat":
            yield found[1], found[0], i


@form("global_context")
def _global_context(f: View) -> Iterator[Nodes]:
    """One attention map for all places; what it gathers is added to, or weights, every place (GCNet)."""
    for i in f.of("matmul"):
        for weights, values in (f.ins[i], f.ins[i][::-1]) if len(f.ins[i]) == 2 else ():
            if f.names[weights] == "softmax" and f.ins[weights]:
                scores = f.ins[weights][0]
                if f.names[scores] == "conv" and f.channels(scores) == 1 and f.ins[scores] == (values,):
                    yield scores, i


@form("global_response_norm")
def _global_response(f: View) -> Iterator[Nodes]:
    """Channels divided by the mean of their norms over all places (ConvNeXt V2)."""
    for i in f.binary("div"):
        norm, mean = f.ins[i]
        if f.names[norm] == "norm" and f.names[mean] == "mean" and f.ins[mean] == (norm,):
            yield norm, i


@form("layer_scale")
def _layer_scale(f: View) -> Iterator[Nodes]:
    """A learned scale for every channel at the end of a residual branch (CaiT)."""
    for i in f.of("mul"):
        if len(f.ins[i]) == 1 and f.params[i] and any(f.names[u] == "add" for u in f.users[i]):
            yield (i,)


@form("spatial_gating")
def _spatial_gating(f: View) -> Iterator[Nodes]:
    """Half of the channels weighted by a linear layer over the tokens of the other half (gMLP)."""
    for i in f.binary("mul"):
        for gate, other in (f.ins[i], f.ins[i][::-1]):
            norm = f.ins[gate][0] if f.names[gate] == "linear" and f.ins[gate] else -1
            if norm >= 0 and f.names[norm] in NORMS and f.ins[norm] == (other,) and mixes_tokens(f, gate):
                yield norm, i


def mixes_tokens(f: View, node: int) -> bool:
    """Whether a linear layer runs over the tokens instead of the channels."""
    if not f.ins[node] or len(f.shape[node]) != 3:
        return False
    source = f.ins[node][0]
    before, after = f.shape[source], f.shape[node]
    affine = f.names[source] in ("mul", "add") and len(f.ins[source]) == 1 and f.params[source] > 0
    if not affine and f.names[source] not in NORMS - {"batch_norm"}:  # anything else may be laid out channels first
        return False
    return len(before) == 3 and f.inner(node) == before[1] != before[2] == after[1]
