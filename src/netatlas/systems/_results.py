"""Results as JSON: the one shipped with the package, and the user's own, which is newer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from netatlas.atlas import places
from netatlas.errors import StoreError
from netatlas.evaluation.tables import Table
from netatlas.systems.base import Result, Verdict


def folder() -> Path:
    """Where the user's results and journals are."""
    return places.user_path().parent / "systems"


def own_path(name: str) -> Path:
    """The user's last result of a system."""
    return folder() / f"{name}.json"


def shipped(name: str) -> Result | None:
    """The result that came with the package, if there is one."""
    found = resources.files("netatlas.data").joinpath("systems", f"{name}.json")
    return read(json.loads(found.read_text("utf-8"))) if found.is_file() else None


def last(name: str) -> Result | None:
    """The user's last full result, or the shipped one; ``None`` when the system never ran.

    Raises:
        StoreError: The user's file is damaged.
    """
    path = own_path(name)
    if path.exists():
        try:
            return read(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"cannot read {path}: {error}; delete it to use the shipped result") from error
    return shipped(name)


def journal_path(name: str, *, quick: bool) -> Path:
    """Where finished measurements of a system are kept."""
    return folder() / f"{name}{'.quick' if quick else ''}.journal"


def keep(result: Result, path: Path | None = None) -> Path:
    """Write a result whole or not at all, and return where.

    Raises:
        StoreError: It cannot be written.
    """
    target = path or own_path(result.system)
    draft = target.with_name(target.name + ".tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def read(data: Mapping[str, Any]) -> Result:
    """A result from its JSON form."""
    tables = [Table(t["title"], t["columns"], t["rows"]) for t in data["tables"]]
    return Result(**{**data, "tables": tables, "verdicts": [Verdict(**v) for v in data["verdicts"]]})
