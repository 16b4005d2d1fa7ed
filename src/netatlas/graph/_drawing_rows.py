"""Which rows a drawing has: stages one below the other, containers where a stage has repeated parts, and what a row shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from netatlas.graph._drawing_labels import Words
from netatlas.graph._drawing_layout import Layout, layout
from netatlas.graph._drawing_units import Panel, deepest, panel, ports_by_row, shortened, summary
from netatlas.graph.blocks import Block, is_thin

MOST_BOXES = 64
"""Boxes of a whole drawing; deeper levels collapse first, then like stages, then middles of rows."""

WIDEST = 1120.0
"""Pixels of the boxes of one row."""

MOST_ROWS = 36
MOST_IN_ROW = 26
_TELLING = 5
"""A row that must collapse to fewer boxes shows its first and last operators instead."""

_CAPS = (20, 16, 13, 11, 9, 7, 5, 4, 3)


@dataclass(eq=False)
class Row:
    """One stage of a drawing: a card with boxes, or a container of rows.

    Attributes:
        block: What it shows; several operators in a row share a made-up block.
        rows: Rows inside; empty for a card.
        panel: Boxes of a card.
        layout: Where they go.
        number: Position among all cards, containers not counted.
        name: Label with that of the container.
        note: Said instead of how copies vary, such as that it is built like an earlier stage.
    """

    block: Block
    rows: list[Row] = field(default_factory=list)
    panel: Panel | None = None
    layout: Layout | None = None
    number: int = -1
    name: str = ""
    note: str = ""

    @property
    def cards(self) -> Iterator[Row]:
        """The cards in it, top to bottom."""
        if not self.rows:
            yield self
        for row in self.rows:
            yield from row.cards


def plan_rows(words: Words, root: Block) -> tuple[list[int], list[Row], int]:
    """Input nodes, rows with their boxes and layouts, and how many blocks were left out between the rows."""
    inputs = [b.nodes[0] for b in root.children if _is_input(words, b)]
    blocks = [b for b in root.children if not _is_input(words, b)]
    if not root.children and root.nodes:
        inputs, blocks = ([root.nodes[0]], []) if words.families[root.nodes[0]] == "source" else ([], [root])
    rows = _rows(words, blocks, 0)
    hidden = 0
    if sum(1 for row in rows for _ in row.cards) > MOST_ROWS:
        rows = _rows(words, blocks, 2)
    if len(rows) > MOST_ROWS:
        head = MOST_ROWS - 10
        hidden = len(rows) - MOST_ROWS
        rows = [*rows[:head], *rows[head + hidden :]]
    cards: list[Row] = []
    for row in rows:
        for card in row.cards:
            card.number, card.name = len(cards), card.block.label if card is row else f"{row.block.label} {card.block.label}"
            cards.append(card)
    _fill(words, cards, _ports(words, rows, cards, inputs))
    return inputs, rows, hidden


def _is_input(words: Words, block: Block) -> bool:
    return block.is_operator and block.repeat == 1 and words.names[block.nodes[0]] == "input"


def _rows(words: Words, blocks: Sequence[Block], depth: int) -> list[Row]:
    rows: list[Row] = []
    loose: list[Block] = []
    for block in blocks:
        if is_thin(words, block):
            loose.append(block)
            continue
        rows += [_joined(words, loose)] if loose else []
        loose = []
        inner = _rows(words, block.children, depth + 1) if depth < 2 and _is_container(words, block) else []
        rows.append(Row(block, inner))
    return [*rows, _joined(words, loose)] if loose else rows


def _joined(words: Words, blocks: Sequence[Block]) -> Row:
    """Operators that follow one another as one row."""
    if len(blocks) == 1:
        return Row(blocks[0])
    nodes = tuple(i for b in blocks for i in b.nodes)
    inside = set(nodes)
    last = next((i for i in reversed(nodes) if not words.users[i] or any(u not in inside for u in words.users[i])), nodes[-1])
    labels = list(dict.fromkeys(b.label for b in blocks))
    label = ", ".join(labels) if len(labels) < 3 else f"{labels[0]} … {labels[-1]}"
    return Row(
        Block(
            label, "", "", nodes, nodes, tuple(blocks), params=sum(b.params for b in blocks), macs=sum(b.macs for b in blocks),
            shape_in=blocks[0].shape_in, shape_out=words.shapes[last],
        )
    )  # fmt: skip


def _is_container(words: Words, block: Block) -> bool:
    """Whether its parts are shown as rows: some of them are repeated, and each feeds the next."""
    if block.repeat > 1 or not any((c.repeat > 1 and not c.is_operator) or _is_container(words, c) for c in block.children):
        return False
    parts = [set(c.nodes) for c in block.children]
    return all(any(x in a for i in b for x in words.inputs[i]) for a, b in pairwise(parts))


def _ports(words: Words, rows: Sequence[Row], cards: Sequence[Row], inputs: Sequence[int]) -> list[Callable[[int], str]]:
    """For every card, the function that names the row a node outside comes from."""
    home: dict[int, tuple[int, int]] = {}
    for top, row in enumerate(rows):
        for card in row.cards:
            home.update(dict.fromkeys(card.block.nodes, (top, card.number)))
    names = {i: "input" if len(inputs) == 1 else f"input {n + 1}" for n, i in enumerate(inputs)}
    found = []
    for card in cards:
        own, mine = set(card.block.nodes), home[card.block.nodes[0]][0]
        sources = {x for i in card.block.pattern for x in words.inputs[i]} - set(card.block.pattern)
        outer = [x for x in sources if x not in own]
        main = -1
        if outer and len(outer) == len(sources):  # the first copy: what comes from the nearest row is the main input
            main = max(outer, key=lambda x: (home.get(x, (-1, -1))[1], x))
        named = {}
        for x in outer:
            if x in names:
                named[x] = names[x]
            elif x in home:
                top, number = home[x]
                named[x] = cards[number].block.label if top == mine else rows[top].block.label
            else:
                named[x] = "…"
        key = {x: name if main < 0 or home.get(x) != home.get(main) else "" for x, name in named.items()}
        found.append(ports_by_row(key, ""))
    return found


def _fill(words: Words, cards: Sequence[Row], ports: Sequence[Callable[[int], str]]) -> None:
    """Give every card its boxes, so that all together are at most `MOST_BOXES` and no row is too wide."""
    for card in cards:
        card.panel = _fitting(words, card.block, MOST_IN_ROW, ports[card.number])
    if _count(cards) > MOST_BOXES:
        _fold_alike(words, cards, ports, exactly=True)
        _fold_alike(words, cards, ports, exactly=False)
    for most in _CAPS:
        if _count(cards) <= MOST_BOXES:
            break
        for card in cards:
            if card.panel is not None and len(card.panel.units) > most:
                card.panel = _fitting(words, card.block, most, ports[card.number])
    for card in reversed(cards):  # many small rows: single boxes, the last ones first
        if _count(cards) > MOST_BOXES:
            card.panel = summary(words, card.block, ports[card.number], WIDEST / 2)
    for card in cards:
        assert card.panel is not None
        card.layout = layout(card.panel)


def _count(cards: Sequence[Row]) -> int:
    return sum(len(card.panel.units) for card in cards if card.panel is not None)


def _fold_alike(words: Words, cards: Sequence[Row], ports: Sequence[Callable[[int], str]], exactly: bool) -> None:
    """Cards wired like an earlier one become one box each, from the last one up as far as needed.

    Widths may differ, and unless ``exactly`` kernels, strides and heads too, which the note then says.
    """
    first: dict[object, Row] = {}
    alike = []
    for card in cards:
        assert card.panel is not None
        if len(card.panel.units) < 4:
            continue
        titles = [u.title if exactly else re.sub(r"[/\d]", "", u.title).strip() for u in card.panel.units]
        shape = tuple((u.kind, t, u.tags) for u, t in zip(card.panel.units, titles, strict=True)), card.panel.edges
        if (model := first.setdefault(shape, card)) is not card:
            alike.append((card, model))
    for card, model in reversed(alike):
        if _count(cards) <= MOST_BOXES:
            return
        card.panel = summary(words, card.block, ports[card.number], WIDEST / 2)
        card.note = f"built like {model.name}{'' if exactly else ', other sizes'}"


def _fitting(words: Words, block: Block, most: int, port: Callable[[int], str]) -> Panel:
    """The most detailed boxes of a block that are at most ``most`` and fit the width."""
    fuller = made = panel(words, block, deepest(block), port)
    for level in range(deepest(block), -1, -1):
        made = panel(words, block, level, port)
        if len(made.units) <= most and layout(made).width <= WIDEST:
            if made.units == fuller.units or len(made.units) >= min(_TELLING, most // 2):
                return made
            made = fuller  # hardly more than collapsed parts: the ends of what is inside tell more
            break
    for n in range(most, 2, -1):
        short = shortened(made, n)
        if layout(short).width <= WIDEST:
            break
    return short
