"""Named forms: small structures that people ask for by name, recognised by wiring, shapes and attributes alone.

``forms(graph)`` counts them; their names stand beside operator names in the fact ``ops``, so ``has(squeeze_excite)`` works like
``has(conv)``. A form never changes the graph.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator

from netatlas.graph.graph import Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, FLAGS, OPERATORS

_ACTIVATIONS = frozenset(op.name for op in OPERATORS if op.family == "activation")
_NORMS = frozenset(op.name for op in OPERATORS if op.family == "normalisation")
_PLAIN = _ACTIVATIONS | _NORMS
_LAYERS = frozenset({"conv", "linear"})

FORMS: dict[str, Callable[[Form], Iterator[int]]] = {}
"""Recognisers by form name; each yields the nodes at which the form ends."""


def form(name: str) -> Callable[[Callable[[Form], Iterator[int]]], Callable[[Form], Iterator[int]]]:
    """Decorator: the function finds the form called ``name``."""

    def add(find: Callable[[Form], Iterator[int]]) -> Callable[[Form], Iterator[int]]:
        FORMS[name] = find
        return find

    return add


def forms(graph: Graph) -> dict[str, int]:
    """How often each named form occurs in ``graph``, by name; forms that do not occur are left out."""
    view = Form(graph)
    counts = {name: sum(1 for _ in find(view)) for name, find in FORMS.items()}
    return {name: n for name, n in counts.items() if n}


def form_nodes(graph: Graph, name: str) -> list[int]:
    """Nodes at which the form called ``name`` ends."""
    return list(FORMS[name](Form(graph)))


class Form:
    """A graph with the questions recognisers ask of it, in plain Python lists for speed."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.names = graph.names
        self.ins = graph.inputs
        self.users = graph.consumers
        self.shape = [tuple(x for x in row if x) for row in graph.shape.tolist()]
        self.params: list[int] = graph.params.tolist()
        self._attrs = graph.attrs.tolist()
        self._macs: list[int] = graph.macs.tolist()

    def attr(self, node: int, name: str) -> int:
        return int(self._attrs[node][ATTRIBUTE_COLUMN[name]])

    def flag(self, node: int, name: str) -> bool:
        return bool(self.attr(node, "flags") & FLAGS[name])

    def of(self, *ops: str) -> Iterator[int]:
        """Nodes of these operators."""
        wanted = set(ops)
        return (i for i, name in enumerate(self.names) if name in wanted)

    def kernel(self, node: int) -> tuple[int, ...]:
        return tuple(k for k in (self.attr(node, f"kernel_{axis}") for axis in "dhw") if k)

    def stride(self, node: int) -> int:
        return max(self.attr(node, f"stride_{axis}") for axis in "dhw")

    def inner(self, node: int) -> int:
        """Input channels (per group) of a convolution, input features of a linear layer."""
        per_output = self._macs[node] // max(math.prod(self.shape[node]), 1)
        return int(per_output // max(math.prod(self.kernel(node)), 1)) if self.names[node] == "conv" else int(per_output)

    def channels(self, node: int) -> int:
        """Output channels of a convolution, output features of a linear layer."""
        shape = self.shape[node]
        axis = -1 - len(self.kernel(node)) if self.names[node] == "conv" else -1
        return shape[axis] if len(shape) >= abs(axis) else 0

    def is_pointwise(self, node: int) -> bool:
        """A 1x1 convolution over all channels, or a linear layer on a feature map."""
        if self.names[node] == "linear":
            return len(self.shape[node]) == 4
        return self.names[node] == "conv" and all(k == 1 for k in self.kernel(node)) and self.attr(node, "groups") <= 1

    def is_depthwise(self, node: int) -> bool:
        return self.names[node] == "conv" and self.attr(node, "groups") > 1 and self.inner(node) == 1

    def back(self, node: int, through: frozenset[str]) -> int:
        """From ``node`` up through operators of ``through``, along first inputs."""
        while self.names[node] in through and self.ins[node]:
            node = self.ins[node][0]
        return node

    def previous(self, node: int, through: frozenset[str] = _PLAIN) -> int | None:
        """The operator before ``node``, norms and activations skipped."""
        return self.back(self.ins[node][0], through) if self.ins[node] else None

    def reaches(self, node: int, target: int, limit: int = 80) -> bool:
        """Whether ``target`` lies above ``node``; gives up after ``limit`` nodes."""
        todo, seen = [node], {node}
        while todo and len(seen) <= limit:
            for x in self.ins[todo.pop()]:
                if x == target:
                    return True
                if x > target and x not in seen:
                    seen.add(x)
                    todo.append(x)
        return False


# ---------------------------------------------------------------- convolutions


@form("depthwise_conv")
def _depthwise(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.is_depthwise(i))


@form("pointwise_conv")
def _pointwise(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.is_pointwise(i))


@form("grouped_conv")
def _grouped(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.attr(i, "groups") > 1 and f.inner(i) > 1)


@form("dilated_conv")
def _dilated(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.attr(i, "dilation") > 1 and max(f.kernel(i), default=1) > 1)


@form("large_kernel_conv")
def _large_kernel(f: Form) -> Iterator[int]:
    """At least 7 in every direction; not the stem, which reads an image, nor a fully connected layer written as a convolution."""
    for i in f.of("conv"):
        wide = len(f.kernel(i)) >= 2 and min(f.kernel(i)) >= 7 and (f.inner(i) > 4 or f.is_depthwise(i))
        if wide and max(f.shape[i][-len(f.kernel(i)) :]) > 1:
            yield i


@form("separable_conv")
def _separable(f: Form) -> Iterator[int]:
    for i in f.of("conv", "linear"):
        before = f.previous(i)
        if f.is_pointwise(i) and before is not None and f.is_depthwise(before):
            yield i


@form("weight_standardisation")
def _standardised(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.flag(i, "standardised"))


def _first_convolutions(f: Form) -> Iterator[int]:
    return (i for i in f.of("conv") if f.ins[i] and f.names[f.ins[i][0]] == "input")


@form("patch_embedding")
def _patch_embedding(f: Form) -> Iterator[int]:
    for i in _first_convolutions(f):
        if len(f.kernel(i)) >= 2 and f.stride(i) >= 4 and min(f.kernel(i)[-2:]) == f.stride(i):
            yield i
    for i in f.of("linear"):  # patches cut out by reshaping
        if f.ins[i] and f.names[f.ins[i][0]] == "input" and len(f.shape[f.ins[i][0]]) == 4 and len(f.shape[i]) == 3:
            yield i


@form("convolution_stem")
def _stem(f: Form) -> Iterator[int]:
    return (i for i in _first_convolutions(f) if len(f.kernel(i)) >= 2 and f.stride(i) < min(f.kernel(i)[-2:]))


# ---------------------------------------------------------------- gates on channels


def _channel_gate(f: Form, product: int) -> tuple[int, int] | None:
    """``(layers, pool)`` where one factor of ``product`` is made from a globally pooled vector by up to two layers."""
    for gate in f.ins[product]:
        layers, node = 0, gate
        for _ in range(8):
            name = f.names[node]
            if name in ("global_avg_pool", "mean", "global_max_pool"):
                return (layers, node) if layers else None
            if name in _LAYERS:
                layers += 1
            elif name not in _PLAIN and name not in ("add", "concat"):
                break
            if not f.ins[node]:
                break
            node = f.ins[node][0]
    return None


@form("squeeze_excite")
def _squeeze_excite(f: Form) -> Iterator[int]:
    for i in f.of("mul"):
        if len(f.ins[i]) == 2 and (found := _channel_gate(f, i)) and found[0] == 2:
            yield i


@form("channel_attention")
def _channel_attention(f: Form) -> Iterator[int]:
    return (i for i in f.of("mul") if len(f.ins[i]) == 2 and _channel_gate(f, i))


@form("global_response_norm")
def _global_response(f: Form) -> Iterator[int]:
    for i in f.of("div"):
        if (
            len(f.ins[i]) == 2
            and f.names[f.ins[i][0]] == "norm"
            and f.names[f.ins[i][1]] == "mean"
            and f.ins[f.ins[i][1]] == f.ins[i][:1]
        ):
            yield i


@form("gated_linear_unit")
def _gated_linear_unit(f: Form) -> Iterator[int]:
    for i in f.of("mul"):
        if len(f.ins[i]) != 2:
            continue
        for gate, value in (f.ins[i], f.ins[i][::-1]):
            if f.names[gate] not in _ACTIVATIONS or not f.ins[gate]:
                continue
            source, other = f.ins[gate][0], f.back(value, _NORMS | {"conv"}) if f.names[value] == "conv" else value
            if f.names[source] not in _LAYERS or f.names[other] not in _LAYERS:
                continue
            if source == other or f.ins[source][:1] == f.ins[other][:1]:
                yield i
                break


# ---------------------------------------------------------------- blocks of convolutions


@form("inverted_residual")
def _inverted_residual(f: Form) -> Iterator[int]:
    for i in f.of("conv"):
        if not f.is_pointwise(i):
            continue
        middle = f.previous(i, _PLAIN | {"mul"})
        if middle is None or not f.is_depthwise(middle):
            continue
        first = f.previous(middle)
        if first is not None and f.is_pointwise(first) and f.channels(first) > f.inner(first) and f.channels(i) < f.inner(i):
            yield i


@form("bottleneck")
def _bottleneck(f: Form) -> Iterator[int]:
    for i in f.of("conv"):
        if not f.is_pointwise(i) or f.channels(i) < 2 * f.inner(i):
            continue
        middle = f.previous(i, _PLAIN | {"mul", "avg_pool"})
        if middle is None or f.names[middle] != "conv" or max(f.kernel(middle), default=1) < 3:
            continue
        first = f.previous(middle)
        if first is not None and f.is_pointwise(first):
            yield i


@form("residual")
def _residual(f: Form) -> Iterator[int]:
    for i in f.of("add"):
        if len(f.ins[i]) == 2 and f.ins[i][0] != f.ins[i][1]:
            low, high = sorted(f.ins[i])
            if f.reaches(high, low) or _projected(f, low, high):
                yield i


def _projected(f: Form, low: int, high: int) -> bool:
    """Whether one branch is a projection of where the other one comes from, as at the start of a stage."""
    for branch, other in ((low, high), (high, low)):
        layer = f.back(branch, _NORMS)
        if f.names[layer] in _LAYERS and f.ins[layer]:
            source = f.back(f.ins[layer][0], frozenset({"avg_pool", "max_pool"}))
            if source != other and source < other and f.reaches(other, source):
                return True
    return False


@form("dense_connection")
def _dense_connection(f: Form) -> Iterator[int]:
    """A join in which one feature takes part for at least the third time, as in DenseNet; not a one-shot aggregation."""
    joined: Counter[int] = Counter()
    for i in f.of("concat"):
        joined.update(set(f.ins[i]))
    for i in f.of("concat"):
        if len(f.shape[i]) >= 4 and len(set(f.ins[i])) >= 2 and any(joined[x] >= 3 for x in f.ins[i]):
            yield i


@form("reparameterised_branch")
def _reparameterised(f: Form) -> Iterator[int]:
    def source(node: int) -> int | None:
        if f.names[node] != "batch_norm":
            return None
        below = f.ins[node][0]
        return f.ins[below][0] if f.names[below] == "conv" and f.ins[below] else below

    for i in f.of("add"):
        if len(f.ins[i]) == 2 and f.ins[i][0] != f.ins[i][1]:
            a, b = (source(x) for x in f.ins[i])
            if a is not None and a == b:
                yield i


# ---------------------------------------------------------------- attention


_PROJECTING = _PLAIN | {
    "rope",
    "linear",
    "conv",
    "avg_pool",
    "max_pool",
    "global_avg_pool",
    "mean",
    "gather",
    "concat",
    "mul",
    "add",
    "sub",
    "div",
    "pad",
    "unfold",
    "roll",
    "upsample",
    "max",
}


def _made_from(f: Form, node: int) -> set[int]:
    """Where queries or keys come from: everything up to the joins of residual branches and the outputs of attention."""
    found, todo = {node}, [node]
    while todo and len(found) < 60:
        i = todo.pop()
        joins = len(f.ins[i]) > 1 and f.names[i] != "concat"
        if f.names[i] in _PROJECTING and not joins:
            fresh = [x for x in f.ins[i] if x not in found]
            found.update(fresh)
            todo.extend(fresh)
    return found


def _is_cross(f: Form, i: int) -> bool:
    """Whether keys and queries share no source short of the joins of their streams."""
    return len(f.ins[i]) >= 2 and not _made_from(f, f.ins[i][0]) & _made_from(f, f.ins[i][1])


@form("self_attention")
def _self_attention(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if not _is_cross(f, i))


@form("cross_attention")
def _cross_attention(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if _is_cross(f, i))


@form("causal_attention")
def _causal(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if f.flag(i, "causal"))


@form("grouped_query_attention")
def _grouped_query(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if f.flag(i, "grouped_query"))


@form("window_attention")
def _windowed(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if f.flag(i, "windowed"))


@form("relative_position_bias")
def _relative_bias(f: Form) -> Iterator[int]:
    return (i for i in f.of("attention") if f.params[i] > 0 or f.flag(i, "shared"))


@form("linear_attention")
def _linear_attention(f: Form) -> Iterator[int]:
    through = _PLAIN | {"mul", "div"}
    for i in f.of("matmul"):
        if len(f.ins[i]) == 2 and any(
            f.names[j] == "matmul" and len(f.ins[j]) == 2 for j in (f.back(x, through) for x in f.ins[i])
        ):
            yield i
    for i in f.of("sum"):  # one context vector, a weighted sum over tokens, that gates the tokens
        weighted = f.ins[i][0] if f.ins[i] else i
        gates = any(f.names[u] == "mul" and len(f.ins[u]) == 2 for u in f.users[i])
        if f.names[weighted] == "mul" and gates and any(f.names[x] in ("softmax", "l2_norm") for x in f.ins[weighted]):
            yield i


@form("transformer_block")
def _transformer_block(f: Form) -> Iterator[int]:
    following = frozenset({"linear", "conv", "mul", "add", "rope", "roll"}) | _NORMS
    for i in f.of("attention"):
        node = i
        for _ in range(6):
            if len(f.users[node]) != 1:
                break
            node = f.users[node][0]
            if f.names[node] == "add" and len(f.ins[node]) == 2:
                yield i
                break
            if f.names[node] not in following:
                break


@form("class_token")
def _class_token(f: Form) -> Iterator[int]:
    return (i for i in f.of("concat") if f.params[i] and len(f.shape[i]) == 3)


@form("position_embedding")
def _position_embedding(f: Form) -> Iterator[int]:
    for i in f.of("add"):
        shape = f.shape[i]
        if len(f.ins[i]) == 1 and len(shape) >= 3 and f.params[i] >= 2 * shape[-1]:
            yield i
    yield from (i for i in f.of("embedding") if not f.ins[i])


@form("token_mixing_mlp")
def _token_mixing(f: Form) -> Iterator[int]:
    for i in f.of("linear"):
        if f.ins[i] and len(f.shape[i]) == 3:
            before, inner = f.shape[f.ins[i][0]], f.inner(i)
            if before and before[-1] != inner and inner in before[:-1]:
                yield i


@form("layer_scale")
def _layer_scale(f: Form) -> Iterator[int]:
    for i in f.of("mul"):
        if len(f.ins[i]) == 1 and f.params[i] and any(f.names[u] == "add" for u in f.users[i]):
            yield i


# ---------------------------------------------------------------- sequence models, experts, decoders


@form("mixture_of_experts")
def _experts(f: Form) -> Iterator[int]:
    """A linear layer with several times the weights one token meets, in a network that chooses the best of something."""
    if not any(True for _ in f.of("topk", "argmax", "sort")):
        return
    for i in f.of("linear"):
        if f.params[i] >= 2 * f.inner(i) * f.channels(i) > 0 and len(f.shape[i]) >= 2:
            yield i


@form("state_space")
def _state_space(f: Form) -> Iterator[int]:
    for i in f.of("exp"):
        if (
            f.ins[i]
            and f.names[f.ins[i][0]] == "mul"
            and any(f.names[f.back(x, frozenset({"clamp", "mul"}))] == "softplus" for x in f.ins[f.ins[i][0]])
        ):
            yield i


@form("recurrent")
def _recurrent(f: Form) -> Iterator[int]:
    return f.of("lstm", "gru", "rnn")


@form("fourier_mixing")
def _fourier(f: Form) -> Iterator[int]:
    return f.of("fft")


@form("pixel_shuffle_upsampling")
def _pixel_shuffle(f: Form) -> Iterator[int]:
    return (i for i in f.of("pixel_shuffle") if f.ins[i] and f.shape[i][-1] > f.shape[f.ins[i][0]][-1])


_RISES = frozenset({"upsample", "conv_transpose", "pixel_shuffle"})


def _is_raised(f: Form, node: int) -> bool:
    """An upsampled map; a pooled vector spread out again is none."""
    return f.names[node] in _RISES and bool(f.ins[node]) and max(f.shape[f.ins[node][0]][2:], default=1) > 1


@form("unet_skip")
def _unet_skip(f: Form) -> Iterator[int]:
    for i in f.of("concat"):
        raised = [_is_raised(f, f.back(x, _PLAIN | {"pad"})) for x in f.ins[i]]
        if any(raised) and not all(raised):
            yield i


@form("feature_pyramid")
def _feature_pyramid(f: Form) -> Iterator[int]:
    for i in f.of("add"):
        raised = [_is_raised(f, f.back(x, _PLAIN)) for x in f.ins[i]]
        if len(raised) == 2 and sum(raised) == 1:
            yield i
