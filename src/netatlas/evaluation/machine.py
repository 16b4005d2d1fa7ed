"""What measurements ran on."""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path


def machine(threads: int, *packages: str) -> str:
    """Processor, threads and versions, as a result states them; packages that are not installed are left out."""
    found = [f"{name} {number}" for name in ("netatlas", *packages) if (number := version(name))]
    return f"{_processor()}, {threads} thread{'s' * (threads != 1)}; {', '.join(found)}"


def version(package: str) -> str:
    """Version of an installed package, or the empty string."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
