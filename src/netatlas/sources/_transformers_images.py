"""Shared part of the transformers source: images and videos, whole or cut into patches the way each family wants them."""

from __future__ import annotations

from netatlas.sources._transformers_inputs import Inputs, pair, rule
from netatlas.sources._transformers_signals import acoustic_states

# What processors resize to where the configuration does not say: square sides in pixels, by task.
_SIDES = {
    "object-detection": 800,
    "zero-shot-object-detection": 800,
    "image-segmentation": 512,
    "depth-estimation": 384,
    "keypoint-matching": 480,
}

# The same for types that need another size than their task or their configuration says: height and width.
_SIZES = {
    "depth_pro": (1536, 1536),  # four times its patches
    "perception_lm": (448, 448),
    "pe_audio_video": (336, 336),  # of the timm network inside
    "pe_audio_video_encoder": (336, 336),
    "pe_video": (336, 336),
    "pe_video_encoder": (336, 336),
    "pp_ocrv5_mobile_rec": (48, 320),  # one line of text
    "pp_ocrv5_server_rec": (48, 320),
    "pp_ocrv6_small_rec": (48, 320),
    "pp_ocrv6_tiny_rec": (48, 320),
    "rf_detr": (560, 560),  # ten patches in each of four windows
    "uvdoc": (712, 488),  # a page
}

# Videos go in as images of one clip there.
_CLIPS = {"instructblipvideo": 4, "tvp": 48, "xclip": 8}


def image_side(inputs: Inputs) -> tuple[int, int]:
    """Height and width of the input image in pixels."""
    if inputs.name in _SIZES:
        return _SIZES[inputs.name]
    size = inputs.vision("image_size", "img_size", "input_size", "crop_size", "resolution", "max_img_size")
    if size is not None and not (isinstance(size, int) and size <= 1):
        return pair(size)
    return pair(_SIDES.get(inputs.task, 224))


@rule("pixel_values")
def _pixel_values(inputs: Inputs) -> None:
    import torch

    height, width = image_side(inputs)
    channels = int(inputs.vision("num_channels", "in_channels", "in_chans", default=3))
    inputs.saw("image")
    if inputs.name == "fuyu":
        patch = int(inputs.config.patch_size)
        inputs.blank["pixel_values"] = inputs.empty(1, (height // patch) * (width // patch), channels * patch * patch)
    elif "spatial_shapes" in inputs.params:
        _spatial_shapes(inputs, channels)
    elif "target_sizes" in inputs.params:
        _target_sizes(inputs, channels)
    elif inputs.name.startswith("gemma4") or inputs.name in ("diffusion_gemma", "embedding_gemma2"):
        _positioned_patches(inputs, channels)
    elif "image_grid_pinpoints" in vars(inputs.config) and inputs.config.image_grid_pinpoints:
        inputs.blank["pixel_values"] = inputs.empty(1, _tiles(inputs, height, width), channels, height, width)
    elif grid := next((name for name in ("image_grid_thw", "grid_thw", "image_grid_hw") if name in inputs.params), None):
        _patches(inputs, grid, "pixel_values")
    elif inputs.task == "keypoint-matching":
        inputs.blank["pixel_values"] = inputs.empty(1, 2, channels, height, width)  # a pair of images
    elif inputs.name == "neomme":
        patch = pair(inputs.vision("patch_size"))[0]
        inputs.blank["pixel_values"] = inputs.empty((height // patch) * (width // patch), channels * patch * patch)
    elif inputs.name == "inkling_mm_model":  # patches of two frames, channels last
        inputs.blank["pixel_values"] = inputs.empty(16, 2, 40, 40, channels)
    elif inputs.name == "perception_lm":
        inputs.blank["pixel_values"] = inputs.empty(1, 1, channels, height, width)  # batch, tiles
    elif inputs.name == "pi0":
        inputs.blank["pixel_values"] = inputs.empty(1, 3, channels, height, width)  # three cameras
        inputs.known["pixel_attention_mask"] = torch.ones(1, 3, dtype=torch.bool)
    elif (frames := _clip(inputs)) is not None:
        inputs.modality[:] = ["video" if kind == "image" else kind for kind in inputs.modality]
        inputs.blank["pixel_values"] = inputs.empty(1, frames, channels, height, width)
    elif inputs.name == "idefics":
        inputs.blank["pixel_values"] = inputs.empty(1, 1, channels, height, width)
    elif inputs.name in ("colmodernvbert", "ultravbert") or (
        "pixel_attention_mask" in inputs.params and "spatial_shapes" not in inputs.params
    ):
        # Batch, images of one conversation. Padding images are black and dropped, so this one is white.
        inputs.known["pixel_values"] = torch.ones(1).expand(1, 1, channels, height, width)
    else:
        inputs.blank["pixel_values"] = inputs.empty(1, channels, height, width)


def _clip(inputs: Inputs) -> int | None:
    """Frames of a video, ``None`` for networks that take images."""
    if inputs.task == "video-classification":
        frames = inputs.vision("num_frames", "frames_per_clip")
        return int(frames) if frames else None
    return int(inputs.vision("num_frames", default=_CLIPS[inputs.name])) if inputs.name in _CLIPS else None


def _tiles(inputs: Inputs, height: int, width: int) -> int:
    """How many tiles an image of one tile's size is cut into, the overview included: the library's own rule."""
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    count: int = image_size_to_num_patches([height, width], inputs.config.image_grid_pinpoints, height)
    return count


def _square(inputs: Inputs, side: int) -> tuple[int, int]:
    """Patches along one side of an image of about ``side`` pixels, and the side of a patch in pixels."""
    if (merged := inputs.vision("model_patch_size")) is not None:
        return max(1, round(side / merged)), int(merged)
    patch = pair(inputs.vision("patch_size", default=16))[0]
    merge = pair(
        inputs.vision(
            "spatial_merge_size", "merge_size", "merge_kernel_size", "window_kernel_size", "pooling_kernel_size", default=1
        )
    )
    unit = merge[0] if inputs.vision("downsample_factor") is None else int(inputs.vision("downsample_factor"))
    return max(1, round(side / patch / unit)) * unit, patch


def _spatial_shapes(inputs: Inputs, channels: int) -> None:
    """Patches in a row, a mask of those that are real, and how many high and wide the image is."""
    import torch

    side, patch = _square(inputs, 256)
    inputs.blank["pixel_values"] = inputs.empty(1, side * side, channels * patch * patch)
    inputs.known["pixel_attention_mask"] = torch.ones(1, side * side, dtype=torch.long)
    inputs.known["spatial_shapes"] = torch.tensor([[side, side]])


def _target_sizes(inputs: Inputs, channels: int) -> None:
    """Patches side by side in one long strip, and how many high and wide the image is."""
    import torch

    side, patch = _square(inputs, 448)
    side += side % 4  # two windows of two by two patches are merged, one after the other
    inputs.blank["pixel_values"] = inputs.empty(1, channels, patch, side * side * patch)
    inputs.known["target_sizes"] = torch.tensor([[side, side]])


def _positioned_patches(inputs: Inputs, channels: int) -> None:
    """Patches in a row with their places as (x, y)."""
    import torch

    side, patch = _square(inputs, 768)
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).flip(-1)[None]
    inputs.blank["pixel_values"] = inputs.empty(1, side * side, channels * patch * patch)
    for name in ("image_position_ids", "pixel_position_ids"):
        if name in inputs.params:
            inputs.known[name] = places


@rule("pixel_values_videos")
def _pixel_values_videos(inputs: Inputs) -> None:
    height, width = image_side(inputs)
    inputs.saw("video")
    frames = int(inputs.vision("frames_per_clip", "num_frames", default=16))
    inputs.blank["pixel_values_videos"] = inputs.empty(
        1, frames, int(inputs.vision("num_channels", "in_chans", default=3)), height, width
    )


@rule("flattened_patches")
def _flattened_patches(inputs: Inputs) -> None:
    """Patches in a row, each with its row and column in front."""
    import torch

    inputs.saw("image")
    patch = pair(inputs.vision("patch_size", default=16))[0]
    # 2048 is what the processor fills up to with zeros, which are masked, so these are ones
    inputs.known["flattened_patches"] = torch.ones(1).expand(1, 2048, 2 + 3 * patch * patch)


@rule("hidden_states")
def _hidden_states(inputs: Inputs) -> None:
    if "grid_thw" in inputs.params:
        inputs.saw("image")
        _patches(inputs, "grid_thw", "hidden_states")
    elif inputs.name.startswith("vibevoice_acoustic_tokenizer"):
        acoustic_states(inputs)


def _patches(inputs: Inputs, grid: str, name: str) -> None:
    """An image cut into patches in a row, with its grid: time, height, width in patches."""
    import torch

    patch = pair(inputs.vision("patch_size", default=14))[0]
    merge = pair(inputs.vision("spatial_merge_size", "merge_size", "merge_kernel_size", default=1))[0]
    depth = int(inputs.vision("temporal_patch_size", "patch_temporal", default=1))
    side = max(1, round(224 / patch / merge)) * merge
    channels = int(inputs.vision("num_channels", "in_channels", "in_chans", default=3))
    one = torch.tensor([[1, side, side]])
    inputs.known[grid] = one[:, 1:] if grid == "image_grid_hw" else one
    if inputs.name.startswith("inkling2"):  # the grid counts merged patches there
        inputs.known[grid] = torch.tensor([[1, side // merge, side // merge]])
        inputs.blank[name] = inputs.empty((side // merge) ** 2, merge * patch, merge * patch, channels)
        return
    if inputs.name.startswith(("kimi_k25", "paddleocr_vl")):  # patches keep their two axes there
        inputs.blank[name] = inputs.empty(side * side, channels, patch, patch)
        return
    if inputs.name == "colqwen2":  # padded to the image with most patches
        inputs.blank[name] = inputs.empty(1, side * side, channels * depth * patch * patch)
        return
    inputs.blank[name] = inputs.empty(side * side, channels * depth * patch * patch)
