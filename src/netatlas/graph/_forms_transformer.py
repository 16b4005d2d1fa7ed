"""Named motifs: blocks of transformers, feed-forward layers, tokens and positions, recurrences, experts, heads."""

from __future__ import annotations

import itertools
from bisect import bisect
from collections.abc import Iterator

from netatlas.graph._forms_base import ACTIVATIONS, GLOBAL_POOLS, LAYERS, NORMS, PLAIN, Nodes, Residual, View, form

# ---------------------------------------------------------------- blocks


def _attention_blocks(f: View) -> Iterator[tuple[int, int]]:
    """Every attention with the addition that its output goes into."""
    following = frozenset({"linear", "conv", "mul", "add", "rope", "roll"}) | NORMS
    for i in f.of("attention"):
        node = i
        for _ in range(6):
            if len(f.users[node]) != 1:
                break
            node = f.users[node][0]
            if f.names[node] == "add" and len(f.ins[node]) == 2:
                yield i, node
                break
            if f.names[node] not in following:
                break


def _attention_residuals(f: View) -> Iterator[tuple[int, Residual, list[int]]]:
    """Every attention whose output is added to where its queries come from, with the way between."""
    for attention, add in _attention_blocks(f):
        residual = f.residuals.get(add)
        if residual is not None and (body := f.body(residual)):
            yield attention, residual, body


@form("transformer_block")
def _transformer_block(f: View) -> Iterator[Nodes]:
    """Attention with a residual connection around it."""
    return _attention_blocks(f)


def _next_residual(f: View, source: int) -> int | None:
    """Where the residual connection ends that begins at a node and has no attention: the feed-forward half of a block."""
    for r in f.leaving.get(source, ()):
        body = f.body(r)
        if body and not any(f.names[i] == "attention" for i in body):
            return r.add
    return None


@form("prenorm_block")
def _prenorm(f: View) -> Iterator[Nodes]:
    """Attention, then a feed-forward layer, each reading a normalised copy of the residual stream (GPT-2, ViT)."""
    for _, r, body in _attention_residuals(f):
        if f.names[body[-1]] in NORMS:
            end = _next_residual(f, r.add)
            yield (body[-1], r.add) if end is None else (body[-1], r.add, end)


@form("postnorm_block")
def _postnorm(f: View) -> Iterator[Nodes]:
    """Attention, then a feed-forward layer, each with its residual sum normalised before it goes on (the first Transformer, BERT)."""
    for _, r, body in _attention_residuals(f):
        users = set(f.users[r.add])
        if f.names[body[-1]] not in NORMS and len(users) == 1 and f.names[norm := users.pop()] in NORMS:
            end = _next_residual(f, norm)
            last = next((u for u in f.users[end] if f.names[u] in NORMS), end) if end is not None else norm
            yield (body[-1], r.add, norm) if end is None else (body[-1], r.add, norm, end, last)


@form("residual_postnorm_block")
def _residual_postnorm(f: View) -> Iterator[Nodes]:
    """Attention whose output is normalised before it is added (Swin V2)."""
    for _, r, body in _attention_residuals(f):
        if f.names[body[-1]] not in NORMS and f.names[body[0]] in NORMS:
            yield body[-1], r.add


_QUERY_PATH = frozenset({"linear", "rope", "mul"})


@form("parallel_block")
def _parallel(f: View) -> Iterator[Nodes]:
    """Attention and feed-forward layer side by side after one norm (GPT-J, PaLM)."""
    for i, add in _attention_blocks(f):
        norm = f.back(f.ins[i][0], _QUERY_PATH)
        if f.names[norm] in NORMS and f.ins[norm] and f.names[f.ins[norm][0]] in ("linear", "rope"):  # a norm of the queries
            norm = f.back(f.ins[norm][0], _QUERY_PATH)
        other = _feeds(f, norm, i) if f.names[norm] in NORMS and f.users[norm] != (i,) else None
        if other is not None and any(f.reaches(u, other, 40) for u in (add, *f.users[add])):
            yield norm, other, add


def _feeds(f: View, norm: int, attention: int) -> int | None:
    """An activation of a layer that reads the same norm as an attention and is no gate of its output."""
    for layer in f.users[norm]:
        for i in f.users[layer] if f.names[layer] in LAYERS else ():
            if f.names[i] in _FEED_ACTIVATIONS and not f.reaches(attention, i, 12):
                gated = any(
                    f.names[u] == "mul" and any(f.reaches(x, attention, 12) for x in f.ins[u] if x != i) for u in f.users[i]
                )
                if not gated:
                    return i
    return None


_FEED_ACTIVATIONS = frozenset({"gelu", "quick_gelu", "silu", "relu", "hardswish", "mish", "elu"})


@form("feed_forward")
def _feed_forward(f: View) -> Iterator[Nodes]:
    """A layer that widens, an activation, a layer that narrows, and a residual connection."""
    gated = {nodes[-1] for nodes in _gated(f)}
    for r, body, kinds in f.bodies:
        if kinds != "pp" or len(body) > 10:
            continue
        first, last = (i for i in reversed(body) if f.names[i] in LAYERS)
        simple = not any(f.names[i] in ("attention", "matmul", "concat") for i in body)
        simple = simple and all(len(f.ins[i]) == 1 or i in gated for i in body if f.names[i] == "mul")
        active = any(f.names[i] in ACTIVATIONS for i in body if first < i < last)
        if simple and active and 2 * f.channels(first) >= 3 * f.channels(last) and not mixes(f, first):
            yield first, last, r.add


def mixes(f: View, node: int) -> bool:
    """Whether a layer runs over tokens: its input is as wide as its own input features nowhere."""
    shape = f.shape[f.ins[node][0]] if f.ins[node] else ()
    return (
        f.names[node] == "linear" and bool(shape) and f.inner(node) not in (shape[-1], shape[1] if len(shape) == 4 else shape[-1])
    )


@form("convolutional_feed_forward")
def _convolutional_feed_forward(f: View) -> Iterator[Nodes]:
    """A feed-forward layer on tokens with a depthwise convolution inside (PVTv2, SegFormer)."""
    for r, body, kinds in f.bodies:
        if kinds == "pdp":
            first, inside, last = (i for i in reversed(body) if f.names[i] in LAYERS)
            plain = len(f.kernel(inside)) == 2 and all(f.names[i] in PLAIN | LAYERS for i in body)
            if plain and f.names[first] == f.names[last] == "linear" and f.channels(first) > f.channels(last):
                yield first, last, r.add


def _gated(f: View) -> Iterator[tuple[int, int, int, int]]:
    """``(layer, other layer, activation, product)`` of gated linear units.

    Two layers of one input, or halves of one layer, of which one is activated, multiplied.
    """
    for i in f.binary("mul"):
        for gate, value in (f.ins[i], f.ins[i][::-1]):
            if f.names[gate] not in ACTIVATIONS or not f.ins[gate]:
                continue
            source, other = f.ins[gate][0], f.back(value, NORMS | {"conv"}) if f.names[value] == "conv" else value
            if f.names[source] not in LAYERS or f.names[other] not in LAYERS:
                continue
            if source == other or f.ins[source][:1] == f.ins[other][:1]:
                yield source, other, gate, i
                break


@form("gated_linear_unit")
def _gated_linear_unit(f: View) -> Iterator[Nodes]:
    """Two projections of one input, one activated, multiplied."""
    return _gated(f)


@form("swiglu")
def _swiglu(f: View) -> Iterator[Nodes]:
    """A gated linear unit with SiLU (LLaMA)."""
    return (nodes for nodes in _gated(f) if f.names[nodes[2]] == "silu")


@form("geglu")
def _geglu(f: View) -> Iterator[Nodes]:
    """A gated linear unit with GELU (T5 1.1, Gemma)."""
    return (nodes for nodes in _gated(f) if f.names[nodes[2]] in ("gelu", "quick_gelu"))


@form("gated_convolution_block")
def _gated_convolution(f: View) -> Iterator[Nodes]:
    """One projection, part of it activated as a gate for the rest, which a depthwise convolution mixes (MambaOut)."""
    for i in f.binary("mul"):
        for gate, value in (f.ins[i], f.ins[i][::-1]):
            source = f.ins[gate][0] if f.names[gate] in ACTIVATIONS and f.ins[gate] else -1
            if source < 0 or f.names[source] != "linear":
                continue
            inside = f.ins[value] if f.names[value] == "concat" else (value,)
            mixed = [x for x in inside if f.is_depthwise(x) and f.ins[x] == (source,)]
            if mixed and all(x == source or x in mixed for x in inside):
                yield source, mixed[0], i


@form("conformer_convolution")
def _conformer(f: View) -> Iterator[Nodes]:
    """A gated pointwise layer, a depthwise convolution over time, a norm, an activation and a pointwise layer (Conformer)."""
    for i in f.of("conv"):
        if not f.is_depthwise(i) or len(f.kernel(i)) != 1 or f.kernel(i)[0] < 3 or not f.ins[i]:
            continue
        product = f.back(f.ins[i][0], frozenset({"pad"}))
        gates = [x for x in f.ins[product] if f.names[x] == "sigmoid"] if f.names[product] == "mul" else []
        node = i
        for _ in range(5):
            node = f.users[node][0] if len(f.users[node]) == 1 else -1
            if node < 0 or f.names[node] not in PLAIN:
                break
        if gates and node >= 0 and f.kind(node) == "p":
            yield product, i, node


# ---------------------------------------------------------------- tokens and positions


@form("class_token")
def _class_token(f: View) -> Iterator[Nodes]:
    """A learned token joined to the sequence."""
    return ((i,) for i in f.of("concat") if f.params[i] and len(f.shape[i]) == 3)


@form("register_tokens")
def _register_tokens(f: View) -> Iterator[Nodes]:
    """Several learned tokens joined to the sequence."""
    return ((i,) for i in f.of("concat") if len(f.shape[i]) == 3 and f.params[i] >= 3 * f.width(i))


@form("position_embedding")
def _position_embedding(f: View) -> Iterator[Nodes]:
    """A learned vector for every position, added."""
    for i in f.of("add"):
        shape = f.shape[i]
        if len(f.ins[i]) == 1 and len(shape) >= 3 and f.params[i] >= 2 * shape[-1]:
            yield (i,)
    yield from ((i,) for i in f.of("embedding") if not f.ins[i])


@form("shared_layers")
def _shared_layers(f: View) -> Iterator[Nodes]:
    """A layer that uses the weights of an earlier layer (ALBERT)."""
    tables = bool(f.of("embedding"))
    for i in f.of("linear", "conv"):  # an output layer tied to the embedding is no layer used twice
        if f.params[i] == 0 and f.flag(i, "shared") and not (tables and i in f.graph.outputs):
            yield (i,)


# ---------------------------------------------------------------- recurrences and experts


def _decays(f: View) -> Iterator[tuple[int, int]]:
    """``(softplus, exponential)`` where a learned step becomes a decay."""
    through = {"clamp", "mul", "pad", "cumulative", "sub", "neg", "add", "minimum"}
    for start in f.of("softplus"):
        todo, seen = [(start, False)], {start}
        while todo and len(seen) < 60:
            node, rated = todo.pop(0)
            if f.names[node] == "exp" and rated:
                if not _is_bias(f, node):
                    yield start, node
                break
            if node == start or f.names[node] in through:
                rated |= f.names[node] == "mul" and len(f.ins[node]) == 1 and f.params[node] > 0  # the learned rate of decay
                fresh = [u for u in f.users[node] if u not in seen]
                seen.update(fresh)
                todo.extend((u, rated) for u in fresh)


def _is_bias(f: View, decay: int) -> bool:
    """Whether a decay ends, before any layer, in the mask of an attention instead of a state (Doge)."""
    todo, seen = [decay], {decay}
    while todo and len(seen) < 200:
        node = todo.pop()
        if f.names[node] in ("attention", "topk", "softmax"):
            return True
        if f.names[node] not in LAYERS:
            fresh = [u for u in f.users[node] if u not in seen]
            seen.update(fresh)
            todo.extend(fresh)
    return False


@form("state_space")
def _state_space(f: View) -> Iterator[Nodes]:
    """A recurrence that decays by the exponential of a learned step (S4, Mamba)."""
    return _decays(f)


@form("mamba_mixer")
def _mamba(f: View) -> Iterator[Nodes]:
    """A causal depthwise convolution, a state space and a gate between two projections (Mamba)."""
    decays = sorted(a for a, _ in _decays(f))
    if not decays:
        return
    depthwise = [i for i in f.of("conv") if f.is_depthwise(i)]
    for i, after in itertools.pairwise([*depthwise, len(f.names)]):
        if len(f.kernel(i)) != 1 or not f.ins[i] or f.names[f.ins[i][0]] not in LAYERS:
            continue
        place = bisect(decays, i)
        step = decays[place] if place < len(decays) and decays[place] < after else None
        if step is not None and any(f.names[u] in ("silu", "gelu") for u in f.users[i]):
            yield f.ins[i][0], i, step


@form("recurrent")
def _recurrent(f: View) -> Iterator[Nodes]:
    """A recurrent layer: LSTM, GRU or a plain one."""
    return ((i,) for i in f.of("lstm", "gru", "rnn"))


@form("mixture_of_experts")
def _experts(f: View) -> Iterator[Nodes]:
    """Layers of which a router chooses the best few for every token."""
    if not f.of("topk", "argmax", "sort"):
        return
    within = PLAIN | {"mul", "add", "clamp"}
    for i in f.of("linear"):
        if f.params[i] >= 2 * f.inner(i) * f.channels(i) > 0 and len(f.shape[i]) >= 2 and f.ins[i]:
            first = f.back(f.ins[i][0], within)
            if f.names[first] != "linear" or f.params[first] < 2 * f.inner(first) * f.channels(first):
                yield (i,)
    for i in f.of("gather"):
        product = next((u for u in f.users[i] if f.names[u] == "matmul"), None)
        if f.params[i] and len(f.shape[i]) >= 3 and product is not None:
            other = next((x for x in f.ins[product] if x != i), i)
            if f.names[f.back(other, within)] != "matmul":  # the second layer of the same experts
                yield i, product


@form("expert_router")
def _router(f: View) -> Iterator[Nodes]:
    """A linear layer whose scores choose experts."""
    through = PLAIN | {"add", "mul", "div", "topk", "sum", "scatter", "where", "sub", "max"}
    if not f.of("topk") or not any(True for _ in _experts(f)):
        return
    last: dict[int, int] = {}  # experts may be chosen in two steps, first a group of them
    for i in f.of("topk"):
        last[f.back(i, through)] = i
    for gate, i in last.items():
        if (
            f.names[gate] == "linear"
            and 4 <= f.channels(gate) <= 1024
            and f.channels(gate) < f.inner(gate)
            and (len(f.shape[gate]) == 2 or f.width(gate) == f.channels(gate))
        ):
            yield gate, i


# ---------------------------------------------------------------- heads


def _last_layers(f: View) -> Iterator[int]:
    """Layers whose output is an output of the network."""
    return (i for i in f.graph.outputs if f.names[i] in LAYERS and f.ins[i])


@form("pooled_head")
def _pooled_head(f: View) -> Iterator[Nodes]:
    """A global pool and one layer."""
    for i in _last_layers(f):
        pool = f.back(f.ins[i][0], PLAIN)
        if f.names[pool] in GLOBAL_POOLS and f.channels(i) > 1:
            yield pool, i


@form("hidden_layer_head")
def _hidden_layer_head(f: View) -> Iterator[Nodes]:
    """A classifier of two or more layers on one vector (VGG, MobileNetV3)."""
    for i in _last_layers(f):
        hidden = f.back(f.ins[i][0], PLAIN)
        active = f.names[f.ins[i][0]] in ACTIVATIONS or f.names[f.back(f.ins[i][0], NORMS)] in ACTIVATIONS
        if hidden != f.ins[i][0] and active and f.names[hidden] in LAYERS and f.numel[hidden] == f.channels(hidden) > 1:
            yield hidden, i


@form("class_token_head")
def _class_token_head(f: View) -> Iterator[Nodes]:
    """A classifier that reads a learned token."""
    if not any(f.params[i] and len(f.shape[i]) == 3 for i in f.of("concat")):
        return
    for i in _last_layers(f):
        before = f.back(f.ins[i][0], NORMS | {"concat"})
        if len(f.shape[i]) == 2 and len(f.shape[before]) == 3 and f.shape[before][1] > 1:
            yield (i,)


@form("language_model_head")
def _language_head(f: View) -> Iterator[Nodes]:
    """A layer that scores every word of a vocabulary at every position."""
    if not any(f.ins[i] for i in f.of("embedding")):
        return
    for i in _last_layers(f):
        words = max((f.params[e] // max(f.width(e), 1) for e in f.of("embedding") if f.ins[e]), default=0)
        if f.names[i] == "linear" and len(f.shape[i]) == 3 and 2 * f.channels(i) >= words > 256 and f.channels(i) > 256:
            yield (i,)
