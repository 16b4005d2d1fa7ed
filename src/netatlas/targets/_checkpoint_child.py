"""Run as a program of its own by `_checkpoint_pickle`: lists the tensors of PyTorch checkpoints inside limits of memory and time.

Only the standard library and torch are imported: the folder of this file is not on the path, and nothing of the parent is shared.
Usage: ``python -P _checkpoint_child.py MEMORY_BYTES CPU_SECONDS FILE...``; prints one JSON object.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAMES = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights", "params", "generator")
"""Keys under which training programs put the weights, best first."""
AVERAGES = ("ema_state_dict", "state_dict_ema", "model_ema", "ema", "params_ema")
"""The same for averaged weights, which are the same network: used when there is nothing else."""
SKIPPED = re.compile(r"optim|sched|scaler|rng|loss|metric|hparam|config|arg|epoch|step|ema|callback|loop", re.IGNORECASE)
MOST_TENSORS, MOST_VALUES = 1_000_000, 4_000_000


class RefusedError(Exception):
    """The file was understood well enough to say no."""


def limit(memory: int, seconds: int) -> None:
    """Cap address space, processor time and writing for the rest of the process, as far as the platform can."""
    try:
        import resource
    except ImportError:  # Windows: the parent's time-out is the only limit
        return
    used = 0
    statm = Path("/proc/self/statm")
    if statm.exists():  # torch itself maps gigabytes, which are not the file's doing
        used = int(statm.read_text().split()[0]) * resource.getpagesize()
    spent = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(spent.ru_utime + spent.ru_stime) + seconds
    for kind, value in (
        (resource.RLIMIT_AS, used + memory),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            hard = resource.getrlimit(kind)[1]
            resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
        except (ValueError, OSError):  # not supported for this kind here
            continue


def load(path: str) -> Any:
    """The object in the file with all tensors on the meta device (the old format: untouched memory)."""
    import argparse
    import warnings

    import torch

    # A Namespace is a bag of settings, has no code of its own, and is in most checkpoints that argparse programs write.
    with warnings.catch_warnings(action="ignore"), torch.serialization.safe_globals([argparse.Namespace]):
        if zipfile_start(path):
            return torch.load(path, map_location="meta", weights_only=True)
        # The old format loses on meta which tensors share memory; its numbers are skipped instead, and never paged in.
        with torch.serialization.skip_data():
            return torch.load(path, map_location="cpu", weights_only=True)


def zipfile_start(path: str) -> bool:
    """Whether the file is in the zip format of torch 1.6 and later."""
    with Path(path).open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def unwrap(value: Any) -> tuple[Mapping[Any, Any], list[str]]:
    """The mapping that holds the weights and the keys that lead to it."""
    path: list[str] = []
    while isinstance(value, Mapping) and len(path) < 8:
        for key in (*NAMES, *AVERAGES):
            if isinstance(value.get(key), Mapping) and value[key]:
                path.append(key)
                value = value[key]
                break
        else:
            return value, path
    if not isinstance(value, Mapping):
        raise RefusedError(f"holds a {type(value).__name__}, not a state dict (a mapping of names to tensors)")
    return value, path


def flatten(value: Mapping[Any, Any], size: int) -> tuple[list[list[Any]], list[str]]:
    """``[name, shape, dtype, stored]`` of every tensor, and the names of groups that were left out.

    A group that is reached twice is listed once: a few bytes of references to references could otherwise stand for 10^10 names.
    """
    import torch

    found: list[list[Any]] = []
    left_out: list[str] = []
    stack: list[tuple[str, Any, int]] = [("", value, 0)]
    seen = {id(value)}
    bytes_of: dict[int, int] = {}
    values = 0
    while stack:
        prefix, current, depth = stack.pop()
        for key, item in current.items():
            values += 1
            if values > MOST_VALUES or len(found) > MOST_TENSORS:
                raise RefusedError(f"lists more than {MOST_TENSORS:,} tensors or {MOST_VALUES:,} values")
            name = f"{prefix}{key}"
            if isinstance(item, torch.Tensor):
                found.append([name, *describe(name, item, size, bytes_of)])
            elif isinstance(item, Mapping) and item:
                if SKIPPED.search(str(key)) or id(item) in seen or depth >= 16:
                    left_out.append(name)
                else:
                    stack.append((f"{name}.", item, depth + 1))
                seen.add(id(item))
    if sum(bytes_of.values()) > size:
        raise RefusedError("is truncated: its tensors have more bytes than the file")
    return found, left_out


def describe(name: str, tensor: Any, size: int, bytes_of: dict[int, int]) -> tuple[list[int], str, str]:
    """Shape, dtype and where in the file the tensor lies; refuses tensors that claim more bytes than there are."""
    shape = [int(n) for n in tensor.shape]
    dtype = str(tensor.dtype).removeprefix("torch.")
    if not str(tensor.layout).endswith("strided") or not tensor.numel():
        return shape, dtype, ""
    storage = tensor.untyped_storage()
    claimed = int(storage.nbytes())
    needed = sum((n - 1) * s for n, s in zip(shape, tensor.stride(), strict=True)) + 1 + int(tensor.storage_offset())
    if claimed > size or needed * tensor.element_size() > claimed:
        raise RefusedError(f"tensor {name[:80]!r} claims more bytes than the file has")
    place = getattr(storage, "_checkpoint_offset", None)
    place = storage.data_ptr() if place is None else place
    bytes_of[place] = claimed
    return shape, dtype, f"{place}+{int(tensor.storage_offset())}:{shape}:{list(tensor.stride())}"


def explain(error: BaseException) -> str:
    """One sentence for whatever reading a foreign file raised."""
    text = " ".join(str(error).split())
    if isinstance(error, RefusedError):
        return text
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "not enough memory" in text.lower():
        return "needs too much memory to list: refused"
    if isinstance(error, RecursionError):
        return "is nested too deeply: refused"
    if "TorchScript" in text:
        return "is a TorchScript archive, which holds code: save module.state_dict() instead"
    foreign = re.search(r"GLOBAL ([\w.]+) (?:was not an allowed|whose module)", text)
    if foreign:
        return (
            f"holds the Python object {foreign[1]}, which could run code: refused, nothing was executed "
            "(save module.state_dict() or safetensors instead)"
        )
    if "legacy .tar format" in text:
        return "is in the tar format of torch before 0.1.10, which cannot be read safely: load and save it again with torch"
    if isinstance(error, EOFError) or "end of" in text or "Ran out of input" in text or "PytorchStreamReader" in text:
        return "is truncated or damaged"
    if "Weights only load failed" in text or "Unpickling" in type(error).__name__:
        return "is not a plain state dict: refused, nothing was executed"
    return f"is truncated or damaged ({type(error).__name__}: {text[:120]})"


def answer(files: list[str]) -> dict[str, Any]:
    """What is sent to the parent: the tensors of every file, or why the first that cannot be read cannot be read."""
    listed = []
    for file in files:
        try:
            found, path = unwrap(load(file))
            tensors, left_out = flatten(found, Path(file).stat().st_size)
            del found
        except Exception as error:
            return {"error": explain(error), "file": file}
        listed.append({"tensors": tensors, "under": path, "left_out": left_out[:10]})
    return {"files": listed}


def main() -> None:
    """Read every file named on the command line."""
    import torch

    torch.set_num_threads(1)
    files = sys.argv[3:]
    largest = max(Path(file).stat().st_size for file in files)
    # Skipped numbers of the old format still need addresses, of which the file's own size is an upper bound.
    limit(int(sys.argv[1]) + 2 * largest, int(sys.argv[2]))
    sys.stdout.write(json.dumps(answer(files)))


if __name__ == "__main__":
    main()
