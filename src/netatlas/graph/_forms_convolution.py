"""Named motifs: kinds of convolution, stems, changes of resolution."""

from __future__ import annotations

from collections.abc import Iterator

from netatlas.graph._forms_base import ACTIVATIONS, NORMS, PLAIN, Nodes, View, form

# ---------------------------------------------------------------- convolutions


@form("depthwise_conv")
def _depthwise(f: View) -> Iterator[Nodes]:
    """A convolution of every channel by itself."""
    return ((i,) for i in f.of("conv") if f.is_depthwise(i))


@form("pointwise_conv")
def _pointwise(f: View) -> Iterator[Nodes]:
    """A 1x1 convolution over all channels."""
    return ((i,) for i in f.of("conv") if f.is_pointwise(i))


@form("grouped_conv")
def _grouped(f: View) -> Iterator[Nodes]:
    """A convolution in groups of several channels."""
    return ((i,) for i in f.of("conv") if f.is_grouped(i))


@form("dilated_conv")
def _dilated(f: View) -> Iterator[Nodes]:
    """A convolution that reads every second or further position."""
    return ((i,) for i in f.of("conv") if f.attr(i, "dilation") > 1 and max(f.kernel(i), default=1) > 1)


@form("large_kernel_conv")
def _large_kernel(f: View) -> Iterator[Nodes]:
    """A convolution of at least 7 x 7 after the stem.

    Not the stem, which reads an image, nor a fully connected layer written as a convolution.
    """
    for i in f.of("conv"):
        wide = len(f.kernel(i)) >= 2 and min(f.kernel(i)) >= 7 and (f.inner(i) > 4 or f.is_depthwise(i))
        if wide and max(f.shape[i][-len(f.kernel(i)) :]) > 1:
            yield (i,)


@form("separable_conv")
def _separable(f: View) -> Iterator[Nodes]:
    """A depthwise convolution, then a pointwise one."""
    for i in f.of("conv", "linear"):
        before = f.previous(i)
        if f.is_pointwise(i) and before is not None and f.is_depthwise(before):
            yield before, i


@form("partial_conv")
def _partial(f: View) -> Iterator[Nodes]:
    """A convolution of some channels beside the others as they are (FasterNet)."""
    for i in f.binary("concat"):
        for branch, whole in (f.ins[i], f.ins[i][::-1]):
            if f.names[branch] == "conv" and f.ins[branch] == (whole,) and f.inner(branch) > 1 and f.reads_part(branch):
                yield branch, i


@form("weight_standardisation")
def _standardised(f: View) -> Iterator[Nodes]:
    """A convolution whose weights are normalised before use."""
    return ((i,) for i in f.of("conv") if f.flag(i, "standardised"))


# ---------------------------------------------------------------- stems


def _first_convolutions(f: View) -> Iterator[int]:
    return (i for i in f.of("conv") if f.ins[i] and f.names[f.ins[i][0]] == "input" and len(f.kernel(i)) >= 2)


def _only_user(f: View, node: int) -> int | None:
    users = set(f.users[node])
    return users.pop() if len(users) == 1 else None


@form("patch_embedding")
def _patch_embedding(f: View) -> Iterator[Nodes]:
    """An image cut into patches that do not overlap, each projected to a token."""
    for i in _first_convolutions(f):
        if f.stride(i) >= 4 and min(f.kernel(i)[-2:]) == f.stride(i):
            yield (i,)
    for i in f.of("linear"):  # patches cut out by reshaping
        if f.ins[i] and f.names[f.ins[i][0]] == "input" and len(f.shape[f.ins[i][0]]) == 4 and len(f.shape[i]) == 3:
            yield (i,)


@form("overlapping_patch_embedding")
def _overlapping(f: View) -> Iterator[Nodes]:
    """A strided convolution wider than its stride with a layer norm right behind it (PVTv2, SegFormer, CvT)."""
    for i in f.of("conv"):
        if f.stride(i) < 2 or len(f.kernel(i)) != 2 or min(f.kernel(i)) <= f.stride(i) or f.is_depthwise(i):
            continue
        norm = _only_user(f, i)
        if norm is not None and f.names[norm] == "layer_norm" and not any(f.names[u] in ACTIVATIONS for u in f.users[norm]):
            yield i, norm


@form("convolution_stem")
def _stem(f: View) -> Iterator[Nodes]:
    """A first convolution whose windows overlap."""
    return ((i,) for i in _first_convolutions(f) if f.stride(i) < min(f.kernel(i)[-2:]))


def _stem_path(f: View) -> Iterator[list[int]]:
    """From every first convolution down as long as there is one way, through convolutions, norms, activations and max pools."""
    for i in _first_convolutions(f):
        path, node = [i], _only_user(f, i)
        while node is not None and len(path) < 20 and (f.names[node] in PLAIN or f.names[node] in ("conv", "max_pool")):
            path.append(node)
            node = _only_user(f, node)
        yield path


@form("deep_stem")
def _deep_stem(f: View) -> Iterator[Nodes]:
    """Three or more small convolutions in a row before anything else (ResNet-D, LeViT)."""
    for path in _stem_path(f):
        small: list[int] = []
        for i in path:
            if f.names[i] == "conv":
                if not f.is_spatial(i) or max(f.kernel(i)) > 3:
                    break
                small.append(i)
            elif f.names[i] == "max_pool":
                break
        if 3 <= len(small) <= 6:
            yield tuple(small)


@form("pooled_stem")
def _pooled_stem(f: View) -> Iterator[Nodes]:
    """One convolution of the image and a max pool (ResNet)."""
    for path in _stem_path(f):
        pool = next((i for i in path if f.names[i] == "max_pool"), None)
        if pool is not None and sum(f.names[i] == "conv" for i in path if i < pool) == 1:
            yield path[0], pool


# ---------------------------------------------------------------- changes of resolution


@form("patch_downsampling")
def _patch_downsampling(f: View) -> Iterator[Nodes]:
    """A strided convolution inside the network whose windows do not overlap (ConvNeXt)."""
    for i in f.of("conv"):
        inside = f.ins[i] and f.names[f.ins[i][0]] != "input"
        if inside and len(f.kernel(i)) == 2 and set(f.kernel(i)) == {f.stride(i)} != {1} and f.attr(i, "groups") <= 1:
            yield (i,)


@form("patch_merging")
def _patch_merging(f: View) -> Iterator[Nodes]:
    """Four neighbouring tokens laid side by side and projected to one (Swin)."""
    for i in f.of("linear"):
        if not f.ins[i]:
            continue
        inner = f.inner(i)
        source = f.back(f.ins[i][0], NORMS)
        width = f.width(source)
        if width and inner == 4 * width and f.channels(i) < inner and f.names[source] != "input" and _fewer(f, source, i):
            yield (i,)


def _fewer(f: View, source: int, node: int) -> bool:
    """Whether a node has a fourth of the tokens of its source."""
    return bool(f.numel[source] // f.width(source) == 4 * (f.numel[node] // max(f.width(node), 1)))


@form("antialiased_downsampling")
def _antialiased(f: View) -> Iterator[Nodes]:
    """A strided blur, a fixed depthwise convolution, for shift invariance."""
    for i in f.of("conv"):
        if f.params[i] == 0 and len(f.ins[i]) == 1 and f.stride(i) > 1 and f.is_depthwise(i) and not f.flag(i, "shared"):
            yield (i,)


@form("transposed_upsampling")
def _transposed(f: View) -> Iterator[Nodes]:
    """A transposed convolution that raises the resolution."""
    return ((i,) for i in f.of("conv_transpose") if f.stride(i) > 1)


@form("interpolated_upsampling")
def _interpolated(f: View) -> Iterator[Nodes]:
    """A map enlarged by interpolation between its values."""
    for i in f.of("upsample"):
        small = f.shape[f.ins[i][0]] if f.ins[i] else ()
        if len(small) >= 3 and len(f.shape[i]) >= 3 and max(small[2:]) > 1 and f.numel[i] > f.numel[f.ins[i][0]]:
            yield (i,)


@form("pixel_shuffle_upsampling")
def _pixel_shuffle(f: View) -> Iterator[Nodes]:
    """Channels laid out as pixels of a larger map."""
    return ((i,) for i in f.of("pixel_shuffle") if f.ins[i] and f.width(i) > f.width(f.ins[i][0]))
