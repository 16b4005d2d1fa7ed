"""Graphs with the families that say which of them are alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from netatlas.errors import ConfigError
from netatlas.graph.cells import Cell, draw, network
from netatlas.graph.coarse import coarse_hash
from netatlas.graph.graph import Graph

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas

TWINS = frozenset({
    "beit", "bit", "convnext", "convnextv2", "deit", "dinov2", "efficientnet", "focalnet", "hgnetv2", "hiera", "levit",
    "mobilenetv1", "mobilenetv2", "mobilevit", "mobilevitv2", "poolformer", "pvt_v2", "regnet", "resnet", "swiftformer", "swin",
    "swinv2", "vit",
})  # fmt: skip
"""Families of images that timm and transformers both wrote, each in its own idiom."""

ONE_DESIGN = {"deit": "vit"}
"""Families whose networks differ in training alone."""

DEPTHS = (8, 14, 20)

TRIES = 50
"""Draws for each rewired cell; two thirds of them give a new network."""


@dataclass(frozen=True)
class Item:
    """A graph in a collection.

    Attributes:
        id: Entry id, or a made-up name.
        graph: The graph.
        family: Label for retrieval within a library.
        designs: Families of the glossary that it and its duplicates belong to.
    """

    id: str
    graph: Graph
    family: str
    designs: frozenset[str] = frozenset()


def family_of(entry_id: str, module: str) -> str:
    """Python module of an architecture refined by the leading letters of its name: a label, never seen by an encoder."""
    name = re.sub(r"^(tf|gc|legacy|test|quantized)_", "", entry_id.partition("/")[2].lower())
    prefix = re.match("[a-z]*", name)
    return f"{module.rpartition('.')[2]}:{prefix.group(0) if prefix else ''}"


_libraries: WeakKeyDictionary[Atlas, dict[str, list[Item]]] = WeakKeyDictionary()


def library(atlas: Atlas, source: str) -> list[Item]:
    """The architectures of one library, by id; those whose coarse graphs no refinement of depth 3 tells apart are one item.

    Read once as long as the atlas lives.
    """
    kept = _libraries.setdefault(atlas, {})
    if source not in kept:
        kept[source] = _read(atlas, source)
    return list(kept[source])


def _read(atlas: Atlas, source: str) -> list[Item]:
    ids = sorted(i for i in atlas.with_graphs() if i.startswith(f"{source}/"))
    facts = atlas.facts(ids)
    first: dict[str, Item] = {}
    for entry_id in ids:
        graph = atlas.graph(entry_id)
        design = str(facts[entry_id].get("family", ""))
        designs = frozenset({ONE_DESIGN.get(design, design)})
        key = coarse_hash(graph)
        if key in first:
            old = first[key]
            first[key] = Item(old.id, old.graph, old.family, old.designs | designs)
        else:
            first[key] = Item(entry_id, graph, family_of(entry_id, str(facts[entry_id].get("module", ""))), designs)
    return list(first.values())


def twins(atlas: Atlas) -> list[Item]:
    """The image encoders of transformers whose family timm has as well; `Item.designs` joins them to timm's."""
    ids = sorted(i for i in atlas.with_graphs() if i.startswith("transformers/"))
    found = []
    for entry_id, facts in atlas.facts(ids).items():
        if facts.get("family") in TWINS and "pixel_values 1x3x" in str(facts.get("input", "")):
            design = ONE_DESIGN.get(str(facts["family"]), str(facts["family"]))
            found.append(Item(entry_id, atlas.graph(entry_id), design, frozenset({design})))
    return sorted(found, key=lambda item: item.id)


def genotypes(count: int, rewirings: int, rng: np.random.Generator, depths: Sequence[int] = DEPTHS) -> list[Item]:
    """Random DARTS networks at several depths, each with rewired copies that have the same operations at every depth.

    The family is the genotype, rewired ones being genotypes of their own.
    """
    items = []
    for number in range(count):
        normal, reduction = draw(rng), draw(rng)
        variants = _rewired(normal, reduction, rewirings, min(depths), rng)
        for variant, cell in enumerate(variants):
            items += [
                Item(f"darts/{number}.{variant}/{depth}", network(cell, reduction, depth), f"{number}.{variant}")
                for depth in depths
            ]
    return items


def _rewired(normal: Cell, reduction: Cell, count: int, depth: int, rng: np.random.Generator) -> list[Cell]:
    """The normal cell and ``count`` rewired ones, all of which give different networks.

    Raises:
        ConfigError: There are not as many, as in networks of reduction cells alone.
    """
    found, seen = [normal], {coarse_hash(network(normal, reduction, depth))}
    for _ in range(TRIES * count):
        if len(found) > count:
            break
        other = normal.rewired(rng)
        key = coarse_hash(network(other, reduction, depth))
        if key not in seen:  # a rewiring can give the same network
            seen.add(key)
            found.append(other)
    if len(found) <= count:
        raise ConfigError(f"no {count} different rewirings of a cell in {TRIES * count} draws at {depth} layers")
    return found
