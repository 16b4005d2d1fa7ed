"""Shared part of the Python object source: the inputs a user names, and guesses for modules whose inputs nobody named."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netatlas.errors import QueryError, TraceError, did_you_mean

if TYPE_CHECKING:
    import torch
    from torch import nn

HELP = "give its shape with --input 1,3,224,224, or --input-ids 1,128 for token ids"
"""How to name inputs on the command line, for error messages."""

MOST_ELEMENTS = 2**31
"""An input of more elements is a typing error."""

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "uint8", "bool", "complex64")

_SIDES = (224, 32, 28, 64, 96, 128, 256, 299, 384, 512)
"""Image sides to try: networks that flatten their features accept one of them only."""


@dataclass(frozen=True)
class InputSpec:
    """One example input: its shape, one of `DTYPES`, and the parameter of ``forward`` it is for (``""``: by position)."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    name: str = ""

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape)) or "scalar"
        kind = "" if self.dtype == "float32" else f" {self.dtype}"
        return f"{self.name}={shape}{kind}" if self.name else f"{shape}{kind}"


@dataclass(frozen=True)
class Inputs:
    """Example inputs of a forward pass.

    Attributes:
        specs: In order; those with a name are passed by keyword.
        origin: Where they come from, in words.
    """

    specs: tuple[InputSpec, ...]
    origin: str = "given by the user"

    def __str__(self) -> str:
        return ", ".join(map(str, self.specs)) or "no inputs"

    def tensors(self, device: str) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Positional and keyword tensors of zeros on ``device``."""
        import torch

        made = [(spec.name, torch.zeros(spec.shape, dtype=getattr(torch, spec.dtype), device=device)) for spec in self.specs]
        return tuple(t for name, t in made if not name), {name: t for name, t in made if name}


def parse_inputs(inputs: Sequence[str] = (), input_ids: Sequence[str] = ()) -> Inputs:
    """The values of ``--input`` and ``--input-ids`` as example inputs.

    Each is a shape, ``1,3,224,224`` or ``1x3x224x224``; ``image=1,3,224,224`` names the parameter of ``forward`` it is for, and
    ``1,128:int64`` its dtype (``float32`` for ``--input``, ``int64`` for ``--input-ids``).

    Raises:
        QueryError: A shape, dtype or name cannot be read, or one name occurs twice.
    """
    specs = [_parse(text, "--input", "float32") for text in inputs]
    specs += [_parse(text, "--input-ids", "int64") for text in input_ids]
    names = [spec.name for spec in specs if spec.name]
    for name in names:
        if names.count(name) > 1:
            raise QueryError(f"the input {name!r} is given twice")
    return Inputs(tuple(specs))


def _parse(text: str, option: str, dtype: str) -> InputSpec:
    name, _, rest = text.rpartition("=")
    shape_text, _, given = rest.partition(":")
    name, given = name.strip(), given.strip().removeprefix("torch.")
    if name and not name.isidentifier():
        raise QueryError(f"{option} {text!r}: {name!r} is not the name of a parameter")
    if given and given not in DTYPES:
        raise QueryError(
            f"{option} {text!r}: unknown dtype {given!r}{did_you_mean(given, DTYPES) or ' (' + ', '.join(DTYPES) + ')'}"
        )
    parts = [part.strip() for part in re.split(r"[,x×]", shape_text.strip().strip("()[]"))]
    if parts == [""]:
        raise QueryError(f"{option} {text!r}: has no shape: write sizes with commas, such as {_example(option)}")
    shape = []
    for part in parts:
        if not re.fullmatch(r"\d{1,10}", part, re.ASCII) or int(part) == 0:
            raise QueryError(
                f"{option} {text!r}: {part!r} is not a positive whole number: write sizes with commas, such as {_example(option)}"
            )
        shape.append(int(part))
    total = 1
    for size in shape:
        total *= size
    if total > MOST_ELEMENTS or len(shape) > 16:
        raise QueryError(f"{option} {text!r}: {total:,} elements are more than the {MOST_ELEMENTS:,} allowed")
    return InputSpec(tuple(shape), given or dtype, name)


def _example(option: str) -> str:
    return "1,128" if option == "--input-ids" else "1,3,224,224"


# ---------------------------------------------------------------- guesses


def guesses(module: nn.Module, label: str) -> list[Inputs]:
    """Example inputs that ``module`` may accept, most trustworthy first; the caller tries them.

    What the module itself says comes first (``example_inputs``, a timm or transformers configuration), then its first layer.

    Raises:
        TraceError: Nothing tells; the message says how to name the inputs.
    """
    found = [*_stated(module), *_configured(module)]
    if not found:
        needed = _required(module)
        if len(needed) > 1:
            raise TraceError(
                f"{label}: its forward needs {len(needed)} inputs ({', '.join(needed)}): {_named_help(needed)}",
                reason="needs inputs",
            )
        found = (
            [Inputs((), "its forward takes none")] if not needed and not _accepts_one(module) else list(_by_first_layer(module))
        )
    if not found:
        raise TraceError(f"{label}: cannot guess the inputs of its forward: {HELP}", reason="needs inputs")
    return found


def _named_help(needed: Sequence[str]) -> str:
    return "give each by name, such as " + " ".join(f"--input {name}=1,3,224,224" for name in needed[:3])


def _forward_parameters(module: nn.Module) -> list[inspect.Parameter]:
    try:
        parameters = inspect.signature(module.forward).parameters
    except (TypeError, ValueError):  # a scripted or built-in forward has no signature to read
        return [inspect.Parameter("input", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    return list(parameters.values())


def _required(module: nn.Module) -> list[str]:
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in _forward_parameters(module) if p.default is inspect.Parameter.empty and p.kind not in variadic]


def _accepts_one(module: nn.Module) -> bool:
    return any(
        p.kind is not inspect.Parameter.VAR_KEYWORD and p.kind is not inspect.Parameter.KEYWORD_ONLY
        for p in _forward_parameters(module)
    )


def _stated(module: nn.Module) -> Iterator[Inputs]:
    """``example_inputs`` or Lightning's ``example_input_array``: a tensor, several, or a mapping by name."""
    import torch

    for attribute in ("example_inputs", "example_input_array"):
        value = getattr(module, attribute, None)
        if callable(value) and not isinstance(value, torch.Tensor):
            continue  # a method could do anything
        if isinstance(value, torch.Tensor):
            value = (value,)
        if isinstance(value, Mapping):
            pairs = [(str(name), x) for name, x in value.items()]
        elif isinstance(value, (list, tuple)):
            pairs = [("", x) for x in value]
        else:
            continue
        if pairs and all(isinstance(x, torch.Tensor) for _, x in pairs):
            specs = tuple(InputSpec(tuple(x.shape), str(x.dtype).removeprefix("torch."), name) for name, x in pairs)
            yield Inputs(specs, f"its {attribute}")


def _configured(module: nn.Module) -> Iterator[Inputs]:
    """The input size in a timm configuration, or the main input of a transformers model."""
    for attribute in ("pretrained_cfg", "default_cfg"):
        config = getattr(module, attribute, None)
        size = config.get("input_size") if isinstance(config, Mapping) else getattr(config, "input_size", None)
        if isinstance(size, (list, tuple)) and size and all(isinstance(n, int) and n > 0 for n in size):
            yield Inputs((InputSpec((1, *size)),), f"input_size of its {attribute}")
            return
    main, config = getattr(module, "main_input_name", None), getattr(module, "config", None)
    if isinstance(main, str) and config is not None:
        yield from _transformers(main, config)


def _transformers(main: str, config: Any) -> Iterator[Inputs]:
    def number(*names: str, default: int) -> int:
        for part in (config, getattr(config, "text_config", None), getattr(config, "vision_config", None)):
            for name in names:
                value = getattr(part, name, None)
                value = value[0] if isinstance(value, (list, tuple)) and value else value
                if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                    return value
        return default

    length = min(128, number("max_position_embeddings", "n_positions", default=128))
    side = number("image_size", default=224)
    shapes: dict[str, tuple[tuple[int, ...], str]] = {
        "input_ids": ((1, length), "int64"),
        "pixel_values": ((1, number("num_channels", default=3), side, side), "float32"),
        "input_values": ((1, 16_000), "float32"),
        "input_features": (
            (1, number("num_mel_bins", "feature_size", default=80), 2 * number("max_source_positions", default=1500)),
            "float32",
        ),
    }
    if main in shapes:
        specs = [InputSpec(*shapes[main], main)]
        if getattr(config, "is_encoder_decoder", False):
            specs.append(InputSpec((1, length), "int64", "decoder_input_ids"))
        yield Inputs(tuple(specs), "its transformers configuration")


def _by_first_layer(module: nn.Module) -> Iterator[Inputs]:
    """Shapes that the first layer with weights accepts; several, because what follows decides."""
    from torch import nn

    name, layer = _first_layer(module)
    if layer is None:
        return
    shapes: list[tuple[int, ...]] = []
    dtype = "float32"
    if isinstance(layer, nn.Embedding):
        shapes, dtype = [(1, min(128, _positions(module)))], "int64"
    elif isinstance(layer, nn.EmbeddingBag):
        shapes, dtype = [(1, 128)], "int64"
    elif isinstance(layer, (nn.Conv2d, nn.BatchNorm2d)):
        shapes = [(1, _channels(layer), side, side) for side in _SIDES]
    elif isinstance(layer, nn.ConvTranspose2d):
        shapes = [(1, layer.in_channels, side, side) for side in (1, 4, 8, 16, 32, 64)]
    elif isinstance(layer, (nn.Conv1d, nn.BatchNorm1d, nn.ConvTranspose1d)):
        shapes = [(1, _channels(layer), length) for length in (1024, 128, 16_000)]
        shapes += [(2, _channels(layer))] if isinstance(layer, nn.BatchNorm1d) else []
    elif isinstance(layer, (nn.Conv3d, nn.BatchNorm3d, nn.ConvTranspose3d)):
        shapes = [(1, _channels(layer), 16, side, side) for side in (112, 224, 64, 32)]
    elif isinstance(layer, nn.Linear):
        size = layer.in_features
        shapes = [(1, size), (1, 128, size)]
        shapes += [(1, *image) for image in ((1, 28, 28), (3, 32, 32), (3, 224, 224)) if image[0] * image[1] * image[2] == size]
    elif isinstance(layer, nn.Bilinear):
        return
    elif isinstance(layer, nn.RNNBase):
        shapes = [(1, 128, layer.input_size) if layer.batch_first else (128, 1, layer.input_size)]
    elif isinstance(layer, (nn.RNNCellBase,)):
        shapes = [(1, layer.input_size)]
    elif isinstance(layer, nn.MultiheadAttention):
        shapes = [(1, 128, layer.embed_dim)]
    elif isinstance(layer, nn.LayerNorm):
        shapes = [(1, 128, *layer.normalized_shape), (1, *layer.normalized_shape)]
    for shape in shapes:
        yield Inputs((InputSpec(shape, dtype),), f"guessed from its first layer, {name} ({type(layer).__name__})")


def _first_layer(module: nn.Module) -> tuple[str, nn.Module | None]:
    """The first submodule, in order of registration, that owns parameters itself; the module may be one."""
    from torch import nn

    for name, child in module.named_modules():
        has_own = next(child.parameters(recurse=False), None) is not None or isinstance(child, nn.MultiheadAttention)
        if has_own and type(child).__module__.startswith("torch.nn"):
            return name or "itself", child
    return "", None


def _channels(layer: Any) -> int:
    return int(getattr(layer, "in_channels", 0) or layer.num_features)


def _positions(module: nn.Module) -> int:
    """Rows of the shortest embedding table: a table of positions bounds the sequence."""
    from torch import nn

    rows = [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding) and m.num_embeddings >= 8]
    return min(rows, default=128)
