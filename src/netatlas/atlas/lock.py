"""Who works on an atlas file: one build at a time, and a name for whoever is in the way."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from netatlas.errors import StoreError


@contextmanager
def build_lock(path: Path, *, wait: bool = False, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the right to build the atlas at ``path``.

    The lock is the kernel's, on a file beside the atlas, and ends with the process however that ends: a killed build leaves no
    lock behind, only an empty-handed file. Readers and short writes such as ``netatlas add`` do not take it.

    Args:
        path: The atlas file.
        wait: Wait for the other build to end.
        waiting: Told once who is waited for.

    Raises:
        StoreError: Another build holds the lock and ``wait`` is false, or the file cannot be written.
    """
    sidecar = path.with_name(path.name + ".lock")
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(sidecar, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise StoreError(f"cannot write {sidecar}: {error.strerror}") from error
    try:
        told = False
        while not _try_lock(handle):
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() if hasattr(os, "pread") else ""
            who = holder or "another process"
            if not wait:
                raise StoreError(f"{path} is being built by {who}: wait for it to end, or build another file")
            if waiting is not None and not told:
                waiting(who)
                told = True
            time.sleep(0.2)
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()}".encode())
        try:
            yield
        finally:
            os.ftruncate(handle, 0)
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    if sys.platform == "win32":
        import msvcrt

        try:
            os.lseek(handle, 1024, os.SEEK_SET)  # beyond the text, which must stay readable
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
            os.lseek(handle, 0, os.SEEK_SET)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def find_writer(path: Path) -> str:
    """``"process 123 (python)"`` for the process that holds SQLite's write lock on ``path``, else ``"another process"``.

    Read from ``/proc/locks``. Asking through ``fcntl`` would need the file opened once more, and closing that drops the locks
    this process holds on it.
    """
    inodes = set()
    for name in (path.name, path.name + "-shm"):
        try:
            inodes.add(str(path.with_name(name).stat().st_ino))
        except OSError:
            continue
    try:
        lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
        for words in lines:
            if "WRITE" in words[:4] and words[5].rsplit(":", 1)[-1] in inodes and int(words[4]) != os.getpid():
                name = Path(f"/proc/{int(words[4])}/comm").read_text().strip()
                return f"process {int(words[4])} ({name})"
    except (OSError, IndexError, ValueError):
        pass
    return "another process"
