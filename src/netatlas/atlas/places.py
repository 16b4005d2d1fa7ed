"""Where netatlas keeps things: the starter atlas in the package, the user's atlas, and what is derived from them."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

HOME_VARIABLE = "NETATLAS_HOME"
"""When set, the user's atlas and everything derived live in this folder."""


def starter_path() -> Path | None:
    """The atlas shipped in the package; ``None`` in a checkout where it has not been built."""
    path = Path(str(resources.files("netatlas.data"))) / "starter.atlas"
    return path if path.exists() else None


def user_path() -> Path:
    """The user's own atlas, which need not exist yet."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home) / "user.atlas"
    import platformdirs

    return Path(platformdirs.user_data_dir("netatlas", appauthor=False)) / "user.atlas"


def cache_folder() -> Path:
    """Where derived indexes are kept; everything in it can be deleted at any time."""
    if home := os.environ.get(HOME_VARIABLE):
        return Path(home) / "cache"
    import platformdirs

    return Path(platformdirs.user_cache_dir("netatlas", appauthor=False))
