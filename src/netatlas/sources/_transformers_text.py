"""Shared part of the transformers source: token ids, with as many places for images and sounds as the network makes of them."""

from __future__ import annotations

import inspect
from typing import Any

from netatlas.sources._transformers_inputs import TEXT_LENGTH, Inputs, plain_token, rule, text_length

# Types whose tokens are rows: one of text and one of each codebook of sound, the number of which is stated in these fields.
_CODEBOOK_IDS = {"kyutai_speech_to_text": ("num_codebooks",)}
# The same for types whose decoder writes sound.
_DECODER_CODEBOOKS = {"dia": "num_channels"}

# Tokens an image becomes where the network cannot say so without data.
_FEATURE_COUNTS = {
    ("gemma3n", "audio"): 188,  # padded to that many
    ("pi0", "image"): 3 * 256,  # of each camera
    ("qwen2_audio", "audio"): 750,  # made and merged in one go
    ("musicflamingo", "audio"): 750,  # positions depend on the text they stand in
}


# What is marked in the text by a token of its own, in the order of the library's numbers for them.
_MARKED = (("image", "image_token"), ("video", "video_token"), ("audio", "audio_token"))


@rule("input_ids")
def _input_ids(inputs: Inputs) -> None:
    import torch

    inputs.saw("text")
    plain, length = plain_token(inputs), text_length(inputs)
    if inputs.name in _CODEBOOK_IDS:
        streams = int(inputs.text(*_CODEBOOK_IDS[inputs.name]))
        inputs.known["input_ids"] = torch.full((1, length, streams + 1), plain)
        return
    pieces = [(plain, length // 2, 0)]
    for kind, (modality, marker) in enumerate(_MARKED, start=1):
        token = inputs.field(f"{marker}_id", f"{marker}_index")
        if modality in inputs.modality and isinstance(token, int) and (count := _feature_count(inputs, modality)):
            pieces.append((token, count, kind))
    pieces.append((plain, length - length // 2, 0))
    ids = [token for token, count, _ in pieces for _ in range(count)]
    inputs.known["input_ids"] = torch.tensor([ids])
    if "mm_token_type_ids" in inputs.params:
        kinds = [kind for _, count, kind in pieces for _ in range(count)]
        inputs.known["mm_token_type_ids"] = torch.tensor([kinds], dtype=torch.int32)
    for name in ("token_type_ids", "attention_mask"):
        if name in inputs.required:
            inputs.known[name] = (torch.ones if name == "attention_mask" else torch.zeros)(1, len(ids), dtype=torch.long)


def _feature_count(inputs: Inputs, modality: str) -> int:
    """Tokens an image or a sound becomes: the rows of features the network itself makes of it."""
    import torch

    from netatlas.sources._known_values import following

    if (inputs.name, modality) in _FEATURE_COUNTS:
        return _FEATURE_COUNTS[inputs.name, modality]
    made_by = [f for m in inputs.model.modules() if (f := getattr(m, f"get_{modality}_features", None)) is not None]
    takes = [{*inspect.signature(f).parameters} - {"args"} for f in made_by]
    # Some outer classes hand everything on as *args: the first that names what it takes can be given it
    first = next((i for i, names in enumerate(takes) if names - {"kwargs"}), None)
    if first is None:
        return 0
    function, names = made_by[first], takes[first]
    if "kwargs" in names:  # what it does not name it hands on
        names = set().union(*takes)
    given = {name: value for name, value in {**inputs.known, **inputs.blank}.items() if name in names}
    with torch.no_grad(), following() as follow:
        arguments = {name: value.to("meta") for name, value in given.items()}
        for name, value in inputs.buffers.items():
            follow.learn_copy(inputs.model.get_buffer(name), value)
        for name, value in inputs.known.items():
            if name in arguments:
                follow.learn_copy(arguments[name], value)
        made = function(**arguments, **{k: v for k, v in inputs.flags.items() if k in names})
    if hasattr(made, "to_tuple"):
        made = made.last_hidden_state if getattr(made, "pooler_output", None) is None else made.pooler_output
    return _rows(made)


def _rows(features: Any) -> int:
    if isinstance(features, (list, tuple)):
        return sum(_rows(x) for x in features)
    return int(features.numel() // features.shape[-1]) if features is not None else 0


@rule("decoder_input_ids")
def _decoder_input_ids(inputs: Inputs) -> None:
    import torch

    most = inputs.text("max_target_positions", "max_position_embeddings", "max_length")
    length = min(TEXT_LENGTH, most) if isinstance(most, int) and most > 8 else TEXT_LENGTH
    if inputs.name.startswith("musicgen"):  # codebooks are rows of the batch
        inputs.known["decoder_input_ids"] = torch.full((int(inputs.text("num_codebooks")), length), plain_token(inputs))
        return
    shape = (1, length, int(inputs.text(_DECODER_CODEBOOKS[inputs.name]))) if inputs.name in _DECODER_CODEBOOKS else (1, length)
    inputs.known["decoder_input_ids"] = torch.full(shape, plain_token(inputs))
