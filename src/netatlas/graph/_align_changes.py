"""How two matched nodes differ, and which differences are decisions and which follow from what lies before."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from netatlas.graph._align_repair import Matching
from netatlas.graph._drawing_labels import Words, shape_text
from netatlas.graph.ops import COMMUTATIVE, FLAGS

_FLAG_WORDS = {"causal": "causal mask", "biased": "attention bias", "grouped_query": "grouped queries", "windowed": "windows",
               "standardised": "weight standardisation", "shared": "shared weights"}  # fmt: skip


@dataclass(frozen=True)
class Change:
    """One respect in which two matched operators differ.

    Attributes:
        what: ``"operator"``, ``"kernel"``, ``"stride"``, ``"dilation"``, ``"groups"``, ``"heads"``, ``"axis"``, a flag, ``"width"``,
            ``"shape"``, ``"layout"`` (the axes of a shape in another order, or another number of axes of one),
            ``"bias"``, ``"params"`` or ``"inputs"``.
        before: Its value in the first graph, in words.
        after: Its value in the second.
        inherited: Whether it follows from a difference before it: the norm after a wider convolution is wider too.
    """

    what: str
    before: str
    after: str
    inherited: bool = False


def changes(matching: Matching, words: tuple[Words, Words]) -> dict[int, tuple[Change, ...]]:
    """What differs between matched nodes, by node of the first graph; nodes that are alike in everything are left out."""
    return _Differ(matching, words).all()


class _Differ:
    def __init__(self, matching: Matching, words: tuple[Words, Words]) -> None:
        self.matching = matching
        self.a, self.b = matching.labels.a.graph, matching.labels.b.graph
        self.words = words
        self.depthwise = (matching.labels.a.depthwise.tolist(), matching.labels.b.depthwise.tolist())
        self.has_width = matching.labels.a.has_width.tolist()

    def all(self) -> dict[int, tuple[Change, ...]]:
        full_a, full_b = (x.tolist() for x in self.matching.labels.full)
        found = {}
        for i, j in enumerate(self.matching.to_b):
            if j < 0:
                continue
            different = list(self._of_node(i, j)) if full_a[i] != full_b[j] else []
            different += self._of_wiring(i, j)
            if different:
                found[i] = tuple(different)
        return found

    # ------------------------------------------------------------ the operator itself

    def _of_node(self, i: int, j: int) -> list[Change]:
        x, y = self.words
        if x.names[i] != y.names[j]:
            found = [Change("operator", x.kind(i), y.kind(j))]
            if self.has_width[i] and x.width(i) != y.width(j) and y.width(j):
                found.append(Change("width", str(x.width(i)), str(y.width(j))))
            return found
        found = [c for c in self._attributes(i, j) if c.before != c.after]
        fed = self._is_fed_otherwise(i, j)
        found += self._shape(i, j, fed, bool(found))
        if not found or all(c.inherited for c in found):
            found += self._params(i, j, fed)
        return found

    def _attributes(self, i: int, j: int) -> list[Change]:
        (x, y), name = self.words, self.words[0].names[i]
        kind = "kernel" if x.kernel(i) or y.kernel(j) else ""
        found = [Change(kind, x.kernel_text(i), y.kernel_text(j))] if kind else []
        found.append(Change("stride", _axes(x.attrs[i][3:6]), _axes(y.attrs[j][3:6])))
        found.append(Change("dilation", str(max(x.attr(i, "dilation"), 1)), str(max(y.attr(j, "dilation"), 1))))
        both = self.depthwise[0][i] and self.depthwise[1][j]
        if not both:
            found.append(Change("groups", self._groups(0, i), self._groups(1, j)))
        found.append(Change("heads", str(x.attr(i, "heads")), str(y.attr(j, "heads"))))
        if name != "concat" or len(x.shapes[i]) == len(y.shapes[j]):
            found.append(Change("axis", str(x.attr(i, "axis")), str(y.attr(j, "axis"))))
        for flag in FLAGS:
            word = _FLAG_WORDS.get(flag, flag)
            found.append(Change(word, "yes" if x.flag(i, flag) else "no", "yes" if y.flag(j, flag) else "no"))
        return found

    def _groups(self, side: int, node: int) -> str:
        return "depthwise" if self.depthwise[side][node] else str(max(self.words[side].attr(node, "groups"), 1))

    def _shape(self, i: int, j: int, fed: bool, has_own: bool) -> list[Change]:
        """Width of what chooses it, the rest of the shape otherwise."""
        x, y = self.words
        if x.shapes[i] == y.shapes[j]:
            return []
        wide_a, wide_b = x.width(i), y.width(j)
        if not self.has_width[i]:
            turned = axes(x.shapes[i]) == axes(y.shapes[j])  # how it is stored, not what it is
            told = shape_text(x.shapes[i]), shape_text(y.shapes[j])
            return [Change("layout", *told, inherited=True) if turned else Change("shape", *told, inherited=fed or has_own)]
        found = []
        if wide_a != wide_b:
            follows = fed and self.depthwise[0][i] and self.depthwise[1][j]
            found.append(Change("width", str(wide_a), str(wide_b), inherited=follows))
        if wide_a == wide_b and axes(x.shapes[i]) == axes(y.shapes[j]):
            return [Change("layout", shape_text(x.shapes[i]), shape_text(y.shapes[j]), inherited=True)]
        if math.prod(x.shapes[i]) * wide_b != math.prod(y.shapes[j]) * wide_a or wide_a == wide_b:
            follows = fed or has_own or bool(found)
            found.append(Change("shape", shape_text(x.shapes[i]), shape_text(y.shapes[j]), inherited=follows))
        return found

    def _params(self, i: int, j: int, fed: bool) -> list[Change]:
        x, y = self.words
        before, after = x.params[i], y.params[j]
        if before == after:
            return []
        if x.names[i] in ("conv", "linear", "conv_transpose"):
            wide = abs(before - after) == x.width(i) and x.width(i) == y.width(j)
            if wide and before and after and not fed:
                return [Change("bias", *(("no", "yes") if after > before else ("yes", "no")))]
        return [Change("params", f"{before:,}", f"{after:,}", inherited=fed or axes(x.shapes[i]) != axes(y.shapes[j]))]

    # ------------------------------------------------------------ what it reads

    def _is_fed_otherwise(self, i: int, j: int) -> bool:
        """Whether anything it reads has no partner there, or one of another size."""
        a, b = self.a.inputs[i], self.b.inputs[j]
        x, y = self.words
        to_b, to_a = self.matching.to_b, self.matching.to_a
        if len(a) != len(b):
            return True
        return any(to_b[p] < 0 or axes(x.shapes[p]) != axes(y.shapes[to_b[p]]) or to_b[p] not in b for p in a) or any(
            to_a[q] < 0 for q in b
        )

    def _of_wiring(self, i: int, j: int) -> list[Change]:
        """Other producers, where no operator that came or went explains them."""
        a, b = self.a.inputs[i], self.b.inputs[j]
        to_b, to_a = self.matching.to_b, self.matching.to_a
        mapped = [to_b[p] for p in a]
        if mapped == list(b):
            return []
        if any(p < 0 for p in mapped) or any(to_a[q] < 0 for q in b):
            return [Change("inputs", _named(self.words[0], a), _named(self.words[1], b), inherited=True)]
        lost, new = Counter(mapped) - Counter(b), Counter(b) - Counter(mapped)
        if not lost and not new:
            if self.words[0].names[i] in COMMUTATIVE:
                return []
            return [Change("inputs", "in order", "in another order")]
        if self.words[0].names[i] != self.words[1].names[j]:
            return [Change("inputs", _named(self.words[0], a), _named(self.words[1], b), inherited=True)]
        before = _named(self.words[0], [to_a[q] for q in lost.elements()])
        after = _named(self.words[1], list(new.elements()))
        return [Change("inputs", before or "none", after or "none")]


def axes(shape: tuple[int, ...]) -> list[int]:
    """A shape without regard to order and to axes of one: channels first or last, pooled to a pixel or to a vector."""
    return sorted(n for n in shape if n != 1)


def _axes(values: list[int]) -> str:
    """Strides as people write them: one number when the axes agree."""
    used = [max(v, 1) for v in values if v] or [1]
    return str(used[0]) if len(set(used)) == 1 else "x".join(map(str, used))


def _named(words: Words, nodes: list[int] | tuple[int, ...]) -> str:
    """A few nodes by their words and places."""
    told = [_place(words, n) for n in nodes[:4]]
    return ", ".join(told) + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "")


def _place(words: Words, node: int) -> str:
    path = words.graph.scopes[int(words.graph.scope[node])].path
    return f"{words.word(node)} of {path}" if path else words.word(node)


def own_changes(found: tuple[Change, ...]) -> tuple[Change, ...]:
    """Those that are decisions."""
    return tuple(c for c in found if not c.inherited)
