"""Shared part of the sources: building a network without allocating its weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def build_on_meta(factory: Callable[[], nn.Module]) -> nn.Module:
    """What ``factory`` builds, on the meta device and in eval mode, without memory for weights.

    Constructors that compute with tensors (block widths, schedules) cannot do so on the meta device: they are run again with real
    tensors, of which every parameter is dropped as soon as it is registered.

    Raises:
        Exception: Whatever the constructor raises.
    """
    import torch

    try:
        with torch.device("meta"):
            return factory().eval()
    except (NotImplementedError, RuntimeError) as error:
        if "meta" not in str(error).lower():
            raise
    with _parameters_dropped():
        module = factory().eval()
    return module.to("meta")


@contextmanager
def _parameters_dropped() -> Iterator[None]:
    """Inside, a parameter becomes a meta tensor when it is registered, before any initialiser touches its memory."""
    import torch
    from torch import nn

    register = nn.Module.register_parameter

    def register_on_meta(self: nn.Module, name: str, param: Any) -> None:
        if param is not None and not param.is_meta:
            param = nn.Parameter(torch.empty_like(param, device="meta"), requires_grad=param.requires_grad)
        register(self, name, param)

    nn.Module.register_parameter = register_on_meta  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]
