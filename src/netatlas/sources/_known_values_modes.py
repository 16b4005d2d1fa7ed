"""Shared part of the sources: the modes behind `netatlas.sources._known_values`, imported when one runs, with torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

MOST_ELEMENTS = 1 << 22
"""Larger tensors are not followed: bookkeeping is small, and following costs time and memory."""

MOST_VIEWED = 1 << 26
"""The same for views, which cost no memory: a mask expanded over all channels is still as small as the mask."""

_MAKERS = frozenset(
    {"arange", "zeros", "ones", "full", "empty", "scalar_tensor", "eye", "linspace", "tril_indices", "triu_indices"}
)
_LIKE = frozenset({"new_zeros", "new_ones", "new_full", "new_empty", "zeros_like", "ones_like", "full_like", "empty_like"})


class KnownValues(TorchDispatchMode):
    """Computes every operator on known values a second time, for real, and answers questions about values from that.

    A tensor is known when all it was made from is known; random numbers and what is written over with unknown numbers are not.
    """

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[int, torch.Tensor] = {}
        self._alive: list[torch.Tensor] = []  # an id must not go to another tensor while we hold its value
        self._spoilt: set[int] = set()  # storages written over with values that are not known

    def learn(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Make the value of a tensor without data known; ``value`` is written to when the tensor is."""
        self._values[id(tensor)] = value
        self._alive.append(tensor)

    def learn_copy(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """The same with a value that stays as it is."""
        with _without_modes():
            copy = value.clone()
        self.learn(tensor, copy)

    def value(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """The value of a tensor, itself when it has data and is small; ``None`` when it is not known."""
        found = self._values.get(id(tensor))
        if found is None:
            return tensor if _has_data(tensor) and 0 <= _numel(tensor) <= MOST_ELEMENTS else None
        return None if _storage(found) in self._spoilt else found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func.namespace != "aten":  # prim.device asks a tensor where it is, not what it holds
            return func(*args, **kwargs)
        leaves, spec = tree_flatten((args, kwargs))
        tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
        known = bool(tensors) and all(self.value(x) is not None for x in tensors) and not _is_random(func)
        if known and not all(_has_data(x) for x in tensors):
            return self._replay(func, args, kwargs, leaves, spec)
        result = self._select(func, args) if func in _SELECTIONS else func(*args, **kwargs)
        if func._schema.is_mutable:
            if not known:
                self._spoil(func, args, kwargs)
        elif known or _is_made_up(func, tensors):
            self._pair_if_without_data(func, result, leaves, spec)
        return result

    def _replay(self, func: Any, args: Any, kwargs: Any, leaves: list[Any], spec: Any) -> Any:
        """An operator on known values of which at least one has no data."""
        real = self._compute(func, leaves, spec)
        if real is None:
            if func._schema.is_mutable:
                self._spoil(func, args, kwargs)
            return func(*args, **kwargs)
        if not any(isinstance(x, torch.Tensor) for x in tree_flatten(real)[0]):
            return real  # what the pass asked for: a number or a truth value
        if func._schema.is_mutable and _has_data(args[0]):
            return args[0]  # known values written into a tensor with data: that has just been done
        if _is_download(func, args, kwargs):
            return real.clone()
        if torch.Tag.dynamic_output_shape in func.tags:
            device = next(x.device for x in leaves if isinstance(x, torch.Tensor))
            result = tree_map_only(torch.Tensor, lambda v: torch.empty(v.shape, dtype=v.dtype, device=device), real)
        else:
            result = func(*args, **kwargs)
        self._pair(result, real)
        return result

    def _select(self, func: Any, args: Any) -> Any:
        """Rows chosen by a known mask: how many they are is known, though what they hold is not."""
        values = args[1] if isinstance(args[1], (list, tuple)) else [args[1]]
        masks = [self.value(x) if isinstance(x, torch.Tensor) and x.dtype == torch.bool else None for x in values]
        if all(mask is None for mask in masks):
            return func(*args)
        if func is torch.ops.aten.masked_select.default:
            return args[0].new_empty((_count(masks[0], args[0].shape),))
        indices: list[Any] = []
        for index, mask in zip(values, masks, strict=True):
            if mask is None:
                indices.append(index)
            else:
                count = _count(mask, mask.shape)
                indices += [torch.zeros(count, dtype=torch.long, device=args[0].device) for _ in range(mask.dim())]
        return func(args[0], indices)

    def _compute(self, func: Any, leaves: Sequence[Any], spec: Any) -> Any:
        """The operator on real values; ``None`` where that is too large or cannot be done here."""
        tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
        if not (func.is_view or func in _REDUCTIONS or all(0 <= _numel(x) <= MOST_ELEMENTS for x in tensors)):
            return None
        # An operator without a CPU kernel, a size that depends on data: such a value is not known, the pass itself goes on, and
        # fails only if it asks for it.
        with suppress(Exception), _without_modes():
            args, kwargs = tree_unflatten([self._real(x) for x in leaves], spec)
            if "device" in {a.name for a in func._schema.arguments}:
                kwargs = {**kwargs, "device": torch.device("cpu")}
            return func(*args, **kwargs)
        return None

    def _real(self, x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            value = self.value(x)  # None for the model of zeros_like and its kin, of which only the shape matters
            return torch.empty(tuple(map(int, x.shape)), dtype=x.dtype) if value is None else value
        if isinstance(x, torch.device):
            return torch.device("cpu")
        return int(x) if isinstance(x, torch.SymInt) else x

    def _pair_if_without_data(self, func: Any, result: Any, leaves: Sequence[Any], spec: Any) -> None:
        made = [x for x in tree_flatten(result)[0] if isinstance(x, torch.Tensor)]
        if made and not any(_has_data(x) for x in made) and all(0 <= _numel(x) <= MOST_ELEMENTS for x in made):
            self._pair(result, self._compute(func, leaves, spec))

    def _pair(self, result: Any, real: Any) -> None:
        for tensor, value in zip(tree_flatten(result)[0], tree_flatten(real)[0], strict=False):
            if (
                isinstance(tensor, torch.Tensor)
                and isinstance(value, torch.Tensor)
                and _is_small(value)
                and tensor.shape == value.shape
            ):
                self.learn(tensor, value)

    def _spoil(self, func: Any, args: Sequence[Any], kwargs: Any) -> None:
        given = {**{a.name: x for a, x in zip(func._schema.arguments, args, strict=False)}, **kwargs}
        for argument in func._schema.arguments:
            target = given.get(argument.name)
            if argument.is_write and isinstance(target, torch.Tensor) and id(target) in self._values:
                self._spoilt.add(_storage(self._values[id(target)]))


class LiteralsKept(TorchFunctionMode):
    """``torch.tensor([2, 3], device="meta")`` forgets its numbers in C++: make it on the CPU, then move it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor):
            return _literal(func, args, kwargs)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args = (args[0], _kept_lists(args[1]), *args[2:])
        if func is torch.Tensor.new_tensor and args[0].is_meta and kwargs.get("device") is None:
            options = {"dtype": args[0].dtype, **kwargs, "device": "cpu"}
            return torch.tensor(*args[1:], **options).to(args[0].device)
        return func(*args, **kwargs)


def _literal(func: Any, args: Any, kwargs: Any) -> Any:
    if args and isinstance(args[0], (list, tuple)):
        # C++ reads tensors among the numbers behind the back of every mode
        args = (tree_map_only(torch.Tensor, lambda x: x if _has_data(x) else x.item(), args[0]), *args[1:])
    device = torch.device(kwargs.get("device") or torch.get_default_device())
    if device.type != "meta":
        return func(*args, **kwargs)
    return func(*args, **{**kwargs, "device": "cpu"}).to(device)


def _kept_lists(index: Any) -> Any:
    """An index whose lists of numbers are tensors with data; C++ would put them on the device of what is indexed."""
    if isinstance(index, tuple):
        return tuple(_kept_lists(x) for x in index)
    if isinstance(index, list) and index and all(type(x) is int for x in index):
        return torch.tensor(index, device="cpu")
    return index


_SELECTIONS = (torch.ops.aten.index.Tensor, torch.ops.aten.masked_select.default)
_REDUCTIONS = (torch.ops.aten.sum.default, torch.ops.aten.all.default, torch.ops.aten.any.default)


def _is_random(func: Any) -> bool:
    return torch.Tag.nondeterministic_seeded in func.tags


def _is_made_up(func: Any, tensors: Sequence[torch.Tensor]) -> bool:
    """Whether the operator makes its values itself: a range, or zeros in the shape of something."""
    name = func._schema.name.partition("::")[2]
    return (name in _MAKERS and not tensors) or name in _LIKE


def _is_download(func: Any, args: Sequence[Any], kwargs: Any) -> bool:
    """Whether a meta tensor (not a fake one, which can) is copied to the CPU."""
    return bool(
        func._schema.name == "aten::_to_copy"
        and args[0].is_meta
        and not isinstance(args[0], FakeTensor)
        and kwargs.get("device") is not None
        and torch.device(kwargs["device"]).type == "cpu"
    )


def _has_data(tensor: torch.Tensor) -> bool:
    return not tensor.is_meta and not isinstance(tensor, FakeTensor)


def _numel(tensor: torch.Tensor) -> int:
    """Elements, or -1 where a size depends on data: comparing that would make the tracer guess."""
    return tensor.numel() if all(isinstance(size, int) for size in tensor.shape) else -1


def _is_small(value: torch.Tensor) -> bool:
    own = value.untyped_storage().nbytes() // value.element_size()
    return own <= MOST_ELEMENTS and value.numel() <= MOST_VIEWED


def _count(mask: torch.Tensor | None, shape: Sequence[int]) -> int:
    """How often a known mask is true when it is expanded to ``shape``."""
    assert mask is not None
    with _without_modes():
        return int(mask.expand(torch.broadcast_shapes(tuple(mask.shape), tuple(shape))).sum())


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


@contextmanager
def _without_modes() -> Iterator[None]:
    """Inside, operators run for real: no tracing, no fake tensors, no default device.

    Gradients are not switched off: the values never need any, and `torch.export` would write the switch into the graph at every
    operator (and then take minutes to sort the regions out).
    """
    with _disable_current_modes(), torch.device("cpu"):
        yield
