"""Shared part of the checkpoint source: names and shapes of tensors to layers, and layers to a chain.

What can be read off: which operator a tensor belongs to, kernel sizes, channels, parameters, the module tree. What cannot:
strides, groups other than depthwise, heads (unless a table has one column each), activations, pooling, and how layers are wired.
Layers are chained in the order of their module paths; queries, keys and values of one attention stand side by side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from netatlas.graph.layer_names import FUSED, KEY, OUT, QUERY, VALUE
from netatlas.graph.ops import FLAGS
from netatlas.targets._checkpoint_tensors import StoredTensor

FIRST = re.compile(
    r"^(stem\w*|\w*patch_embed\w*|conv_stem|conv_first|embed\w*|\w*_embeds?|\w*_embeddings?|wte|wpe|tok\w*|shared|\w*_tokens?|pos_\w+|preprocess\w*)$"
)
LAST = re.compile(
    r"^(head\w*|fc|classifier\w*|\w*_head|score|logits|cls|qa_outputs|pooler|fc_norm|ln_f|final_\w+|embed_out|unembed)$"
)
EMBEDDING = re.compile(r"emb|^(wte|wpe|shared|relative_attention_bias|wt|tokens?)$", re.IGNORECASE)
SCAN = frozenset({"A_log", "A_logs", "A_b_log", "time_decay", "time_first", "time_faaaa", "dt_bias", "D", "D_b", "Ds"})
SCAN_SIGNS = frozenset({"A_log", "A_logs", "time_decay"})
BUFFERS = re.compile(
    r"^(running_mean|running_var|num_batches_tracked|position_ids|inv_freq|masked_bias|attn_mask|relative_position_index|"
    r"relative_coords_table|cos_cached|sin_cached|weight_u|g_idx|qzeros|scales|SCB|weight_format|input_scale|weight_scale\w*|"
    r"absmax|quant_map|nested_absmax|nested_quant_map|\w*scale_inv|activation_post_process|fake_quant_enabled|observer_enabled)$"
)
PACKED = re.compile(r"^(qweight|weight_packed|packed_weight|blocks)$")


@dataclass
class Layer:
    """One operator that a checkpoint gives away.

    Attributes:
        op: Name in the vocabulary.
        path: Module path.
        tensors: The trained tensors it owns.
        attrs: Attributes of `ops.ATTRIBUTES` that shapes tell.
        inputs: Positions of its producers in the list of layers; -1 is the network's input.
        width: Channels it puts out, 0 when unknown.
        fan_in: Channels it reads, 0 when unknown.
    """

    op: str
    path: str
    tensors: list[StoredTensor]
    attrs: dict[str, int] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    width: int = 0
    fan_in: int = 0


@dataclass
class _Module:
    """One module of the tree that dotted names spell."""

    name: str
    path: str
    tensors: dict[str, StoredTensor] = field(default_factory=dict)
    children: dict[str, _Module] = field(default_factory=dict)

    def ordered(self) -> list[_Module]:
        return [self.children[name] for name in sorted(self.children, key=_place)]


def is_parameter(tensor: StoredTensor) -> bool:
    """Whether a tensor is trained, by its dtype and name; running statistics, masks, position numbers and scales are not."""
    leaf = tensor.name.rpartition(".")[2]
    if leaf == "bias" and len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1):  # GPT-2 stored its causal mask as a bias
        return False
    return tensor.is_real and not BUFFERS.match(leaf)


def is_packed(tensor: StoredTensor) -> bool:
    """Whether a tensor holds several weights in each element, so that its shape does not tell their number."""
    leaf = tensor.name.rpartition(".")[2]
    return not tensor.is_real and (bool(PACKED.match(leaf)) or (leaf == "weight" and len(tensor.shape) >= 2))


def guess_layers(tensors: list[StoredTensor]) -> list[Layer]:
    """The chain of layers that the tensors spell, in the order of module paths, numbers as numbers."""
    chain = _Chain()
    chain.module(_tree(tensors))
    layers = chain.finish()
    _mark_depthwise(layers)
    return layers


def _tree(tensors: list[StoredTensor]) -> _Module:
    root = _Module("", "")
    for tensor in tensors:
        *parts, leaf = _plain(tensor.name).split(".")
        module = root
        for part in parts:
            path = f"{module.path}.{part}" if module.path else part
            module = module.children.setdefault(part, _Module(part, path))
        module.tensors[leaf] = tensor
    return root


def _plain(name: str) -> str:
    """A tensor's name without what reparametrisations (weight norm, spectral norm) add to it."""
    found = re.fullmatch(r"(.*?)parametrizations\.(\w+)\.original(\d?)", name)
    if found:
        return f"{found[1]}{found[2]}{'_g' if found[3] == '0' else ''}"
    return re.sub(r"\.weight_(v|orig)$", ".weight", name)


def _place(name: str) -> tuple[int, int, int, tuple[tuple[int, int, str], ...]]:
    """Sort key of siblings: stems first, heads last, then by trailing number, then convolutions, norms and stages, then by name.

    ``conv1 bn1 layer1``, ``conv1 bn1 conv2 bn2 downsample`` and ``layers.2 layers.10`` come out in the order in which they run.
    """
    rank = 0 if FIRST.match(name) else 2 if LAST.match(name) else 1
    number = re.search(r"(\d+)$", name)
    natural = tuple((0, int(x), "") if x.isdigit() else (1, 0, x) for x in re.split(r"(\d+)", name[:400]) if x)
    kind = 0 if re.match(r"conv|fc|linear|lin|dense", name) else 1 if re.match(r"bn|ln|gn|\w*norm", name) else 2
    return rank, int(number[1][-18:]) if number else 2**62, kind, natural


class _Chain:
    """Appends layers, each reading the one before."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self._last = -1
        self._stray: list[StoredTensor] = []

    def module(self, module: _Module) -> None:
        """Append what a module's own tensors make, then its children; attention and scans go before their output layer."""
        core = _core(module)
        taken = {t.name for t in core.tensors} if core else set()
        own = _own_layers(module, {leaf: t for leaf, t in module.tensors.items() if t.name not in taken})
        taken |= {t.name for layer in own for t in layer.tensors}
        # Tensors without an operator of their own belong to the module's layer, or to whatever reads them next.
        spare = [t for t in module.tensors.values() if t.name not in taken and is_parameter(t)]
        for layer in own:
            self._append(layer)
        owner = core or (own[-1] if own else None)
        if owner:
            owner.tensors += spare
        else:
            self._stray += spare
        children = module.ordered()
        if core:
            self._core(core, [child for child in children if child.name not in OUT])
            children = [child for child in children if child.name in OUT]
        for child in children:
            self.module(child)

    def finish(self) -> list[Layer]:
        """All layers; tensors that nothing follows go to the last one."""
        if self._stray:
            if not self.layers:
                self._append(Layer("add", "", []))
            self.layers[-1].tensors += self._stray
            self._stray = []
        return self.layers

    def _append(self, layer: Layer, inputs: list[int] | None = None) -> None:
        layer.inputs = [self._last] if inputs is None else inputs
        layer.tensors += self._stray
        self._stray = []
        self.layers.append(layer)
        self._last = len(self.layers) - 1

    def _core(self, core: Layer, children: list[_Module]) -> None:
        """Append a scan after everything it reads, or an attention after projections that stand side by side."""
        projections = [c for c in children if c.name in QUERY | KEY | VALUE] if core.op == "attention" else []
        norms = {c.name[0]: c for c in children if projections and re.fullmatch(r"[qk]_?(norm|layernorm|ln)", c.name)}
        side = {c.path for c in (*projections, *norms.values())}
        for child in children:
            if child.path not in side:
                self.module(child)
        start, read = self._last, []
        for child in projections:
            self._last = start
            self.module(child)
            kind = "q" if child.name in QUERY else "k" if child.name in KEY and child.name not in VALUE else ""
            if kind in norms:
                self.module(norms.pop(kind))
            read.append(self._last)
        self._append(core, sorted(set(read)) if read else None)
        for child in norms.values():
            self.module(child)


def _core(module: _Module) -> Layer | None:
    """The attention or scan that a module computes between its children, with the tensors of its own it needs for that."""
    names, own = set(module.children), module.tensors
    tables = [
        t for leaf, t in own.items() if leaf in ("relative_position_bias_table", "logit_scale", "bias_k", "bias_v", "sinks")
    ]
    split = names & QUERY and names & KEY and names & VALUE
    if split or names & FUSED or {"in_proj_weight", "q_proj_weight"} & set(own):
        return Layer("attention", module.path, tables, _attention_attributes(module))
    if SCAN_SIGNS & set(own):
        return Layer("scan", module.path, [t for leaf, t in own.items() if leaf in SCAN])
    return None


def _attention_attributes(module: _Module) -> dict[str, int]:
    attrs: dict[str, int] = {}
    table = module.tensors.get("relative_position_bias_table")
    if table is not None and len(table.shape) == 2:  # (offsets, heads)
        attrs = {"heads": table.shape[1], "flags": FLAGS["biased"]}
    rows = {}
    for kind, names in (("q", QUERY), ("k", KEY)):
        found = [
            c.tensors["weight"].shape[0]
            for n, c in module.children.items()
            if n in names and "weight" in c.tensors and c.tensors["weight"].shape
        ]
        rows[kind] = found[0] if len(found) == 1 else 0
    plain = not any(n.startswith("kv") or n.endswith("_kv") for n in module.children)
    if plain and 0 < rows["k"] < rows["q"]:
        attrs["flags"] = attrs.get("flags", 0) | FLAGS["grouped_query"]
    return attrs


def _own_layers(module: _Module, tensors: Mapping[str, StoredTensor]) -> list[Layer]:
    """The layers that a module's own tensors make, usually one."""
    trained = {leaf: t for leaf, t in tensors.items() if is_parameter(t) or is_packed(t)}
    recurrent = _recurrence(module, trained)
    if recurrent:
        return [recurrent]
    if "running_mean" in tensors:
        return [_layer("instance_norm" if "inst" in module.name.lower() else "batch_norm", module, trained, ("weight", "bias"))]
    packed = next((t for leaf, t in trained.items() if is_packed(t)), None)
    if packed is not None:
        return [Layer("linear", module.path, [t for t in trained.values() if is_parameter(t)])]
    if "in_proj_weight" in trained or "q_proj_weight" in trained:
        layer = _layer(
            "linear", module, trained, ("in_proj_weight", "in_proj_bias", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        )
        layer.fan_in = layer.tensors[0].shape[-1] if layer.tensors[0].shape else 0
        return [layer]
    weight = trained.get("weight", trained.get("kernel"))
    if weight is not None:
        return [_weighted(module, weight, trained)]
    if "gamma" in trained and "beta" in trained:
        return [_layer("layer_norm", module, trained, ("gamma", "beta"))]
    return [bare for leaf, t in sorted(trained.items()) if (bare := _bare(module, leaf, t))]


def _layer(op: str, module: _Module, trained: Mapping[str, StoredTensor], leaves: tuple[str, ...]) -> Layer:
    return Layer(op, module.path, [trained[leaf] for leaf in leaves if leaf in trained])


def _weighted(module: _Module, weight: StoredTensor, trained: Mapping[str, StoredTensor]) -> Layer:
    """The layer of a module with a weight, by the number of the weight's axes, then by name."""
    layer = Layer("", module.path, [weight, *(trained[leaf] for leaf in ("bias", "weight_g") if leaf in trained)])
    name, shape = module.name.lower(), weight.shape
    is_norm = "norm" in name or re.fullmatch(r"(bn|ln|gn)_?\w{0,3}", name) is not None
    if len(shape) in (3, 4, 5) and not (is_norm and shape.count(1) >= len(shape) - 1):
        _convolution(layer, module, shape)
    elif (
        len(shape) == 2
        and EMBEDDING.search(module.name)
        and "bias" not in trained
        and not name.startswith(("unembed", "embed_out"))
    ):
        layer.op, layer.width = "embedding", shape[1]
    elif len(shape) == 2:
        layer.op, layer.width, layer.fan_in = "linear", *_linear_sizes(shape, trained.get("bias"))
    else:
        layer.op = _normalisation(name, weight, "bias" in trained, is_norm)
    return layer


def _linear_sizes(shape: tuple[int, ...], bias: StoredTensor | None) -> tuple[int, int]:
    """Outputs and inputs; the bias tells the two apart where a library stores the weight transposed, as GPT-2 does."""
    if bias is not None and bias.shape == (shape[1],) != (shape[0],):
        return shape[1], shape[0]
    return shape[0], shape[1]


def _convolution(layer: Layer, module: _Module, shape: tuple[int, ...]) -> None:
    transposed = re.search(r"deconv|upconv|conv_?t(?:$|_)|transpose", module.path.lower().rpartition(".")[2])
    layer.op = "conv_transpose" if transposed else "conv"
    layer.width, layer.fan_in = (shape[1], shape[0]) if transposed else (shape[0], shape[1])
    for axis, size in zip(("kernel_w", "kernel_h", "kernel_d"), reversed(shape[2:]), strict=False):
        layer.attrs[axis] = size


def _normalisation(name: str, weight: StoredTensor, biased: bool, is_norm: bool) -> str:
    if "prelu" in name or (weight.elements == 1 and not is_norm) or (re.fullmatch(r"(act|relu)\w*", name) and not is_norm):
        return "prelu"
    if re.match(r"gn|group_?norm", name):
        return "group_norm"
    if "rms" in name or not biased:  # nearly all norms without a bias are RMS norms, those that call themselves layernorm too
        return "rms_norm"
    return "layer_norm"


def _recurrence(module: _Module, trained: Mapping[str, StoredTensor]) -> Layer | None:
    """LSTM, GRU or plain recurrence by the ratio of gates to state."""
    inner = trained.get("weight_hh_l0", trained.get("weight_hh"))
    outer = trained.get("weight_ih_l0", trained.get("weight_ih"))
    if inner is None or outer is None or len(inner.shape) != 2 or not inner.shape[1]:
        return None
    projection = trained.get("weight_hr_l0")
    hidden = projection.shape[1] if projection is not None and len(projection.shape) == 2 else inner.shape[1]
    op = {4: "lstm", 3: "gru", 1: "rnn"}.get(outer.shape[0] // max(hidden, 1))
    if op is None:
        return None
    attrs = {"flags": FLAGS["bidirectional"]} if "weight_ih_l0_reverse" in trained else {}
    owned = [t for leaf, t in trained.items() if leaf.startswith(("weight_", "bias_"))]
    return Layer(op, module.path, owned, attrs, width=inner.shape[1], fan_in=outer.shape[-1])


def _bare(module: _Module, leaf: str, tensor: StoredTensor) -> Layer | None:
    """A layer for a parameter that is no module's weight (a position table, class token, layer scale, expert), or ``None``."""
    name = leaf.lower()
    if re.search(r"pos_?emb|position_embed|pos_enc", name):
        return Layer("add", module.path, [tensor])
    if re.search(r"(cls|class|reg|dist|mask|distillation|register)_?(token|embedding)", name):
        return Layer("concat", module.path, [tensor])
    if re.match(r"(gamma|lambda|layer_?scale|alpha)", name) and len(tensor.shape) <= 1:
        return Layer("mul", module.path, [tensor])
    if "expert" in module.path.lower() and len(tensor.shape) >= 3:
        return Layer("matmul", module.path, [tensor])
    return None


def _mark_depthwise(layers: list[Layer]) -> None:
    """A convolution whose weight has one input channel is depthwise if an earlier layer puts out as many channels as it does.

    The first convolution is exempt: with one input channel it reads grey images or mono sound.
    """
    widths = {layer.width for layer in layers if layer.op != "conv" or layer.fan_in != 1}
    first = True
    for layer in layers:
        if layer.op == "conv":
            if layer.fan_in == 1 and layer.width > 1 and not first and any(w > 1 and layer.width % w == 0 for w in widths):
                layer.attrs["groups"] = layer.width
                layer.fan_in = layer.width
            first = False
