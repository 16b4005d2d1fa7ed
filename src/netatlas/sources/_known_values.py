"""Shared part of the sources: tracing networks that look at small bookkeeping tensors, on devices without data.

Token ids, image grids and segment lengths are inputs whose values a forward pass reads (``grid.tolist()``, ``mask.nonzero()``).
On the meta device and under `torch.export` there are no values, and the pass stops. `following` carries the real values of such
inputs, and of everything computed from them alone, beside the tensors without data, and answers when the pass asks.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from netatlas.sources._known_values_modes import KnownValues


def know(module: nn.Module, values: Mapping[str, torch.Tensor], buffers: Mapping[str, torch.Tensor] | None = None) -> nn.Module:
    """Let ``module`` see the values of its keyword inputs ``values``, and of its ``buffers``, although they come without data.

    Its ``forward`` is replaced by one that takes keywords only, knows these values while it runs, and leaves no tensor behind in
    plain attributes of its submodules (which `torch.export` refuses). A deep copy of the module behaves the same.

    Args:
        module: On the meta device.
        values: By the keyword they are passed with. Inputs of other shapes are not known.
        buffers: By name, what the constructor computed.
    """
    known = {name: value.detach().cpu() for name, value in values.items()}

    def forward(self: nn.Module, **kwargs: Any) -> Any:
        with _attributes_restored(self), following() as follow:
            for name, value in known.items():
                if name in kwargs and kwargs[name].shape == value.shape:
                    follow.learn_copy(kwargs[name], value)
            for name, value in (buffers or {}).items():
                follow.learn_copy(self.get_buffer(name), value)
            return type(self).forward(self, **kwargs)

    module.forward = types.MethodType(forward, module)
    return module


@contextmanager
def following() -> Iterator[KnownValues]:
    """Follow known values inside; yields the follower, with ``learn(tensor, value)`` and ``value(tensor)``."""
    from netatlas.sources._known_values_modes import KnownValues, LiteralsKept

    with KnownValues() as follow, LiteralsKept():
        yield follow


@contextmanager
def _attributes_restored(module: nn.Module) -> Iterator[None]:
    before = [(m, dict(vars(m))) for m in module.modules()]
    try:
        yield
    finally:
        for m, attributes in before:
            now = vars(m)
            for name in [name for name in now if name not in attributes]:
                del now[name]
            now.update(attributes)
