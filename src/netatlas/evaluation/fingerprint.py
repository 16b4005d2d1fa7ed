"""Marks of code and of data, so that a kept measurement is used as long as what it measured is unchanged, and no longer."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netatlas.evaluation.nar.protocols import Task

PLUMBING = frozenset({"netatlas", "netatlas.errors", "netatlas.registry", "netatlas.graph.graph", "netatlas.graph.serialize"})
"""Modules that hold no method: what they do shows in the data, or not at all."""


@cache
def code_mark(module: str) -> str:
    """Hash of a module's code and of the code of all modules of its package that it imports, one after another.

    Comments, docstrings and layout do not count. Empty for a module whose source cannot be read.
    """
    package = module.partition(".")[0]
    todo, seen, parts = [module], {module}, []
    while todo:
        name = todo.pop()
        tree = _tree(name)
        if tree is None:
            continue
        parts.append(f"{name} {ast.dump(tree)}")
        for found in _imported(tree, package) - seen - PLUMBING:
            seen.add(found)
            todo.append(found)
    return hashlib.blake2b("\n".join(sorted(parts)).encode(), digest_size=8).hexdigest() if parts else ""


def _tree(module: str) -> ast.Module | None:
    """A module's syntax without docstrings; ``None`` when there is no such module or no source."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return None
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_text(child)] or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(tree: ast.Module, package: str) -> set[str]:
    """Modules of the package that a module imports by absolute name, what it imports for annotations alone included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)  # those that are no modules have no source
    return {name for name in found if name.partition(".")[0] == package}


def task_mark(drawn: Task) -> str:
    """Hash of everything a task holds: graphs, families, who asks among whom for what."""
    digest = hashlib.blake2b(digest_size=8)
    for item in (*drawn.training, *drawn.items):
        digest.update(f"{item.id} {item.family}".encode())
        graph = item.graph
        for array in (graph.op, graph.attrs, graph.shape, graph.params, graph.macs, graph.edges):
            digest.update(array.tobytes())
    relevant = [sorted(found) for found in drawn.relevant]
    digest.update(repr((len(drawn.training), drawn.queries, drawn.gallery, relevant, drawn.weights)).encode())
    return digest.hexdigest()
