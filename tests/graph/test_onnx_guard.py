"""Hostile, damaged and absurd ONNX files: one clear line, soon, and nothing read outside the file."""

import os
import pickle
import random
import signal
import sys
import time
import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from netatlas.errors import NetatlasError, SourceError
from netatlas.graph import _onnx_guard as guard
from netatlas.graph.onnx_import import capture_onnx

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


@contextmanager
def seconds(limit):
    """Fail when the block takes more than ``limit`` seconds of CPU, also when it never ends."""

    def stop(signum, frame):
        raise AssertionError(f"took longer than {limit} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def info(name, shape, element=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, element, shape)


def save(path, nodes, initializers=(), inputs=None, outputs=None, **fields):
    inputs = inputs if inputs is not None else [info("x", [1, 3, 8, 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs or [info("y", None)], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **fields)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def small(tmp_path):
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["h"], "conv", pads=[1] * 4), helper.make_node("Relu", ["h"], ["y"], "relu")]
    return save(tmp_path / "small.onnx", nodes, [weight])


def message(path, limit=20, **arguments):
    with seconds(limit), pytest.raises(SourceError) as caught:
        capture_onnx(path, **arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


def survives(path):
    """Whether reading succeeds; the only other end is one of our errors, in one line."""
    try:
        capture_onnx(path)
    except NetatlasError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return False
    return True


def test_the_small_file_is_good(small):
    assert [node.op for node in capture_onnx(small).nodes] == ["input", "parameter", "conv", "relu"]


# ---------------------------------------------------------------- files that are no models


def test_missing_file_names_the_nearest(small):
    assert "did you mean 'small.onnx'?" in message(small.with_name("smal.onnx"))


def test_directory(tmp_path):
    assert "not a file" in message(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8,
        pickle.dumps({"weights": list(range(1000))}),
        b"PK\x03\x04" + bytes(200),
        b"<html><body>404</body></html>" * 20,
        b"ir_version: 8\ngraph { name: 'text' }\n",
        random.Random(0).randbytes(4096),
        b"\x00" * 64,
        b"\xff" * 64,
        b"\x08\x08",  # an IR version and nothing else
    ],
    ids=["png", "pickle", "zip", "html", "text", "random", "zeros", "ones", "header-only"],
)
def test_not_a_model(tmp_path, content):
    path = tmp_path / "strange.onnx"
    path.write_bytes(content)
    assert "ONNX" in message(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.onnx"
    path.touch()
    assert "empty file" in message(path)


def test_unreadable_file(small, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(small), "open", refuse)
    assert "Permission denied" in message(small)


def test_every_truncation_is_an_error(small):
    data = small.read_bytes()
    for n in range(1, len(data)):
        small.write_bytes(data[:n])
        if not survives(small):
            continue
        assert n > len(data) - 16  # the tail of a model holds the operator sets; everything before is the graph


@pytest.mark.parametrize("claimed", [2**31 - 1, 2**31, 2**40, 2**62])
def test_header_that_claims_gigabytes(tmp_path, claimed):
    path = tmp_path / "claims.onnx"
    path.write_bytes(b"\x08\x08\x3a" + guard._encode_varint(claimed) + b"abc")
    tracemalloc.start()
    try:
        assert f"claims {claimed:,} bytes where 3 are left" in message(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_file_of_more_than_two_gibibytes(tmp_path):
    path = tmp_path / "huge.onnx"
    with path.open("wb") as stream:
        stream.truncate(2**31 + 10)  # sparse: takes no room
    assert "2 GiB" in message(path)


def test_varint_without_end(tmp_path):
    path = tmp_path / "varint.onnx"
    path.write_bytes(b"\x08" + b"\xff" * 1000)
    assert "number" in message(path)


def test_weights_are_not_read_into_memory(tmp_path):
    weight = numpy_helper.from_array(np.zeros((4096, 4096), np.float32), "w")  # 64 MB
    path = save(tmp_path / "wide.onnx", [helper.make_node("MatMul", ["x", "w"], ["y"])], [weight], [info("x", [1, 4096])])
    tracemalloc.start()
    try:
        capture = capture_onnx(path)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()
    assert capture.total_params == 4096**2


# ---------------------------------------------------------------- graphs that are none


def relu(source, target):
    return helper.make_node("Relu", [source], [target], f"relu_{target}")


def test_cycle_names_its_nodes(tmp_path):
    nodes = [
        relu("x", "start"),
        helper.make_node("Add", ["start", "c"], ["a"], "adder"),
        relu("a", "b"),
        relu("b", "c"),
        relu("c", "y"),
    ]
    text = message(save(tmp_path / "cycle.onnx", nodes))
    assert "cycle" in text
    assert all(name in text for name in ("adder", "relu_b", "relu_c"))
    assert "relu_start" not in text


def test_self_loop(tmp_path):
    assert "cycle through nodes 'loop' (Relu)" in message(
        save(tmp_path / "self.onnx", [helper.make_node("Relu", ["y"], ["y"], "loop")])
    )


def test_unsorted_graph_is_sorted_and_says_so(tmp_path):
    nodes = [relu("a", "b"), relu("x", "a"), relu("b", "y")]
    capture = capture_onnx(save(tmp_path / "unsorted.onnx", nodes))
    assert [node.op for node in capture.nodes] == ["input", "relu", "relu", "relu"]
    assert capture.nodes[3].inputs == [2]
    assert any("sorted" in note and "relu_b" in note for note in capture.notes)


def test_tensor_nobody_makes(tmp_path):
    assert "node 'relu_y' (Relu) reads tensor 'ghost'" in message(save(tmp_path / "ghost.onnx", [relu("ghost", "y")]))


def test_names_cannot_write_to_the_terminal(tmp_path):
    text = message(save(tmp_path / "names.onnx", [relu("a\nb\x1b[31m\r", "y")]))
    assert "a?b?[31m?" in text


def test_output_nobody_makes(tmp_path):
    assert "output 'y'" in message(save(tmp_path / "noout.onnx", [relu("x", "z")]))


def test_two_producers(tmp_path):
    text = message(save(tmp_path / "twice.onnx", [relu("x", "y"), helper.make_node("Sigmoid", ["x"], ["y"], "second")]))
    assert "tensor 'y' has two producers" in text
    assert "relu_y" in text
    assert "second" in text


def test_million_nodes_are_refused_soon(tmp_path):
    node = relu("x", "t").SerializeToString()
    body = (b"\x0a" + guard._encode_varint(len(node)) + node) * 1_000_000
    path = tmp_path / "million.onnx"
    path.write_bytes(b"\x08\x08\x3a" + guard._encode_varint(len(body)) + body)
    started = time.process_time()
    assert "more than 200,000 nodes" in message(path)
    assert time.process_time() - started < 10


def test_as_many_nodes_as_allowed(tmp_path):
    n = 50_000
    nodes = [relu("x" if i == 0 else f"t{i}", "y" if i == n - 1 else f"t{i + 1}") for i in range(n)]
    path = save(tmp_path / "long.onnx", nodes)
    with seconds(60):
        assert len(capture_onnx(path).nodes) == n + 1


def nested(depth):
    """``depth`` conditionals within one another."""
    graph = helper.make_graph([relu("x", "r0")], "g0", [], [info("r0", None)])
    for i in range(1, depth):
        node = helper.make_node(
            "If", ["flag"], [f"r{i}"], f"if{i}", then_branch=graph, else_branch=graph if i == 1 else single(i)
        )
        graph = helper.make_graph([node], f"g{i}", [], [info(f"r{i}", None)])
    return graph


def single(i):
    return helper.make_graph([relu("x", f"e{i}")], f"else{i}", [], [info(f"e{i}", None)])


def test_subgraphs_within_bounds(tmp_path):
    graph = nested(10)
    path = save(
        tmp_path / "ten.onnx",
        [graph.node[0]],
        inputs=[info("x", [1]), info("flag", [], TensorProto.BOOL)],
        outputs=[info("r9", None)],
    )
    capture = capture_onnx(path)
    assert "relu" in [node.op for node in capture.nodes]
    assert any("If with an open condition" in note for note in capture.notes)


@pytest.mark.parametrize("depth", [30, 1000, 20_000])
def test_deeply_nested_subgraphs(tmp_path, depth):
    # Written on the wire: neither protobuf's Python objects nor its parser go this deep.
    message_bytes = relu("x", "y").SerializeToString()
    for _ in range(depth):
        graph = b"\x0a" + guard._encode_varint(len(message_bytes)) + message_bytes
        attribute = b"\x0a\x0bthen_branch\xa0\x01\x05\x32" + guard._encode_varint(len(graph)) + graph
        message_bytes = b"\x12\x01y\x22\x02If\x2a" + guard._encode_varint(len(attribute)) + attribute
    graph = b"\x0a" + guard._encode_varint(len(message_bytes)) + message_bytes
    path = tmp_path / "deep.onnx"
    path.write_bytes(b"\x08\x08\x3a" + guard._encode_varint(len(graph)) + graph)
    message(path)


def test_functions_that_call_themselves(tmp_path):
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "F", ["a"], ["b"], [helper.make_node("F", ["a"], ["b"], "inner", domain="own")], opset)
    graph = helper.make_graph([helper.make_node("F", ["x"], ["y"], domain="own")], "g", [info("x", [1])], [info("y", None)])
    model = helper.make_model(graph, opset_imports=opset, functions=[function])
    path = tmp_path / "self.onnx"
    path.write_bytes(model.SerializeToString())
    assert "nested more than" in message(path)


def test_functions_that_multiply(tmp_path, monkeypatch):
    """Each of 20 functions calls the next one ten times: 10^20 nodes when written out."""
    monkeypatch.setattr(guard, "MAX_NODES", 10_000)
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    functions = []
    for level in range(20):
        op, domain = (f"F{level + 1}", "own") if level < 19 else ("Relu", "")
        nodes = [helper.make_node(op, ["a" if i == 0 else f"t{i}"], [f"t{i + 1}"], domain=domain) for i in range(10)]
        functions.append(helper.make_function("own", f"F{level}", ["a"], ["t10"], nodes, opset))
    graph = helper.make_graph([helper.make_node("F0", ["x"], ["y"], domain="own")], "g", [info("x", [1])], [info("y", None)])
    path = tmp_path / "laughs.onnx"
    path.write_bytes(helper.make_model(graph, opset_imports=opset, functions=functions).SerializeToString())
    assert "more than 10,000 nodes" in message(path)


# ---------------------------------------------------------------- tensors that cannot be


def tensor(dims, raw=None, element=TensorProto.FLOAT, name="w"):
    found = TensorProto(name=name, data_type=element)
    found.dims.extend(dims)
    if raw is not None:
        found.raw_data = raw
    return found


@pytest.mark.parametrize("dims", [[2**60], [2**31, 2**31], [-1, 3], [2**62, 2**62, 2**62], [3] * 80], ids=str)
def test_absurd_shapes(tmp_path, dims):
    path = save(tmp_path / "absurd.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [tensor(dims)])
    assert "tensor 'w' has the impossible shape" in message(path)


@pytest.mark.parametrize("dims", [[2**60], [2**40, 2**40]])
def test_absurd_input_shapes(tmp_path, dims):
    assert "impossible shape" in message(save(tmp_path / "input.onnx", [relu("x", "y")], inputs=[info("x", dims)]))


@pytest.mark.parametrize("length", [0, 4, 100, 10**5])
def test_contents_that_do_not_fit_the_shape(tmp_path, length):
    weight = tensor([4, 3, 3, 3], b"\0" * length)
    path = save(tmp_path / "bad.onnx", [helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [weight])
    if length == 0:  # no contents at all: the shape is what counts
        assert capture_onnx(path).total_params == 108
    else:
        assert f"has {length:,} bytes of contents, expected 432" in message(path)


def test_shapes_that_grow_without_bound(tmp_path):
    size = numpy_helper.from_array(np.array([2**60], np.int64), "size")
    nodes = [helper.make_node("ConstantOfShape", ["size"], ["c"], "fill"), helper.make_node("Add", ["x", "c"], ["y"])]
    with seconds(20), pytest.raises(SourceError):
        capture_onnx(save(tmp_path / "fill.onnx", nodes, [size], [info("x", [1])]))


def test_range_and_tile_do_not_allocate(tmp_path):
    numbers = {"a": np.array(0), "b": np.array(2**50), "c": np.array(1), "t": np.array([2**40])}
    nodes = [helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Tile", ["r", "t"], ["y"], "tile")]
    text = message(
        save(tmp_path / "range.onnx", nodes, [numpy_helper.from_array(v.astype(np.int64), k) for k, v in numbers.items()])
    )
    assert "'tile' (Tile)" in text


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Conv", ["x"], ["y"], "n"),
        helper.make_node("Conv", ["x", "w"], ["y"], "n", strides=[0, 0]),
        helper.make_node("Conv", ["x", "w"], ["y"], "n", group=7),
        helper.make_node("Conv", ["x", "w"], ["y"], "n", pads=[1]),
        helper.make_node("Transpose", ["x"], ["y"], "n", perm=[0, 0, 0, 0]),
        helper.make_node("Transpose", ["x"], ["y"], "n", perm=[9, 8, 7, 6]),
        helper.make_node("MatMul", ["x", "w"], ["y"], "n"),
        helper.make_node("Concat", ["x", "w"], ["y"], "n", axis=99),
        helper.make_node("MaxPool", ["x"], ["y"], "n"),
        helper.make_node("MaxPool", ["x"], ["y"], "n", kernel_shape=[100, 100]),
        helper.make_node("Softmax", [], ["y"], "n"),
        helper.make_node("Split", ["x"], ["y"], "n", axis=-9),
        helper.make_node("Einsum", ["x", "w"], ["y"], "n", equation="ab,bc->ac"),
        helper.make_node("If", ["x"], ["y"], "n"),
        helper.make_node("Loop", [], ["y"], "n"),
        helper.make_node("DepthToSpace", ["x"], ["y"], "n", blocksize=0),
        helper.make_node("SpaceToDepth", ["x"], ["y"], "n", blocksize=0),
        helper.make_node("LSTM", ["x"], ["y"], "n"),
        helper.make_node("Relu", ["x"], ["y", "z"], "n"),
    ],
    ids=lambda node: f"{node.op_type}-{len(node.attribute)}",
)
def test_malformed_nodes_are_named(tmp_path, node):
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    assert f"node 'n' ({node.op_type})" in message(save(tmp_path / "malformed.onnx", [node], [weight]))


# ---------------------------------------------------------------- external data


def external(path, location):
    weight = tensor([4, 3, 3, 3])
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", location
    return save(path, [helper.make_node("Conv", ["x", "w"], ["y"], "conv")], [weight])


_opened = None


def _watch(event, arguments):
    if _opened is not None and event == "open":
        _opened.append(str(arguments[0]))


sys.addaudithook(_watch)  # hooks cannot be removed: this one sleeps while ``_opened`` is None


def opened_by(path):
    """Names of the files that reading ``path`` opens, and what came of it."""
    global _opened
    _opened = []
    try:
        result = capture_onnx(path)
    except SourceError as error:
        result = error
    finally:
        names, _opened = _opened, None
    assert str(path) in names
    return names, result


@pytest.mark.parametrize(
    "location",
    ["/etc/passwd", "../secret.bin", "sub/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", "a\0b", "\\\\host\\x"],
)
def test_external_data_outside_the_folder(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 432)
    (tmp_path / "models").mkdir()
    assert "outside the model's folder" in message(external(tmp_path / "models" / "m.onnx", location))


def test_external_data_by_a_symbolic_link(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 432)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "weights.bin").symlink_to("../secret.bin")
    path = external(tmp_path / "models" / "m.onnx", "weights.bin")
    names, error = opened_by(path)
    assert "link out of the model's folder" in str(error)
    assert not any("secret" in name or "weights" in name for name in names)


def test_external_data_behind_a_linked_folder(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "w.bin").write_bytes(b"\0" * 432)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "sub").symlink_to("../outside")
    assert "link out of the model's folder" in message(external(tmp_path / "models" / "m.onnx", "sub/w.bin"))


def test_external_data_in_a_loop_of_links(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    path = external(tmp_path / "m.onnx", "a")
    assert "external data" in message(path)


def test_external_data_by_a_hard_link_is_reported_and_not_opened(tmp_path):
    (tmp_path / "secret.bin").write_bytes(b"\0" * 432)
    (tmp_path / "models").mkdir()
    os.link(tmp_path / "secret.bin", tmp_path / "models" / "weights.bin")
    names, capture = opened_by(external(tmp_path / "models" / "m.onnx", "weights.bin"))
    assert any("hard link" in note for note in capture.notes)
    assert not any("weights" in name for name in names)


def test_missing_external_data_is_a_note(tmp_path):
    capture = capture_onnx(external(tmp_path / "m.onnx", "weights.bin"))
    assert any(note.startswith("weights missing") for note in capture.notes)
    assert capture.total_params == 108


def test_external_data_beside_the_model_is_not_opened(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\0" * 432)
    names, capture = opened_by(external(tmp_path / "m.onnx", "weights.bin"))
    assert capture.notes == []
    assert not any("weights" in name for name in names)


def test_download_cache_of_links(tmp_path):
    """A hub cache: the model and its weights are links into one folder of hashes."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    external(blobs / "0123", "model.onnx_data")
    (blobs / "4567").write_bytes(b"\0" * 432)
    (snapshot / "model.onnx").symlink_to("../../blobs/0123")
    (snapshot / "model.onnx_data").symlink_to("../../blobs/4567")
    assert capture_onnx(snapshot / "model.onnx").notes == []


def test_external_without_location(tmp_path):
    weight = tensor([4, 3, 3, 3])
    weight.data_location = TensorProto.EXTERNAL
    path = save(tmp_path / "m.onnx", [helper.make_node("Conv", ["x", "w"], ["y"])], [weight])
    assert "without a location" in message(path)


# ---------------------------------------------------------------- fuzzing


def attentive(path):
    """A model with constants, cuts, a subgraph and a function, for damage to many kinds of message."""
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], opset)
    branch = helper.make_graph([relu("d", "r")], "then", [], [info("r", None)])
    other = helper.make_graph([helper.make_node("Sigmoid", ["d"], ["s"])], "else", [], [info("s", None)])
    nodes = [
        helper.make_node("Constant", [], ["axes"], value=numpy_helper.from_array(np.array([1], np.int64))),
        helper.make_node("Reshape", ["x", "shape"], ["f"], "/block.0/flat/Reshape"),
        helper.make_node("MatMul", ["f", "w"], ["m"], "/block.0/fc/MatMul"),
        helper.make_node("Split", ["m"], ["p", "q"], axis=1),
        helper.make_node("Concat", ["q", "p"], ["c"], axis=1),
        helper.make_node("Double", ["c"], ["d"], domain="own"),
        helper.make_node("If", ["flag"], ["i"], "if", then_branch=branch, else_branch=other),
        helper.make_node("ReduceMean", ["i"], ["y"], axes=[1]),
    ]
    weights = {"w": np.ones((192, 8), np.float32), "shape": np.array([1, -1], np.int64)}
    graph = helper.make_graph(nodes, "g", [info("x", [1, 3, 8, 8]), info("flag", [], TensorProto.BOOL)], [info("y", None)],
                              [numpy_helper.from_array(v, k) for k, v in weights.items()])  # fmt: skip
    path.write_bytes(helper.make_model(graph, opset_imports=opset, functions=[function]).SerializeToString())
    assert len(capture_onnx(path).nodes) > 6


@pytest.mark.parametrize("seed", range(4))
def test_random_damage(tmp_path, small, seed):
    """Any bytes give a capture or one of our errors, never another exception."""
    if seed % 2:
        attentive(small)
    data, rng = small.read_bytes(), random.Random(seed)
    # The middle of the weights is left out: damage there changes nothing.
    places = [i for i in range(len(data)) if b"\0\0\x80\x3f" * 9 not in data[max(i - 40, 0) : i + 40]]
    with seconds(60):
        for _ in range(1500):
            damaged = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                place = min(rng.choice(places), len(damaged) - 1)
                kind = rng.random()
                if kind < 0.6:
                    damaged[place] = rng.randrange(256)
                elif kind < 0.8:
                    del damaged[place : place + rng.randint(1, 8)]
                else:
                    damaged[place:place] = rng.randbytes(rng.randint(1, 8))
            small.write_bytes(bytes(damaged))
            survives(small)


def test_varint_and_skeleton_round_trip(small):
    """Without large tensors, the skeleton is the file."""
    assert guard._read_skeleton(small) == small.read_bytes()
    for value in (0, 1, 127, 128, 300, 2**31, 2**63 - 1):
        encoded = guard._encode_varint(value)
        walk = guard._Walk("x", memoryview(encoded))
        assert guard._varint(walk, 0, len(encoded)) == (value, len(encoded))
