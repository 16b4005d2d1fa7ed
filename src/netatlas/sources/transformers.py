"""The transformers library: every model type, built from its default configuration with the inputs its modality needs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from netatlas.errors import SourceError
from netatlas.facts import Value
from netatlas.records import Entry
from netatlas.sources._describe import describe
from netatlas.sources._known_values import following, know
from netatlas.sources._meta import build_on_meta
from netatlas.sources._specimen import Specimen
from netatlas.sources._transformers_classes import all_types, choose, exclusions, with_models, zoo
from netatlas.sources._transformers_configs import default_config
from netatlas.sources._transformers_inputs import Inputs, load_rules
from netatlas.sources.base import SOURCES, Source

if TYPE_CHECKING:
    import torch
    from torch import nn

CODE = "https://github.com/huggingface/transformers/blob/main/src/"


def names() -> list[str]:
    """The model types that are read, sorted: those with a model of their own, but for `exclusions`."""
    out = exclusions()
    return [name for name in all_types() if name in with_models() and name not in out]


def specimen(name: str, config: Any = None) -> Specimen:
    """The model type's network on the meta device with example inputs, whose integer values it can look at.

    Args:
        name: Model type.
        config: A configuration of that type; the default one when left out.

    Raises:
        SourceError: There is no such type, or it cannot be built from its configuration.
        MissingExtraError: transformers is not installed.
    """
    import torch

    load_rules()
    chosen = choose(name)
    model, buffers = _build(name, chosen.cls, config)
    try:
        inputs = Inputs(model, chosen.task, buffers).build()
    except Exception as error:  # a rule that does not fit, or a feature extractor that refuses its own default configuration
        raise SourceError(f"transformers/{name}: no example inputs: {_line(error)}", reason="no example inputs") from error
    kwargs: dict[str, Any] = {n: v.to("meta") for n, v in inputs.known.items()} | inputs.blank | inputs.flags
    if "use_cache" in inputs.params:
        kwargs["use_cache"] = False
    kwargs = {n: kwargs[n] for n in (*inputs.params, *kwargs) if n in kwargs}  # in the order of the signature
    module: nn.Module = know(model, inputs.known, buffers)
    facts: dict[str, Value] = {"task": (chosen.task,), "modality": tuple(inputs.modality), "module": type(model).__module__}
    facts["input"] = ", ".join(f"{n} {'x'.join(map(str, v.shape))}" for n, v in kwargs.items() if isinstance(v, torch.Tensor))
    facts |= _sizes(inputs)
    links = {"code": f"{CODE}{type(model).__module__.replace('.', '/')}.py"}
    return Specimen(module, (), kwargs, facts, links)


def _build(name: str, cls: str, config: Any = None) -> tuple[Any, dict[str, torch.Tensor]]:
    """The network on the meta device, and the values of those buffers that its constructor computed."""
    try:
        model_class = getattr(zoo(), cls, None) or _unlisted(name, cls)
        config = default_config(name, model_class) if config is None else config
        with following() as follow:
            model = build_on_meta(lambda: model_class._from_config(config))
            values = {n: follow.value(buffer) for n, buffer in model.named_buffers()}
        model.to("meta")  # some constructors name the CPU
    except Exception as error:  # whatever a constructor raises
        raise SourceError(f"transformers/{name}: {cls} cannot be built: {_line(error)}", reason="cannot be built") from error
    return model, {n: value.clone() for n, value in values.items() if value is not None}


def _unlisted(name: str, cls: str) -> Any:
    """A class that its module defines but the package does not export."""
    from transformers.models.auto.configuration_auto import model_type_to_module_name

    module = str(model_type_to_module_name(name))
    return getattr(importlib.import_module(f"transformers.models.{module}.modeling_{module}"), cls)


def _line(error: Exception) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
    return f"{type(error).__name__}: {text[:200]}"


def _sizes(inputs: Inputs) -> dict[str, Value]:
    """Sequence length, image height, heads and channels, where inputs or configuration state them."""
    facts: dict[str, Value] = {}
    for name in ("input_ids", "decoder_input_ids"):
        if name in inputs.known:
            facts["seq_len"] = int(inputs.known[name].shape[-1])
            break
    images = [v for n, v in inputs.blank.items() if n.startswith("pixel_values") and v.dim() >= 4]
    if images:
        facts["input_size"] = int(images[0].shape[-2])
    text = inputs.config.get_text_config(decoder=True)
    for fact, fields in (
        ("heads", ("num_attention_heads", "n_head", "num_heads")),
        ("dim", ("hidden_size", "d_model", "n_embd")),
    ):
        value = next((v for f in fields if isinstance(v := _stated(text, f), int)), None)
        if value:
            facts[fact] = value
    return facts


def _stated(config: Any, field: str) -> Any:
    """A field, or ``None`` where it is absent or differs from layer to layer (which raises in transformers)."""
    try:
        return getattr(config, field, None)
    except Exception:  # its class is private and new
        return None


@SOURCES.register("transformers")
class TransformersSource(Source):
    """Model types of transformers that can stand alone, without weights, fed as `_transformers_inputs` says."""

    name = "transformers"

    def names(self) -> list[str]:
        return names()

    def version(self) -> str:
        return str(zoo().__version__)

    def read(self, name: str) -> list[Entry]:
        from netatlas.graph.trace import trace

        found = specimen(name)
        traced = trace(found.module, found.args, found.kwargs)
        return [describe(f"transformers/{name}", f"{type(found.module).__name__} ({name})", found, traced, self.version())]
