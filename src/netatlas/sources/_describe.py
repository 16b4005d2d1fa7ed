"""From a traced network to an entry: the facts a graph and its library can state, each with where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from netatlas.facts import Value
from netatlas.glossary import load
from netatlas.graph import costs
from netatlas.graph.census import mined_in
from netatlas.graph.forms import forms
from netatlas.graph.graph import Graph
from netatlas.graph.ops import OP_ID
from netatlas.records import Entry
from netatlas.sources._specimen import Specimen

if TYPE_CHECKING:
    from netatlas.graph.trace import Traced

UNMEASURED = frozenset({"checkpoint"})
"""Rungs whose graphs have names and shapes of weights only: they say nothing about activations and MACs."""


def describe(entry_id: str, title: str, specimen: Specimen, traced: Traced, version: str = "") -> Entry:
    """The architecture entry of a traced network.

    Args:
        entry_id: ``source/name``.
        title: Name for people.
        specimen: What was traced; its facts take precedence over those read off the graph.
        traced: The graph and the rung of the ladder that made it.
        version: Version of the library it came from.
    """
    source = entry_id.partition("/")[0]
    stated = {name: value for name, value in specimen.facts.items() if value is not None}
    return entry_of_graph(
        entry_id, title, traced.graph, traced.rung, stated, f"stated by {source} {version}".strip(), version, specimen.links
    )


def entry_of_graph(
    entry_id: str,
    title: str,
    graph: Graph,
    rung: str,
    stated: Mapping[str, Value] | None = None,
    stated_by: str = "",
    version: str = "",
    links: Mapping[str, str] | None = None,
) -> Entry:
    """The architecture entry of a graph from any route; ``stated`` facts come from ``stated_by``."""
    counted = graph_facts(graph, measured=rung not in UNMEASURED)
    facts: dict[str, Value] = {**counted, "traced_by": rung}
    origins = dict.fromkeys(counted, f"counted on the operator graph ({rung})")
    facts["source"] = entry_id.partition("/")[0]
    if version:
        facts["version"] = version
    origins |= dict.fromkeys(("source", "version", "traced_by"), "recorded by netatlas when it was traced")
    family = load().family_of(entry_id)
    found = dict(links or {})
    if family is not None:
        facts |= {"family": family.key, "year": family.year}
        if family.arxiv:
            facts["paper"] = family.arxiv
        if family.link:
            found.setdefault("paper", family.link)
        origins |= dict.fromkeys(
            ("family", "year", "paper") if family.arxiv else ("family", "year"), "netatlas glossary of families"
        )
    for name, value in (stated or {}).items():
        facts[name] = value
        origins[name] = stated_by
    known = {name: origin for name, origin in origins.items() if name in facts}
    return Entry(entry_id, "architecture", title, facts=facts, origins=known, graph=graph, links=found)


def graph_facts(graph: Graph, measured: bool = True) -> dict[str, Value]:
    """Facts that can be read off a graph; those that cannot are absent.

    Args:
        graph: The canonical graph.
        measured: Whether its MACs and shapes are those of a real forward pass.
    """
    params = graph.total_params if graph.total_params is not None else int(graph.params.sum())
    facts: dict[str, Value] = {
        "params": params,
        "nodes": len(graph),
        "ops": tuple(sorted({*graph.op_counts(), *forms(graph)})),
        "motifs": mined_in(graph),
        "unknown_ops": sum(graph.unknown.values()),
        "depth": costs.depth(graph),
    }
    if (heads := int(graph.attr("heads").max(initial=0))) > 0:
        facts["heads"] = heads
    if measured:
        macs = int(graph.macs.sum())
        facts |= {
            "macs": macs,
            "flops": 2 * macs,
            "activations": costs.activations(graph),
            "peak_memory": costs.peak_memory(graph),
        }
        facts |= _shape_facts(graph)
    tables = [i for i in np.flatnonzero(graph.op == OP_ID["embedding"]).tolist() if graph.inputs[i] and graph.shape[i, -1]]
    if tables:
        facts["vocab"] = max(int(graph.params[i] // graph.shape[i, -1]) for i in tables) or 1
    return {name: value for name, value in facts.items() if not (name == "vocab" and value == 1)}


def _shape_facts(graph: Graph) -> dict[str, Value]:
    facts: dict[str, Value] = {}
    inputs = [graph.node_shape(i) for i in np.flatnonzero(graph.op == OP_ID["input"]).tolist()]
    if inputs:
        facts["input"] = ", ".join("x".join(map(str, shape)) for shape in inputs)
        images = [shape for shape in inputs if len(shape) >= 4 and shape[-3] <= 4]
        if images:
            facts["input_size"] = images[0][-2]
    weighted = [i for i in graph.outputs if graph.name(i) in ("linear", "conv") and len(graph.node_shape(i)) > 1]
    if weighted:
        last = weighted[-1]
        outputs = int(graph.node_shape(last)[-1] if graph.name(last) == "linear" else graph.node_shape(last)[1])
        facts["outputs"] = outputs
        if graph.name(last) == "linear" and outputs:
            inner = int(graph.macs[last] // max(int(graph.numel[last]), 1))
            if inner:
                facts["dim"] = inner
    return facts
