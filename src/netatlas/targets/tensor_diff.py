"""The difference of two checkpoints by names and shapes of their tensors: what was renamed, reshaped, added and removed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from netatlas.errors import SourceError
from netatlas.facts import format_count
from netatlas.graph._align_path import best_path
from netatlas.graph.diff import diff_graphs
from netatlas.graph.difference import Difference, laid_out
from netatlas.graph.graph import Graph
from netatlas.graph.layer_names import FUSED, KEY, OUT, QUERY, VALUE
from netatlas.graph.weights import weights_only
from netatlas.targets._checkpoint_layers import guess_layers, is_parameter
from netatlas.targets._checkpoint_tensors import StoredTensor
from netatlas.targets.checkpoint import read_checkpoint, read_tensors

MOST_CELLS = 25_000_000
"""Pairs of tensors with other names that are compared one by one; beyond, names must agree."""

_TRUSTED = 0.5
"""Share of the tensors of other names that must find one of their shape; with fewer, it is another network, nothing was renamed."""

_SHAPE, _ROLE, _LEAF, _PLACE = 8, 4, 3, 2
_UNLIKE = -60
_ROLES = ((QUERY, "q"), (KEY - VALUE, "k"), (VALUE, "v"), (FUSED, "qkv"), (OUT, "out"))
_LEAVES = {"gamma": "weight", "beta": "bias", "kernel": "weight", "scale": "weight"}
_BEFORE, _AFTER = re.compile(r"before|input|first"), re.compile(r"after|post|second")
_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")
"""A number that is a whole name: that of a copy. ``fc1`` and ``fc2`` are two layers."""
_FIRST = re.compile(r"^(fc1|fc_1|intermediate\.dense|c_fc|lin1|linear1|wi|up_proj|w1)$")


@dataclass(frozen=True)
class TensorPair:
    """One tensor of either checkpoint that are held to be the same parameter."""

    a: StoredTensor
    b: StoredTensor

    @property
    def is_renamed(self) -> bool:
        return self.a.name != self.b.name

    @property
    def is_reshaped(self) -> bool:
        return self.a.shape != self.b.shape


@dataclass(frozen=True, eq=False)
class TensorDiff(Difference):
    """Two checkpoints compared.

    Attributes:
        name_a: What the first is called.
        name_b: What the second is called.
        pairs: Tensors that belong together: those of one name, then those whose shape, role and order agree.
        only_a: Tensors the first has alone.
        only_b: Tensors the second has alone.
        notes: What to know before believing it.
        graphs: The layers each gives away, for the drawing.
    """

    name_a: str
    name_b: str
    pairs: tuple[TensorPair, ...]
    only_a: tuple[StoredTensor, ...]
    only_b: tuple[StoredTensor, ...]
    notes: tuple[str, ...] = ()
    graphs: tuple[Graph, Graph] | None = None

    @property
    def is_same(self) -> bool:
        """Whether both hold the same names with the same shapes; what is stored under them is not read."""
        return not (self.only_a or self.only_b or any(p.is_renamed or p.is_reshaped for p in self.pairs))

    @cached_property
    def renames(self) -> dict[tuple[str, str], int]:
        """What names became, numbers as ``*``, with how many tensors each accounts for, most first.

        ``("encoder.layer.*", "blocks.*")``: the ends that names share are left out.
        """
        counts = Counter(_rename(p.a.name, p.b.name) for p in self.pairs if p.is_renamed)
        return dict(counts.most_common())

    @cached_property
    def reshaped(self) -> tuple[TensorPair, ...]:
        """Pairs of other shapes."""
        return tuple(p for p in self.pairs if p.is_reshaped)

    def text(self, *, color: bool = False, width: int = 100) -> str:
        """A unified diff: renames as rules, then other shapes, then what one side has alone; numbered names once with a count."""
        return laid_out([*self._heading(), *self._changes()], color, width)

    def _heading(self) -> Iterator[str]:
        wide = max(len(self.name_a), len(self.name_b))
        sides = (
            ("---", self.name_a, [p.a for p in self.pairs], self.only_a),
            ("+++", self.name_b, [p.b for p in self.pairs], self.only_b),
        )
        for sign, name, paired, alone in sides:
            every = [*paired, *alone]
            yield f"{sign} {name:<{wide}}  {format_count(_parameters(every), letters='TBMk')} params, {len(every):,} tensors"
        yield from (f"note: {note}" for note in self.notes)
        if self.is_same:
            yield f"the same names and shapes: {len(self.pairs):,} tensors"
        elif not (self.only_a or self.only_b or self.reshaped):
            yield f"the same shapes under other names: {len(self.pairs):,} tensors"

    def _changes(self) -> Iterator[str]:
        if self.renames:
            renamed = sum(p.is_renamed for p in self.pairs)
            yield f"@@ renamed: {renamed:,} of {len(self.pairs):,} tensors @@"
            wide = min(max(len(old) for old, _ in self.renames), 40)
            for (old, new), n in self.renames.items():
                yield f"  {old:<{wide}} -> {new}  ({n} tensor{'s' if n > 1 else ''})"
        if self.reshaped:
            yield f"@@ other shapes: {_tensors(len(self.reshaped))} @@"
            for (a, x, b, y), n in _gathered((p.a.name, p.a.shape, p.b.name, p.b.shape) for p in self.reshaped).items():
                times = f"  x {n}" if n > 1 else ""
                yield f"- {a}  {_shape(x)}{times}"
                yield f"+ {b}  {_shape(y)}{times}"
        for sign, name, tensors in (("-", self.name_a, self.only_a), ("+", self.name_b, self.only_b)):
            if tensors:
                yield f"@@ only in {name}: {_tensors(len(tensors))} @@"
                for (path, shape, *_), n in _gathered((t.name, t.shape, "", ()) for t in tensors).items():
                    yield f"{sign} {path}  {_shape(shape)}{f'  x {n}' if n > 1 else ''}"

    def stat(self) -> str:
        """Counts alone."""
        renamed = sum(p.is_renamed for p in self.pairs)
        equal = sum(not p.is_renamed and not p.is_reshaped for p in self.pairs)
        counts = (
            f"{_tensors(equal)} alike, {renamed:,} renamed, {len(self.reshaped):,} of other shapes, {len(self.only_a):,} only in the "
            f"first, {len(self.only_b):,} only in the second"
        )
        return "\n".join([*self._heading(), *([] if self.is_same else [counts])])

    def svg(self) -> str:
        """The layers that both give away, side by side.

        Raises:
            SourceError: The tensors were not read from files.
        """
        if self.graphs is None:
            raise SourceError(f"{self.name_a}, {self.name_b}: tensors without files have no drawing", reason="no graph")
        a, b = (weights_only(graph) for graph in self.graphs)
        return diff_graphs(a, b, self.name_a, self.name_b, ("layers with weights only; wiring cannot be seen",)).svg()

    def to_dict(self) -> dict[str, Any]:
        """The difference as JSON values."""
        return {
            "a": {"name": self.name_a, "tensors": len(self.pairs) + len(self.only_a)},
            "b": {"name": self.name_b, "tensors": len(self.pairs) + len(self.only_b)},
            "same": self.is_same,
            "notes": list(self.notes),
            "renames": [{"from": a, "to": b, "tensors": n} for (a, b), n in self.renames.items()],
            "pairs": [
                {"a": p.a.name, "b": p.b.name, "shape_a": list(p.a.shape), "shape_b": list(p.b.shape)}
                for p in self.pairs if p.is_renamed or p.is_reshaped
            ],
            "only_a": [{"name": t.name, "shape": list(t.shape)} for t in self.only_a],
            "only_b": [{"name": t.name, "shape": list(t.shape)} for t in self.only_b],
        }  # fmt: skip


def diff_checkpoints(a: str | Path, b: str | Path) -> TensorDiff:
    """The difference of two weights files; no tensor is read, no code is run.

    Raises:
        SourceError: A file does not exist, is damaged, holds something else, or would have to run code to be read.
        MissingExtraError: One is a PyTorch file and torch is not installed.
    """
    (file_a, ours, notes_a), (file_b, theirs, notes_b) = read_tensors(a), read_tensors(b)
    names = (file_a.name, file_b.name) if file_a.name != file_b.name else (str(a), str(b))
    notes = [f"{name}: {'; '.join(n)}" for name, n in zip(names, (notes_a, notes_b), strict=True) if n]
    found = diff_tensors(ours, theirs, *names, notes)
    graphs = [entry.graph for path in (a, b) for entry in read_checkpoint(path) if entry.graph is not None]
    return replace(found, graphs=(graphs[0], graphs[1]))


def diff_tensors(
    ours: Sequence[StoredTensor], theirs: Sequence[StoredTensor], name_a: str = "a", name_b: str = "b", notes: Sequence[str] = ()
) -> TensorDiff:
    """The difference of two lists of tensors.

    Tensors of one name belong together. The others are put in the order in which their modules run and aligned so that shapes,
    roles (query, key, value, output; weight, bias) and numbers of layers agree.
    """
    by_name = {t.name: t for t in theirs}
    pairs = [TensorPair(t, by_name[t.name]) for t in ours if t.name in by_name]
    named = {p.a.name for p in pairs}
    left, right = ([t for t in _in_order(side) if t.name not in named] for side in (ours, theirs))
    told = list(notes)
    if len(left) * len(right) > MOST_CELLS:
        told.append(f"{len(left):,} x {len(right):,} tensors of other names are too many to look for renames")
    elif left and right:
        kinds_of = _kinds(ours), _kinds(theirs)
        renamed: list[TensorPair] = []
        rest = left, right
        for match in (by_layers, by_order, by_shape):
            found = match(*rest, kinds_of)
            renamed += [TensorPair(rest[0][i], rest[1][j]) for i, j in found.items()]
            used = set(found.values())
            rest = [t for i, t in enumerate(rest[0]) if i not in found], [t for j, t in enumerate(rest[1]) if j not in used]
        if sum(not p.is_reshaped for p in renamed) >= _TRUSTED * min(len(left), len(right)):
            pairs += renamed
            left, right = rest
    kinds = Counter((p.a.dtype, p.b.dtype) for p in pairs if _plain_dtype(p.a.dtype) != _plain_dtype(p.b.dtype))
    told += [f"{n:,} tensors are {x} in the first and {y} in the second" for (x, y), n in kinds.most_common(3)]
    return TensorDiff(name_a, name_b, tuple(pairs), tuple(left), tuple(right), tuple(told))


Kinds = tuple[Mapping[str, int], Mapping[str, int]]
"""For each checkpoint, what each module holds by its path: axes of its weight, 1 for a norm and 2 for a linear layer."""


def by_layers(left: Sequence[StoredTensor], right: Sequence[StoredTensor], kinds: Kinds) -> dict[int, int]:
    """Positions that belong together because their numbered modules do: ``encoder.layer.3`` and ``blocks.3`` hold the same shapes."""
    groups = [_groups(side) for side in (left, right)]
    keys = [[k for k in found if k] for found in groups]
    if not keys[0] or not keys[1]:
        return {}
    bags = _bags([[left[i] for i in groups[0][k]] for k in keys[0]], [[right[j] for j in groups[1][k]] for k in keys[1]])
    places = [np.array([_place(k) for k in side]) for side in keys]
    likeness = (np.rint(12 * bags[0] @ bags[1].T) - 6 + (places[0][:, None] == places[1][None, :])).astype(np.int32)
    found: dict[int, int] = {}
    for s, t in best_path(len(keys[0]), len(keys[1]), lambda i: likeness[i], gap=1):
        found |= _within(left, right, groups[0][keys[0][s]], groups[1][keys[1][t]], kinds)
    return found


def by_order(left: Sequence[StoredTensor], right: Sequence[StoredTensor], kinds: Kinds) -> dict[int, int]:
    """Positions that belong together by shape, role and the order in which modules run."""
    numbers: dict[object, int] = {}

    def column(name: str, values: Sequence[object]) -> npt.NDArray[np.int64]:
        return np.array([numbers.setdefault((name, v), len(numbers)) for v in values], dtype=np.int64)

    a, b = (
        (
            column("shape", [t.shape for t in side]),
            column("role", [_role(t) for t in side]),
            column("leaf", [_leaf(t) for t in side]),
            column("place", [_place(t.name) for t in side]),
            column("kind", [_kind(t, known) for t in side]),
        )
        for side, known in zip((left, right), kinds, strict=True)
    )

    def row(i: int) -> npt.NDArray[np.int32]:
        same = [x[i] == y for x, y in zip(a, b, strict=True)]
        score = sum(w * x.astype(np.int32) for w, x in zip((_SHAPE, _ROLE, _LEAF, _PLACE), same, strict=False)) - _SHAPE
        fits = (same[0] | (same[1] & same[2] & same[3])) & same[4]
        return np.where(fits, score, _UNLIKE).astype(np.int32)

    return dict(best_path(len(left), len(right), row, gap=2))


def by_shape(left: Sequence[StoredTensor], right: Sequence[StoredTensor], kinds: Kinds) -> dict[int, int]:
    """Positions of tensors that only one of the other side can be: one of this shape and kind in either."""
    found: tuple[dict[object, list[int]], ...] = ({}, {})
    for side, tensors in enumerate((left, right)):
        for n, t in enumerate(tensors):
            found[side].setdefault((t.shape, _leaf(t), _kind(t, kinds[side])), []).append(n)
    return {ns[0]: found[1][key][0] for key, ns in found[0].items() if len(ns) == len(found[1].get(key, ())) == 1 and key[0]}  # type: ignore[index]


def _within(
    left: Sequence[StoredTensor], right: Sequence[StoredTensor], ours: Sequence[int], theirs: Sequence[int], kinds: Kinds
) -> dict[int, int]:
    """Matched positions of two modules: by shape and role, then by shape and order, then by role alone."""
    found: dict[int, int] = {}
    free = set(theirs)
    for with_shape, with_role in ((True, True), (True, False), (False, True)):
        waiting: dict[object, list[int]] = {}

        def key(t: StoredTensor, side: int, with_shape: bool = with_shape, with_role: bool = with_role) -> object:
            return (t.shape if with_shape else (), _role(t) if with_role else "", _leaf(t), _kind(t, kinds[side]))

        for j in sorted(free, key=lambda j: _natural(right[j].name)):
            waiting.setdefault(key(right[j], 1), []).append(j)
        for i in sorted((i for i in ours if i not in found), key=lambda i: _natural(left[i].name)):
            if same := waiting.get(key(left[i], 0)):
                found[i] = same.pop(0)
                free.discard(found[i])
    return found


def _groups(tensors: Sequence[StoredTensor]) -> dict[str, list[int]]:
    """Positions by the numbered module they are in, in the order of names; ``""`` for those in none."""
    found: dict[str, list[int]] = {}
    for n in sorted(range(len(tensors)), key=lambda n: _natural(tensors[n].name)):
        parts = tensors[n].name.split(".")[:-1]
        stop = next((k + 1 for k, p in enumerate(parts) if p.isdigit()), 0)
        while stop and stop < len(parts) and parts[stop].isdigit():
            stop += 1
        found.setdefault(".".join(parts[:stop]), []).append(n)
    return found


def _bags(*sides: Sequence[Sequence[StoredTensor]]) -> list[npt.NDArray[np.float64]]:
    """Counts of shapes in each group, of length one."""
    shapes = {shape: n for n, shape in enumerate(dict.fromkeys(t.shape for side in sides for group in side for t in group))}
    found = []
    for side in sides:
        bag = np.zeros((len(side), len(shapes)))
        for n, group in enumerate(side):
            for t in group:
                bag[n, shapes[t.shape]] += 1.0 + (len(t.shape) > 1)
        found.append(bag / np.linalg.norm(bag, axis=1, keepdims=True))
    return found


def _kinds(tensors: Sequence[StoredTensor]) -> dict[str, int]:
    weights = {t.name.rpartition(".")[0]: len(t.shape) for t in tensors if _leaf(t) == "weight"}
    return weights


def _kind(tensor: StoredTensor, known: Mapping[str, int]) -> tuple[int, bool]:
    return known.get(tensor.name.rpartition(".")[0], -1), is_parameter(tensor)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key with numbers as numbers, and what comes before before what comes after."""
    name = _AFTER.sub("1", _BEFORE.sub("0", name))
    return [(int(x[:18]), "") if x.isdigit() else (-1, x) for x in re.split(r"(\d+)", name) if x]


def _in_order(tensors: Sequence[StoredTensor]) -> list[StoredTensor]:
    """Trained tensors as their modules run, then the rest by name."""
    ordered = [t for layer in guess_layers(list(tensors)) for t in layer.tensors]
    seen = {t.name for t in ordered}
    return [*ordered, *sorted((t for t in tensors if t.name not in seen), key=lambda t: _natural(t.name))]


def _leaf(tensor: StoredTensor) -> str:
    name = tensor.name.rpartition(".")[2]
    return _LEAVES.get(name, name)


def _role(tensor: StoredTensor) -> str:
    """What the module of a tensor does in an attention, or its own name without numbers."""
    parts = [p for p in tensor.name.split(".")[:-1] if not p.isdigit()]
    last = parts[-1] if parts else ""
    if last == "dense" and len(parts) > 1:  # BERT calls three layers so
        last = f"{parts[-2]}.dense"
    if last in ("attention.dense",):
        return "out"
    return next((role for names, role in _ROLES if last in names), "in" if _FIRST.match(last) else re.sub(r"\d+$", "", last))


def _place(name: str) -> int:
    """The first number in a name: its layer; -1 without one."""
    found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", name)
    return int(found[1][:9]) if found else -1


def _rename(a: str, b: str) -> tuple[str, str]:
    """What became what, without the end both names share, numbers as ``*``."""
    x, y = a.split("."), b.split(".")
    while len(x) > 1 and len(y) > 1 and x[-1] == y[-1] and not x[-1].isdigit():
        x, y = x[:-1], y[:-1]
    return tuple(".".join("*" if p.isdigit() else p for p in parts) for parts in (x, y))  # type: ignore[return-value]


def _gathered(rows: Any) -> Mapping[tuple[str, tuple[int, ...], str, tuple[int, ...]], int]:
    """Rows whose names differ in the numbers of copies only, once with a count."""
    counts: Counter[Any] = Counter()
    first: dict[Any, Any] = {}
    for a, x, b, y in rows:
        key = (_NUMBER.sub("*", a), x, _NUMBER.sub("*", b), y)
        counts[key] += 1
        first.setdefault(key, (a, x, b, y))
    return {(first[key] if n == 1 else key): n for key, n in counts.items()}


def _parameters(tensors: Sequence[StoredTensor]) -> int:
    return sum({t.stored or t.name: t.elements for t in tensors if is_parameter(t)}.values())


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) if shape else "scalar"


def _tensors(count: int) -> str:
    return f"{count:,} tensor{'s' if count != 1 else ''}"


def _plain_dtype(dtype: str) -> str:
    """``F32`` and ``float32`` as one."""
    return (
        re.sub(r"^(torch\.)?", "", dtype.lower())
        .replace("bfloat", "bf")
        .replace("float", "f")
        .replace("uint", "u")
        .replace("int", "i")
    )
