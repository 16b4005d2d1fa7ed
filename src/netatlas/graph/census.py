"""All motifs of a graph, named and mined: how often each occurs, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from netatlas.graph.forms import FORMS, LARGEST, first_part, forms, occurrences
from netatlas.graph.graph import Graph
from netatlas.graph.mined import mined
from netatlas.graph.runs import Trie, course_of


@cache
def _trie() -> Trie:
    return Trie({key: motif.steps for key, motif in mined().items()})


@dataclass(frozen=True)
class Census:
    """How often each motif occurs in a graph.

    Attributes:
        named: Counts by name, in the order of `forms.FORMS`.
        mined: Counts by id, in the order of `mined`.
        note: What was left out, ``""`` when nothing was.
    """

    named: Mapping[str, int]
    mined: Mapping[str, int]
    note: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Both, by name or id."""
        return {**self.named, **self.mined}


def census(graph: Graph) -> Census:
    """Count the motifs of a graph; of one with more than `forms.LARGEST` operators those of the first, and say so."""
    part = first_part(graph)
    found = _trie().apart(course_of(part))
    return Census(forms(part), {key: len(found[key]) for key in mined() if key in found}, bounded_note(graph))


def mined_in(graph: Graph) -> tuple[str, ...]:
    """Ids of the mined motifs that a graph has, sorted."""
    return tuple(sorted({key for key, _, _ in _trie().find(course_of(first_part(graph)))}))


def places(graph: Graph) -> dict[str, list[list[int]]]:
    """The nodes of every occurrence of every motif, by name or id; bounded like `census`."""
    part = first_part(graph)
    course = course_of(part)
    found = _trie().apart(course)
    named = occurrences(part)
    return {name: named[name] for name in FORMS if name in named} | {
        key: [sorted(course.node[a:b].tolist()) for a, b in found[key]] for key in mined() if key in found
    }


def bounded_note(graph: Graph) -> str:
    """What a census of a graph leaves out, ``""`` when nothing."""
    if len(graph) <= LARGEST:
        return ""
    return f"motifs were counted in the first {LARGEST:,} of {len(graph):,} operators"


def common_scope(graph: Graph, nodes: list[int]) -> str:
    """The innermost module that holds all of some nodes, ``""`` for the whole network."""
    paths = [graph.scopes[int(graph.scope[i])].path.split(".") for i in nodes]
    shared = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)
