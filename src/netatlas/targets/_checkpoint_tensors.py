"""Shared part of the checkpoint source: what a weights file says about its tensors, without the numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from netatlas.errors import SourceError

MOST_TENSORS = 1_000_000
"""Files that list more are refused: the largest public checkpoints have about 100,000 (one for every expert of every layer)."""

MOST_PARTS = 64
"""Dots in a tensor's name; modules are not nested deeper than about fifteen."""

_PARAMETER_DTYPES = ("float", "bfloat", "complex", "F", "BF", "C", "int8", "qint8", "I8")


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a weights file.

    Attributes:
        name: Dotted path of the module and the parameter.
        shape: Sizes of its axes.
        dtype: Spelled as the file's format spells it (``"F32"``, ``"float32"``).
        stored: Equal for tensors that are one and the same in the file, such as tied embeddings; ``""`` when it is alone.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    stored: str = ""

    @property
    def elements(self) -> int:
        """Number of elements, 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def is_real(self) -> bool:
        """Whether it can be trained: floating point, or the 8-bit integers that stand for one weight each."""
        return self.dtype.startswith(_PARAMETER_DTYPES)


@dataclass(frozen=True)
class Listing:
    """The tensors of one or several files that belong together.

    Attributes:
        tensors: In no particular order.
        notes: What was done to the names to get here, one short phrase each, such as ``"found under 'state_dict'"``.
    """

    tensors: tuple[StoredTensor, ...]
    notes: tuple[str, ...] = ()


def check_tensors(file: str, tensors: list[StoredTensor]) -> None:
    """Bounds that hold for every format.

    Raises:
        SourceError: There are no tensors, too many, or one has an impossible name or shape.
    """
    if not tensors:
        raise SourceError(f"{file}: holds no tensors", reason="no tensors")
    if len(tensors) > MOST_TENSORS:
        raise SourceError(f"{file}: lists {len(tensors):,} tensors, more than the {MOST_TENSORS:,} allowed", reason="too large")
    for tensor in tensors:
        if tensor.name.count(".") >= MOST_PARTS or len(tensor.name) > 4096:
            raise SourceError(f"{file}: the tensor name {tensor.name[:60]!r}... is nested too deeply", reason="malformed")
        if any(size >= 2**31 for size in tensor.shape) or tensor.elements >= 2**50:
            raise SourceError(f"{file}: tensor {tensor.name!r} has the impossible shape {list(tensor.shape)}", reason="malformed")


def clean_names(tensors: list[StoredTensor]) -> tuple[list[StoredTensor], list[str]]:
    """Names without what training wrappers put around a network, and notes on what was removed."""
    notes = []
    for mark, wrapper in (
        ("_orig_mod.", "torch.compile"),
        ("_fsdp_wrapped_module.", "FSDP"),
        ("_checkpoint_wrapped_module.", "checkpointing"),
    ):
        if any(mark in t.name for t in tensors):
            tensors = [_renamed(t, t.name.replace(mark, "")) for t in tensors]
            notes.append(f"{mark!r} of {wrapper} removed from names")
    while tensors and all(t.name.startswith("module.") and len(t.name) > 7 for t in tensors):
        tensors = [_renamed(t, t.name[7:]) for t in tensors]
        notes.append("prefix 'module.' of DataParallel removed")
    copies = [t for t in tensors if t.name.startswith("model_ema.")]
    if copies and len(copies) < len(tensors):
        tensors = [t for t in tensors if not t.name.startswith("model_ema.")]
        notes.append("averaged copies under 'model_ema.' left out")
    return tensors, notes


def _renamed(tensor: StoredTensor, name: str) -> StoredTensor:
    return StoredTensor(name, tensor.shape, tensor.dtype, tensor.stored)
