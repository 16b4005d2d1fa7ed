"""Finished measurements on disk, so that an interrupted reproduction goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from netatlas.errors import StoreError


class Journal:
    """Measurements by key, one JSON line each, written as they end.

    Args:
        path: The file; ``None`` keeps everything in memory.
        settings: What the measurements depend on. A file of other settings is not read but begun anew.

    Raises:
        StoreError: The file cannot be read or written.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._mark = hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()
        self._known: dict[str, Any] = {}
        if path is not None:
            self._read(path)

    def _read(self, path: Path) -> None:
        try:
            lines = path.read_bytes().split(b"\n") if path.exists() else []
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        found = [self._parse(line) for line in lines]
        if found and (found[0] or {}).get("settings") == self._mark:
            self._known = {item["key"]: item["value"] for item in found[1:] if item is not None}
            self._append(b"")  # ends a line that a killed process left open
        else:
            self._write(json.dumps({"settings": self._mark}).encode() + b"\n", anew=True)

    @staticmethod
    def _parse(line: bytes) -> dict[str, Any] | None:
        """An entry of the file, or ``None`` for a line that is empty or was torn by a kill."""
        try:
            item = json.loads(line)
        except ValueError:
            return None
        return item if isinstance(item, dict) and ("settings" in item or {"key", "value"} <= set(item)) else None

    def _append(self, line: bytes) -> None:
        self._write(b"\n" + line if not line else line + b"\n", anew=False)

    def _write(self, text: bytes, *, anew: bool) -> None:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("wb" if anew else "ab") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise StoreError(f"cannot write {self.path}: {error.strerror or error}") from error

    def __contains__(self, key: object) -> bool:
        return key in self._known

    def __len__(self) -> int:
        return len(self._known)

    def measure(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value of ``key``: from the journal, or computed, kept and returned."""
        if key not in self._known:
            value = compute()
            if self.path is not None:
                self._append(json.dumps({"key": key, "value": value}).encode())
            self._known[key] = json.loads(json.dumps(value))  # what a later run would read
        return self._known[key]
