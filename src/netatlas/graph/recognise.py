"""Decomposed forms written out in small operators become the operator they are.

Each recogniser takes a draft and rewrites the places where its pattern occurs: GELU by erf or tanh, SiLU as x * sigmoid(x), RMSNorm,
LayerNorm and L2 normalisation by their definitions, attention as matmul - softmax - matmul, rotary embeddings, linear layers as a
product and a bias. What remains of scalings by constants is dropped at the end: it changes numbers, not the design.
"""

from __future__ import annotations

from collections.abc import Iterator

from netatlas.graph._draft import Draft, Node
from netatlas.graph.ops import FLAGS

_ARITHMETIC = frozenset({"add", "sub", "mul", "div"})


def recognise(draft: Draft) -> None:
    """Run all recognisers, in the order they build on one another."""
    _common(draft)
    _linear(draft)
    _gates(draft)
    _hard_gates(draft)
    _rms_norms(draft)
    _layer_norms(draft)
    _l2_norms(draft)
    _attention(draft)
    _rope(draft)
    _permutations(draft)
    _scalings(draft)
    _cuts(draft)
    _nested_joins(draft)
    _paddings(draft)
    _rolls(draft)


def _is_scaling(node: Node) -> bool:
    """Arithmetic of one data input with numbers or buffers only."""
    return node.op in _ARITHMETIC and node.unary and node.constant


def _strip(draft: Draft, i: int) -> int:
    """Go up through scalings."""
    i = draft.find(i)
    while _is_scaling(draft.nodes[i]):
        i = draft.ins(i)[0]
    return i


def _gate(draft: Draft, users: dict[int, list[int]], start: int, x: int) -> int | None:
    """The product of ``x`` and ``start``, both up to scalings, or None."""
    frontier = [start]
    for _ in range(4):
        following = [u for i in frontier for u in users.get(i, ())]
        for u in following:
            node = draft.nodes[u]
            if node.op == "mul" and len(node.ins) == 2 and x in {_strip(draft, y) for y in node.ins}:
                return u
        frontier = [u for u in following if _is_scaling(draft.nodes[u])]
    return None


def _become(draft: Draft, i: int, op: str, ins: list[int], **attrs: object) -> None:
    node = draft.nodes[i]
    node.op, node.ins, node.constant = op, ins, False
    node.attrs = dict(attrs)


def _common(draft: Draft) -> None:
    """The same computation written twice is done once, as exporters do it; operators with weights or constant operands stay."""
    seen: dict[tuple[object, ...], int] = {}
    for i in list(draft.alive()):
        node = draft.nodes[i]
        only_number = not node.constant or "scalar" in node.attrs
        if node.params or not node.ins or not only_number or node.op == "unknown":
            continue
        key = (node.op, tuple(draft.ins(i)), node.shape, repr(sorted(node.attrs.items())))
        if key in seen:
            draft.alias(i, seen[key])
        else:
            seen[key] = i


# ---------------------------------------------------------------- linear layers


def _linear(draft: Draft) -> None:
    """A matrix product with trained weights is a linear layer; a trained vector added to it is its bias.

    Key heads that were repeated to match the query heads make an attention a grouped-query one, a mask that compares positions a
    causal one.
    """
    for i in draft.alive():
        node = draft.nodes[i]
        if node.op == "matmul" and len(node.ins) == 1 and (node.params or node.constant):
            node.op = "linear" if node.params else "matmul"
            node.attrs["open"] = not node.attrs.get("bias")
        elif node.op == "linear" and len(node.ins) > 1 and not node.params:
            node.op = "matmul"
        elif node.op == "attention":
            known = FLAGS["grouped_query"] * bool(node.attrs.get("repeated")) | FLAGS["causal"] * bool(node.attrs.get("causal"))
            node.attrs["flags"] = node.attrs.get("flags", 0) | known
    users = draft.users()
    for i in draft.by_op("add"):
        node = draft.nodes[i]
        if len(node.ins) != 1 or not node.params:
            continue
        source = draft.ins(i)[0]
        below = draft.nodes[source]
        is_vector = sum(draft.numel.get(p, 0) for p in node.params) in (node.shape[-1:] or (1,))
        if below.op == "linear" and below.attrs.get("open") and len(users.get(source, ())) == 1 and is_vector:
            below.params += node.params
            below.attrs["open"] = False
            draft.alias(i, source)


# ---------------------------------------------------------------- activations


def _gates(draft: Draft) -> None:
    """SiLU, QuickGELU, GELU (erf or tanh) and Mish: x times a squashed x."""
    users = draft.users()
    for i in draft.by_op("sigmoid", "erf", "tanh"):
        node = draft.nodes[i]
        source = draft.ins(i)[0]
        if node.op == "tanh" and draft.nodes[source].op == "softplus":
            x = draft.ins(source)[0]
            if (product := _gate(draft, users, i, x)) is not None:
                _become(draft, product, "mish", [x])
        elif node.op == "tanh":
            for x in _cubic_bases(draft, source):
                if (product := _gate(draft, users, i, x)) is not None:
                    _become(draft, product, "gelu", [x])
                    break
        else:
            x = _strip(draft, source)
            product = _gate(draft, users, i, x)
            if product is not None:
                scaled = "silu" if x == source else "quick_gelu"
                _become(draft, product, scaled if node.op == "sigmoid" else "gelu", [x])


def _cubic_bases(draft: Draft, i: int) -> Iterator[int]:
    """Candidates for x where ``i`` computes a polynomial of x (``x + 0.044715 x^3``), nearest last."""
    seen: list[int] = []
    todo, polynomial = [i], False
    while todo and len(seen) < 12:
        j = todo.pop(0)
        node = draft.nodes[j]
        inner = node.op in ("add", "mul", "pow") and not node.params
        if not inner:
            seen.append(j)
            continue
        polynomial = polynomial or node.op == "pow" or (node.op == "mul" and len(node.ins) == 2)
        seen.append(j)
        todo.extend(x for x in draft.ins(j) if x not in seen and x not in todo)
    return reversed(seen) if polynomial else iter(())


def _hard_gates(draft: Draft) -> None:
    """Hard-sigmoid ``relu6(x + 3) / 6`` and hard-swish, x times that."""
    users = draft.users()
    for i in draft.by_op("relu6", "clamp"):
        node = draft.nodes[i]
        source = draft.ins(i)[0]
        shifted = draft.nodes[source]
        is_sixth = node.op == "relu6" and shifted.op == "add" and shifted.attrs.get("scalar") == 3.0
        is_unit = node.op == "clamp" and node.attrs.get("low") == 0 and node.attrs.get("high") == 1 and shifted.op == "add"
        if not (is_sixth or (is_unit and shifted.attrs.get("scalar") == 0.5)):
            continue
        x = _strip(draft, source)
        if (product := _gate(draft, users, i, x)) is not None:
            _become(draft, product, "hardswish", [x])
        else:
            _become(draft, i, "hardsigmoid", [x])
    users = draft.users()
    for i in draft.by_op("hardsigmoid"):
        x = draft.ins(i)[0]
        for u in users.get(i, ()):
            node = draft.nodes[u]
            if node.op == "mul" and sorted(draft.ins(u)) == sorted([i, x]):
                _become(draft, u, "hardswish", [x])


# ---------------------------------------------------------------- norms


def _root(draft: Draft, i: int) -> int | None:
    """Up from ``1 / sqrt(m + eps)`` or ``sqrt(m + eps)`` to ``m``."""
    node = draft.nodes[i]
    inverse = node.op == "div" and node.unary and node.attrs.get("scalar_first")
    if inverse:
        i = draft.ins(i)[0]
        node = draft.nodes[i]
    if node.op in ("sqrt", "rsqrt") or (node.op == "pow" and abs(node.attrs.get("scalar") or 0) == 0.5):
        below = draft.ins(i)[0]
        node = draft.nodes[below]
        return _strip(draft, below) if _is_scaling(node) or node.op in ("clamp", "maximum") else below
    return None


def _square_of(draft: Draft, i: int) -> int | None:
    """X where ``i`` is x * x or x ** 2."""
    node = draft.nodes[i]
    ins = draft.ins(i)
    if node.op == "pow" and node.attrs.get("scalar") == 2.0 and len(ins) == 1:
        return ins[0]
    return ins[0] if node.op == "mul" and len(ins) == 2 and ins[0] == ins[1] else None


def _quotients(draft: Draft) -> Iterator[tuple[int, int, int]]:
    """``(node, x, m)`` for every ``x / sqrt(m + eps)`` however it is written; a trained scale on x moves to the node."""
    for i in draft.by_op("mul", "div"):
        ins = draft.ins(i)
        if len(ins) != 2:
            continue
        for x, r in ((ins[0], ins[1]), (ins[1], ins[0])):
            if (m := _root(draft, r)) is not None:
                scale = draft.nodes[x]
                if scale.op == "mul" and len(scale.ins) == 1 and scale.params:
                    draft.nodes[i].params += scale.params
                    x = draft.ins(x)[0]
                yield i, x, m
                break


def _scaled(draft: Draft, users: dict[int, list[int]], i: int) -> None:
    """Absorb a trained scale and shift that follow a norm at ``i``."""
    for op in ("mul", "add"):
        following = users.get(i, ())
        if len(following) != 1:
            return
        node = draft.nodes[following[0]]
        if node.op == op and len(node.ins) == 1 and node.params:
            norm = draft.nodes[i]
            norm.params += node.params
            draft.alias(following[0], i)
            users[i] = users.get(following[0], [])
        elif op == "mul" and not (node.op == "add" and len(node.ins) == 1 and node.params):
            return


def _rms_norms(draft: Draft) -> None:
    users = draft.users()
    for i, x, m in list(_quotients(draft)):
        node = draft.nodes[m]
        if node.op != "mean":
            continue
        if _square_of(draft, draft.ins(m)[0]) == x:
            centred = draft.nodes[x]
            mean = draft.nodes[draft.ins(x)[1]] if centred.op == "sub" and len(centred.ins) == 2 else None
            if mean is not None and mean.op == "mean":
                _become(draft, i, "layer_norm", [draft.ins(x)[0]])
            else:
                _become(draft, i, "rms_norm", [x])
            _scaled(draft, users, i)


def _layer_norms(draft: Draft) -> None:
    """``(x - mean(x)) / sqrt(var(x) + eps)`` with the variance as one operator."""
    users = draft.users()
    for i, x, m in list(_quotients(draft)):
        node, centred = draft.nodes[m], draft.nodes[x]
        if node.op != "var":
            continue
        if x in draft.ins(m):  # divided by its deviation without being centred
            _become(draft, i, "rms_norm", [x])
            _scaled(draft, users, i)
            continue
        if centred.op != "sub" or len(centred.ins) != 2:
            continue
        base = draft.ins(x)[0]
        if base in draft.ins(m):
            spatial = len(node.shape) >= 4 and 0 not in node.attrs.get("axes", ()) and 1 not in node.attrs.get("axes", (1,))
            _become(draft, i, "instance_norm" if spatial else "layer_norm", [base])
            _scaled(draft, users, i)


def _l2_norms(draft: Draft) -> None:
    """X over its own norm, or times the inverse root of its summed squares."""
    for i in draft.by_op("div"):
        ins = draft.ins(i)
        if len(ins) == 2:
            r = ins[1]
            while draft.nodes[r].op in ("clamp", "maximum") or _is_scaling(draft.nodes[r]):
                r = draft.ins(r)[0]
            if draft.nodes[r].op == "norm" and draft.ins(r)[0] == ins[0]:
                _become(draft, i, "l2_norm", [ins[0]])
    for i, x, m in list(_quotients(draft)):
        if draft.nodes[m].op == "sum" and _square_of(draft, draft.ins(m)[0]) == x:
            _become(draft, i, "l2_norm", [x])


# ---------------------------------------------------------------- attention


_SCORE_STEPS = frozenset(
    {"add", "sub", "mul", "div", "where", "clamp", "tanh", "linear", "conv", "slice", "concat", "maximum", "scatter", "triangle"}
)
"""What may stand between the scores q k^T, the softmax and the product with v: scale, bias, mask, soft cap, sink, talking heads."""


def _attention(draft: Draft) -> None:
    users = draft.users()
    for s in draft.by_op("softmax"):
        up = _scores(draft, draft.ins(s)[0])
        down = _weighted(draft, users, s)
        if up is None or down is None or down[0] in up[1]:
            continue
        (scores, chain, biases), (product, after) = up, down
        q, k = draft.ins(scores)[:2]
        values = [x for x in draft.ins(product) if x not in after]
        if not values:
            continue
        node, first = draft.nodes[product], draft.nodes[scores]
        absorbed = [draft.nodes[j] for j in chain + after]
        shape = draft.nodes[s].shape
        flags = FLAGS["grouped_query"] * bool(first.attrs.get("repeated"))
        flags |= FLAGS["biased"] * bool(biases or any(n.params for n in absorbed))
        flags |= FLAGS["causal"] * any(n.attrs.get("causal") for n in absorbed)
        leading = 1
        for n in shape[:-3]:
            leading *= n
        flags |= FLAGS["windowed"] * (leading > 1)
        node.params = tuple(dict.fromkeys(p for n in [*absorbed, node] for p in n.params))
        node.macs += first.macs + sum(n.macs for n in absorbed)
        _become(draft, product, "attention", [q, k, values[0], *biases], heads=shape[-3] if len(shape) >= 4 else 1, flags=flags)


def _scores(draft: Draft, start: int) -> tuple[int, list[int], list[int]] | None:
    """From a softmax up to the product of queries and keys: ``(product, steps between, other inputs of the steps)``.

    The first product met along first inputs is that of queries and keys; further ones are biases made from data.
    """
    chain: list[int] = []
    biases: list[int] = []
    product: int | None = None
    met: dict[int, bool] = {}

    def leads_to_product(i: int, steps: int) -> bool:
        nonlocal product
        node = draft.nodes[i]
        if node.op == "matmul" and len(node.ins) == 2:
            product = i if product is None else product
            return product == i
        if node.op not in _SCORE_STEPS or steps > 10:
            return False
        if i not in met:
            met[i] = False
            found = [(x, leads_to_product(x, steps + 1)) for x in draft.ins(i)]
            met[i] = any(leads for _, leads in found)
            if met[i]:
                chain.append(i)
                biases.extend(x for x, leads in found if not leads)
        return met[i]

    if not leads_to_product(start, 0):
        return None
    assert product is not None
    return product, chain, list(dict.fromkeys(biases))


def _weighted(draft: Draft, users: dict[int, list[int]], s: int) -> tuple[int, list[int]] | None:
    """From a softmax down to the product with the values: ``(product, steps between, softmax first)``."""
    frontier, steps = [s], [s]
    for _ in range(6):
        following = [u for i in frontier for u in users.get(i, ())]
        for u in following:
            node = draft.nodes[u]
            if node.op == "matmul" and len(node.ins) == 2 and any(x in steps for x in draft.ins(u)):
                return u, steps
        frontier = [u for u in following if draft.nodes[u].op in _SCORE_STEPS and len(draft.nodes[u].ins) == 1]
        if not frontier:
            return None
        steps.extend(frontier)
    return None


# ---------------------------------------------------------------- rotary embeddings


def _cut_base(draft: Draft, i: int) -> int:
    """Up through cuts, sign flips and joins of pieces of one tensor."""
    i = draft.find(i)
    while True:
        node = draft.nodes[i]
        if node.op in ("slice", "neg", "rope") and len(node.ins) == 1:
            i = draft.ins(i)[0]
        elif node.op == "concat" and node.ins and not node.params:
            bases = {_cut_base(draft, x) for x in node.ins}
            if len(bases) != 1:
                return i
            i = bases.pop()
        else:
            return i


def _rope(draft: Draft) -> None:
    """``x * cos + rotated(x) * sin`` with tables that do not depend on the data, joined halves included."""

    def turned(i: int) -> int | None:
        node = draft.nodes[i]
        is_product = node.op == "mul" and len(node.ins) == 1 and (node.constant or node.params) and "scalar" not in node.attrs
        return _cut_base(draft, node.ins[0]) if is_product else None

    for i in draft.by_op("add", "sub"):
        ins = draft.ins(i)
        if len(ins) == 2 and ins[0] != ins[1]:
            left, right = (turned(x) for x in ins)
            if left is not None and left == right:
                params = tuple(p for x in ins for p in draft.nodes[x].params)
                _become(draft, i, "rope", [left])
                draft.nodes[i].params = params
    for i in draft.by_op("concat"):
        ins = draft.ins(i)
        ropes = [x for x in ins if draft.nodes[x].op == "rope"]
        if ropes and not draft.nodes[i].params and len({_cut_base(draft, x) for x in ins}) == 1:
            draft.alias(i, ropes[0])  # the halves, or the part that is not rotated, joined again


# ---------------------------------------------------------------- what is not design


def _permutations(draft: Draft) -> None:
    """Pieces of one tensor joined again: a roll when the shape is unchanged, otherwise another layout of the same numbers."""
    for i in draft.by_op("concat"):
        node = draft.nodes[i]
        ins = draft.ins(i)
        if node.params or len(ins) < 2 or any(draft.nodes[x].op != "slice" for x in ins):
            continue
        bases = {draft.ins(x)[0] for x in ins}
        if len(bases) == 1:
            base = draft.nodes[bases.copy().pop()]
            if _numel(base.shape) == _numel(node.shape):
                if base.shape == node.shape:
                    _become(draft, i, "roll", [bases.pop()])
                else:
                    draft.alias(i, bases.pop())


def _nested_joins(draft: Draft) -> None:
    """A join that only feeds another join along the same axis is part of it, as exporters flatten it."""
    users = draft.users()
    for i in draft.by_op("concat"):
        node = draft.nodes[i]
        merged: list[int] = []
        for x in draft.ins(i):
            below = draft.nodes[x]
            flat = below.op == "concat" and below.attrs.get("axis") == node.attrs.get("axis") and len(users.get(x, ())) == 1
            merged.extend(draft.ins(x) if flat else [x])
            node.params += below.params if flat else ()
        node.ins = merged


def _numel(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _scalings(draft: Draft) -> None:
    """Drop scalings, masks, sign flips and writes into empty tensors: they keep one data input and add no weights."""
    for i in list(draft.alive()):
        node = draft.nodes[i]
        trivial = node.op in ("where", "neg", "triangle", "scatter", "complex", "maximum", "minimum") and node.unary
        joins_constant = node.op == "concat" and node.unary and node.constant
        if joins_constant:
            _become(draft, i, "pad", node.ins)
        elif (trivial or _is_scaling(node)) and node.ins:
            draft.alias(i, node.ins[0])


def _cuts(draft: Draft) -> None:
    for i in draft.by_op("slice"):
        draft.alias(i, draft.nodes[i].ins[0])


def _paddings(draft: Draft) -> None:
    """A pad that only feeds convolutions and pools is their padding."""
    users = draft.users()
    for i in draft.by_op("pad"):
        following = users.get(i, [])
        if following and all(draft.nodes[u].op in ("conv", "max_pool", "avg_pool", "conv_transpose") for u in following):
            draft.alias(i, draft.nodes[i].ins[0])


def _rolls(draft: Draft) -> None:
    """Rolls along one axis after another are one roll."""
    for i in draft.by_op("roll"):
        source = draft.ins(i)[0]
        if draft.nodes[source].op == "roll":
            draft.nodes[i].ins = draft.nodes[source].ins
