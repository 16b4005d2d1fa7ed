"""The torchvision library: classification, segmentation, detection, video and optical flow architectures."""

from __future__ import annotations

import functools
from typing import Any

from netatlas.errors import MissingExtraError, SourceError
from netatlas.facts import Value
from netatlas.records import Entry, Evidence
from netatlas.sources._describe import describe
from netatlas.sources._meta import build_on_meta
from netatlas.sources._specimen import Specimen
from netatlas.sources.base import SOURCES, Source

# what torchvision's own training and evaluation scripts feed: batch 1
_TASKS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[int, ...]]] = {
    "models": (("image-classification",), ("image",), (3, 224, 224)),
    "models.quantization": (("image-classification",), ("image",), (3, 224, 224)),
    "models.segmentation": (("image-segmentation",), ("image",), (3, 520, 520)),
    "models.detection": (("object-detection",), ("image",), (3, 800, 800)),
    "models.video": (("video-classification",), ("video",), (3, 16, 112, 112)),
    "models.optical_flow": (("optical-flow",), ("video",), (3, 520, 960)),
}
_METRICS = {"acc@1": "top1", "acc@5": "top5"}


@SOURCES.register("torchvision")
class TorchvisionSource(Source):
    """``torchvision.models.list_models()``, built without weights, at the input size of the default weights where they state one."""

    name = "torchvision"

    def names(self) -> list[str]:
        return sorted(_models().list_models())

    def version(self) -> str:
        import torchvision

        return str(torchvision.__version__).partition("+")[0]

    def read(self, name: str) -> list[Entry]:
        from netatlas.graph.trace import trace

        specimen = self.specimen(name)
        traced = trace(specimen.module, specimen.args)
        architecture = describe(f"torchvision/{name}", name, specimen, traced, self.version())
        models = [self._model(architecture, weights) for weights in _models().get_model_weights(name)]
        return [self._with_best(architecture, models), *models]

    def specimen(self, name: str) -> Specimen:
        """The module on the meta device with the input its task's scripts feed.

        Raises:
            SourceError: torchvision does not know the name or cannot build it without weights.
        """
        import torch

        builder = _models().get_model_builder(name)
        kind = builder.__module__.partition("torchvision.")[2].rpartition(".")[0]
        task, modality, shape = _TASKS.get(kind, _TASKS["models"])
        if "keypoint" in name:
            task = ("keypoint-detection", "object-detection")
        elif "maskrcnn" in name:
            task = ("image-segmentation", "instance-segmentation", "object-detection")
        try:
            module = build_on_meta(functools.partial(builder, weights=None, **_arguments(name, kind)))
        except Exception as error:  # whatever a constructor raises
            raise SourceError(f"torchvision/{name}: cannot be built: {error}", reason="cannot be built") from error
        size = _input_size(module, name, kind)
        shape = (*shape[:-2], size, size) if size else shape
        facts: dict[str, Value] = {"task": task, "modality": modality, "module": builder.__module__}
        facts |= {"input_size": shape[-2], "input": "x".join(map(str, (1, *shape)))}
        links = {"code": f"https://github.com/pytorch/vision/blob/main/{builder.__module__.replace('.', '/')}.py"}
        args: tuple[Any, ...] = (torch.empty(1, *shape, device="meta"),)
        if kind == "models.detection":
            args = ([torch.empty(shape, device="meta")],)
        elif kind == "models.optical_flow":
            args = args * 2
        return Specimen(module, args, facts=facts, links=links)

    def _model(self, architecture: Entry, weights: Any) -> Entry:
        meta, tag = weights.meta, weights.name.lower()
        facts: dict[str, Value] = {
            name: architecture.facts[name]
            for name in ("source", "version", "family", "year", "paper", "task", "modality", "depth", "input_size", "input")
            if name in architecture.facts
        }
        origins = {name: architecture.origins[name] for name in facts if name in architecture.origins}
        size = _crop_size(weights)
        if size:
            facts |= {"input_size": size, "input": f"1x3x{size}x{size}"}
        stated: dict[str, Value] = {
            "architecture": architecture.id,
            "tag": tag,
            "params": meta["num_params"],
            "pretrain": tuple(sorted(tag.split("_"))),
        }
        if meta.get("categories"):
            stated["outputs"] = len(meta["categories"])
        if meta.get("_ops"):
            stated |= {"macs": round(meta["_ops"] * 1e9), "flops": round(2 * meta["_ops"] * 1e9)}
        facts |= stated
        by = f"stated by torchvision {self.version()}"
        origins |= dict.fromkeys(stated, by)
        evidence = []
        for name, value in meta.get("_metrics", {}).get("ImageNet-1K", {}).items():
            if name in _METRICS and value == value:  # some weights, for features only, state NaN
                facts[_METRICS[name]], origins[_METRICS[name]] = float(value), f"{by}: {weights} at {facts.get('input_size')} px"
                evidence.append(
                    Evidence(_METRICS[name], float(value), "validation accuracy", by, detail={"weights": str(weights)})
                )
        return Entry(
            f"{architecture.id}.{tag}", "model", f"{architecture.title}.{tag}", facts=facts, origins=origins, evidence=evidence,
            links={**architecture.links, "weights": weights.url},
        )  # fmt: skip

    def _with_best(self, architecture: Entry, models: list[Entry]) -> Entry:
        facts, origins = dict(architecture.facts), dict(architecture.origins)
        facts["models"], origins["models"] = len(models), f"stated by torchvision {self.version()}"
        size = facts.get("input_size")
        measured = [m for m in models if "top1" in m.facts and m.facts.get("input_size") == size]
        if measured:
            best = max(measured, key=lambda m: (float(m.facts["top1"]), m.id))  # type: ignore[arg-type]
            for name in ("top1", "top5"):
                facts[name], origins[name] = best.facts[name], best.origins[name]
        return Entry(
            architecture.id, architecture.kind, architecture.title, "", facts, origins, architecture.graph, (), architecture.links
        )


def _arguments(name: str, kind: str) -> dict[str, Any]:
    """Constructor arguments that give the network its published weights are for."""
    if kind in ("models.detection", "models.segmentation"):
        heads = {"aux_loss": True} if name.startswith(("fcn", "deeplab")) else {}
        return {"weights_backbone": None, **heads}
    return {"aux_logits": False} if name.endswith("googlenet") else {}


def _input_size(module: Any, name: str, kind: str) -> int | None:
    """Height of the input: what the network insists on, what it resizes to, or the crop of its default weights."""
    if (size := getattr(module, "image_size", None)) is not None:
        return int(size)
    if kind == "models.detection":
        return int((module.transform.fixed_size or module.transform.min_size)[0])
    if kind not in ("models", "models.quantization", "models.video"):
        return None
    weights = list(_models().get_model_weights(name))
    return _crop_size(weights[0]) if weights else None


def _crop_size(weights: Any) -> int | None:
    crop = getattr(weights.transforms, "keywords", {}).get("crop_size")
    return int(crop[0] if isinstance(crop, (list, tuple)) else crop) if crop else None


@functools.cache
def _models() -> Any:
    try:
        import torchvision.models
    except ImportError:
        raise MissingExtraError("the torchvision source", "zoo") from None
    return torchvision.models
