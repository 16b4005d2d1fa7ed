"""What the user names, whatever it is, to entries: a file, a Python object, a repository on the Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netatlas.errors import SourceError
from netatlas.records import Entry

if TYPE_CHECKING:
    from torch import nn

HUB = "hub:"
CHECKPOINTS = (".safetensors", ".index.json", ".pt", ".pth", ".bin", ".ckpt")
_OBJECT = re.compile(r"[^\s:]+:[A-Za-z_][\w.]*")


def is_target(text: str) -> bool:
    """Whether ``text`` names a file, a Python object or a Hub repository rather than an entry of the atlas."""
    named = text.startswith(HUB) or text.lower().endswith((".onnx", *CHECKPOINTS)) or _OBJECT.fullmatch(text) is not None
    return named or Path(text).is_file()


def read_target(target: str | nn.Module, *, inputs: Any = None, entry_id: str | None = None) -> list[Entry]:
    """The entries of what the user names.

    Args:
        target: ``model.onnx``, ``weights.safetensors`` (or ``.pt``, ``.pth``, ``.bin``, ``.ckpt``, ``.index.json``),
            ``pkg.module:callable``, ``file.py:callable``, ``hub:org/name``, or a live module.
        inputs: Example inputs for Python objects, where they cannot be guessed.
        entry_id: Id of the entry, by default made from the target's name.

    Raises:
        SourceError: It does not exist or cannot be read; one line says why.
        TraceError: It was built but cannot be traced.
    """
    from netatlas.targets.python_object import read_object

    if not isinstance(target, str):
        return read_object(target, inputs=inputs, entry_id=entry_id)
    lowered = target.lower()
    if target.startswith(HUB):
        from netatlas.targets.hub import read_hub

        return read_hub(target.removeprefix(HUB), entry_id=entry_id)
    if lowered.endswith(".onnx"):
        from netatlas.targets.onnx_file import read_onnx

        return read_onnx(target, entry_id=entry_id)
    if lowered.endswith(CHECKPOINTS):
        from netatlas.targets.checkpoint import read_checkpoint

        return read_checkpoint(target, entry_id=entry_id)
    if _OBJECT.fullmatch(target):
        return read_object(target, inputs=inputs, entry_id=entry_id)
    raise SourceError(
        f"{target}: not a kind of target: model.onnx, weights{CHECKPOINTS[0]} (or {', '.join(CHECKPOINTS[1:])}), "
        "pkg.module:callable, file.py:callable or hub:org/name",
        reason="unknown target",
    )
