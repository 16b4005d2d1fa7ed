"""ONNX operators to captures: the vocabulary, shapes, costs, parameters and scopes."""

import numpy as np
import pytest

from netatlas.errors import MissingExtraError, SourceError
from netatlas.graph.canonical import canonicalize
from netatlas.graph.onnx_import import capture_onnx
from netatlas.graph.ops import FLAGS, OP_ID

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
from netatlas.graph._onnx_ops import table

helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
MS = "com.microsoft"


def info(name, shape, element=FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


@pytest.fixture
def build(tmp_path):
    """Writes a model and reads it back: ``build(nodes, inputs={"x": shape}, weights={"w": shape or array}, opset=17)``."""

    def build(nodes, inputs=None, weights=None, opset=17, outputs=("y",), functions=(), dims=None, element=FLOAT):
        inputs = {"x": (1, 3, 8, 8)} if inputs is None else inputs
        given = [x if not isinstance(x, tuple) else info(name, x, element) for name, x in inputs.items()]
        arrays = {k: v if isinstance(v, np.ndarray) else np.ones(v, np.float32) for k, v in (weights or {}).items()}
        initializers = [numpy_helper.from_array(v, k) for k, v in arrays.items()]
        graph = helper.make_graph(list(nodes), "g", given, [info(name, None) for name in outputs], initializers)
        opsets = [
            helper.make_opsetid("", opset),
            helper.make_opsetid(MS, 1),
            helper.make_opsetid("com.microsoft.nchwc", 1),
            helper.make_opsetid("own", 1),
        ]
        path = tmp_path / "model.onnx"
        path.write_bytes(helper.make_model(graph, opset_imports=opsets, functions=list(functions)).SerializeToString())
        return capture_onnx(path, dims)

    return build


def node(op, inputs, outputs="y", domain="", **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), f"{op}_node", domain=domain, **attributes)


def operators(capture):
    """Names of the operators, sources left out."""
    return [n.op for n in capture.nodes if n.op not in ("input", "parameter", "constant")]


def last(capture):
    return capture.nodes[capture.outputs[0]]


def ints(*values):
    return np.array(values, np.int64)


# ---------------------------------------------------------------- the vocabulary


def test_every_standard_operator_has_a_handler_or_is_known_not_to():
    """A newly released operator fails this test until it is decided what it is."""
    left_out = {
        "AffineGrid", "BitCast", "Det", "If", "Loop", "Scan", "SequenceMap", "ImageDecoder", "OptionalHasElement",
        "RegexFullMatch",
        "SequenceErase", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Constant",
        "NegativeLogLikelihoodLoss",
        "SoftmaxCrossEntropyLoss",
    }  # fmt: skip
    standard = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    assert standard - set(table()) - left_out == set()


def test_what_is_written_is_in_the_vocabulary(build):
    for name in ("Relu", "Gelu", "HardSwish", "Erf", "Softsign"):
        assert set(operators(build([node(name, "x")], opset=20))) <= set(OP_ID)


@pytest.mark.parametrize(
    ("op", "expected", "attributes"),
    [
        ("Relu", "relu", {}), ("LeakyRelu", "leaky_relu", {"alpha": 0.1}), ("Elu", "elu", {}), ("Selu", "selu", {}),
        ("Sigmoid", "sigmoid", {}),
        ("HardSigmoid", "hardsigmoid", {"alpha": 1 / 6}), ("HardSwish", "hardswish", {}), ("Tanh", "tanh", {}),
        ("Mish", "mish", {}),
        ("Softplus", "softplus", {}), ("Softsign", "softsign", {}), ("Softmax", "softmax", {"axis": -1}), ("Exp", "exp", {}),
        ("Log", "log", {}),
        ("LogSoftmax", "log_softmax", {}), ("Gelu", "gelu", {"approximate": "tanh"}), ("Erf", "erf", {}), ("Abs", "abs", {}),
        ("Neg", "neg", {}),
        ("Sqrt", "sqrt", {}), ("Floor", "round", {}), ("GlobalAveragePool", "global_avg_pool", {}),
        ("GlobalMaxPool", "global_max_pool", {}),
        ("LRN", "local_response_norm", {"size": 5}), ("LpNormalization", "l2_norm", {"axis": 1}),
        ("ArgMax", "argmax", {"axis": 1}),
        ("DepthToSpace", "pixel_shuffle", {"blocksize": 1}), ("Trilu", "triangle", {}), ("Reciprocal", "div", {}),
    ],
)  # fmt: skip
def test_plain_operators(build, op, expected, attributes):
    assert operators(build([node(op, "x", **attributes)], opset=20)) == [expected]


@pytest.mark.parametrize(
    ("op", "inputs", "expected", "attributes"),
    [
        ("QuickGelu", "x", ["quick_gelu"], {"alpha": 1.702}), ("QuickGelu", "x", ["silu"], {"alpha": 1.0}),
        ("FastGelu", "x", ["gelu"], {}),
        ("FastGelu", "x b", ["add", "gelu"], {}), ("BiasGelu", "x b", ["add", "gelu"], {}), ("Gelu", "x", ["gelu"], {}),
        ("SkipLayerNormalization", "x x g b", ["add", "layer_norm"], {}), ("SimplifiedLayerNormalization", "x g", ["rms_norm"],
        {}),
        ("SkipSimplifiedLayerNormalization", "x x g", ["add", "rms_norm"], {}), ("BiasDropout", "x b", ["add"], {}),
        ("FusedMatMul", "x w", ["matmul"], {"transB": 1}), ("RotaryEmbedding", "x", ["rope"], {}),
    ],
)  # fmt: skip
def test_fused_operators_of_onnx_runtime(build, op, inputs, expected, attributes):
    capture = build([node(op, inputs, domain=MS, **attributes)], {"x": (1, 5, 8)}, {"b": (8,), "g": (8,), "w": (8, 8)})
    assert operators(capture) == (
        [*expected[:-1], expected[-1]] if op != "FusedMatMul" else ["view", "matmul"][-len(operators(capture)) :]
    )


def test_an_operator_nobody_knows_is_counted(build):
    capture = build([node("Frobnicate", "x", "h", domain="own"), node("Relu", "h")])
    assert capture.unknown == {"Frobnicate": 1}
    assert operators(capture) == ["unknown", "relu"]
    assert capture.nodes[1].foreign == "Frobnicate"


# ---------------------------------------------------------------- layers, costs, parameters


def test_convolution(build):
    weights = {"w": (8, 1, 3, 5), "b": (8,)}
    capture = build(
        [node("Conv", "x w b", strides=[2, 1], pads=[1, 2, 1, 2], group=4, dilations=[1, 1])], {"x": (1, 4, 16, 12)}, weights
    )
    conv = last(capture)
    assert conv.shape == (1, 8, 8, 12)
    assert conv.macs == 8 * 8 * 12 * 15
    wanted = {"kernel_h": 3, "kernel_w": 5, "stride_h": 2, "stride_w": 1, "groups": 4, "dilation": 1}
    assert wanted.items() <= conv.attrs.items()
    assert [capture.nodes[i].op for i in conv.inputs] == ["input", "parameter", "parameter"]
    assert capture.total_params == 8 * 15 + 8


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_automatic_padding(build, auto):
    capture = build([node("Conv", "x w", strides=[2, 2], auto_pad=auto)], {"x": (1, 3, 9, 9)}, {"w": (4, 3, 3, 3)})
    assert last(capture).shape == ((1, 4, 4, 4) if auto == "VALID" else (1, 4, 5, 5))


def test_transposed_convolution(build):
    capture = build(
        [node("ConvTranspose", "x w", strides=[2, 2], output_padding=[1, 1], pads=[1, 1, 1, 1])], weights={"w": (3, 6, 3, 3)}
    )
    assert last(capture).shape == (1, 6, 16, 16)
    assert last(capture).macs == 3 * 8 * 8 * 6 * 9


def test_gemm_is_a_linear_layer(build):
    graph = canonicalize(build([node("Gemm", "x w b", transB=1)], {"x": (1, 16)}, {"w": (10, 16), "b": (10,)}))
    assert graph.op_counts() == {"linear": 1}
    assert int(graph.macs.sum()) == 160
    assert int(graph.params.sum()) == 170


def test_matmul_and_bias_are_a_linear_layer(build):
    graph = canonicalize(build([node("MatMul", "x w", "h"), node("Add", "b h")], {"x": (1, 7, 16)}, {"w": (16, 10), "b": (10,)}))
    assert graph.op_counts() == {"linear": 1}
    assert int(graph.macs.sum()) == 1120


def test_product_of_data_is_no_linear_layer(build):
    capture = build([node("MatMul", "x z")], {"x": (2, 4, 7, 16), "z": (2, 4, 16, 5)})
    assert last(capture).macs == 2 * 4 * 7 * 16 * 5
    assert canonicalize(capture).op_counts() == {"matmul": 1}


def test_batch_norm_counts_scale_and_shift_only(build):
    capture = build([node("BatchNormalization", "x s b m v")], weights=dict.fromkeys("sbmv", (3,)))
    assert capture.total_params == 6
    assert operators(capture) == ["batch_norm"]


def test_tied_weights_count_once(build):
    nodes = [node("Gather", "ids table", "e"), node("Transpose", "table", "t", perm=[1, 0]), node("MatMul", "e t")]
    nodes[0] = node("Gather", "table ids", "e")
    capture = build(nodes, {"ids": info("ids", [1, 6], INT64)}, {"table": (100, 8)})
    assert capture.total_params == 800
    graph = canonicalize(capture)
    assert graph.op_counts() == {"embedding": 1, "linear": 1}
    assert int(graph.params.sum()) == 800
    assert int(graph.attr("flags")[-1]) & FLAGS["shared"]


def test_buffers_and_literals_are_no_parameters(build):
    weights = {"block.attn_mask": (8, 8), "half": np.array(0.5, np.float32), "block.bias": (8,)}
    nodes = [node("Add", "x block.attn_mask", "a"), node("Mul", "a half", "b"), node("Add", "b block.bias")]
    capture = build(nodes, {"x": (1, 8, 8)}, weights)
    assert {n.tensor: n.op for n in capture.nodes if n.tensor not in ("", "x")} == {
        "block.attn_mask": "constant",
        "block.bias": "parameter",
    }
    scaled = next(n for n in capture.nodes if n.op == "mul")
    assert scaled.attrs == {"scalar": 0.5, "scalar_first": False}


def test_number_on_the_left(build):
    capture = build([node("Sub", "one x")], weights={"one": np.array(1.0, np.float32)})
    assert last(capture).attrs == {"scalar": 1.0, "scalar_first": True}


def test_quantised_convolution_is_a_convolution(build):
    scale, zero = np.array(0.1, np.float32), np.array(0, np.int8)
    weights = {
        "s": scale,
        "z": zero,
        "w": np.ones((4, 3, 3, 3), np.int8),
        "b": np.ones(4, np.int32),
        "c": np.full(4, 0.1, np.float32),
    }
    quantised = [
        node("QuantizeLinear", "x s z", "q"),
        node("QLinearConv", "q s z w c z s z b", "h"),
        node("DequantizeLinear", "h s z"),
    ]
    pairs = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
    node("DequantizeLinear", "w c", "f", axis=0),
             node("Conv", "d f", "h"), node("Relu", "h")]  # fmt: skip
    for nodes, params in ((quantised, 112), (pairs, 108)):
        capture = build(nodes, weights=weights)
        graph = canonicalize(capture)
        assert graph.op_counts().get("conv") == 1
        assert set(graph.op_counts()) <= {"conv", "relu"}
        assert int(graph.macs.sum()) == 4 * 36 * 27
        assert capture.total_params == params


def test_dynamically_quantised_layer_is_a_linear_layer(build):
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("MatMulInteger", "q w z wz", "i"),
    node("Cast", "i", "f", to=FLOAT),
             node("Mul", "s ws", "scale"), node("Mul", "f scale", "h"), node("Add", "h b")]  # fmt: skip
    weights = {"w": np.ones((8, 4), np.int8), "wz": np.array(0, np.int8), "ws": np.array(0.1, np.float32), "b": (4,)}
    capture = build(nodes, {"x": (1, 8)}, weights)
    assert canonicalize(capture).op_counts() == {"linear": 1}
    assert capture.total_params == 36


def test_convolution_in_blocks_of_channels(build):
    """ONNX Runtime's own layout, with channels filled up: its inner format may be saved, too."""
    nodes = [node("ReorderInput", "x", "a", domain="com.microsoft.nchwc"),
    node("Conv", "a w", "h", domain="com.microsoft.nchwc", activation="Relu"),
             node("ReorderOutput", "h", domain="com.microsoft.nchwc", channels=5)]  # fmt: skip
    capture = build(nodes, weights={"w": (8, 4, 3, 3)})
    assert canonicalize(capture).op_counts() == {"conv": 1, "relu": 1}
    assert last(capture).shape == (1, 5, 6, 6)


def test_packed_weights_count_as_what_they_hold(build):
    weights = {"q": np.zeros((32, 2, 8), np.uint8), "s": np.ones(64, np.float32)}
    capture = build([node("MatMulNBits", "x q s", domain=MS, N=32, K=64, bits=4, block_size=16)], {"x": (1, 5, 64)}, weights)
    assert last(capture).macs == 5 * 32 * 64
    assert last(capture).shape == (1, 5, 32)
    assert capture.total_params == 32 * 64
    assert canonicalize(capture).op_counts() == {"linear": 1}


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_recurrence(build, op, gates):
    weights = {"w": (2, gates * 16, 8), "r": (2, gates * 16, 16), "b": (2, 2 * gates * 16)}
    capture = build([node(op, "x w r b", hidden_size=16, direction="bidirectional")], {"x": (20, 1, 8)}, weights)
    recurrent = last(capture)
    assert recurrent.op == op.lower()
    assert recurrent.shape == (20, 2, 1, 16)
    assert recurrent.macs == 2 * 20 * gates * 16 * (8 + 16)
    assert recurrent.attrs["flags"] & FLAGS["bidirectional"]


# ---------------------------------------------------------------- attention


def test_attention_operator(build):
    capture = build(
        [node("Attention", "q k v", is_causal=1)], {"q": (1, 8, 10, 32), "k": (1, 2, 12, 32), "v": (1, 2, 12, 32)}, opset=23
    )
    attention = last(capture)
    assert attention.attrs["heads"] == 8
    assert attention.attrs["flags"] == FLAGS["causal"] | FLAGS["grouped_query"]
    assert attention.macs == 8 * 10 * 12 * 64
    assert attention.shape == (1, 8, 10, 32)


def test_attention_with_its_projection(build):
    capture = build([node("Attention", "x w b", domain=MS, num_heads=4)], {"x": (1, 10, 32)}, {"w": (32, 96), "b": (96,)})
    graph = canonicalize(capture)
    assert graph.op_counts() == {"attention": 1, "linear": 1}
    assert int(graph.macs.sum()) == 10 * 32 * 96 + 2 * 10 * 10 * 32
    assert capture.total_params == 33 * 96


def test_multi_head_attention(build):
    capture = build([node("MultiHeadAttention", "q k v", domain=MS, num_heads=4)], dict.fromkeys("qkv", (1, 10, 32)))
    assert operators(capture) == ["attention"]
    assert last(capture).macs == 2 * 10 * 10 * 32
    assert last(capture).shape == (1, 10, 32)


def test_attention_by_hand(build):
    nodes = [node("MatMul", "q k", "s"), node("Mul", "s c", "t"), node("Softmax", "t", "p", axis=-1), node("MatMul", "p v")]
    shapes = {"q": (1, 4, 10, 8), "k": (1, 4, 8, 10), "v": (1, 4, 10, 8)}
    graph = canonicalize(build(nodes, shapes, {"c": np.array(0.35, np.float32)}))
    assert graph.op_counts() == {"attention": 1}
    assert int(graph.macs.sum()) == 2 * 4 * 10 * 10 * 8


# ---------------------------------------------------------------- decomposed forms


def constants(**numbers):
    return {name: np.array(value, np.float32) for name, value in numbers.items()}


def test_gelu_by_erf(build):
    nodes = [
        node("Div", "x r", "a"),
        node("Erf", "a", "b"),
        node("Add", "b one", "c"),
        node("Mul", "x c", "d"),
        node("Mul", "d half"),
    ]
    assert canonicalize(build(nodes, weights=constants(r=2**0.5, one=1, half=0.5))).op_counts() == {"gelu": 1}


def test_silu_and_hardswish(build):
    assert canonicalize(build([node("Sigmoid", "x", "s"), node("Mul", "x s")])).op_counts() == {"silu": 1}
    nodes = [node("Add", "x three", "a"), node("Clip", "a zero six", "b"), node("Div", "b six", "c"), node("Mul", "x c")]
    assert canonicalize(build(nodes, weights=constants(zero=0, three=3, six=6))).op_counts() == {"hardswish": 1}


def test_layer_norm_by_hand(build):
    nodes = [node("ReduceMean", "x", "m", axes=[-1]), node("Sub", "x m", "c"), node("Pow", "c two", "s"),
    node("ReduceMean", "s", "v", axes=[-1]),
             node("Add", "v eps", "e"), node("Sqrt", "e", "r"), node("Div", "c r", "n"), node("Mul", "n g", "h"),
             node("Add", "h b")]  # fmt: skip
    graph = canonicalize(build(nodes, {"x": (1, 7, 16)}, {**constants(two=2, eps=1e-5), "g": (16,), "b": (16,)}, opset=12))
    assert graph.op_counts() == {"layer_norm": 1}
    assert int(graph.params.sum()) == 32


def test_group_norm_by_instance_norm(build):
    weights = {
        "to": ints(0, 4, -1),
        "back": ints(1, 8, 6, 6),
        "one": np.ones(4, np.float32),
        "zero": np.zeros(4, np.float32),
        "g": (8, 1, 1),
        "b": (8, 1, 1),
    }
    fixed = [helper.make_node("Constant", [], [k], value=numpy_helper.from_array(weights.pop(k))) for k in ("one", "zero")]
    nodes = [*fixed, node("Reshape", "x to", "f"), node("InstanceNormalization", "f one zero", "n"),
    node("Reshape", "n back", "h"),
             node("Mul", "h g", "s"), node("Add", "s b")]  # fmt: skip
    graph = canonicalize(build(nodes, {"x": (1, 8, 6, 6)}, weights))
    assert graph.op_counts() == {"group_norm": 1}
    assert int(graph.attr("groups").max()) == 4
    assert int(graph.params.sum()) == 16


@pytest.mark.parametrize(("low", "high", "expected"), [(0.0, 6.0, "relu6"), (0.0, None, "relu"), (-1.0, 1.0, "clamp")])
@pytest.mark.parametrize("opset", [7, 13])
def test_clips(build, low, high, expected, opset):
    if opset < 11:
        attributes = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        capture = build([node("Clip", "x", **attributes)], opset=opset)
    else:
        given = {k: np.array(v, np.float32) for k, v in (("lo", low), ("hi", high)) if v is not None}
        capture = build(
            [helper.make_node("Clip", ["x", "lo", *(["hi"] if high is not None else [])], ["y"])], weights=given, opset=opset
        )
    assert operators(capture) == [expected]


def test_roll_by_cuts(build):
    weights = {"a": ints(3), "z": ints(0), "e": ints(10), "ax": ints(1)}
    nodes = [node("Slice", "x a e ax", "p"), node("Slice", "x z a ax", "q"), node("Concat", "p q", axis=1)]
    assert operators(build(nodes, {"x": (1, 10, 4)}, weights)) == ["roll"]
    nodes[2] = node("Concat", "q q", axis=1)
    assert "concat" in operators(build(nodes, {"x": (1, 10, 4)}, weights))


@pytest.mark.parametrize(
    ("axes", "keep", "expected"),
    [((2, 3), 1, "global_avg_pool"), ((1, 2), 0, "global_avg_pool"), ((1,), 1, "mean"), ((0, 1, 2, 3), 0, "mean")],
)
def test_spatial_means(build, axes, keep, expected):
    assert operators(build([node("ReduceMean", "x", axes=list(axes), keepdims=keep)])) == [expected]


# ---------------------------------------------------------------- views, cuts and bookkeeping


def test_views_keep_shapes(build):
    weights = {"shape": ints(0, -1), "ax": ints(1)}
    nodes = [node("Reshape", "x shape", "a"), node("Unsqueeze", "a ax", "b"), node("Transpose", "b", "c", perm=[2, 1, 0]),
             node("Squeeze", "c ax", "d"), node("Flatten", "d", "e", axis=0), node("Identity", "e", "f"),
             node("Cast", "f", "g", to=FLOAT),
             node("Dropout", "g")]  # fmt: skip
    capture = build(nodes, weights=weights)
    assert set(operators(capture)) == {"view"}
    assert last(capture).shape == (1, 192)


def test_equal_cuts_are_one_node(build):
    weights = {"z": ints(0), "t": ints(2), "ax": ints(-1), "axis": ints(3)}
    nodes = [node("Slice", "x z t ax", "a"), node("Slice", "x z t axis", "b"), node("Split", "x", "c d e f", axis=-1),
             node("Concat", "a b c", axis=-1)]  # fmt: skip
    capture = build(nodes, weights=weights)
    assert operators(capture) == ["slice", "concat"]
    assert len(set(last(capture).inputs)) == 1


def test_shape_chains_leave_no_nodes(build):
    """``x.view(x.size(0), -1)`` as exporters write it."""
    nodes = [node("Shape", "x", "s"), node("Gather", "s zero", "n"), node("Unsqueeze", "n ax", "u"),
    node("Concat", "u minus", "t", axis=0),
             node("Reshape", "x t")]  # fmt: skip
    capture = build(nodes, weights={"zero": np.array(0), "ax": ints(0), "minus": ints(-1)})
    assert [n.op for n in capture.nodes] == ["input", "view"]
    assert last(capture).shape == (1, 192)


def test_what_no_output_needs_is_left_out(build):
    assert operators(build([node("Relu", "x", "unused"), node("Sigmoid", "x")])) == ["sigmoid"]


def test_integers_are_bookkeeping(build):
    capture = build(
        [node("Add", "ids ids", "twice"), node("Gather", "table twice")], {"ids": info("ids", [1, 6], INT64)}, {"table": (50, 4)}
    )
    assert [n.real for n in capture.nodes if n.op in ("input", "add")] == [False, False]
    assert last(capture).op == "embedding"


# ---------------------------------------------------------------- open axes


def test_open_axes(build):
    inputs = {"x": info("x", ["batch_size", 3, "height", "width"])}
    capture = build([node("Relu", "x")], inputs)
    assert last(capture).shape == (1, 3, 224, 224)
    assert any("height=224" in note for note in capture.notes)
    assert last(build([node("Relu", "x")], inputs, dims={"height": 96, "width": 64})).shape == (1, 3, 96, 64)


@pytest.mark.parametrize(
    ("axes", "shape"),
    [((None, "sequence_length"), (1, 128)), (("n", "past_sequence_length"), (1, 0)), (("b", "past_length + sequence_length"),
    (1, 128)), (("N", "total_sequence_length"), (1, 128))],
)  # fmt: skip
def test_open_axes_of_text(build, axes, shape):
    assert last(build([node("Cast", "ids", to=FLOAT)], {"ids": info("ids", axes, INT64)})).shape == shape


# ---------------------------------------------------------------- functions and subgraphs


def test_functions_are_written_out(build):
    opset = [helper.make_opsetid("", 17)]
    body = [helper.make_node("LeakyRelu", ["a"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["b"])]
    body[0].attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    function = helper.make_function("own", "Layer", ["a", "w"], ["b"], body, opset, attributes=["slope"])
    nodes = [node("Layer", "x w", "h", domain="own", slope=0.3), node("Layer", "h w", domain="own", slope=0.3)]
    graph = canonicalize(build(nodes, {"x": (1, 8)}, {"w": (8, 8)}, functions=[function]))
    assert graph.op_counts() == {"leaky_relu": 2, "linear": 2}


def branches():
    small = helper.make_graph([node("Relu", "x", "r")], "small", [], [info("r", None)])
    large = helper.make_graph([node("Sigmoid", "x", "s"), node("Tanh", "s", "t")], "large", [], [info("t", None)])
    return small, large


@pytest.mark.parametrize("larger_first", [False, True])
def test_open_condition_takes_the_larger_branch(build, larger_first):
    small, large = branches()
    then, other = (large, small) if larger_first else (small, large)
    capture = build(
        [helper.make_node("If", ["flag"], ["y"], "choice", then_branch=then, else_branch=other)],
        {"x": (1, 4), "flag": info("flag", [], BOOL)},
    )
    assert operators(capture) == ["sigmoid", "tanh"]
    assert any("'choice' (If)" in note for note in capture.notes)


@pytest.mark.parametrize(("value", "expected"), [(True, ["relu"]), (False, ["sigmoid", "tanh"])])
def test_known_condition_takes_its_branch(build, value, expected):
    small, large = branches()
    capture = build(
        [helper.make_node("If", ["flag"], ["y"], then_branch=small, else_branch=large)], weights={"flag": np.array(value)}
    )
    assert operators(capture) == expected
    assert capture.notes == []


def test_scan_counts_its_body_once(build):
    body = helper.make_graph([node("MatMul", "h w", "m"), node("Add", "m e", "n"), node("Identity", "n", "o")], "step",
                             [info("h", [1, 4]), info("e", [1, 4])], [info("n", [1, 4]), info("o", [1, 4])])  # fmt: skip
    capture = build([helper.make_node("Scan", ["h0", "xs"], ["last", "y"], "recur", body=body, num_scan_inputs=1)],
                    {"h0": (1, 4), "xs": (20, 1, 4)}, {"w": (4, 4)})  # fmt: skip
    scan = last(capture)
    assert scan.op == "scan"
    assert scan.shape == (20, 1, 4)
    assert sum(n.macs for n in capture.nodes) == 16
    assert any("counted once" in note and "'recur' (Scan)" in note for note in capture.notes)


def test_loop(build):
    body = helper.make_graph([node("Relu", "h", "n"), node("Identity", "c", "d")], "step",
                             [info("i", [], INT64), info("c", [], BOOL), info("h", [1, 4])], [info("d", [], BOOL),
                             info("n", [1, 4])])  # fmt: skip
    capture = build([helper.make_node("Loop", ["n", "", "x"], ["y"], "times", body=body)], {"x": (1, 4)}, {"n": np.array(5)})
    assert operators(capture) == ["relu", "scan"]
    assert last(capture).shape == (1, 4)


def test_sequences(build):
    nodes = [
        node("SplitToSequence", "x two", "s", axis=1),
        node("SequenceAt", "s one", "a"),
        node("SequenceAt", "s zero", "b"),
        node("Add", "a b"),
    ]
    capture = build(nodes, {"x": (1, 4, 3)}, {"two": np.array(2), "one": np.array(1), "zero": np.array(0)})
    assert operators(capture) == ["slice", "slice", "add"]
    assert last(capture).shape == (1, 2, 3)


# ---------------------------------------------------------------- what exporters write beside operators


def marked(made, **marks):
    for key, value in marks.items():
        made.metadata_props.add(key=key.replace("__", "."), value=value)
    return made


def test_scopes_from_metadata(build):
    classes = "['net.Net', 'torch.nn.Sequential', 'torch.nn.modules.ReLU', 'aten.relu.default']"
    paths = "['', 'layer1', 'layer1.0', 'relu']"
    capture = build([marked(node("Relu", "x"), pkg__torch__onnx__name_scopes=paths, pkg__torch__onnx__class_hierarchy=classes)])
    scope = capture.scopes[last(capture).scope]
    assert (scope.path, scope.cls) == ("layer1.0", "ReLU")


@pytest.mark.parametrize(
    ("name", "path"),
    [("/layer1/layer1.0/conv1/Conv", "layer1.0.conv1"), ("/conv1/Conv", "conv1"), ("Conv_17", ""),
    ("model/block1/conv/Conv2D", "model.block1.conv"),
     ("/blocks/blocks.3/attn/qkv/MatMul", "blocks.3.attn.qkv"),
     ("/layers.0/blocks/blocks.1/mlp/fc1/Add", "layers.0.blocks.1.mlp.fc1")],
)  # fmt: skip
def test_scopes_from_names(build, name, path):
    capture = build([helper.make_node("Relu", ["x"], ["y"], name)])
    assert capture.scopes[last(capture).scope].path == path


@pytest.mark.parametrize("text", ["__import__('os').system('true')", "[" * 5000, "{'a': 1}", "[1, 2]", "x" * 100_000])
def test_strange_scope_metadata_is_ignored(build, text):
    made = marked(node("Relu", "x"), pkg__torch__onnx__name_scopes=text, pkg__torch__onnx__class_hierarchy=text)
    assert operators(build([made])) == ["relu"]


def test_folded_batch_norm_is_put_back(build):
    old = build([node("Conv", "x onnx::Conv_1 onnx::Conv_2")], weights={"onnx::Conv_1": (4, 3, 3, 3), "onnx::Conv_2": (4,)})
    new = build(
        [marked(node("Conv", "x conv1.weight"), pkg__onnxscript__rewriter__rule_name="FuseBatchNormIntoConv")],
        weights={"conv1.weight": (4, 3, 3, 3)},
    )
    for capture in (old, new):
        assert canonicalize(capture).op_counts() == {"batch_norm": 1, "conv": 1}
        assert capture.total_params == 108 + 8
        assert any("1 batch norms" in note and "put back" in note for note in capture.notes)
    plain = build([node("Conv", "x conv1.weight conv1.bias")], weights={"conv1.weight": (4, 3, 3, 3), "conv1.bias": (4,)})
    assert canonicalize(plain).op_counts() == {"conv": 1}


def test_untrained_vectors_stored_once_are_not_shared(build):
    """The old exporter stores equal tensors once and copies them by Identity."""
    nodes = [node("Identity", "a.bias", "b.bias"), node("Add", "x a.bias", "h"), node("Relu", "h", "r"), node("Add", "r b.bias")]
    assert build(nodes, {"x": (1, 8)}, {"a.bias": (8,)}).total_params == 16
    nodes = [node("Identity", "a.weight", "b.weight"), node("MatMul", "x a.weight", "h"), node("MatMul", "h b.weight")]
    assert build(nodes, {"x": (1, 8)}, {"a.weight": (8, 8)}).total_params == 64


# ---------------------------------------------------------------- errors


def test_missing_extra(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"netatlas\[onnx\]"):
        capture_onnx(tmp_path / "m.onnx")


def test_shapes_that_do_not_fit_name_the_node(build):
    with pytest.raises(SourceError, match=r"node 'MatMul_node' \(MatMul\): the inner sizes"):
        build([node("MatMul", "x w")], {"x": (1, 8)}, {"w": (9, 9)})


def test_read_onnx(tmp_path):
    from netatlas.targets.onnx_file import read_onnx

    graph = helper.make_graph([node("Conv", "x w", "h"), node("Relu", "h")], "g", [info("x", [1, 3, 8, 8])], [info("y", None)],
                              [numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")])  # fmt: skip
    path = tmp_path / "my model.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString())
    (entry,) = read_onnx(path)
    assert entry.id == "onnx/my_model"
    assert entry.kind == "architecture"
    assert entry.facts["params"] == 108
    assert entry.facts["macs"] == 4 * 36 * 27
    assert entry.facts["traced_by"] == "onnx"
    assert read_onnx(path, "mine/net")[0].id == "mine/net"


def test_costs_that_are_not_known_are_absent(tmp_path):
    from netatlas.targets.onnx_file import read_onnx

    graph = helper.make_graph([node("Frobnicate", "x", "h", domain="own"), node("Conv", "h w")], "g", [info("x", [1, 3, 8, 8])],
    [info("y", None)],
                              [numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")])  # fmt: skip
    path = tmp_path / "open.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    path.write_bytes(helper.make_model(graph, opset_imports=opsets).SerializeToString())
    (entry,) = read_onnx(path)
    assert not {"macs", "flops", "activations", "peak_memory"} & set(entry.facts)
    assert entry.facts["params"] == 108
    assert "costs are incomplete" in entry.origins["params"]
