"""Named motifs: kinds of attention and what stands in for it."""

from __future__ import annotations

from collections.abc import Iterator

from netatlas.graph._forms_base import LAYERS, NORMS, PLAIN, Nodes, View, form
from netatlas.graph._forms_blocks import mixes_tokens

_PROJECTING = PLAIN | {
    "rope", "linear", "conv", "avg_pool", "max_pool", "global_avg_pool", "mean", "gather", "concat", "mul", "add", "sub", "div",
    "pad", "unfold", "roll", "upsample", "max", "scatter",
}  # fmt: skip


def _made_from(f: View, node: int) -> set[int]:
    """Where queries or keys come from: everything up to the joins of residual branches and the outputs of attention."""
    found, todo = {node}, [node]
    while todo and len(found) < 60:
        i = todo.pop()
        joins = len(f.ins[i]) > 1 and f.names[i] not in ("concat", "scatter")
        if f.names[i] in _PROJECTING and not joins:
            fresh = [x for x in f.ins[i] if x not in found]
            found.update(fresh)
            todo.extend(fresh)
    return found


def _is_cross(f: View, i: int) -> bool:
    """Whether keys and queries share no source short of the joins of their streams."""
    return len(f.ins[i]) >= 2 and f.ins[i][0] != f.ins[i][1] and not _made_from(f, f.ins[i][0]) & _made_from(f, f.ins[i][1])


@form("self_attention")
def _self_attention(f: View) -> Iterator[Nodes]:
    """Attention whose queries and keys come from one sequence."""
    return ((i,) for i in f.of("attention") if not _is_cross(f, i))


@form("cross_attention")
def _cross_attention(f: View) -> Iterator[Nodes]:
    """Attention whose keys come from another sequence than its queries."""
    return ((i,) for i in f.of("attention") if _is_cross(f, i))


@form("causal_attention")
def _causal(f: View) -> Iterator[Nodes]:
    """Attention that sees earlier tokens only."""
    return ((i,) for i in f.of("attention") if f.flag(i, "causal"))


@form("grouped_query_attention")
def _grouped_query(f: View) -> Iterator[Nodes]:
    """Attention with fewer heads of keys than of queries."""
    return ((i,) for i in f.of("attention") if f.flag(i, "grouped_query"))


@form("latent_attention")
def _latent(f: View) -> Iterator[Nodes]:
    """Attention whose keys and values are unfolded from a narrow, normalised projection (MLA of DeepSeek)."""
    for i in f.of("attention"):
        if len(f.ins[i]) < 3:
            continue
        up = f.ins[i][2]
        norm = f.ins[up][0] if f.names[up] == "linear" and f.ins[up] else -1
        down = f.ins[norm][0] if norm >= 0 and f.names[norm] == "rms_norm" else -1
        if down >= 0 and f.names[down] == "linear" and f.width(norm) * 2 <= f.channels(up) and not _is_cross(f, i):
            yield down, up, i


@form("rotary_attention")
def _rotary(f: View) -> Iterator[Nodes]:
    """Attention whose queries are turned by their position (RoPE)."""
    through = NORMS | {"mul", "scatter", "concat", "add"}
    for i in f.of("attention"):
        turned = f.back(f.ins[i][0], through) if f.ins[i] else i
        if f.names[turned] == "rope":
            yield turned, i


@form("query_key_norm")
def _query_key_norm(f: View) -> Iterator[Nodes]:
    """Attention whose queries and keys are normalised after their projection."""
    for i in f.of("attention"):
        ends = [f.back(x, frozenset({"rope", "mul", "scatter"})) for x in f.ins[i][:2]]
        if len(ends) == 2 and all(_is_normed_projection(f, x) for x in ends):
            yield ends[0], ends[1], i


def _is_normed_projection(f: View, node: int) -> bool:
    if f.names[node] not in NORMS - {"batch_norm"} or not f.ins[node]:
        return False
    return f.names[f.back(f.ins[node][0], frozenset({"rope"}))] in LAYERS


@form("window_attention")
def _windowed(f: View) -> Iterator[Nodes]:
    """Attention within windows."""
    return ((i,) for i in f.of("attention") if f.flag(i, "windowed"))


@form("shifted_window_attention")
def _shifted(f: View) -> Iterator[Nodes]:
    """Attention within windows of a map that was rolled by half a window before (Swin)."""
    through = NORMS | {"linear", "mul", "pad", "div"}
    for i in f.of("attention"):
        if f.flag(i, "windowed") and f.ins[i]:
            rolled = f.back(f.ins[i][0], through)
            if f.names[rolled] == "roll":
                yield rolled, i


@form("relative_position_bias")
def _relative_bias(f: View) -> Iterator[Nodes]:
    """Attention scores with a learned term for the distance between tokens."""
    for i in f.of("attention"):
        heads = max(f.attr(i, "heads"), 1)
        # One weight a head is a temperature, two square matrices of heads mix them; a table has a row for every distance.
        table = len(f.ins[i]) >= 3 and f.params[i] > heads and f.params[i] not in (2 * heads * heads, 2 * heads * (heads + 1))
        if (
            table
            or (f.params[i] == 0 and f.flag(i, "shared") and len(f.ins[i]) == 3)
            or any(_weights_behind(f, x) > 2 * heads for x in f.ins[i][3:])
        ):
            yield (i,)


def _weights_behind(f: View, node: int) -> int:
    """How many weights a value depends on when it depends on nothing else; 0 when it does."""
    todo, seen, weights = [node], {node}, 0
    while todo and len(seen) < 24:
        i = todo.pop()
        if f.names[i] == "input":
            return 0
        weights += f.params[i]
        todo.extend(x for x in f.ins[i] if x not in seen)
        seen.update(f.ins[i])
    return 0 if todo else weights


@form("spatial_reduction_attention")
def _spatial_reduction(f: View) -> Iterator[Nodes]:
    """Attention whose keys and values are of a map reduced by a strided convolution or a pool (PVT)."""
    for i in f.of("attention"):
        if len(f.ins[i]) < 2 or f.ins[i][0] == f.ins[i][1]:
            continue
        node, reduced = f.ins[i][1], -1
        for _ in range(6):
            strided = f.names[node] in ("conv", "avg_pool", "adaptive_pool") and f.kernel(node) and f.stride(node) > 1
            if strided or f.names[node] == "adaptive_pool":
                reduced = node
                break
            if f.names[node] not in PLAIN | LAYERS or not f.ins[node]:
                break
            node = f.ins[node][0]
        queries = _made_from(f, f.ins[i][0])
        if reduced >= 0 and reduced not in queries and f.ins[reduced] and f.ins[reduced][0] in queries:
            yield reduced, i


@form("attention_pooling")
def _attention_pooling(f: View) -> Iterator[Nodes]:
    """Attention of one learned query that gathers a sequence into a vector."""
    for i in f.of("attention"):
        query = f.ins[i][0] if f.ins[i] else i
        tokens = f.shape[i][-2] if len(f.shape[i]) >= 3 else 0
        if tokens == 1 and len(f.ins[i]) == 2 and f.params[i] >= f.width(i):  # the query belongs to the operator
            yield (i,)
        elif tokens == 1 and _weights_behind(f, query) and len(f.ins[i]) > 1 and f.ins[i][1] != query:
            yield query, i


@form("linear_attention")
def _linear_attention(f: View) -> Iterator[Nodes]:
    """Keys and values multiplied first, so that the cost is linear in the tokens."""
    through = NORMS | {"mul", "div"}
    for i in f.of("matmul"):
        if len(f.ins[i]) == 2 and not _recurs(f, i):
            above = (f.back(x, through) for x in f.ins[i])
            inner = next((j for j in above if f.names[j] == "matmul" and len(f.ins[j]) == 2), None)
            if inner is not None and not any(f.names[x] == "gather" for j in (i, inner) for x in f.ins[j]):
                yield inner, i
    for i in f.of("sum"):  # one context vector, a weighted sum over tokens, that gates the tokens
        weighted = f.ins[i][0] if f.ins[i] else i
        gates = any(f.names[u] == "mul" and len(f.ins[u]) == 2 for u in f.users[i])
        sampled = any(f.names[x] in ("concat", "grid_sample") for x in f.ins[weighted])
        if (
            f.names[weighted] == "mul"
            and gates
            and not sampled
            and any(f.names[x] in ("softmax", "l2_norm") for x in f.ins[weighted])
        ):
            yield weighted, i


def _recurs(f: View, node: int) -> bool:
    """Whether a product belongs to a recurrence written out: one of its factors decays, or is accumulated."""
    near = {x for i in f.ins[node] for x in (i, *f.ins[i])}
    return any(f.names[x] in ("exp", "cumulative", "triangle") for x in (*near, *(y for i in near for y in f.ins[i])))


@form("deformable_attention")
def _deformable(f: View) -> Iterator[Nodes]:
    """Values read at learned places and summed with learned weights (Deformable DETR)."""
    for i in f.binary("mul"):
        for values, weights in (f.ins[i], f.ins[i][::-1]):
            sampled = f.back(values, frozenset({"concat"}))
            if f.names[sampled] == "grid_sample" and f.names[weights] == "softmax":
                yield sampled, i


@form("token_mixing_mlp")
def _token_mixing(f: View) -> Iterator[Nodes]:
    """A linear layer over the tokens instead of the channels (MLP-Mixer)."""
    return ((i,) for i in f.of("linear") if mixes_tokens(f, i))


@form("fourier_mixing")
def _fourier(f: View) -> Iterator[Nodes]:
    """A Fourier transform in place of attention."""
    return ((i,) for i in f.of("fft"))
