"""What one row of a drawing shows: the boxes of a block, norms and activations as tags, gates as side boxes, parts collapsed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from netatlas.graph._drawing_labels import (
    CONVOLUTIONS,
    SIGNS,
    SPATIAL,
    Words,
    describe,
    fit,
    macs_text,
    params_text,
    shape_text,
    text_width,
)
from netatlas.graph.blocks import Block, is_thin

TITLE, DETAIL, TAG = 11.0, 9.5, 8.5
"""Font sizes of a box: its first line, its second line, the tags."""

HIGH, LOW, SIGN = 38.0, 24.0, 22.0
"""Heights in pixels of boxes with two lines and one, and the diameter of a sign."""

WIDEST_DETAIL = 210.0
_TAGGED = frozenset(
    {"convolution", "linear", "arithmetic", "normalisation", "pooling", "spectral", "lookup", "recurrence", "layout"}
)
_TAGS = frozenset({"normalisation", "activation"})


@dataclass(frozen=True)
class Unit:
    """One box.

    Attributes:
        kind: ``"op"``, ``"sign"``, ``"gate"``, ``"block"`` (a collapsed part) or ``"more"`` (operators left out).
        family: Operator family, which gives the colour; ``"block"`` and ``"more"`` for those kinds.
        nodes: Graph nodes it stands for.
        title: First line.
        detail: Second line.
        tags: Text and family of each merged norm or activation.
        path: Scope path.
        width: Pixels.
        height: Pixels.
    """

    kind: str
    family: str
    nodes: tuple[int, ...]
    title: str
    detail: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    path: str = ""
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True)
class Panel:
    """The boxes of one row and how they are wired.

    Attributes:
        units: In topological order.
        edges: Pairs of positions in ``units``, each once, ascending by target.
        entries: For each port what it is called (``""`` for the previous row) and the units that read it.
        exits: Units that others read, or nobody.
    """

    units: tuple[Unit, ...]
    edges: tuple[tuple[int, int], ...]
    entries: tuple[tuple[str, tuple[int, ...]], ...]
    exits: tuple[int, ...]


def panel(words: Words, block: Block, level: int, port: Callable[[int], str]) -> Panel:
    """The boxes of the pattern of ``block`` with its parts opened down to ``level``.

    Args:
        words: The graph.
        block: What the row shows.
        level: 0 keeps every part collapsed; repeated parts stay collapsed at any level.
        port: Name of the row that a node outside comes from; ``""`` for the main one.
    """
    items = list(_open(words, block, level))
    bare = {b.nodes[0] for b in items if b.is_operator and b.repeat == 1}
    groups = _groups(words, bare)
    members: list[tuple[int, ...]] = []
    units: list[Unit] = []
    for item in items:
        if item.nodes[0] not in bare:
            units.append(_block_unit(words, item))
            members.append(item.nodes)
        elif (nodes := groups.get(item.nodes[0])) is not None:
            units.append(_op_unit(words, nodes, item.path))
            members.append(nodes)
    return _wired(words, block, units, members, port)


def summary(words: Words, block: Block, port: Callable[[int], str], room: float) -> Panel:
    """``block`` as a single box that says what it is made of."""
    made = describe(words, block.pattern)
    unit = sized(Unit("block", "block", block.pattern, fit(made, TITLE, room), path=block.path))
    return _wired(words, block, [unit], [block.pattern], port)


def shortened(made: Panel, most: int) -> Panel:
    """``made`` with at most ``most`` boxes (three or more): the middle ones become one that counts them."""
    if len(made.units) <= most:
        return made
    head = (most - 1 + 1) // 2
    tail = most - 1 - head
    cut = range(head, len(made.units) - tail)
    hidden = made.units[cut.start : cut.stop]
    nodes = tuple(sorted(i for unit in hidden for i in unit.nodes))
    more = sized(Unit("more", "more", nodes, f"… {len(nodes):,} more", "operators"))
    place = [i if i < cut.start else head if i < cut.stop else i - len(cut) + 1 for i in range(len(made.units))]
    edges = sorted({(place[a], place[b]) for a, b in made.edges if place[a] != place[b]}, key=lambda e: (e[1], e[0]))
    entries = tuple((name, tuple(sorted({place[u] for u in users}))) for name, users in made.entries)
    exits = tuple(sorted({place[u] for u in made.exits}))
    return Panel((*made.units[:head], more, *made.units[len(made.units) - tail :]), tuple(edges), entries, exits)


def deepest(block: Block) -> int:
    """Levels of parts that `panel` can open."""
    return max((1 + deepest(b) for b in block.children if not b.is_operator and b.repeat == 1), default=0)


def _open(words: Words, block: Block, level: int) -> Iterator[Block]:
    for child in block.children or (block,):
        is_kept = child.repeat > 1 or (level <= 0 and not is_thin(words, child))
        if child is block or child.is_operator or is_kept:
            yield child
        else:
            yield from _open(words, child, level - 1)


def _groups(words: Words, bare: set[int]) -> dict[int, tuple[int, ...]]:
    """Nodes of each box by its first node: an operator with the norms and activations that alone read it, or a gate."""
    groups: dict[int, tuple[int, ...]] = {}
    taken: set[int] = set()
    for product, chain in words.gates.items():
        if product in bare and bare.issuperset(chain):
            groups[chain[0]] = chain
            taken.update(chain)
    for i in sorted(bare):
        if i in taken:
            continue
        nodes = [i]
        while words.families[i] in _TAGGED and len(nodes) < 4:
            users = set(words.users[nodes[-1]])
            after = min(users, default=-1)
            if len(users) != 1 or after not in bare or words.families[after] not in _TAGS or len(words.inputs[after]) != 1:
                break
            nodes.append(after)
        groups[i] = tuple(nodes)
        taken.update(nodes)
    return groups


def _op_unit(words: Words, nodes: tuple[int, ...], path: str) -> Unit:
    node = nodes[0]
    if any(nodes == chain for chain in (words.gates.get(u, ()) for u in words.users[nodes[-1]])):
        layers = [i for i in nodes if words.names[i] in ("conv", "linear")]
        inner = " → ".join(str(words.width(i)) for i in layers)
        return sized(Unit("gate", "pooling", nodes, "SE" if len(layers) == 2 else "gate", inner, path=path.rpartition(".")[0]))
    tags = tuple((words.short(i), words.families[i]) for i in nodes[1:])
    sign = SIGNS.get(words.names[node], "")
    if sign and not tags:
        return sized(Unit("sign", words.families[node], nodes, sign, path=path))
    title, detail = _lines(words, node)
    return sized(Unit("op", words.families[node], nodes, sign or title, detail, tags, path))


def _lines(words: Words, node: int) -> tuple[str, str]:
    """The two lines of an operator's box: kernel, name and stride; width or heads."""
    name = words.names[node]
    if name in SPATIAL:
        kernel, stride = words.kernel_text(node, "×"), words.stride(node)
        kind = {
            "conv": "conv",
            "conv_transpose": "conv↑",
            "deform_conv": "deform",
            "max_pool": "max pool",
            "avg_pool": "avg pool",
        }.get(name, name)
        grouping = words.grouping(node)
        front = f"dw {kernel}" if grouping == "dw" else f"{kernel} {kind}".strip()
        parts = (front, grouping if grouping != "dw" else "", words.dilation(node), f"/{stride}" if stride > 1 else "")
        title = " ".join(x for x in parts if x)
        return title, str(words.width(node)) if name in CONVOLUTIONS else ""
    if name in ("linear", "embedding", "bilinear", "lstm", "gru", "rnn"):
        return words.short(node), str(words.width(node) or "")
    if name == "attention":
        heads = words.attr(node, "heads")
        how = [f for f in ("causal", "windowed", "cross") if words.flag(node, f)]
        counted = [f"{heads} head{'s' if heads > 1 else ''}"] if heads else []
        return "Attention", ", ".join([*counted, *("window" if f == "windowed" else f for f in how)])
    return words.short(node), ""


def _block_unit(words: Words, block: Block) -> Unit:
    name = block.label
    if name[:1].isdigit():
        name = f"{block.cls} {name}" if block.cls else _from_word(block.path, name)
    title = f"{fit(name, TITLE, 150, bold=True)} ×{block.repeat}" if block.repeat > 1 else fit(name, TITLE, 170, bold=True)
    if block.is_operator:
        title = f"{words.short(block.nodes[0])} ×{block.repeat}"
        return sized(Unit("block", "block", block.nodes, title, words.kind(block.nodes[0]), path=block.path))
    made = fit(describe(words, block.pattern), DETAIL, WIDEST_DETAIL)
    return sized(Unit("block", "block", block.nodes, title, made, path=block.path))


def _from_word(path: str, label: str) -> str:
    """``stage.fuse.0.1`` as ``"fuse.0.1"``: a number alone names nothing."""
    parts = path.split(".")
    words = [i for i, part in enumerate(parts) if not part.isdigit()]
    return ".".join(parts[words[-1] :]) if words else f"block {label}"


def sized(unit: Unit) -> Unit:
    """``unit`` with the room its text takes."""
    if unit.kind == "sign":
        return replace(unit, width=SIGN, height=SIGN)
    bold = unit.kind == "block" and bool(unit.detail)
    second = detail_width(unit)
    width = max(text_width(unit.title, TITLE, bold), second) + 14
    return replace(unit, width=max(round(width, 1), 30.0), height=HIGH if second else LOW)


def detail_width(unit: Unit) -> float:
    """Width of the second line: detail, then tags."""
    detail = text_width(unit.detail, DETAIL) if unit.detail else 0.0
    tags = sum(tag_width(text) + 3 for text, _ in unit.tags)
    return detail + tags + (3 if detail and tags else 0)


def tag_width(text: str) -> float:
    return text_width(text, TAG) + 7


def _wired(
    words: Words, block: Block, units: Sequence[Unit], members: Sequence[Sequence[int]], port: Callable[[int], str]
) -> Panel:
    of = {i: n for n, nodes in enumerate(members) for i in nodes}
    own = set(block.nodes)
    kinds = {words.kind(i) for i in block.pattern}  # what only the first copy makes, such as a position table, is no main input
    edges: set[tuple[int, int]] = set()
    entries: dict[str, set[int]] = {}
    exits = set()
    for i, n in of.items():
        for x in words.inputs[i]:
            if x in of:
                edges.add((of[x], n))
            else:
                entries.setdefault(port(x) if x not in own else "" if words.kind(x) in kinds else "first", set()).add(n)
        if not words.users[i] or any(u not in of for u in words.users[i]):
            exits.add(n)
    wires = sorted((e for e in edges if e[0] != e[1]), key=lambda e: (e[1], e[0]))
    order = _topological(len(units), wires)
    place = {old: new for new, old in enumerate(order)}
    moved = sorted(((place[a], place[b]) for a, b in wires), key=lambda e: (e[1], e[0]))
    ports = tuple((name, tuple(sorted(place[u] for u in users))) for name, users in sorted(entries.items()))
    return Panel(tuple(units[i] for i in order), tuple(moved), ports, tuple(sorted(place[i] for i in exits)))


def _topological(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """Positions in topological order, the lowest first where there is a choice."""
    waiting = [0] * count
    after: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        waiting[b] += 1
        after[a].append(b)
    ready = [i for i in range(count) if not waiting[i]]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for b in after[i]:
            waiting[b] -= 1
            if not waiting[b]:
                heapq.heappush(ready, b)
    assert len(order) == count, "boxes of a row depend on each other in a cycle"
    return order


def tooltip(words: Words, unit: Unit) -> str:
    """Scope path, operators, output shape, parameters and MACs of a box."""
    last = unit.nodes[-1]
    what = " · ".join(words.word(i) for i in unit.nodes) if len(unit.nodes) <= 8 else f"{len(unit.nodes):,} operators"
    params, macs = sum(words.params[i] for i in unit.nodes), sum(words.macs[i] for i in unit.nodes)
    shared = not params and any(words.flag(i, "shared") for i in unit.nodes)
    lines = [unit.path, what, f"output {shape_text(words.shapes[last], '×')}" if words.shapes[last] else ""]
    lines.append(f"{'shared' if shared else params_text(params)} params, {macs_text(macs)}")
    return "\n".join(line for line in lines if line)


def ports_by_row(rows: Mapping[int, str], main: str) -> Callable[[int], str]:
    """A `panel` port function: nodes of the row called ``main``, and nodes of no row, enter at the main port."""

    def port(node: int) -> str:
        name = rows.get(node, main)
        return "" if name == main else name

    return port
