"""Why a network is like an example: forms in common with counts, and the main differences, in one short sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netatlas.errors import StoreError
from netatlas.graph.explain import counted, sentence

if TYPE_CHECKING:
    from netatlas.atlas.atlas import Atlas
    from netatlas.graph.graph import Graph

MOST_EXPLAINED = 10
"""Hits of one search that get a sentence; reading a graph and naming its forms takes about 3 ms each."""


@dataclass(frozen=True)
class Made:
    """What a network is made of.

    Attributes:
        counts: How often each operator and form occurs.
        params: Parameters.
    """

    counts: Mapping[str, int]
    params: int


def made_of(graph: Graph) -> Made:
    """What ``graph`` is made of; forms of very large graphs are left out."""
    total = graph.total_params if graph.total_params is not None else int(graph.params.sum())
    return Made(counted(graph, bounded=True), total)


def why_alike(atlas: Atlas, example: Made, entry_id: str) -> str:
    """What an entry has in common with an example and where it differs; ``""`` when it has no graph."""
    try:
        theirs = made_of(atlas.graph(entry_id))
    except StoreError:
        return ""
    told = sentence(example.counts, theirs.counts)
    if ";" in told or not example.params or not theirs.params:
        return told
    ratio = theirs.params / example.params
    if dict(example.counts) == dict(theirs.counts):
        told += "; the same operators"
    return told if 0.95 < ratio < 1.05 else f"{told}{',' if ';' in told else ';'} {ratio:.2g} x the parameters"
