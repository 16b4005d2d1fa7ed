"""What exporters write beside the operators: module scopes, the program a node came from, the rules that rewrote it."""

from __future__ import annotations

import ast
import re
from typing import Any

from netatlas.graph.graph import Scope

_PLACEHOLDER = re.compile(r"%([pbc])_(\w+)")
_LONGEST = 20_000  # characters of one mark that are read


def placeholders(node: Any, kinds: str = "pbc") -> list[tuple[str, str]]:
    """Tensors that the exported PyTorch program reads at ``node``: kind (``p`` parameter, ``b`` buffer, ``c`` constant) and name.

    In the order of the program's arguments, once each; names have ``_`` for ``.``, as in `plain_name`.
    """
    program = _mark(node, "pkg.torch.onnx.fx_node")[:_LONGEST]
    return list(dict.fromkeys((kind, name) for kind, name in _PLACEHOLDER.findall(program) if kind in kinds))


def _mark(node: Any, key: str) -> str:
    return next((str(x.value) for x in node.metadata_props if x.key == key), "")


def plain_name(name: str) -> str:
    """A parameter's name as torch.export spells it in its placeholders."""
    return name.replace(".", "_").lower()


def aten_operator(node: Any) -> str:
    """The PyTorch operator a node was exported from, where the file says."""
    return _mark(node, _SCOPE_KEYS[1])[-300:].rpartition(" ")[2].strip("'\"]")


def rewritten_by(node: Any) -> str:
    """Rewriting rules of PyTorch's exporter that made a node."""
    return _mark(node, "pkg.onnxscript.rewriter.rule_name")


def is_folded(node: Any) -> bool:
    """Whether a convolution contains a batch norm: the new exporter names its rule, the old one renames both weights."""
    return "FuseBatchNorm" in rewritten_by(node) or (
        len(node.input) > 2 and all(name.startswith("onnx::Conv") for name in node.input[1:3])
    )


def node_scope(node: Any) -> Scope | None:
    """The module of a node, by the metadata of PyTorch's exporter, else by the ``/`` in its name; ``None`` without either."""
    marks = {x.key: x.value for x in node.metadata_props if x.key in _SCOPE_KEYS}
    if len(marks) == len(_SCOPE_KEYS):
        paths, classes = (_names(marks[key]) for key in _SCOPE_KEYS)
        if len(paths) == len(classes) and len(paths) > 1:
            return Scope(paths[-2], classes[-2].rpartition(".")[2])
    if "/" not in node.name:
        return None
    path = ""
    for part in node.name[:2000].strip("/").split("/")[:-1]:
        # "/layer1/layer1.0/conv1/Conv": members of a Sequential repeat its name
        path = part if not path or part.startswith(path + ".") else f"{path}.{part.removeprefix(path.rpartition('.')[2] + '.')}"
    return Scope(path, "")


_SCOPE_KEYS = ("pkg.torch.onnx.name_scopes", "pkg.torch.onnx.class_hierarchy")


def _names(text: str) -> list[str]:
    """A list of strings written as Python."""
    if len(text) > _LONGEST:
        return []
    try:
        found = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return []
    return [x for x in found if isinstance(x, str)] if isinstance(found, list) else []
