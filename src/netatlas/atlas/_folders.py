"""Folders of the cache that are written whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def keep_folder(save: Callable[[Path], None], folder: Path, older: str) -> None:
    """Write a folder beside its place and rename it there; older ones of the same kind are removed.

    A cache that cannot be written costs only time: every process then makes its own.

    Args:
        save: Writes into an empty folder.
        folder: Where it belongs.
        older: Pattern of what it replaces, in the same parent.
    """
    with contextlib.suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
        try:
            save(draft)
            for old in folder.parent.glob(older):
                shutil.rmtree(old, ignore_errors=True)
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
