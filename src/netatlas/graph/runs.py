"""A graph as a sequence of steps, in which recurring runs can be looked for: what the mined motifs are made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from netatlas.graph.coarse import COARSE, coarse
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID, OPERATORS
from netatlas.graph.order import in_near_order

LABELS: dict[str, str] = {
    "conv1": "conv 1x1", "conv3": "conv 3x3", "conv5": "conv 5x5", "conv7": "conv 7x7 or larger", "dw3": "depthwise conv 3x3",
    "dw5": "depthwise conv 5x5", "dw7": "depthwise conv 7x7 or larger", "gconv": "grouped conv", "conv1d": "conv 1-d",
    "dw1d": "depthwise conv 1-d", "convt": "transposed conv", "linear": "linear", "matmul": "matmul", "attn": "attention",
    "softmax": "softmax", "norm": "norm", "act": "act", "add": "+", "shift": "learned shift", "mul": "mul", "scale": "learned scale",
    "pool": "pool", "gpool": "global pool", "reduce": "reduction", "cat": "concat", "split": "split",
}  # fmt: skip
"""What a step does, with its words: the classes of `graph.coarse`, convolutions by kernel and kind, pools and products by kind."""

_NUMBER = {name: i for i, name in enumerate(LABELS)}
_NAMES = tuple(LABELS)
_OF_CLASS = np.array([_NUMBER.get(name, 0) for name in COARSE], dtype=np.uint8)
_GLOBAL = np.array([op.name in ("global_avg_pool", "global_max_pool") for op in OPERATORS])
_REDUCTION = np.array([op.family == "reduction" for op in OPERATORS])


def number_of(label: str) -> int:
    """Number of a label."""
    return _NUMBER[label]


Step = tuple[int, tuple[int, ...]]
"""Label number and distances back to the producers, ascending; 0 stands for all producers outside the run."""


@dataclass(frozen=True, eq=False)
class Course:
    """A graph as a sequence of steps.

    Attributes:
        label: Number of the label of every step.
        back: Distances of every step to its producers, ascending, each once.
        node: Node of the graph that every step is.
    """

    label: list[int]
    back: list[tuple[int, ...]]
    node: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.label)

    def step(self, place: int, start: int) -> Step:
        """The step at ``place`` as part of a run that begins at ``start``."""
        back = self.back[place]
        reach = place - start
        if back and back[-1] <= reach:
            return self.label[place], back
        return self.label[place], (0, *(x for x in back if x <= reach))

    def run(self, start: int, end: int) -> tuple[Step, ...]:
        """The steps of the run ``[start, end)``."""
        return tuple(self.step(place, start) for place in range(start, end))


def course_of(graph: Graph) -> Course:
    """The steps of a graph in the order of `order.in_near_order`; operators of no class are bridged."""
    seen = coarse(graph)
    wired = in_near_order(_labels(graph, seen.label, seen.node), seen.edges)
    back: list[list[int]] = [[] for _ in range(len(wired))]
    for source, target in wired.edges.tolist():
        back[target].append(target - source)
    return Course(wired.label.tolist(), [tuple(sorted(found)) for found in back], seen.node[wired.node].astype(np.int64))


def _labels(graph: Graph, classes: npt.NDArray[np.uint8], nodes: npt.NDArray[np.int32]) -> npt.NDArray[np.uint8]:
    """Label number of every coarse node ``(g,)``."""
    label = _OF_CLASS[classes]
    op = graph.op[nodes]
    label[label == _NUMBER["pool"]] = _NUMBER["pool"]
    label[_GLOBAL[op]] = _NUMBER["gpool"]
    label[_REDUCTION[op] & (label == _NUMBER["pool"])] = _NUMBER["reduce"]
    inputs = np.bincount(graph.edges[:, 1], minlength=len(graph))[nodes]
    label[(label == _NUMBER["add"]) & (inputs == 1)] = _NUMBER["shift"]
    label[(label == _NUMBER["mul"]) & (inputs == 1)] = _NUMBER["scale"]
    conv = np.flatnonzero(classes == COARSE.index("conv"))
    label[conv] = [_NUMBER[_convolution(graph, i)] for i in nodes[conv].tolist()]
    return label


def _convolution(graph: Graph, node: int) -> str:
    if int(graph.op[node]) == OP_ID["conv_transpose"]:
        return "convt"
    row = graph.attrs[node].tolist()
    kernel, groups = [k for k in row[:3] if k], row[7]
    shape = graph.node_shape(node)
    channels = shape[-1 - len(kernel)] if len(shape) > len(kernel) else 0
    depthwise = groups > 1 and groups == channels
    if len(kernel) == 1 and kernel[0] > 1:
        return "dw1d" if depthwise else "conv1d"
    widest = max(kernel, default=1)
    if groups > 1 and not depthwise:
        return "gconv"
    size = 1 if widest == 1 else 3 if widest <= 3 else 5 if widest <= 5 else 7
    return f"dw{max(size, 3)}" if depthwise else f"conv{size}"


# ---------------------------------------------------------------- text


def to_text(steps: Sequence[Step]) -> str:
    """Steps as text: ``conv3:0 norm:1 act:1``."""
    return " ".join(f"{_NAMES[label]}:{','.join(map(str, back))}" for label, back in steps)


def from_text(text: str) -> tuple[Step, ...]:
    """Steps from the text `to_text` writes."""
    found = []
    for word in text.split():
        name, _, back = word.partition(":")
        found.append((_NUMBER[name], tuple(int(x) for x in back.split(",") if x)))
    return tuple(found)


def describe(steps: Sequence[Step]) -> str:
    """Steps in words: ``(conv 3x3 → norm → act) × 2 → + input``; a bar begins another branch."""
    words: list[str] = []
    for i, (label, back) in enumerate(steps):
        word = LABELS[_NAMES[label]]
        if len(back) > 1:
            word += " input" if back[0] == 0 and word == "+" else " with input" if back[0] == 0 else ""
        new_branch = i > 0 and 1 not in back
        words.append(f"| {word}" if new_branch and len(back) <= 1 else word)
    return " → ".join(_folded(words)).replace("→ | ", "| ")


def _folded(words: list[str]) -> list[str]:
    """Repetitions written once with their number, the longest first."""
    found: list[str] = []
    i = 0
    while i < len(words):
        length, times = _repetition(words, i)
        if times > 1:
            inner = " → ".join(_folded(words[i : i + length]))
            found.append(f"({inner}) × {times}" if length > 1 else f"{inner} × {times}")
        else:
            found.append(words[i])
        i += length * times
    return found


def _repetition(words: list[str], start: int) -> tuple[int, int]:
    """Length and number of the repetitions that begin at a place and cover most."""
    best = (1, 1)
    for length in range(1, (len(words) - start) // 2 + 1):
        unit, times = words[start : start + length], 1
        while words[start + times * length : start + (times + 1) * length] == unit:
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


# ---------------------------------------------------------------- many runs at once


class Trie:
    """A set of runs that are looked for in one pass over a sequence.

    Args:
        runs: Steps by key; no two keys have the same steps.
    """

    def __init__(self, runs: dict[str, tuple[Step, ...]]) -> None:
        self._root: dict[Step, list[object]] = {}
        for key, steps in runs.items():
            level = self._root
            for i, step in enumerate(steps):
                entry = level.setdefault(step, [{}, None])
                if i == len(steps) - 1:
                    entry[1] = key
                level = entry[0]  # type: ignore[assignment]

    def find(self, path: Course) -> Iterator[tuple[str, int, int]]:
        """``(key, start, end)`` of every occurrence, by start; those of one key may overlap."""
        label, back, length, root = path.label, path.back, len(path), self._root
        for start in range(length):
            level = root
            for place in range(start, length):
                behind = back[place]
                if behind and behind[-1] <= place - start:
                    step: Step = (label[place], behind)
                else:
                    step = (label[place], (0, *(x for x in behind if x <= place - start)))
                entry = level.get(step)
                if entry is None:
                    break
                if entry[1] is not None:
                    yield entry[1], start, place + 1  # type: ignore[misc]
                level = entry[0]  # type: ignore[assignment]

    def apart(self, path: Course) -> dict[str, list[tuple[int, int]]]:
        """Occurrences ``(start, end)`` by key, of one key none overlapping, the leftmost first."""
        found: dict[str, list[tuple[int, int]]] = {}
        for key, start, end in self.find(path):
            places = found.setdefault(key, [])
            if not places or places[-1][1] <= start:
                places.append((start, end))
        return found
