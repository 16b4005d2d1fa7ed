"""P4: the deepest of networks built of one block asks for the others."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from netatlas.evaluation.nar.collections import Item, library
from netatlas.evaluation.nar.protocols import Task, make_task, protocol, thin
from netatlas.graph.costs import depth

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

SIZES = (
    "atto", "femto", "pico", "nano", "tiny", "mini", "small", "medium", "base", "large", "huge", "giant", "gigantic", "xxtiny",
    "xtiny", "xxsmall", "xsmall", "xlarge", "xxlarge", "little", "micro",
)  # fmt: skip
"""Words in names that say how large a network is."""


def group_of(item: Item, module: str) -> tuple[str, str, frozenset[str]]:
    """What networks of one block have in common: Python module, name without numbers and sizes, and the classes they are made of.

    The classes tell ResNet-34 (basic blocks) from ResNet-50 (bottlenecks), which names do not. All of it is label: a task takes
    names and classes out of the graphs.
    """
    name = item.id.partition("/")[2].lower()
    words = ["*" if word in SIZES else re.sub(r"\d+", "#", word) for word in re.split(r"[_.-]", name)]
    return module, "_".join(words), frozenset(scope.cls for scope in item.graph.scopes if scope.cls)


def groups(items: list[Item], modules: dict[str, str]) -> list[list[tuple[int, Item]]]:
    """Groups of at least two depths, with depths, deepest first."""
    found: dict[tuple[str, str, frozenset[str]], list[tuple[int, Item]]] = defaultdict(list)
    for item in items:
        found[group_of(item, modules[item.id])].append((depth(item.graph), item))
    several = [members for members in found.values() if len({d for d, _ in members}) > 1]
    return [sorted(members, key=lambda pair: (-pair[0], pair[1].id)) for members in several]


@protocol(
    "P4",
    "the deepest timm network built of one block, among networks of other blocks; relevant: other depths of the same block; no such "
    "family seen in training",
)
def draw(split: int, atlas: Atlas, limit: int | None) -> Task:
    """The only draw.

    Left out is what is neither right nor wrong: the query's block at its own depth, and networks that are made of the same classes of
    the same Python module under another name, such as ``vit_large_patch14_dinov2`` for ``vit_large_patch14_reg1_tipsv2``.
    """
    items = thin(library(atlas, "timm"), limit)
    modules = {i: str(facts.get("module", "")) for i, facts in atlas.facts([item.id for item in items]).items()}
    place = {item.id: n for n, item in enumerate(items)}
    made_of = {item.id: group_of(item, modules[item.id])[::2] for item in items}
    block: dict[str, int] = {}
    deep: dict[str, int] = {}
    asks = []
    for number, members in enumerate(groups(items, modules)):
        asks.append(place[members[0][1].id])
        for d, item in members:
            block[item.id], deep[item.id] = number, d

    def alike(a: Item, b: Item) -> bool:
        return block.get(b.id) == block[a.id] and deep[b.id] != deep[a.id]

    def among(a: Item, b: Item) -> bool:
        return alike(a, b) or made_of[a.id] != made_of[b.id]

    if limit is not None:  # half of the families stay to learn from
        few = sorted({item.family for item in items})
        asks = [i for i in asks if items[i].family in few[: len(few) // 2]] or asks[:1]
    asked = {items[i].family for i in asks}
    training = [item for item in items if item.family not in asked]
    return make_task(f"P4/{split}", training, items, sorted(asks), alike, among=among)
