"""Shared part of the sources: a module ready to be traced, and what its library says about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netatlas.facts import Value

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Specimen:
    """A network on the meta device with example inputs.

    Attributes:
        module: In eval mode, caches off.
        args: Positional example inputs of ``forward``, meta tensors.
        kwargs: Keyword example inputs.
        facts: What the library states about it (task, modality, ...), by fact name.
        links: Addresses by label.
    """

    module: nn.Module
    args: Sequence[Any] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Value] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
