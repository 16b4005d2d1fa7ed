"""Captures: the operators of one forward pass as a tracer or importer saw them, before anything is recognised.

A capture is the meeting point of all routes (`torch.export`, ONNX, ...): each maps its own operators to the vocabulary of
`netatlas.graph.ops` and leaves views, scalars and decomposed forms in place; `netatlas.graph.canonical` does the rest once for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from netatlas.graph.graph import Scope


@dataclass
class RawNode:
    """One operator of a capture.

    Attributes:
        op: Name in the vocabulary; ``"unknown"`` with ``foreign`` set when there is none. ``"parameter"`` is a trained tensor,
            ``"constant"`` a buffer or literal, ``"input"`` an input of the network.
        inputs: Producers by position in `Capture.nodes`, in argument order, tensors only. Weights are inputs like any other:
            their nodes are ``parameter`` or ``constant``.
        shape: Output shape.
        real: Whether the output holds floating point (or complex) numbers; integer and boolean nodes are bookkeeping.
        attrs: Attributes of `ops.ATTRIBUTES` by name, and the scalars recognition needs: ``scalar`` (the Python number of an
            arithmetic node), ``scalar_first`` (true for ``1 - x``), ``axis``, ``low`` and ``high`` (clamp), ``approximate`` (gelu),
            ``ordered`` (a comparison by size or a triangle, which masks of causal attention are made of), ``key`` (what a view, slice or split output does, so that equal cuts compare equal).
        macs: Multiply-accumulates, counted with the real input shapes by `costs.py`.
        scope: Position in `Capture.scopes`.
        foreign: The operator's name where it came from.
        tensor: For parameters and constants, a name that is equal for shared tensors.
        trainable: For parameters, whether it is counted (running statistics and masks are ``constant`` instead).
    """

    op: str
    inputs: list[int] = field(default_factory=list)
    shape: tuple[int, ...] = ()
    real: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)
    macs: int = 0
    scope: int = 0
    foreign: str = ""
    tensor: str = ""


@dataclass
class Capture:
    """One forward pass as a list of operators in execution order.

    Attributes:
        nodes: Producers come before consumers.
        outputs: Positions of the nodes the network returns.
        scopes: Modules, by the position nodes name.
        total_params: Parameters of the network, shared ones once; ``None`` where the route cannot know.
        rung: The route: ``"export"``, ``"dispatch"``, ``"onnx"``.
        unknown: Count of each foreign operator that mapped to ``unknown``.
        notes: What a reader assumed, put back or could not know, one sentence each.
    """

    nodes: list[RawNode] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    scopes: list[Scope] = field(default_factory=lambda: [Scope("", "")])
    total_params: int | None = None
    rung: str = ""
    unknown: Mapping[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, op: str, inputs: list[int] | None = None, **fields: Any) -> int:
        """Append a node and return its position."""
        self.nodes.append(RawNode(op, inputs or [], **fields))
        return len(self.nodes) - 1
