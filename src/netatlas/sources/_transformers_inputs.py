"""Shared part of the transformers source: example inputs for a model, from its forward signature and its configuration.

Every parameter of ``forward`` that a network needs has a rule, named after the parameter, in the files ``_transformers_text``,
``_images``, ``_signals`` and ``_companions``. A rule reads sizes off the configuration; where that says nothing, it uses what the
library's own processors feed. Integer inputs get real values, because networks look at them
(`netatlas.sources._known_values`); all others are meta tensors.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TEXT_LENGTH = 128
"""Tokens of text: long enough that attention is no corner case, within every model's positions but CLIP's (they are capped)."""

# Optional inputs that are not given, by model type.
_LEFT_OUT = frozenset(
    {
        ("glm_image", "pixel_values"),  # a source picture beside the one it writes
        ("pop2piano", "input_ids"),  # its encoder reads a spectrogram in their place
        ("speech-encoder-decoder", "input_features"),  # its default encoder reads waves
        ("udop", "pixel_values"),  # which patches stay depends on where the words of the page are
        ("csm", "input_values"),  # a voice to imitate: the text alone makes it speak
        ("chameleon", "pixel_values"),  # becomes ids of text by a table of the tokeniser, entry by entry
        ("emu3", "pixel_values"),  # the same
        ("molmo2", "pixel_values"),  # crops and a table of pooled patches that only its processor can make
    }
)

# Optional inputs that are given to these types and not to others.
_ALSO = {
    "flattened_patches": ("pix2struct",),
    "pixel_values_videos": ("pe_audio_video", "pe_audio_video_encoder"),
}


class Inputs:
    """Example inputs under construction.

    Attributes:
        model: On the meta device.
        config: The model's configuration.
        buffers: Values of the model's buffers, as far as its constructor computed them.
        known: Integer inputs with their values, on the CPU.
        blank: Inputs whose values do not matter, on the meta device.
        flags: Inputs that are no tensors.
        modality: What goes in, in the words of the facts table.
    """

    def __init__(self, model: Any, task: str, buffers: Mapping[str, torch.Tensor]) -> None:
        self.model = model
        self.buffers = buffers
        self.config = model.config
        self.task = task
        self.name: str = model.config.model_type
        parameters = inspect.signature(model.forward).parameters
        self.params = [name for name, p in parameters.items() if p.kind.name not in ("VAR_KEYWORD", "VAR_POSITIONAL")]
        self.required = [name for name in self.params if parameters[name].default is inspect.Parameter.empty]
        self.main = model.main_input_name
        self.known: dict[str, torch.Tensor] = {}
        self.blank: dict[str, torch.Tensor] = {}
        self.flags: dict[str, Any] = {}
        self.modality: list[str] = []

    def build(self) -> Inputs:
        """Fill in every input the network needs."""
        mains = self.main if isinstance(self.main, (list, tuple)) else [self.main]
        wanted = dict.fromkeys([*self.required, *(m for m in mains if m in self.params), *self._modalities()])
        wanted = {name: None for name in wanted if (self.name, name) not in _LEFT_OUT}
        for name in wanted:
            if name in RULES and name != "input_ids":
                RULES[name](self)
        self._companions()
        if "input_ids" in wanted:
            RULES["input_ids"](self)
        if "decoder_input_ids" in self.params:
            RULES["decoder_input_ids"](self)
        self._companions()
        return self

    def _companions(self) -> None:
        for name in self.params:
            if name in COMPANIONS and not self.is_known(name):
                COMPANIONS[name](self)

    def _modalities(self) -> Iterator[str]:
        """Inputs that are optional in the signature because a call may leave a modality out."""
        for name in ("pixel_values", "input_features", "input_values"):
            if name in self.params and self._has_tower(name):
                yield name
        for name, types in _ALSO.items():
            if name in self.params and self.name in types:
                yield name
        if "input_ids" in self.params:
            yield "input_ids"

    def _has_tower(self, name: str) -> bool:
        """Some types state a part for seeing or hearing and leave it out by default."""
        part = "vision_config" if name == "pixel_values" else "audio_config"
        return getattr(self.config, part, part) is not None

    def configs(self, first: Sequence[str] = ()) -> Iterator[Any]:
        """The configuration and its parts, breadth first, the parts named ``first`` before all others."""
        from transformers import PreTrainedConfig

        queue, seen = [self.config], []
        while queue:
            config = queue.pop(0)
            seen.append(config)
            queue += [
                value for key, value in vars(config).items() if isinstance(value, PreTrainedConfig) and not key.startswith("_")
            ]
        ranked = [getattr(self.config, name, None) for name in first]
        return iter([c for c in ranked if isinstance(c, PreTrainedConfig)] + seen)

    def field(self, *names: str, first: Sequence[str] = (), default: Any = None) -> Any:
        """The first of the fields ``names`` that a configuration states."""
        for config in self.configs(first):
            for name in names:
                if (value := getattr(config, name, None)) is not None and value != []:
                    return value
        return default

    def vision(self, *names: str, default: Any = None) -> Any:
        """A field of the part that sees."""
        return self.field(*names, first=("vision_config", "vision_tower_config", "backbone_config"), default=default)

    def audio(self, *names: str, default: Any = None) -> Any:
        """A field of the part that hears."""
        return self.field(
            *names, first=("audio_config", "encoder_config", "audio_encoder_config", "speech_config"), default=default
        )

    def text(self, *names: str, default: Any = None) -> Any:
        """A field of the part that reads."""
        return self.field(*names, first=("text_config", "text_encoder_config", "decoder_config"), default=default)

    def empty(self, *shape: int) -> torch.Tensor:
        """Real numbers without values."""
        import torch

        return torch.empty(shape, device="meta")

    def is_known(self, name: str) -> bool:
        return name in self.known or name in self.blank

    def saw(self, modality: str) -> None:
        if modality not in self.modality:
            self.modality.append(modality)


RULES: dict[str, Callable[[Inputs], None]] = {}
COMPANIONS: dict[str, Callable[[Inputs], None]] = {}
"""Inputs that describe another input and that a network insists on although its signature says they are optional."""


def load_rules() -> None:
    """Import the files that hold the rules."""
    for part in ("text", "images", "signals", "companions"):
        importlib.import_module(f"netatlas.sources._transformers_{part}")


def rule(*names: str) -> Callable[[Callable[[Inputs], None]], Callable[[Inputs], None]]:
    def add(function: Callable[[Inputs], None]) -> Callable[[Inputs], None]:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def companion(*names: str) -> Callable[[Callable[[Inputs], None]], Callable[[Inputs], None]]:
    def add(function: Callable[[Inputs], None]) -> Callable[[Inputs], None]:
        COMPANIONS.update(dict.fromkeys(names, function))
        return function

    return add


def pair(size: Any) -> tuple[int, int]:
    """A size as height and width, however the configuration writes it."""
    if isinstance(size, dict):
        size = (size.get("height", size.get("shortest_edge")), size.get("width", size.get("shortest_edge")))
    if isinstance(size, (list, tuple)):
        return (int(size[0]), int(size[-1]))
    return (int(size), int(size))


STEPS = 16
"""Tokens for networks whose recurrence is a Python loop over time: their graph repeats itself at every step, 264,129
operators for zamba at 128 tokens."""

STEPPED = frozenset({"falcon_mamba", "jamba", "mamba", "recurrent_gemma", "rwkv", "zamba"})


def text_length(inputs: Inputs) -> int:
    """`TEXT_LENGTH`, or the positions the network has when they are fewer, or `STEPS`."""
    if inputs.name in STEPPED:
        return STEPS
    most = inputs.text("max_position_embeddings", "n_positions", "max_target_positions")
    return min(TEXT_LENGTH, int(most)) if isinstance(most, int) and most > 8 else TEXT_LENGTH


def plain_token(inputs: Inputs) -> int:
    """An id that means nothing special to the network."""
    special: set[int] = set()
    for config in inputs.configs():
        for key, value in vars(config).items():
            if key.endswith(("token_id", "token_index", "_token")):
                special.update(x for x in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(x, int))
    vocabulary = inputs.text("vocab_size", default=32)
    vocabulary = vocabulary if isinstance(vocabulary, int) and vocabulary > 0 else 32
    return next((i for i in range(5, vocabulary) if i not in special), 0)
