"""netatlas: a search engine for neural architectures.

import netatlas
netatlas.find("small image classifier without attention, under 6M params, above 75% top-1")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from netatlas.api import add, compare, diff, explain, facts, find, map, measure, motifs, remove, show, trace
    from netatlas.atlas.atlas import Atlas

_LAZY = dict.fromkeys(
    ("add", "compare", "diff", "explain", "facts", "find", "map", "measure", "motifs", "remove", "show", "trace"), "netatlas.api"
)
_LAZY["Atlas"] = "netatlas.atlas.atlas"

__all__ = [
    "Atlas",
    "__version__",
    "add",
    "compare",
    "diff",
    "explain",
    "facts",
    "find",
    "map",
    "measure",
    "motifs",
    "remove",
    "show",
    "trace",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing netatlas costs nothing."""
    if name not in _LAZY:
        raise AttributeError(f"module 'netatlas' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
