"""Shared part of the transformers source: inputs that describe another input: masks, sizes, places."""

from __future__ import annotations

from netatlas.sources._transformers_inputs import TEXT_LENGTH, Inputs, companion, rule, text_length


@companion("image_sizes")
def _image_sizes(inputs: Inputs) -> None:
    """Height and width of each image, as processors hand them on."""
    import torch

    # llava hands them to towers that cut by them only
    if inputs.name != "llava" and "pixel_values" in inputs.blank and inputs.blank["pixel_values"].dim() >= 4:
        inputs.known["image_sizes"] = torch.tensor([list(inputs.blank["pixel_values"].shape[-2:])])


@companion("image_merge_sizes", "merge_sizes")
def _merge_sizes(inputs: Inputs) -> None:
    import torch

    name = "image_merge_sizes" if "image_merge_sizes" in inputs.params else "merge_sizes"
    inputs.known[name] = torch.ones(1, dtype=torch.long)


@companion("is_longer")
def _is_longer(inputs: Inputs) -> None:
    import torch

    inputs.known["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)


@companion("task_inputs")
def _task_inputs(inputs: Inputs) -> None:
    import torch

    inputs.saw("text")
    inputs.known["task_inputs"] = torch.full((1, int(inputs.field("task_seq_len", default=77))), 5)


@companion("decoder_input_values")
def _decoder_input_values(inputs: Inputs) -> None:
    inputs.blank["decoder_input_values"] = inputs.empty(1, TEXT_LENGTH, int(inputs.field("num_mel_bins", default=80)))
    inputs.blank["speaker_embeddings"] = inputs.empty(1, int(inputs.field("speaker_embedding_dim", default=512)))


@companion("states")
def _states(inputs: Inputs) -> None:
    """A trajectory for the decision transformer: states, actions, rewards."""
    import torch

    inputs.saw("trajectory")
    steps = 20  # the context of the paper's experiments
    for name, width in (
        ("states", inputs.field("state_dim")),
        ("actions", inputs.field("act_dim")),
        ("rewards", 1),
        ("returns_to_go", 1),
    ):
        inputs.blank[name] = inputs.empty(1, steps, int(width))
    inputs.known["timesteps"] = torch.arange(steps)[None]
    inputs.known["attention_mask"] = torch.ones(1, steps, dtype=torch.long)


@companion("aspect_ratio_ids")
def _aspect_ratio_ids(inputs: Inputs) -> None:
    """Tiled images: batch, images, tiles, channels, height, width, of which one tile is used."""
    import torch

    tiles = int(inputs.vision("max_num_tiles", default=4))
    channels, height, width = inputs.blank["pixel_values"].shape[-3:]
    inputs.blank["pixel_values"] = inputs.empty(1, 1, tiles, channels, height, width)
    inputs.known["aspect_ratio_ids"] = torch.ones(1, 1, dtype=torch.long)
    inputs.known["aspect_ratio_mask"] = torch.tensor([[[1] + [0] * (tiles - 1)]])


@companion("cross_attention_mask")
def _cross_attention_mask(inputs: Inputs) -> None:
    import torch

    if "aspect_ratio_ids" in inputs.known and "input_ids" in inputs.known:
        tiles = int(inputs.blank["pixel_values"].shape[2])
        inputs.known["cross_attention_mask"] = torch.ones(1, inputs.known["input_ids"].shape[-1], 1, tiles, dtype=torch.long)


@companion("high_res_pixel_values")
def _high_res_pixel_values(inputs: Inputs) -> None:
    size = int(inputs.field("image_size", first=("high_res_vision_config",), default=1024))
    inputs.blank["high_res_pixel_values"] = inputs.empty(1, 3, size, size)


@companion("bbox")
def _bbox(inputs: Inputs) -> None:
    """Where each word stands on the page."""
    import torch

    if "input_ids" in inputs.known:
        length = int(inputs.known["input_ids"].shape[-1])
        if inputs.name == "udop":  # in parts of the page there
            inputs.blank["bbox"] = inputs.empty(1, length, 4)
        else:
            inputs.known["bbox"] = torch.zeros(1, length, 4, dtype=torch.long)


@companion("query_embeds")
def _query_embeds(inputs: Inputs) -> None:
    if "query_embeds" in inputs.required:
        inputs.saw("image")
        inputs.blank["query_embeds"] = inputs.empty(1, 32, int(inputs.field("hidden_size")))  # 32 queries, as in BLIP-2
        inputs.blank["encoder_hidden_states"] = inputs.empty(
            1, 257, int(inputs.field("encoder_hidden_size"))
        )  # 224 px in patches of 14


@companion("qformer_input_ids")
def _qformer_input_ids(inputs: Inputs) -> None:
    import torch

    inputs.known["qformer_input_ids"] = torch.full((1, 32), 5)


@companion("prompt_pixel_values")
def _prompt_pixel_values(inputs: Inputs) -> None:
    for name in ("prompt_pixel_values", "prompt_masks"):
        inputs.blank[name] = inputs.empty(*inputs.blank["pixel_values"].shape)
    height, width = inputs.blank["pixel_values"].shape[-2:]
    if inputs.name == "seggpt" and height > width:  # the image and its prompt are stacked to the stated size
        for name in ("pixel_values", "prompt_pixel_values", "prompt_masks"):
            inputs.blank[name] = inputs.empty(1, 3, height // 2, width)


@companion("image_embeds_position_mask")
def _image_embeds_position_mask(inputs: Inputs) -> None:
    """The places in the text that image features take."""
    import torch

    if "input_ids" in inputs.known:
        mask = torch.zeros_like(inputs.known["input_ids"])
        mask[:, 1 : 1 + int(inputs.field("latent_query_num", default=64))] = 1
        inputs.known["image_embeds_position_mask"] = mask


@companion("pixel_attention_mask")
def _pixel_attention_mask(inputs: Inputs) -> None:
    """Which tiles are real, for those that insist on it."""
    import torch

    if inputs.name == "granite_docling" and "pixel_values" in inputs.known:
        inputs.known["pixel_attention_mask"] = torch.ones(1, 1, dtype=torch.bool)


@companion("image_attention_mask")
def _image_attention_mask(inputs: Inputs) -> None:
    """Which words may look at which image: all at the one."""
    import torch

    if inputs.name == "idefics" and "input_ids" in inputs.known:
        inputs.known["image_attention_mask"] = torch.ones(1, inputs.known["input_ids"].shape[-1], 1, dtype=torch.long)


@companion("visual_feats")
def _visual_feats(inputs: Inputs) -> None:
    """Regions a detector has found: 36 as in the LXMERT paper, with their boxes."""
    inputs.saw("image")
    inputs.blank["visual_feats"] = inputs.empty(1, 36, int(inputs.field("visual_feat_dim", default=2048)))
    inputs.blank["visual_pos"] = inputs.empty(1, 36, int(inputs.field("visual_pos_dim", default=4)))


@companion("attention_mask")
def _attention_mask(inputs: Inputs) -> None:
    """A mask of ones, for those that cut it up without asking whether there is one."""
    import torch

    if inputs.name == "longt5" and "input_ids" in inputs.known:
        inputs.known["attention_mask"] = torch.ones_like(inputs.known["input_ids"])


@rule("inputs_embeds")
def _inputs_embeds(inputs: Inputs) -> None:
    inputs.saw("text")
    inputs.blank["inputs_embeds"] = inputs.empty(1, text_length(inputs), int(inputs.field("hidden_size")))


@companion("padding_mask")
def _padding_mask(inputs: Inputs) -> None:
    import torch

    if inputs.name == "moss_transcribe_diarize" and "input_features_mask" in inputs.known:
        inputs.known["padding_mask"] = torch.ones_like(inputs.known["input_features_mask"])
    elif inputs.name in ("apertus1p5", "vibevoice", "vibevoice_asr") and "input_values" in inputs.blank:
        inputs.known["padding_mask"] = torch.ones(1, inputs.blank["input_values"].shape[-1], dtype=torch.long)


@companion("input_ids")
def _unnamed(inputs: Inputs) -> None:
    """Inputs that only layers further in name."""
    import torch

    if inputs.name == "voxtral_realtime_text":  # the embedding of the delay between sound and text
        inputs.blank["t_cond"] = inputs.empty(1, 1, int(inputs.field("hidden_size")))
    if inputs.name == "blt":  # bytes grouped by fours, because the network's own grouping follows from what it predicts
        inputs.known["patch_lengths"] = torch.full((1, TEXT_LENGTH // 4), 4)


@companion("marks")
def _marks(inputs: Inputs) -> None:
    """One question with four options, each marked by its last token."""
    import torch

    if "marks" in inputs.required:
        inputs.known["marks"] = torch.tensor([[32, 64, 96, 128]])
        inputs.known["num_options"] = torch.tensor([[4, 4, 4, 4]])
        inputs.known["question_type_ids"] = torch.zeros(1, 4, dtype=torch.long)


@companion("state")
def _state(inputs: Inputs) -> None:
    """A robot's state, and the noise its actions are made from at one step of the flow."""
    if "state" in inputs.required and inputs.name == "pi0":
        inputs.saw("robot-state")
        inputs.blank["state"] = inputs.empty(1, int(inputs.field("max_state_dim")))
        inputs.blank["noise"] = inputs.empty(1, int(inputs.field("chunk_size")), int(inputs.field("max_action_dim")))
        inputs.blank["timestep"] = inputs.empty(1)


@companion("classes_input_ids")
def _classes_input_ids(inputs: Inputs) -> None:
    """Four classes to look for and the sentence that asks for them."""
    import torch

    inputs.saw("text")
    ids = torch.arange(5, 13).repeat(4, 1)
    ids[:, 1] += torch.arange(4)  # no two classes are the same word
    inputs.known |= {
        "classes_input_ids": ids,
        "classes_attention_mask": torch.ones_like(ids),
        "classes_structure": torch.tensor([4]),
    }
    inputs.known |= {"tasks_input_ids": ids[:1], "tasks_attention_mask": torch.ones_like(ids[:1])}
