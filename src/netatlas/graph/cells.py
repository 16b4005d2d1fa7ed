"""Networks of the DARTS search space, drawn by number."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from netatlas.errors import ConfigError
from netatlas.graph.graph import MAX_RANK, Graph
from netatlas.graph.ops import ATTRIBUTE_COLUMN, ATTRIBUTES, OP_ID

OPERATIONS = ("max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5", "dil_conv_3x3", "dil_conv_5x5")
STEPS = 4
_PAIRS = tuple((n + 2) * (n + 1) for n in range(STEPS))  # ordered pairs of different sources: 2, 6, 12, 20

SIZE = len(OPERATIONS) ** (2 * STEPS) * prod(_PAIRS)
"""Cells in the space: 7^8 times 2,880 wirings."""


@dataclass(frozen=True)
class Cell:
    """A cell of four steps, each the sum of two operations; Liu, Simonyan and Yang, ICLR 2019, arXiv:1806.09055.

    Attributes:
        ops: Operation numbers, two a step.
        sources: What each reads: 0 and 1 are the outputs of the two layers before, 2 and up the earlier steps; the two of a step
            differ, and their order counts.
    """

    ops: tuple[int, ...]
    sources: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.ops) != 2 * STEPS or not all(0 <= op < len(OPERATIONS) for op in self.ops):
            raise ConfigError(f"a cell has {2 * STEPS} operations below {len(OPERATIONS)}, got {self.ops}")
        pairs = list(zip(self.sources[::2], self.sources[1::2], strict=False))
        if len(self.sources) != 2 * STEPS or any(
            a == b or not 0 <= min(a, b) <= max(a, b) < n + 2 for n, (a, b) in enumerate(pairs)
        ):
            raise ConfigError(f"every step of a cell reads two different earlier outputs, got {self.sources}")

    @classmethod
    def of(cls, index: int) -> Cell:
        """The cell of a number below `SIZE`.

        Raises:
            ConfigError: The number is not in the space.
        """
        if not 0 <= index < SIZE:
            raise ConfigError(f"the space has cells 0 to {SIZE - 1}, got {index}")
        ops, sources = [], []
        for n, pairs in enumerate(_PAIRS):
            index, pair = divmod(index, pairs)
            first, rest = divmod(pair, n + 1)
            sources += [first, rest + (rest >= first)]
        for _ in range(2 * STEPS):
            index, op = divmod(index, len(OPERATIONS))
            ops.append(op)
        return cls(tuple(ops), tuple(sources))

    @property
    def index(self) -> int:
        """The cell's number."""
        index = 0
        for op in reversed(self.ops):
            index = index * len(OPERATIONS) + op
        for n in reversed(range(STEPS)):
            first, second = self.sources[2 * n : 2 * n + 2]
            index = index * _PAIRS[n] + first * (n + 1) + second - (second > first)
        return index

    def rewired(self, rng: np.random.Generator) -> Cell:
        """The same operations with one source changed."""
        place = int(rng.integers(2, 2 * STEPS))  # the first step has no third output to read
        taken = {self.sources[place], self.sources[place ^ 1]}
        choices = [s for s in range(place // 2 + 2) if s not in taken]
        new = choices[int(rng.integers(len(choices)))]
        return Cell(self.ops, (*self.sources[:place], new, *self.sources[place + 1 :]))


def draw(rng: np.random.Generator) -> Cell:
    """A cell, all alike in probability."""
    return Cell.of(int(rng.integers(SIZE)))


def network(normal: Cell, reduction: Cell, layers: int = 20, channels: int = 16) -> Graph:
    """The network of two cells as an operator graph, one node an operation: 13 a layer, 3 of the stem and 2 of the head.

    Reduction cells stand at one third and two thirds. As in the generator of arXiv:2307.07919, an operation is one node (a
    separable convolution too) and the cells read the layers before without preprocessing; skip connections are views.

    Raises:
        ConfigError: ``layers`` is below 1.
    """
    if layers < 1:
        raise ConfigError(f"a network needs 1 layer or more, got {layers}")
    made = _Builder()
    stem = made.add("input", [], 3, 32)
    stem = made.add("conv", [stem], channels, 32, kernel=3)
    outputs = [made.add("batch_norm", [stem], channels, 32)] * 2
    side = 32
    for layer in range(layers):
        reduces = layer in (layers // 3, 2 * layers // 3)
        if reduces:
            channels, side = 2 * channels, side // 2
        outputs.append(_layer(made, reduction if reduces else normal, outputs[-2:], channels, side))
    made.add("linear", [made.add("global_avg_pool", outputs[-1:], 4 * channels, 1)], 10, 1)
    return made.graph()


def _layer(made: _Builder, cell: Cell, inputs: list[int], channels: int, side: int) -> int:
    states = list(inputs)
    for step in range(STEPS):
        pair = slice(2 * step, 2 * step + 2)
        parts = [
            made.operation(OPERATIONS[op], states[source], channels, side)
            for op, source in zip(cell.ops[pair], cell.sources[pair], strict=True)
        ]
        states.append(made.add("add", parts, channels, side))
    return made.add("concat", states[2:], 4 * channels, side)


class _Builder:
    def __init__(self) -> None:
        self.op: list[int] = []
        self.attrs: list[list[int]] = []
        self.shape: list[list[int]] = []
        self.edges: list[tuple[int, int]] = []

    def add(
        self, op: str, inputs: list[int], channels: int, side: int, *, kernel: int = 0, groups: int = 0, dilation: int = 0
    ) -> int:
        node, attrs = len(self.op), [0] * len(ATTRIBUTES)
        for name, value in (("kernel_h", kernel), ("kernel_w", kernel), ("groups", groups), ("dilation", dilation)):
            attrs[ATTRIBUTE_COLUMN[name]] = value
        self.op.append(OP_ID[op])
        self.attrs.append(attrs)
        self.shape.append([0] * (MAX_RANK - 4) + [1, channels, side, side])
        self.edges.extend((source, node) for source in inputs)
        return node

    def operation(self, name: str, source: int, channels: int, side: int) -> int:
        if name == "skip_connect":
            return self.add("view", [source], channels, side)
        if name.endswith("pool_3x3"):
            return self.add(name.removesuffix("_3x3"), [source], channels, side, kernel=3)
        dilation = 2 if name.startswith("dil") else 1
        return self.add("conv", [source], channels, side, kernel=int(name[-1]), groups=channels, dilation=dilation)

    def graph(self) -> Graph:
        zeros = np.zeros(len(self.op), dtype=np.int64)
        return Graph(
            np.array(self.op, dtype=np.uint8), np.array(self.attrs, dtype=np.int32), np.array(self.shape, dtype=np.int64),
            zeros, zeros, zeros.astype(np.int32), np.array(self.edges, dtype=np.int32),
        )  # fmt: skip
