"""Named motifs: structures that people ask for by name, recognised by wiring, shapes and attributes alone.

``forms(graph)`` counts them; their names stand beside operator names in the fact ``ops``, so ``has(squeeze_excite)`` works like
``has(conv)``. A named motif never changes the graph. One function with the decorator ``form`` is one motif, in the file of its
kind (``_forms_*.py``); other names for it stand in ``data/words.toml``.
"""

from __future__ import annotations

import numpy as np

from netatlas.graph import _forms_attention, _forms_blocks, _forms_branches, _forms_convolution, _forms_transformer
from netatlas.graph._forms_base import FORMS, Form, Nodes, View
from netatlas.graph.graph import Graph

__all__ = ["FORMS", "LARGEST", "Form", "Nodes", "View", "first_part", "form_nodes", "forms", "occurrences"]

_KINDS = (_forms_convolution, _forms_blocks, _forms_branches, _forms_attention, _forms_transformer)
"""The files that register motifs; importing them does it."""


LARGEST = 65_536
"""Operators that are looked at: of a larger graph the first ones, which takes a second."""


def forms(graph: Graph) -> dict[str, int]:
    """How often each named motif occurs in ``graph``, by name; those that do not occur are left out.

    Of a graph with more than `LARGEST` operators only the first are looked at.
    """
    view = View(first_part(graph))
    counts = {name: sum(1 for _ in named.find(view)) for name, named in FORMS.items()}
    return {name: n for name, n in counts.items() if n}


def first_part(graph: Graph, most: int = LARGEST) -> Graph:
    """The first ``most`` operators of a graph with the edges between them."""
    if len(graph) <= most:
        return graph
    edges = graph.edges[: int(np.searchsorted(graph.edges[:, 1], most))]
    return Graph(
        graph.op[:most], graph.attrs[:most], graph.shape[:most], graph.params[:most], graph.macs[:most], graph.scope[:most], edges,
        graph.scopes,
    )  # fmt: skip


def form_nodes(graph: Graph, name: str) -> list[int]:
    """Nodes at which the motif called ``name`` ends."""
    return [nodes[-1] for nodes in FORMS[name].find(View(first_part(graph)))]


def occurrences(graph: Graph) -> dict[str, list[list[int]]]:
    """The nodes of every occurrence of every named motif, ascending, with all that lies between those that tell it."""
    view = View(first_part(graph))
    found = {name: [view.between(nodes) for nodes in named.find(view)] for name, named in FORMS.items()}
    return {name: places for name, places in found.items() if places}
