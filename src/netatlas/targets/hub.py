"""A repository of the Hugging Face Hub as a source: its ``config.json``, nothing else, is fetched when a user names it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from netatlas.errors import MissingExtraError, NetatlasError, SourceError, did_you_mean
from netatlas.records import Entry
from netatlas.sources._describe import describe
from netatlas.sources._specimen import Specimen
from netatlas.sources.base import SOURCES, Source

MOST_BYTES = 5 * 2**20
"""Of a configuration; those with long label lists have about 1 MB."""

_LIMITS: tuple[tuple[str, int], ...] = (
    (r"vocab|num_(embeddings|classes|labels)|codebook_size", 10_000_000),
    (r"max_.*position|context_length|seq(uence)?_len|n_positions|n_ctx|max_length", 2**27),
    (r"(layers?|depths?|blocks?|stages?|repeats)$|^n_layer|num_.*layers", 2048),
    (r"experts?$|num_.*experts", 4096),
    (r"heads?$|groups$", 65_536),
    (r"image_size|img_size|input_size|patch_size", 16_384),
    (r"(size|dim|width|channels|features|rank|planes|chans|d_model|d_ff|embd?|inner|hidden|filters|state)$", 2**21),
)
"""Field names and the largest value each kind may have: several times what the largest public networks use."""

_RESERVED_ARGS = frozenset(
    {"pretrained", "checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "cache_dir", "model_name"}
)


@SOURCES.register("hub")
class HubSource(Source):
    """Any repository with a configuration that transformers or timm can build; never listed, never read unless named."""

    name = "hub"

    def names(self) -> list[str]:
        return []

    def read(self, name: str) -> list[Entry]:
        return read_hub(name)

    def version(self) -> str:
        return ""


def read_hub(repo_id: str, revision: str | None = None, entry_id: str | None = None) -> list[Entry]:
    """The architecture that a repository's ``config.json`` describes, as one entry; no weights and no code are fetched.

    ``HF_ENDPOINT``, ``HF_HUB_OFFLINE``, ``HF_TOKEN`` and the Hub's cache are honoured.

    Args:
        repo_id: ``org/name``; ``hub:org/name`` and ``org/name@revision`` are understood too.
        revision: Branch, tag or commit; the main branch by default.
        entry_id: ``hub/org/name`` by default.

    Raises:
        SourceError: The repository cannot be reached, or its configuration cannot be built without running its code.
        TraceError: It was built but could not be traced.
        MissingExtraError: huggingface_hub, transformers or timm is not installed.
    """
    repo_id, revision = _repository(repo_id, revision)
    config = read_config(fetch_config(repo_id, revision), repo_id)
    found, version = (_timm if "architecture" in config else _transformers)(config, repo_id)
    from netatlas.graph.trace import trace

    traced = trace(found.module, found.args, found.kwargs)
    url = f"https://huggingface.co/{repo_id}" + (f"/tree/{revision}" if revision else "")
    facts = {**found.facts, "hub": repo_id}
    specimen = replace(found, facts=facts, links={**found.links, "weights": url})
    entry = describe(entry_id or f"hub/{repo_id}", f"{type(found.module).__name__} ({repo_id})", specimen, traced, version)
    origins = {name: f"config.json of {repo_id}" if name in facts else where for name, where in entry.origins.items()}
    return [replace(entry, origins=origins)]


def _repository(repo_id: str, revision: str | None) -> tuple[str, str | None]:
    name = repo_id.removeprefix("hub:").removeprefix("https://huggingface.co/").rstrip("/")
    name, _, given = name.partition("@")
    for text in (name, given, revision or ""):
        if ".." in text or "--" in text or not text.isprintable():
            raise SourceError(f"{repo_id!r} is not a Hub repository: write hub:org/name", reason="not a repository")
    if not re.fullmatch(r"([\w.-]{1,96}/)?[\w][\w.-]{0,95}", name, re.ASCII):
        raise SourceError(f"{repo_id!r} is not a Hub repository: write hub:org/name", reason="not a repository")
    if given and not re.fullmatch(r"[\w][\w./-]{0,199}", given, re.ASCII):
        raise SourceError(f"{given!r} is not a revision of a Hub repository", reason="not a repository")
    return name, revision or given or None


# ---------------------------------------------------------------- fetching


def fetch_config(repo_id: str, revision: str | None = None) -> Path:
    """The local copy of a repository's ``config.json``, from the Hub or its cache.

    Raises:
        SourceError: Offline and not cached, no such repository or file, access not granted, or larger than `MOST_BYTES`.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise MissingExtraError("reading a Hub repository", "hub") from None
    get = functools.partial(hub.hf_hub_download, repo_id, "config.json", revision=revision)
    try:
        with _network_as_the_user_wants():
            size = get(dry_run=True).file_size  # a HEAD request: what is too large is never fetched
            if size and size > MOST_BYTES:
                raise _too_large(repo_id, size)
            path = Path(get())
    except NetatlasError:
        raise
    except errors.GatedRepoError:
        raise SourceError(
            f"hub:{repo_id} is gated: accept its terms on its page, then set HF_TOKEN or run 'hf auth login'", reason="gated"
        ) from None
    except errors.RepositoryNotFoundError:
        raise SourceError(
            f"hub:{repo_id}: no such repository, or a private one (then set HF_TOKEN or run 'hf auth login')",
            reason="no such repository",
        ) from None
    except errors.RevisionNotFoundError:
        raise SourceError(f"hub:{repo_id} has no revision {revision!r}", reason="no such repository") from None
    except errors.LocalEntryNotFoundError as error:
        if (cause := error.__cause__) is not None and getattr(cause, "response", None) is not None:  # it answered, with a refusal
            raise SourceError(f"hub:{repo_id}: {_refusal(cause)}", reason="not reachable") from None
        raise SourceError(f"hub:{repo_id}: config.json is not in the cache and {_unreachable(error)}", reason="offline") from None
    except errors.EntryNotFoundError:
        raise SourceError(f"hub:{repo_id} has no config.json: nothing to build it from", reason="no config") from None
    except errors.HFValidationError:
        raise SourceError(f"{repo_id!r} is not a Hub repository: write hub:org/name", reason="not a repository") from None
    except Exception as error:  # connection errors of whatever HTTP library is underneath, a full disk
        raise SourceError(f"hub:{repo_id}: {_refusal(error)}", reason="not reachable") from error
    if path.stat().st_size > MOST_BYTES:
        raise _too_large(repo_id, path.stat().st_size)
    return path


@contextmanager
def _network_as_the_user_wants() -> Iterator[None]:
    """The transformers source switches the Hub off for the whole process; a repository that the user names is what it is for."""
    from huggingface_hub import constants

    from netatlas.sources import _transformers_classes

    before = constants.HF_HUB_OFFLINE
    if not _transformers_classes.OFFLINE_BY_USER:
        constants.HF_HUB_OFFLINE = False
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _too_large(repo_id: str, size: int) -> SourceError:
    return SourceError(f"hub:{repo_id}: config.json has {size:,} bytes, at most {MOST_BYTES:,} are read", reason="too large")


def _unreachable(error: Exception) -> str:
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set: unset it to fetch it"
    return f"{constants.ENDPOINT} cannot be reached: {_line(error.__cause__ or error)}"


def _refusal(error: BaseException) -> str:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"access denied (HTTP {status}): set HF_TOKEN or run 'hf auth login'"
    return f"the Hub answered HTTP {status}" if status else f"cannot be fetched: {_line(error)}"


def _line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


# ---------------------------------------------------------------- reading


def read_config(path: Path, repo_id: str) -> dict[str, Any]:
    """The configuration in a file, after a look at its sizes: absurd ones are refused before anything is allocated.

    Raises:
        SourceError: It is not a JSON object, or a size is out of bounds.
    """
    try:
        config: Any = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError):
        raise SourceError(f"hub:{repo_id}: config.json is not JSON", reason="malformed") from None
    if not isinstance(config, dict):
        raise SourceError(f"hub:{repo_id}: config.json is not a JSON object", reason="malformed")
    check_sizes(config, repo_id)
    return config


def check_sizes(config: Mapping[str, Any], repo_id: str) -> None:
    """Compare every number in a configuration, at any depth, with what a field of its name may hold.

    Raises:
        SourceError: A number is larger, or the configuration is nested too deeply.
    """
    stack: list[tuple[str, str, Any, int]] = [("", "", config, 0)]
    while stack:
        path, name, value, depth = stack.pop()
        if depth > 16:
            raise SourceError(f"hub:{repo_id}: config.json is nested too deeply at {path[:80]!r}", reason="too large")
        if isinstance(value, dict):
            if name not in ("id2label", "label2id"):
                stack += [(f"{path}.{key}".lstrip("."), str(key), item, depth + 1) for key, item in value.items()]
        elif isinstance(value, list):
            _check_number(repo_id, path, name, len(value))
            stack += [(path, name, item, depth + 1) for item in value]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_number(repo_id, path, name, value)


def _check_number(repo_id: str, path: str, name: str, value: float) -> None:
    limit = next((limit for pattern, limit in _LIMITS if re.search(pattern, name.lower())), 2**53)
    if not -limit <= value <= limit and not (limit == 2**53 and isinstance(value, float)):
        text = (
            f"{value:,}"
            if isinstance(value, int) and abs(value) < 10**18
            else f"{float(value):.3g}"
            if abs(value) < 1e300
            else "a huge number"
        )
        raise SourceError(f"hub:{repo_id}: {path} = {text} in config.json is more than the {limit:,} allowed", reason="too large")


# ---------------------------------------------------------------- building


def _transformers(config: dict[str, Any], repo_id: str) -> tuple[Specimen, str]:
    """A configuration of transformers as a network on the meta device, by the rules of the transformers source."""
    from netatlas.sources import transformers as source
    from netatlas.sources._transformers_classes import all_types, zoo

    zoo()
    name = config.get("model_type")
    if not isinstance(name, str) or not name:
        raise SourceError(
            f"hub:{repo_id}: config.json has neither 'model_type' (transformers) nor 'architecture' (timm)",
            reason="no model type",
        )
    if name not in all_types():
        if "auto_map" in config:
            raise SourceError(
                f"hub:{repo_id} needs Python code of its own (auto_map): netatlas never runs code from the Hub",
                reason="remote code",
            )
        raise SourceError(
            f"hub:{repo_id}: transformers {zoo().__version__} has no model type {name!r}{did_you_mean(name, all_types())}",
            reason="unknown model type",
        )
    try:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        built = CONFIG_MAPPING[name].from_dict(without_downloads(config))
    except Exception as error:  # whatever validation a configuration class does
        raise SourceError(f"hub:{repo_id}: config.json is no {name} configuration: {_line(error)}", reason="malformed") from error
    try:
        return source.specimen(name, _prepared(built)), str(zoo().__version__)
    except SourceError as error:
        raise SourceError(f"hub:{repo_id}: {error}", reason=error.reason) from error


def _prepared(config: Any) -> Any:
    """The configuration as the transformers source traces it: caches off, experts as one batched product."""
    from transformers import PreTrainedConfig

    stack = [config]
    while stack:
        part = stack.pop()
        if hasattr(part, "use_cache"):
            part.use_cache = False
        stack += [value for value in vars(part).values() if isinstance(value, PreTrainedConfig)]
    config._experts_implementation = "batched_mm"
    return config


def without_downloads(value: Any) -> Any:
    """A configuration without what would fetch or run something: code, kernels from the Hub, pretrained backbones, quantisers."""
    if isinstance(value, list):
        return [without_downloads(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, item in value.items():
        if key == "auto_map" or key == "quantization_config" or "implementation" in key or key in ("use_kernels", "_commit_hash"):
            continue
        kept[key] = False if key in ("use_pretrained_backbone", "pretrained", "use_pretrained") else without_downloads(item)
    return kept


def _timm(config: dict[str, Any], repo_id: str) -> tuple[Specimen, str]:
    """A configuration of timm: the architecture's name, arguments for it, and the input size."""
    try:
        import timm
        import torch
    except ImportError:
        raise MissingExtraError("reading a timm repository", "zoo") from None
    from netatlas.sources._meta import build_on_meta

    name, pretrained = config["architecture"], config.get("pretrained_cfg") or {}
    if not isinstance(name, str) or name not in timm.list_models():  # timm would follow other names to the Hub or to a folder
        hint = did_you_mean(name, timm.list_models()) if isinstance(name, str) else ""
        raise SourceError(
            f"hub:{repo_id}: timm {timm.__version__} has no architecture {str(name)[:80]!r}{hint}", reason="unknown architecture"
        )
    arguments = config.get("model_args") or {}
    if not isinstance(arguments, dict) or _RESERVED_ARGS & set(arguments) or not isinstance(pretrained, dict):
        raise SourceError(f"hub:{repo_id}: config.json has model_args that timm must not be given", reason="malformed")
    classes = config.get("num_classes", pretrained.get("num_classes"))
    if isinstance(classes, int):
        arguments = {"num_classes": classes, **arguments}
    try:
        module: Any = build_on_meta(lambda: timm.create_model(name, pretrained=False, **arguments))
        size = pretrained.get("input_size") or module.pretrained_cfg["input_size"]
        channels, height, width = (int(n) for n in size)
        if not (0 < channels <= 1024 and 0 < height <= 4096 and 0 < width <= 4096):
            raise SourceError(f"hub:{repo_id}: input_size {size} in config.json is out of bounds", reason="too large")
    except NetatlasError:
        raise
    except Exception as error:  # whatever a constructor raises
        raise SourceError(
            f"hub:{repo_id}: timm cannot build {name} from config.json: {_line(error)}", reason="cannot be built"
        ) from error
    task = "image-classification" if getattr(module, "num_classes", 0) else "image-feature-extraction"
    facts: dict[str, Any] = {"task": (task,), "modality": ("image",), "module": type(module).__module__, "input_size": height}
    return Specimen(module, (torch.empty(1, channels, height, width, device="meta"),), facts=facts), str(timm.__version__)
