"""Graphs with known edits planted in them, and the edits."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from netatlas.graph._drawing_labels import Words
from netatlas.graph.blocks import structure
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID

SWAPS = {
    "relu": "silu",
    "relu6": "relu",
    "gelu": "relu",
    "silu": "gelu",
    "batch_norm": "group_norm",
    "layer_norm": "rms_norm",
    "max_pool": "avg_pool",
    "hardswish": "relu",
    "leaky_relu": "gelu",
    "quick_gelu": "silu",
}
LIGHT = {"batch_norm", "layer_norm", "relu", "silu", "gelu", "relu6", "hardswish"}


@dataclass
class Planted:
    """A graph under edits: nodes keep a name of their own, so that what was planted can be looked up afterwards."""

    graph: Graph
    order: list[int] = field(default_factory=list)
    rows: dict[int, dict] = field(default_factory=dict)
    ins: dict[int, list[int]] = field(default_factory=dict)
    changed: dict[int, set[str]] = field(default_factory=dict)
    next: int = 0

    def __post_init__(self):
        g = self.graph
        self.order = list(range(len(g)))
        for i in self.order:
            self.rows[i] = {
                "op": g.names[i],
                "attrs": g.attrs[i].copy(),
                "shape": g.shape[i].copy(),
                "params": int(g.params[i]),
                "macs": int(g.macs[i]),
                "scope": int(g.scope[i]),
            }
            self.ins[i] = list(g.inputs[i])
        self.next = len(g)
        self.words = Words(g)

    # ------------------------------------------------------------ helpers

    def users(self, i):
        return [u for u in self.order if i in self.ins[u]]

    def new(self, after, row, ins):
        name = self.next
        self.next += 1
        self.order.insert(self.order.index(after) + 1, name)
        self.rows[name], self.ins[name] = row, ins
        return name

    def built(self):
        place = {name: n for n, name in enumerate(self.order)}
        edges = [(place[x], place[i]) for i in self.order for x in self.ins[i]]
        rows = [self.rows[i] for i in self.order]
        return Graph(
            op=np.array([OP_ID[r["op"]] for r in rows], dtype=np.uint8),
            attrs=np.array([r["attrs"] for r in rows]).reshape(-1, 11),
            shape=np.array([r["shape"] for r in rows]).reshape(-1, 6),
            params=np.array([r["params"] for r in rows]),
            macs=np.array([r["macs"] for r in rows]),
            scope=np.array([r["scope"] for r in rows]),
            edges=np.array(edges, dtype=np.int32).reshape(-1, 2),
            scopes=self.graph.scopes,
        )

    def expected(self):
        """Nodes of the first graph that are gone, places of new ones in the second, and changed ones with what changed."""
        place = {name: n for n, name in enumerate(self.order)}
        gone = {i for i in range(len(self.graph)) if i not in place}
        new = {place[i] for i in self.order if i >= len(self.graph)}
        return gone, new, {i: w for i, w in self.changed.items() if i in place}

    # ------------------------------------------------------------ edits; each returns whether it could be made

    def _pick(self, rng, wanted):
        found = [i for i in self.order if i < len(self.graph) and i not in self.changed and wanted(i)]
        return int(rng.choice(found)) if found else None

    def swap(self, rng):
        i = self._pick(rng, lambda i: self.rows[i]["op"] in SWAPS)
        if i is None:
            return False
        self.rows[i]["op"] = SWAPS[self.rows[i]["op"]]
        self.changed[i] = {"operator"}
        return True

    def kernel(self, rng):
        i = self._pick(rng, lambda i: self.rows[i]["op"] == "conv" and self.rows[i]["attrs"][1] > 0)
        if i is None:
            return False
        row, old = self.rows[i], int(self.rows[i]["attrs"][2])
        new = 3 if old == 1 else 5 if old == 3 else 3
        row["attrs"][1:3] = new
        row["params"] = row["params"] * new * new // (old * old)
        self.changed[i] = {"kernel"}
        return True

    def widen(self, rng):
        """A wider layer, the norms and activations that alone read it widened too."""
        i = self._pick(
            rng,
            lambda i: (
                self.rows[i]["op"] in ("conv", "linear")
                and self.rows[i]["attrs"][7] <= 1
                and len(self.users(i)) == 1
                and self.rows[self.users(i)[0]]["op"] in LIGHT
            ),
        )
        if i is None:
            return False
        row = self.rows[i]
        axis = -1 if row["op"] == "linear" else -1 - int((row["attrs"][:3] > 0).sum())
        node = i
        while True:
            r = self.rows[node]
            r["shape"][axis] += r["shape"][axis] // 2
            r["params"] += r["params"] // 2
            users = self.users(node)
            if len(users) != 1 or self.rows[users[0]]["op"] not in LIGHT or users[0] >= len(self.graph):
                break
            node = users[0]
        self.changed[i] = {"width"}
        return True

    def drop(self, rng):
        """A norm or activation is taken out."""
        i = self._pick(rng, lambda i: self.rows[i]["op"] in LIGHT and len(self.ins[i]) == 1 and self.users(i))
        if i is None:
            return False
        self._remove(i, self.ins[i][0])
        return True

    def unskip(self, rng):
        """A residual addition is taken out, the longer branch stays."""
        i = self._pick(rng, lambda i: self.rows[i]["op"] == "add" and len(self.ins[i]) == 2 and self.users(i))
        if i is None:
            return False
        self._remove(i, max(self.ins[i], key=self.order.index))
        return True

    def _remove(self, i, instead):
        for u in self.users(i):
            self.ins[u] = [instead if x == i else x for x in self.ins[u]]
        self.order.remove(i)

    def insert(self, rng):
        """A norm or activation is put after a layer."""
        i = self._pick(
            rng, lambda i: self.rows[i]["op"] in ("conv", "linear", "add") and self.users(i) and self.rows[i]["shape"].any()
        )
        if i is None:
            return False
        op = str(rng.choice(["silu", "batch_norm", "sigmoid", "layer_norm"]))
        row = {**self.rows[i], "op": op, "attrs": np.zeros(11, dtype=np.int32), "params": 0, "macs": 0}
        users = self.users(i)
        name = self.new(i, row, [i])
        for u in users:
            self.ins[u] = [name if x == i else x for x in self.ins[u]]
        return True

    def rewire(self, rng):
        """One input of a sum comes from another place of the same shape."""

        def others(i):
            x = self.ins[i][0]
            return [
                y
                for y in self.order[: self.order.index(i)]
                if y not in self.ins[i] and y < len(self.graph) and (self.rows[y]["shape"] == self.rows[x]["shape"]).all()
            ]

        i = self._pick(
            rng,
            lambda i: (
                self.rows[i]["op"] == "add"
                and len(self.ins[i]) == 2
                and all(x < len(self.graph) for x in self.ins[i])
                and others(i)
            ),
        )
        if i is None:
            return False
        self.ins[i][0] = int(rng.choice(others(i)[-12:]))
        self.changed[i] = {"inputs"}
        return True

    def heads(self, rng):
        i = self._pick(rng, lambda i: self.rows[i]["op"] == "attention" and self.rows[i]["attrs"][8] > 1)
        if i is None:
            return False
        self.rows[i]["attrs"][8] *= 2
        self.changed[i] = {"heads"}
        return True

    def groups(self, rng):
        i = self._pick(
            rng, lambda i: self.rows[i]["op"] == "conv" and self.rows[i]["attrs"][7] <= 1 and self.words.width(i) % 4 == 0
        )
        if i is None:
            return False
        self.rows[i]["attrs"][7] = 4
        self.rows[i]["params"] //= 4
        self.changed[i] = {"groups"}
        return True

    def bias(self, rng):
        i = self._pick(rng, lambda i: self.rows[i]["op"] in ("conv", "linear") and self.rows[i]["params"] > 0)
        if i is None:
            return False
        self.rows[i]["params"] += self.words.width(i)
        self.changed[i] = {"bias"}
        return True

    def _chain_copies(self):
        """Copies of repeated blocks that one tensor enters and leaves, untouched so far, as node tuples."""

        def walk(block):
            for child in block.children:
                if child.repeat > 1 and not child.parallel and not child.is_operator:
                    yield from child.copies[1:]
                else:
                    yield from walk(child)

        names = set(self.order)
        for copy in walk(structure(self.graph)):
            inside = set(copy)
            if not inside <= names or inside & self.changed.keys():
                continue
            span = self.order[self.order.index(copy[0]) : self.order.index(copy[-1]) + 1]
            if span != list(copy) or any(x >= len(self.graph) for i in copy for x in self.ins[i]):
                continue
            outer = {x for i in copy for x in self.ins[i]} - inside
            leaving = [i for i in copy if any(u not in inside for u in self.users(i))]
            if len(outer) == 1 and len(leaving) == 1:
                x = next(iter(outer))
                if (self.rows[x]["shape"] == self.rows[leaving[0]]["shape"]).all():
                    yield copy, x, leaving[0]

    def deepen(self, rng):
        copies = list(self._chain_copies())
        if not copies:
            return False
        copy, _, leaving = copies[int(rng.integers(len(copies)))]
        users = self.users(leaving)
        at, names = copy[-1], {}
        outer = leaving
        for i in copy:
            ins = [names.get(x, outer) for x in self.ins[i]]
            at = names[i] = self.new(
                at, {**self.rows[i], "attrs": self.rows[i]["attrs"].copy(), "shape": self.rows[i]["shape"].copy()}, ins
            )
        for u in users:
            self.ins[u] = [names[leaving] if x == leaving else x for x in self.ins[u]]
        return True

    def shorten(self, rng):
        copies = list(self._chain_copies())
        if not copies:
            return False
        copy, outer, leaving = copies[int(rng.integers(len(copies)))]
        for u in self.users(leaving):
            self.ins[u] = [outer if x == leaving else x for x in self.ins[u]]
        for i in copy:
            self.order.remove(i)
        return True


EDITS = ("swap", "kernel", "widen", "drop", "unskip", "insert", "rewire", "heads", "groups", "bias", "deepen", "shorten")


def plant(graph, kinds, rng):
    """The planted graph with those of ``kinds`` that could be made, and their names."""
    planted = Planted(graph)
    made = [kind for kind in kinds if getattr(planted, kind)(rng)]
    return planted, made


def words_of_edits(a, b, gone, new, changed):
    """Edits as a multiset of words, which does not tell equal operators apart."""
    x, y = Words(a), Words(b)
    found = Counter(("-", x.word(i), x.shapes[i]) for i in gone)
    found.update(("+", y.word(j), y.shapes[j]) for j in new)
    found.update(("~", x.word(i), what) for i, whats in changed.items() for what in whats)
    return found
