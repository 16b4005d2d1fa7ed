"""The timm library: every architecture it can build, and the pretrained weights it lists for them."""

from __future__ import annotations

import functools
from typing import Any

from netatlas.errors import MissingExtraError, SourceError
from netatlas.facts import Value
from netatlas.records import Entry
from netatlas.sources import _timm_results as results
from netatlas.sources._describe import describe
from netatlas.sources._meta import build_on_meta
from netatlas.sources._specimen import Specimen
from netatlas.sources.base import SOURCES, Source


@SOURCES.register("timm")
class TimmSource(Source):
    """``timm.list_models()``, built without weights at the input size of the default configuration."""

    name = "timm"

    def names(self) -> list[str]:
        return sorted(_timm().list_models())

    def version(self) -> str:
        return str(_timm().__version__)

    def read(self, name: str) -> list[Entry]:
        from netatlas.graph.trace import trace

        specimen = self.specimen(name)
        traced = trace(specimen.module, specimen.args)
        architecture = describe(f"timm/{name}", name, specimen, traced, self.version())
        configs = _timm().models.get_arch_pretrained_cfgs(name)
        tagged = {full_name: config for full_name, config in configs.items() if config.tag or len(configs) == 1}
        found = [self._model(architecture, full_name, config) for full_name, config in tagged.items()]
        models = [model for model in found if model is not None]
        return [results.with_best(architecture, models), *models]

    def specimen(self, name: str) -> Specimen:
        """The module on the meta device with an input of its default size.

        Raises:
            SourceError: timm does not know the name or cannot build it without weights.
        """
        import torch

        try:
            module = build_on_meta(functools.partial(_timm().create_model, name))
        except Exception as error:  # whatever a constructor raises
            raise SourceError(f"timm/{name}: cannot be built: {error}", reason="cannot be built") from error
        config: Any = module.pretrained_cfg
        features: Any = module.num_features
        channels, height, width = config["input_size"]
        facts: dict[str, Value] = {
            "task": ("image-classification",) if config.get("num_classes") else ("image-feature-extraction",),
            "modality": ("image",),
            "module": type(module).__module__,
            "input_size": height,
            "dim": int(features),
        }
        links = {
            "code": f"https://github.com/huggingface/pytorch-image-models/blob/main/{type(module).__module__.replace('.', '/')}.py"
        }
        return Specimen(module, (torch.empty(1, channels, height, width, device="meta"),), facts=facts, links=links)

    def _model(self, architecture: Entry, full_name: str, config: Any) -> Entry | None:
        """A set of pretrained weights as an entry; ``None`` where timm lists a configuration without weights."""
        if not (config.hf_hub_id or config.url or config.file):
            return None
        tag = config.tag
        size = (config.test_input_size or config.input_size)[1]
        facts: dict[str, Value] = {
            name: architecture.facts[name]
            for name in ("source", "version", "family", "year", "paper", "params", "task", "modality", "depth")
            if name in architecture.facts
        }
        origins = {name: architecture.origins[name] for name in facts if name in architecture.origins}
        origins["params"] = f"{origins['params']} of {architecture.id}"
        facts |= {
            "architecture": architecture.id,
            "input_size": size,
            "input": f"1x{'x'.join(map(str, (config.input_size[0], size, size)))}",
        }
        stated: dict[str, Value | None] = {
            "tag": tag, "license": config.license, "hub": config.hf_hub_id, "outputs": config.num_classes or None,
            "pretrain": tuple(sorted({part for part in tag.split("_") if part})) if tag else None,
        }  # fmt: skip
        facts |= {name: value for name, value in stated.items() if value}
        origins |= dict.fromkeys(("architecture", "input_size", "input", *stated), f"stated by timm {self.version()}")
        if size == architecture.facts.get("input_size"):
            for name in ("macs", "flops", "activations", "peak_memory"):
                facts[name], origins[name] = architecture.facts[name], f"{architecture.origins[name]} of {architecture.id}"
        links = dict(architecture.links)
        if config.hf_hub_id:
            links["weights"] = f"https://huggingface.co/{config.hf_hub_id}"
        entry = Entry(
            f"timm/{full_name}",
            "model",
            full_name,
            facts=facts,
            origins={k: v for k, v in origins.items() if k in facts},
            links=links,
        )
        return results.with_results(entry, full_name, size)


@functools.cache
def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise MissingExtraError("the timm source", "zoo") from None
    return timm
