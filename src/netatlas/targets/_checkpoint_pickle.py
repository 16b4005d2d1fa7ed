"""Shared part of the checkpoint source: PyTorch's own files, listed by a child process that cannot do harm.

A pickle is a program. torch's ``weights_only`` reader runs none of it, but can still be made to use all memory or time, so it
works in a process with limits on both; what comes back is JSON. The zip directory is checked here first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from netatlas.errors import MissingExtraError, SourceError
from netatlas.targets._checkpoint_tensors import Listing, StoredTensor, check_tensors

MEMORY_BYTES = 4 * 2**30
"""Beyond what torch itself maps; listing a checkpoint of 100,000 tensors takes less than 1 GB."""
CPU_SECONDS = 120
MOST_PICKLE_BYTES = 200_000_000
"""Of the description inside the zip; the numbers are elsewhere. 100,000 tensors take about 20 MB."""


def read_pickles(paths: Sequence[Path], *, memory_bytes: int = MEMORY_BYTES, cpu_seconds: int = CPU_SECONDS) -> Listing:
    """Names, shapes and dtypes of all tensors in state dicts that ``torch.save`` wrote (several files: the shards of one).

    Args:
        paths: Files, at least one.
        memory_bytes: What the child may allocate.
        cpu_seconds: Processor time it may take; it is stopped after twice as long by the clock.

    Raises:
        SourceError: A file is empty, truncated, not a state dict, holds foreign objects, or exceeds a limit.
        MissingExtraError: torch is not installed.
    """
    if find_spec("torch") is None:
        raise MissingExtraError("reading a PyTorch checkpoint", "checkpoint")
    for path in paths:
        _check_container(path)
    answer = _ask_child(paths, memory_bytes, cpu_seconds)
    tensors: list[StoredTensor] = []
    notes: list[str] = []
    for number, (path, listed) in enumerate(zip(paths, answer, strict=True)):
        found = [StoredTensor(n, tuple(s), d, f"{number}:{k}" if k else "") for n, s, d, k in listed["tensors"]]
        check_tensors(path.name, found)
        tensors += found
        notes += _notes(listed)
    return Listing(tuple(tensors), tuple(dict.fromkeys(notes)))


def _notes(listed: dict[str, Any]) -> list[str]:
    notes = [f"found under {'.'.join(listed['under'])!r}"] if listed["under"] else []
    return notes + ([f"left out {', '.join(map(repr, listed['left_out']))}"] if listed["left_out"] else [])


def _check_container(path: Path) -> None:
    """What can be known before anything is parsed."""
    size = path.stat().st_size
    if size == 0:
        raise SourceError(f"{path.name}: the file is empty", reason="malformed")
    with path.open("rb") as file:
        start = file.read(4)
    if start != b"PK\x03\x04":
        if start[:1] != b"\x80":
            raise SourceError(
                f"{path.name}: is not a PyTorch checkpoint (neither a zip archive nor a pickle)", reason="malformed"
            )
        return
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        raise SourceError(f"{path.name}: the zip archive is truncated or damaged", reason="malformed") from None
    total = sum(record.file_size for record in records)
    if total > size:  # torch stores, never compresses: more content than file is an expansion bomb
        raise SourceError(f"{path.name}: the archive claims {total:,} bytes in a file of {size:,}: refused", reason="too large")
    largest = max((r.file_size for r in records if r.filename.endswith(".pkl")), default=0)
    if largest > MOST_PICKLE_BYTES:
        raise SourceError(
            f"{path.name}: the pickle has {largest:,} bytes, at most {MOST_PICKLE_BYTES:,} are read", reason="too large"
        )


def _ask_child(paths: Sequence[Path], memory_bytes: int, cpu_seconds: int) -> list[dict[str, Any]]:
    child = Path(__file__).with_name("_checkpoint_child.py")
    command = [sys.executable, "-P", str(child), str(memory_bytes), str(cpu_seconds), *(str(path.resolve()) for path in paths)]
    first = paths[0].name
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60 + 2 * cpu_seconds, check=False)
    except subprocess.TimeoutExpired:
        raise SourceError(f"{first}: reading took longer than {60 + 2 * cpu_seconds} s: refused", reason="too large") from None
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise SourceError(f"{first}: {_died(done.returncode, cpu_seconds)}: refused", reason="too large") from None
    return _unpack(answer)


def _unpack(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The files in the child's answer, or its error raised here."""
    if "error" in answer:
        raise SourceError(f"{Path(answer['file']).name}: {answer['error']}", reason="not readable")
    files: list[dict[str, Any]] = answer["files"]
    return files


def _died(returncode: int, cpu_seconds: int) -> str:
    if returncode in (-24, -9):  # SIGXCPU, and what follows it or the kernel's memory killer
        return f"reading used up its {cpu_seconds} s of processor time or its memory"
    return f"reading ended abnormally (code {returncode}), as with a damaged or hostile file"
