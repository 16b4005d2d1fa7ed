"""Shared part of the Python object source: looking at other people's modules without leaving a trace."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import nn


@contextmanager
def global_state_restored() -> Iterator[None]:
    """Random generators, default dtype, default device and gradient mode of the process are the same after as before."""
    import torch

    python, numpy, default = random.getstate(), np.random.get_state(), torch.get_default_dtype()  # noqa: NPY002
    device, gradients = torch.get_default_device(), torch.is_grad_enabled()
    accelerators = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=accelerators):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_default_dtype(default)
        torch.set_grad_enabled(gradients)
        if torch.get_default_device() != device:
            torch.set_default_device(device)


@contextmanager
def on_path(*folders: str) -> Iterator[None]:
    """The folders come first in the import path inside, and the path is as it was outside."""
    before = list(sys.path)
    sys.path[:0] = [folder for folder in folders if folder not in before[:1]]
    try:
        yield
    finally:
        sys.path[:] = before


def meta_twin(module: nn.Module) -> nn.Module:
    """A copy of ``module`` whose tensors are all on the meta device, made without copying a number; the original is not touched.

    Raises:
        Exception: Whatever a submodule raises when it is copied (locks, open files and generators cannot be).
    """
    memo: dict[int, Any] = {}
    keep: list[Any] = []  # ids in the memo must stay taken while copying
    for tensor in _tensors(module):
        if id(tensor) not in memo:
            memo[id(tensor)] = _on_meta(tensor)
            keep.append(tensor)
    return copy.deepcopy(module, memo)


def _tensors(module: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers, and tensors in plain attributes, also one container deep."""
    import torch

    yield from module.parameters()
    yield from module.buffers()
    for child in module.modules():
        for value in vars(child).values():
            inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
            yield from (x for x in inside if isinstance(x, torch.Tensor))


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    import torch
    from torch import nn

    empty = torch.empty_like(tensor, device="meta", requires_grad=False)
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=tensor.requires_grad)
    return empty


@contextmanager
def module_restored(module: nn.Module) -> Iterator[None]:
    """Attributes, hooks, training flags, buffers and gradients of every submodule are the same after as before.

    Parameters keep their values as long as nothing writes to them in place, which no forward pass under ``no_grad`` should.
    """
    saved = [(m, _attributes(m), _values(m)) for m in module.modules()]
    gradients = [(p, p.grad, p.requires_grad) for p in module.parameters()]
    try:
        yield
    finally:
        for m, attributes, buffers in saved:
            now = vars(m)
            now.clear()
            for name, (value, content) in attributes.items():
                _refill(value, content)
                now[name] = value
            for name, value in buffers.items():
                buffer = m._buffers[name]
                if buffer is not None and value is not None and not buffer.is_meta:
                    buffer.data.copy_(value)
        for parameter, gradient, trained in gradients:
            parameter.grad = gradient
            parameter.requires_grad_(trained)


def _attributes(module: nn.Module) -> dict[str, tuple[Any, Any]]:
    """Every attribute and, for containers, a copy of what they hold."""
    return {
        name: (value, copy.copy(value) if isinstance(value, (list, dict, set)) else None) for name, value in vars(module).items()
    }


def _values(module: nn.Module) -> dict[str, torch.Tensor | None]:
    return {name: None if buffer is None else buffer.detach().clone() for name, buffer in module._buffers.items()}


def _refill(container: Any, content: Any) -> None:
    """Put a container's content back in place: handles of hooks refer to the very dictionary they were registered in."""
    if isinstance(container, list):
        container[:] = content
    elif isinstance(container, (dict, set)):
        container.clear()
        container.update(content)
