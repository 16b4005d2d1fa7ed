"""PyTorch's ATen operators in the vocabulary of netatlas.

`Recorder.call` appends one ATen call to a capture. Tensors among its arguments are `Ref`; everything else is a plain Python value.
Arguments are looked up by the names of the operator's schema, so that overloads and default values need no care.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netatlas.graph import costs
from netatlas.graph.ops import FLAGS
from netatlas.graph.raw import Capture


@dataclass(frozen=True)
class Ref:
    """A tensor of a capture: the node that made it, its shape and whether it is floating point or complex."""

    node: int
    shape: tuple[int, ...]
    real: bool

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


Args = Mapping[str, Any]
Result = Ref | list[Any] | None
Handler = Callable[["Recorder", str, Args, list[Ref]], Result]
HANDLERS: dict[str, Handler] = {}


def handles(*names: str) -> Callable[[Handler], Handler]:
    """Decorator: the function records the ATen operators of these names (without overload and in-place underscore)."""

    def add(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return add


class Recorder:
    """Appends ATen calls to a capture.

    Attributes:
        capture: What has been recorded.
        scope: Scope number given to the nodes that follow.
    """

    def __init__(self) -> None:
        self.capture = Capture()
        self.scope = 0
        self._replaced: dict[int, int] = {}
        self._slices: dict[tuple[int, Any], int] = {}
        self._unknown: dict[str, int] = {}

    def add(self, op: str, inputs: Sequence[Ref], out: Ref, macs: int = 0, **attrs: Any) -> Ref:
        """Append a node that produces ``out`` (whose ``node`` is ignored) and return its reference."""
        nodes = [self._current(x.node) for x in inputs]
        node = self.capture.add(op, nodes, shape=out.shape, real=out.real, attrs=attrs, macs=macs, scope=self.scope)
        return Ref(node, out.shape, out.real)

    def constant(self, out: Ref, name: str = "") -> Ref:
        """A buffer, literal or newly created tensor."""
        node = self.capture.add("constant", shape=out.shape, real=out.real, scope=self.scope, tensor=name)
        return Ref(node, out.shape, out.real)

    def cut(self, source: Ref, out: Ref, key: Any) -> Ref:
        """A slice of ``source``; equal cuts of one tensor are one node."""
        place = (self._current(source.node), key)
        if place not in self._slices:
            self._slices[place] = self.add("slice", [source], out, key=repr(key)).node
        return Ref(self._slices[place], out.shape, out.real)

    def call(self, name: str, args: Args, outs: list[Ref]) -> Result:
        """Record one call.

        Args:
            name: ATen name without namespace and overload, such as ``"conv2d"`` or ``"relu_"``.
            args: All arguments by schema name, tensors as `Ref`.
            outs: Shape and type of each output tensor, in order; their ``node`` is not read.

        Returns:
            A `Ref` per output: one, a list of them for several, ``None`` for none.
        """
        inplace = name.endswith("_") and not name.endswith("__") and name[:-1] in HANDLERS
        handler = HANDLERS.get(name[:-1] if inplace else name)
        if handler is None:
            return self._foreign(name, args, outs)
        result = handler(self, name.rstrip("_") if inplace else name, args, outs)
        if inplace and isinstance(result, Ref):
            self._write(next(iter(args.values())), result)
        return result

    def finish(self, outputs: list[Ref]) -> Capture:
        """The capture with its outputs set."""
        self.capture.outputs = [self._current(x.node) for x in outputs]
        self.capture.unknown = dict(self._unknown)
        return self.capture

    def _foreign(self, name: str, args: Args, outs: list[Ref]) -> Result:
        if not outs:
            return None
        self._unknown[name] = self._unknown.get(name, 0) + 1
        ref = self.add("unknown", refs(args), outs[0])
        self.capture.nodes[ref.node].foreign = name
        return ref if len(outs) == 1 else [Ref(ref.node, out.shape, out.real) for out in outs]

    def _write(self, target: Any, value: Ref) -> None:
        """After an in-place operator, the tensor written to is the result; a write to a view changes the tensor it looks into."""
        if not isinstance(target, Ref):
            return
        node, base = self._current(target.node), target.node
        while self.capture.nodes[base].op in ("view", "slice") and self.capture.nodes[base].inputs:
            base = self.capture.nodes[base].inputs[0]
        if base == target.node or base == node:
            self._replaced[node] = value.node
        else:
            old = self.capture.nodes[self._current(base)]
            merged = self.capture.add(
                "scatter", [self._current(base), value.node], shape=old.shape, real=old.real, scope=self.scope
            )
            self._replaced[self._current(base)] = merged
            self._replaced[node] = value.node

    def _current(self, node: int) -> int:
        while node in self._replaced:
            node = self._replaced[node]
        return node


def refs(args: Args) -> list[Ref]:
    """The tensors among the arguments, in order, also within lists."""
    found: list[Ref] = []
    for value in args.values():
        if isinstance(value, Ref):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found.extend(x for x in value if isinstance(x, Ref))
    return found


def _scalar(*values: Any) -> dict[str, Any]:
    """``scalar`` of an arithmetic node when one operand is a number."""
    for position, value in enumerate(values):
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"scalar": float(value), "scalar_first": position == 0}
    return {}


def _tuple(value: Any, length: int) -> tuple[int, ...]:
    values = tuple(int(x) for x in value) if isinstance(value, (list, tuple)) else (int(value),)
    return values * length if len(values) == 1 else values


def spatial(kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int] = (1,), groups: int = 0) -> dict[str, int]:
    """Attributes of a convolution or pool over one to three axes."""
    axes = ("d", "h", "w")[3 - len(kernel) :]
    found = {f"kernel_{axis}": int(k) for axis, k in zip(axes, kernel, strict=True)}
    found |= {f"stride_{axis}": int(s) for axis, s in zip(axes, _tuple(stride, len(kernel)), strict=True)}
    return found | {"dilation": max(dilation), "groups": groups}


# ---------------------------------------------------------------- views and bookkeeping


@handles(
    "view", "reshape", "reshape_as", "_unsafe_view", "_reshape_alias", "permute", "transpose", "t", "flatten", "squeeze", "unsqueeze", "expand",
    "expand_as", "contiguous", "clone", "alias", "detach", "lift_fresh_copy", "lift_fresh", "lift", "_to_copy", "to", "type_as",
    "dropout", "alpha_dropout", "feature_dropout", "native_dropout", "view_as", "unflatten", "movedim", "moveaxis", "swapaxes",
    "mT", "mH", "numpy_T", "adjoint", "as_strided", "view_as_complex", "view_as_real", "real", "repeat", "tile", "broadcast_to",
    "channel_shuffle", "native_channel_shuffle", "resolve_conj", "resolve_neg", "conj", "_conj", "atleast_1d", "atleast_2d",
    "atleast_3d", "float", "double", "half", "requires_grad", "squeeze_copy", "identity", "nan_to_num", "ravel",
    "repeat_interleave", "rename", "refine_names", "matrix_H", "positive", "bfloat16", "pin_memory", "_add_batch_dim", "_remove_batch_dim", "flat_apply", "_autocast_to_full_precision",
    "_autocast_to_reduced_precision", "convert_element_type", "swapdims",
)  # fmt: skip
def _view(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    sources = refs(args)
    if not sources:
        return r.constant(outs[0])
    grown = outs[0].numel > sources[0].numel
    ref = r.add("view", sources[:1], outs[0], **({"repeat": True} if grown else {}))
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("slice", "select", "narrow", "diagonal", "imag", "index_copy_slice", "unsafe_select")
def _slice(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    if source.shape == outs[0].shape:
        return r.add("view", [source], outs[0])
    key = (name, tuple(repr(x) for x in args.values() if not isinstance(x, Ref)))
    return r.cut(source, outs[0], key)


@handles("split", "split_with_sizes", "chunk", "unbind", "tensor_split", "unsafe_chunk", "unsafe_split", "hsplit", "vsplit")
def _split(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    if len(outs) == 1:
        return [r.add("view", [source], outs[0])]
    rest = tuple(repr(x) for x in args.values() if not isinstance(x, Ref))
    return [r.cut(source, out, ("split", rest, i)) for i, out in enumerate(outs)]


@handles(
    "zeros", "ones", "full", "arange", "empty", "eye", "linspace", "logspace", "scalar_tensor", "zeros_like", "ones_like",
    "full_like", "empty_like", "new_zeros", "new_ones", "new_full", "new_empty", "empty_strided", "new_empty_strided",
    "tril_indices", "triu_indices", "hann_window", "hamming_window", "kaiser_window", "empty_permuted", "_pin_memory", "zero",
)  # fmt: skip
def _create(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.constant(outs[0])


@handles("rand", "randn", "rand_like", "randn_like", "randint", "randperm", "bernoulli", "multinomial", "normal", "randint_like",
         "uniform", "exponential", "native_bernoulli", "normal_functional")  # fmt: skip
def _random(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.constant(outs[0])


@handles("fill", "copy", "set", "set_data")
def _overwrite(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    sources = refs(args)
    return r.add("view", sources[1:], outs[0]) if len(sources) > 1 else r.constant(outs[0])


@handles("_assert_tensor_metadata", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size", "_assert_scalar",
         "item", "_local_scalar_dense", "sym_size", "sym_numel", "manual_seed")  # fmt: skip
def _nothing(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.constant(outs[0]) if outs else None


# ---------------------------------------------------------------- operators with weights


@handles("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
         "mkldnn_convolution", "convolution_overrideable")  # fmt: skip
def _conv(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    x, weight, bias, out = args["input"], args["weight"], args.get("bias"), outs[0]
    transposed = "transpose" in name or bool(args.get("transposed"))
    kernel = weight.shape[2:]
    attrs = spatial(kernel, args["stride"], _tuple(args["dilation"], 1), int(args["groups"]))
    macs = costs.conv_transpose_macs(x.shape, weight.shape) if transposed else costs.conv_macs(out.shape, weight.shape)
    operands = [x, weight, *([bias] if isinstance(bias, Ref) else [])]
    return r.add("conv_transpose" if transposed else "conv", operands, out, macs, **attrs)


@handles("deform_conv2d")
def _deform_conv(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    weight = args["weight"]
    stride = (args.get("stride_h", 1), args.get("stride_w", 1))
    attrs = spatial(weight.shape[2:], stride, (int(args.get("dilation_h", 1)),), int(args.get("groups", 1)))
    return r.add("deform_conv", refs(args), outs[0], costs.conv_macs(outs[0].shape, weight.shape), **attrs)


@handles("linear", "mkldnn_linear")
def _linear(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    x, weight, bias = args["input"], args["weight"], args.get("bias")
    operands = [x, weight, *([bias] if isinstance(bias, Ref) else [])]
    return r.add("linear", operands, outs[0], costs.matmul_macs(outs[0].shape, x.shape[-1]))


@handles("matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "linalg_matmul", "_grouped_mm", "tensordot", "outer", "ger", "kron",
         "chain_matmul", "linalg_multi_dot", "addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation", "_scaled_mm",
         "_int_mm")  # fmt: skip
def _matmul(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    operands = refs(args)
    added = operands.pop(0) if name.startswith(("add", "badd")) and len(operands) == 3 else None
    out, left = outs[0], operands[0]
    macs = costs.matmul_macs(out.shape, left.shape[-1] if left.shape and name not in ("outer", "ger", "kron") else 1)
    if name in ("addmm", "addmv") and added is not None:  # how a linear layer looks below autograd
        return r.add("matmul", [*operands, added], out, macs, bias=True)
    product = r.add("matmul", operands, out, macs)
    return product if added is None else r.add("add", [product, added], out)


@handles("einsum")
def _einsum(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    operands = refs(args)
    if len(operands) == 1:
        smaller = outs[0].numel < operands[0].numel
        return r.add("sum" if smaller else "view", operands, outs[0])
    equation = str(args["equation"])
    return r.add("matmul", operands, outs[0], costs.einsum_macs(equation, [x.shape for x in operands]), equation=equation)


@handles("bilinear", "_trilinear")
def _bilinear(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    operands = refs(args)
    macs = outs[0].numel * math.prod(operands[2].shape[1:]) if len(operands) > 2 else 0
    return r.add("bilinear", operands, outs[0], macs)


@handles("embedding", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def _embedding(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("embedding", [args["indices"], args["weight"]], outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell")
def _recurrent(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    operands = refs(args)
    x = operands[0]
    weights = [y for y in operands[1:] if len(y.shape) == 2 and r.capture.nodes[y.node].op in ("parameter", "constant", "view")]
    steps = math.prod(x.shape[:-1])
    flags = FLAGS["bidirectional"] if args.get("bidirectional") else 0
    macs = costs.recurrent_macs(steps, sum(w.numel for w in weights))
    ref = r.add(name.removesuffix("_cell").split("_")[0], operands, outs[0], macs, flags=flags)
    return [Ref(ref.node, out.shape, out.real) for out in outs] if len(outs) > 1 else ref


# ---------------------------------------------------------------- attention


@handles(
    "scaled_dot_product_attention", "_scaled_dot_product_attention_math", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention", "_scaled_dot_product_fused_attention_overrideable",
)  # fmt: skip
def _attention(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    q, k, v = args["query"], args["key"], args["value"]
    mask = args.get("attn_mask") or args.get("attn_bias")
    flags = FLAGS["causal"] * bool(args.get("is_causal"))
    macs = costs.attention_macs(q.shape, k.shape[-2], v.shape[-1])
    heads = q.shape[-3] if len(q.shape) >= 4 else 1
    if len(k.shape) >= 4 and k.shape[-3] < heads:
        flags |= FLAGS["grouped_query"]
    operands = [q, k, v, *([mask] if isinstance(mask, Ref) else [])]
    windows = math.prod(q.shape[:-3]) if len(q.shape) >= 4 else 1
    ref = r.add("attention", operands, outs[0], macs, heads=heads, flags=flags | FLAGS["windowed"] * (windows > 1))
    return ref if len(outs) == 1 else [ref] * len(outs)


# ---------------------------------------------------------------- norms


@handles("batch_norm", "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
         "_batch_norm_no_update", "_batch_norm_with_update")  # fmt: skip
def _batch_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    statistics = ("running_mean", "running_var")
    ref = r.add("batch_norm", [x for key, x in args.items() if isinstance(x, Ref) and key not in statistics], outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("layer_norm", "native_layer_norm")
def _layer_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("layer_norm", refs(args), outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("group_norm", "native_group_norm")
def _group_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("group_norm", refs(args), outs[0], groups=int(args.get("num_groups", args.get("group", 0))))
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("instance_norm")
def _instance_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("instance_norm", [x for key, x in args.items() if isinstance(x, Ref) and "running" not in key], outs[0])


@handles("rms_norm", "_fused_rms_norm")
def _rms_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("rms_norm", refs(args), outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


# ---------------------------------------------------------------- activations


_SAME_NAME = (
    "relu relu6 elu selu silu mish sigmoid hardsigmoid hardswish tanh softplus exp log erf sin cos threshold sqrt rsqrt abs neg "
    "sign logsumexp argmax prod maximum minimum roll flip pixel_shuffle nms cumsum grid_sampler one_hot"
)  # fmt: skip
_RENAMED = {
    "celu": "elu", "rrelu": "leaky_relu", "leaky_relu": "leaky_relu", "log2": "log", "log10": "log", "log1p": "log", "expm1": "exp",
    "exp2": "exp", "log_sigmoid": "softplus", "log_sigmoid_forward": "softplus", "softsign": "softsign", "erfinv": "erf",
    "erfc": "erf", "tan": "sin", "arctan": "tanh", "atan": "tanh", "atan2": "tanh", "asin": "sin", "acos": "cos", "sinh": "exp",
    "cosh": "exp", "asinh": "log", "special_i1": "exp", "i0": "exp", "special_expit": "sigmoid",
    "special_logit": "log", "logit": "log", "atanh": "log", "arctanh": "log", "angle": "complex", "sinc": "sin",
    "softmax": "softmax", "_softmax": "softmax", "_safe_softmax": "softmax", "special_softmax": "softmax",
    "log_softmax": "log_softmax", "_log_softmax": "log_softmax", "floor": "round", "ceil": "round", "trunc": "round", "fix": "round",
    "frac": "round", "sgn": "sign", "round": "round", "negative": "neg", "absolute": "abs", "heaviside": "sign", "argmin": "argmax",
    "cumprod": "cumulative", "cummax": "cumulative", "cummin": "cumulative", "logcumsumexp": "cumulative", "cumsum": "cumulative",
    "cumulative_trapezoid": "cumulative", "pixel_unshuffle": "pixel_shuffle", "im2col": "unfold", "unfold": "unfold",
    "unfold_copy": "unfold", "col2im": "fold", "grid_sampler": "grid_sample", "grid_sampler_2d": "grid_sample",
    "grid_sampler_3d": "grid_sample", "cudnn_grid_sampler": "grid_sample", "tril": "triangle", "triu": "triangle", "fmax": "maximum",
    "fmin": "minimum", "bucketize": "round", "searchsorted": "round", "diff": "sub", "complex": "complex", "polar": "complex",
    "roi_align": "roi_align", "roi_pool": "roi_align", "ps_roi_align": "roi_align", "rot90": "flip", "fliplr": "flip",
    "linalg_solve": "unknown", "hypot": "norm", "addr": "matmul", "scan": "scan", "logical_not": "compare",
}  # fmt: skip
_RENAMED = {name: name for name in _SAME_NAME.split()} | _RENAMED


@handles(*_RENAMED)
def _renamed(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    dim = args.get("dim")
    attrs = {"axis": int(dim)} if isinstance(dim, int) and not isinstance(dim, bool) else {}
    if name in ("tril", "triu"):
        attrs["ordered"] = True
    ref = r.add(_RENAMED[name], refs(args), outs[0], **attrs)
    return ref if len(outs) == 1 else [Ref(ref.node, out.shape, out.real) for out in outs]


@handles("gelu")
def _gelu(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("gelu", refs(args), outs[0])


@handles("prelu", "_prelu_kernel")
def _prelu(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("prelu", refs(args), outs[0])


@handles("glu")
def _glu(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    halves = [r.cut(source, outs[0], ("split", (repr(args.get("dim")), "glu"), i)) for i in range(2)]
    return r.add("mul", [halves[0], r.add("sigmoid", [halves[1]], outs[0])], outs[0])


@handles("hardtanh", "clamp", "clamp_min", "clamp_max", "clip")
def _clamp(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    low = args.get("min", args.get("min_val"))
    high = args.get("max", args.get("max_val"))
    low, high = (None if isinstance(x, Ref) else x for x in (low, high))
    return r.add(clamp_name(low, high), refs(args), outs[0], low=low, high=high)


def clamp_name(low: float | None, high: float | None) -> str:
    """A clamp from 0 is a ReLU, from 0 to 6 a ReLU6."""
    if low == 0 and high is None:
        return "relu"
    return "relu6" if (low, high) == (0, 6) else "clamp"


# ---------------------------------------------------------------- arithmetic


_BINARY = {"add": "add", "sub": "sub", "subtract": "sub", "mul": "mul", "multiply": "mul", "div": "div", "divide": "div", "true_divide":
           "div", "pow": "pow", "float_power": "pow", "floor_divide": "round", "remainder": "round", "fmod": "round", "rsub": "sub",
           "__and__": "compare", "__or__": "compare", "__lshift__": "compare", "__rshift__": "compare", "xlogy": "log"}  # fmt: skip


@handles(*_BINARY)
def _binary(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    left, right = args.get("self", args.get("input")), args.get("other", args.get("exponent"))
    if name == "rsub":
        left, right = right, left
    if name == "float_power" or name == "pow":
        left = args.get("self", left)
    return r.add(_BINARY[name], [x for x in (left, right) if isinstance(x, Ref)], outs[0], **_scalar(left, right))


@handles("_weight_norm", "_weight_norm_interface")
def _weight_norm(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("mul", refs(args), outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("broadcast_tensors")
def _broadcast(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return [r.add("view", [x], out) for x, out in zip(refs(args), outs, strict=True)]


@handles("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy_loss", "nll_loss", "kl_div", "binary_cross_entropy",
         "binary_cross_entropy_with_logits")  # fmt: skip
def _loss(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    ref = r.add("norm", refs(args), outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles("square")
def _square(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("pow", refs(args), outs[0], scalar=2.0, scalar_first=False)


@handles("reciprocal")
def _reciprocal(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("div", refs(args), outs[0], scalar=1.0, scalar_first=True)


@handles("addcmul", "addcdiv")
def _addc(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    base, *pair = refs(args)
    product = r.add("mul" if name == "addcmul" else "div", pair, outs[0])
    return r.add("add", [base, product], outs[0])


@handles("lerp")
def _lerp(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    start, end, *weight = refs(args)
    step = r.add("sub", [end, start], outs[0])
    scaled = r.add("mul", [step, *weight], outs[0], **_scalar(args.get("weight")))
    return r.add("add", [start, scaled], outs[0])


@handles("where", "masked_fill")
def _where(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("where", refs(args), outs[0])


@handles("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor",
         "bitwise_not", "isnan", "isinf", "isfinite", "any", "all", "isin", "greater", "less", "greater_equal", "less_equal", "not_equal",
         "bitwise_left_shift", "bitwise_right_shift", "_is_all_true",
         "__ior__", "__iand__", "__ixor__", "__xor__", "_is_any_true", "nonzero", "unique_consecutive", "histc", "bincount", "is_nonzero", "equal", "isneginf",
         "isposinf", "signbit", "isclose", "allclose", "count_nonzero", "nonzero_numpy", "_unique2", "argwhere")  # fmt: skip
def _compare(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    if not outs:
        return None
    ordered = {"ordered": True} if name in ("lt", "le", "gt", "ge", "less", "greater", "less_equal", "greater_equal") else {}
    ref = r.add("compare", refs(args), outs[0], **ordered)
    return ref if len(outs) == 1 else [ref] * len(outs)


# ---------------------------------------------------------------- reductions and pools


_REDUCTIONS = {"sum": "sum", "mean": "mean", "amax": "max", "amin": "min", "max": "max", "min": "min", "median": "mean", "nanmean": "mean",
               "nansum": "sum", "std": "var", "var": "var", "var_mean": "var", "std_mean": "var", "norm": "norm",
               "linalg_vector_norm": "norm", "linalg_norm": "norm", "frobenius_norm": "norm", "aminmax": "max", "topk": "topk",
               "sort": "sort", "argsort": "sort", "kthvalue": "topk", "mode": "topk", "cdist": "norm", "_cdist_forward": "norm",
               "_euclidean_dist": "norm", "trace": "sum", "dist": "norm", "quantile": "sort", "cosine_similarity": "norm",
               "pairwise_distance": "norm"}  # fmt: skip


@handles(*_REDUCTIONS)
def _reduce(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    operands = refs(args)
    op = _REDUCTIONS[name]
    rank = len(operands[0].shape)
    if op in ("max", "min") and len(operands) == 2:
        return r.add(f"{op}imum", operands, outs[0])
    dim = args.get("dim", args.get("ord"))
    axes = tuple(
        sorted(
            int(d) % max(rank, 1)
            for d in (dim if isinstance(dim, (list, tuple)) else [dim] if isinstance(dim, int) else range(rank))
        )
    )
    if rank >= 4 and is_spatial(axes, rank) and op in ("mean", "max"):
        op = "global_avg_pool" if op == "mean" else "global_max_pool"
    ref = r.add(op, operands, outs[0], axes=axes, last=axes == (rank - 1,))
    return ref if len(outs) == 1 else [Ref(ref.node, out.shape, out.real) for out in outs]


def is_spatial(axes: Sequence[int], rank: int) -> bool:
    """Whether reducing ``axes`` of a tensor of ``rank`` >= 4 leaves the batch and the channels alone, wherever they stand."""
    return len(axes) == rank - 2 and 0 not in axes


_POOLS = {
    f"{kind}_pool{n}d{suffix}": kind for kind in ("max", "avg", "lp") for n in (1, 2, 3) for suffix in ("", "_with_indices")
}


@handles(*_POOLS)
def _pool(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    n = int(name[name.index("pool") + 4])
    kernel = _tuple(args["kernel_size"], n)
    stride = args.get("stride") or kernel
    covers = tuple(kernel) == source.shape[-n:] and all(s == 1 for s in outs[0].shape[-n:])
    op = f"global_{_POOLS[name]}_pool" if covers and _POOLS[name] != "lp" and n > 1 else f"{_POOLS[name]}_pool"
    attrs = {} if covers else spatial(kernel, stride, _tuple(args.get("dilation", 1), 1))
    ref = r.add(op, [source], outs[0], **attrs)
    return ref if len(outs) == 1 else [ref] * len(outs)


@handles(*(f"{lead}adaptive_{kind}_pool{n}d" for lead in ("", "_") for kind in ("max", "avg") for n in (1, 2, 3)))
def _adaptive_pool(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source, kind, n = refs(args)[0], "max" if "max" in name else "avg", int(name[-2])
    before, after = source.shape[-n:], outs[0].shape[-n:]
    if before == after:
        ref = r.add("view", [source], outs[0])
    elif all(size == 1 for size in after):
        ref = r.add(f"global_{kind}_pool", [source], outs[0])
    elif all(b % a == 0 for b, a in zip(before, after, strict=True)):  # an ordinary pool, and exported as one
        kernel = [b // a for b, a in zip(before, after, strict=True)]
        ref = r.add(f"{kind}_pool", [source], outs[0], **spatial(kernel, kernel))
    else:
        ref = r.add("adaptive_pool", [source], outs[0])
    return ref if len(outs) == 1 else [ref] * len(outs)


# ---------------------------------------------------------------- layout


@handles("cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "block_diag", "cartesian_prod", "meshgrid",
         "_unsafe_concat")  # fmt: skip
def _concat(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    if len(outs) > 1:
        return [r.add("view", [x], out) for x, out in zip(refs(args), outs, strict=False)]
    operands = refs(args)
    op = "concat" if len(operands) > 1 else "view"
    return r.add(op, operands, outs[0], axis=int(args.get("dim") or 0) % max(len(outs[0].shape), 1))


@handles("pad", "pad_sequence", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
         "replication_pad3d", "_pad_enum", "_pad_circular")  # fmt: skip
def _pad(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    amounts = args.get("pad", args.get("padding", ()))
    if not any(amounts):
        return r.add("view", [source], outs[0])
    if all(isinstance(a, int) and a <= 0 for a in amounts):  # a crop
        return r.cut(source, outs[0], ("pad", tuple(amounts)))
    return r.add("pad", [source], outs[0])


@handles("index", "index_select", "gather", "take", "take_along_dim", "_unsafe_index", "masked_select", "_unsafe_masked_index")
def _gather(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("gather", refs(args), outs[0])


@handles("scatter", "scatter_add", "scatter_reduce", "index_put", "_index_put_impl", "_unsafe_index_put", "index_add", "index_copy",
         "index_fill", "masked_scatter", "slice_scatter", "select_scatter", "diagonal_scatter", "index_reduce", "put",
         "segment_reduce", "fill_diagonal")  # fmt: skip
def _scatter(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("scatter", refs(args), outs[0])


_UPSAMPLE = ("nearest1d", "nearest2d", "nearest3d", "linear1d", "bilinear2d", "trilinear3d", "bicubic2d")


@handles(*(f"upsample_{k}" for k in _UPSAMPLE), *(f"_upsample_{k}_aa" for k in ("bilinear2d", "bicubic2d")),
         *(f"_upsample_nearest_exact{n}d" for n in (1, 2, 3)), "interpolate")  # fmt: skip
def _upsample(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    source = refs(args)[0]
    return r.add("view" if source.shape == outs[0].shape else "upsample", [source], outs[0])


@handles(
    *(f"fft_{k}" for k in ("fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "irfft2", "fftn", "ifftn", "rfftn", "irfftn", "hfft", "ihfft")),
    "_fft_r2c", "_fft_c2r", "_fft_c2c", "stft", "istft",
)  # fmt: skip
def _fft(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("fft", refs(args)[:1], outs[0])


@handles("fft_fftshift", "fft_ifftshift")
def _shift(r: Recorder, name: str, args: Args, outs: list[Ref]) -> Result:
    return r.add("roll", refs(args)[:1], outs[0])
