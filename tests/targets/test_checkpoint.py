"""Checkpoints: what names and shapes give away, and files that lie."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas.errors import SourceError
from netatlas.targets._checkpoint_layers import Layer, guess_layers
from netatlas.targets._checkpoint_safetensors import read_safetensors
from netatlas.targets._checkpoint_tensors import StoredTensor, clean_names

torch = pytest.importorskip("torch")
nn = torch.nn

from netatlas.targets import _checkpoint_child, _checkpoint_pickle
from netatlas.targets._checkpoint_pickle import _unpack, read_pickles
from netatlas.targets.checkpoint import list_tensors, read_checkpoint

SIZES = {"F32": 4, "F16": 2, "I64": 8, "BOOL": 1, "U8": 1, "BF16": 2, "I8": 1, "I32": 4}


def raw_safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def safetensors_bytes(tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str] | None = None) -> bytes:
    """A valid file, written independently of the reader (and checked against the reference library below)."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    position = 0
    for name, (dtype, shape) in tensors.items():
        size = SIZES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [position, position + size]}
        position += size
    return raw_safetensors(json.dumps(header).encode(), bytes(position))


def write(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def save(folder: Path, name: str, value: object, **options: object) -> Path:
    torch.save(value, folder / name, **options)
    return folder / name


def layers_of(tensors: dict[str, tuple[int, ...]], dtype: str = "F32") -> list[Layer]:
    integers = ("num_batches_tracked", "index", "position_ids")
    return guess_layers([StoredTensor(n, tuple(s), "I64" if n.endswith(integers) else dtype) for n, s in tensors.items()])


def ops_of(tensors: dict[str, tuple[int, ...]]) -> list[str]:
    return [layer.op for layer in layers_of(tensors)]


@pytest.fixture(autouse=True)
def in_process(request, monkeypatch):
    """Most tests ask the child's own code without starting a process; those that ask for ``child`` start it."""
    if "child" not in request.fixturenames:
        monkeypatch.setattr(
            _checkpoint_pickle, "_ask_child", lambda paths, *_: _unpack(_checkpoint_child.answer([str(p) for p in paths]))
        )


@pytest.fixture
def child():
    """Marks a test that runs the real child process."""


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.dw, self.pw = nn.Conv2d(8, 8, 5, groups=8), nn.Conv2d(8, 16, 1)
        self.head = nn.Linear(16, 10)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed_tokens, self.lm_head = nn.Embedding(50, 8), nn.Linear(8, 50, bias=False)
        self.lm_head.weight = self.embed_tokens.weight


# ---------------------------------------------------------------- safetensors headers


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,6}(\.[a-z0-9]{1,4}){0,3}", fullmatch=True),
        st.tuples(st.sampled_from(sorted(SIZES)), st.lists(st.integers(0, 5), max_size=4)),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_valid_files_list_exactly_what_they_hold(tmp_path_factory, tensors):
    reference = pytest.importorskip("safetensors")
    path = write(tmp_path_factory.mktemp("st"), "x.safetensors", safetensors_bytes(tensors))
    listed = {t.name: (t.dtype, list(t.shape)) for t in read_safetensors(path).tensors}
    assert listed == tensors
    with reference.safe_open(path, framework="np") as file:  # the reference reads the same names
        assert set(file.keys()) == set(tensors)


def field(name: str, shape: str, start: int, end: int, dtype: str = "F32") -> str:
    return f'"{name}": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [{start}, {end}]}}'


def with_header(*fields: str, size: int = 4) -> bytes:
    return raw_safetensors(("{" + ", ".join(fields) + "}").encode(), bytes(size))


HEADERS = {
    "header of 2^62": (raw_safetensors(b"{}", length=2**62), "header too large"),
    "header beyond the file": (raw_safetensors(b"{}", length=50), "truncated"),
    "shorter than a length": (b"\x01\x02", "2 bytes"),
    "empty": (b"", "0 bytes"),
    "not JSON": (raw_safetensors(b"{nonsense"), "not JSON"),
    "not an object": (raw_safetensors(b"[1, 2]"), "does not start with"),
    "not UTF-8": (raw_safetensors(b'{"\xff": 1}'), "not UTF-8"),
    "deeply nested": (raw_safetensors(b'{"a":' + b"[" * 100_000), "not JSON"),
    "unknown dtype": (raw_safetensors(b'{"a": {"dtype": "F31", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)), "'F31'"),
    "dtype is a list": (raw_safetensors(b'{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 4]}}', bytes(4)), "dtype"),
    "negative size": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}', bytes(4)),
        "impossible shape",
    ),
    "fractional size": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}', bytes(4)),
        "impossible shape",
    ),
    "boolean size": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}', bytes(4)),
        "impossible shape",
    ),
    "2^60 elements": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1152921504606846976], "data_offsets": [0, 4]}}', bytes(4)),
        "fit",
    ),
    "offsets out of the file": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', bytes(4)),
        "truncated",
    ),
    "offsets reversed": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}', bytes(4)),
        "impossible offsets",
    ),
    "overlap": (with_header(field("a", "[1]", 0, 4), field("b", "[1]", 2, 6), size=6), "overlap"),
    "hole": (raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}', bytes(8)), "no tensor"),
    "uncovered tail": (
        raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(9)),
        "last 5 bytes",
    ),
    "name twice": (with_header(field("a", "[1]", 0, 4), field("a", "[1]", 0, 4)), "'a' occurs twice"),
    "field twice": (
        raw_safetensors(b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [1], "data_offsets": [0, 2]}}', bytes(2)),
        "twice",
    ),
    "missing field": (raw_safetensors(b'{"a": {"dtype": "F32", "shape": [1]}}', bytes(4)), "data_offsets"),
    "metadata not words": (raw_safetensors(b'{"__metadata__": {"a": 1}}'), "__metadata__"),
    "no tensors": (raw_safetensors(b"{}"), "no tensors"),
    "lone surrogate": (
        raw_safetensors(b'{"\\ud800": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}', bytes(4)),
        "unprintable",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_bad_header_is_one_clear_line(tmp_path, name):
    content, words = HEADERS[name]
    path = write(tmp_path, "bad.safetensors", content)
    with pytest.raises(SourceError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert message.startswith("bad.safetensors: ")
    assert words in message
    assert "\n" not in message


def test_every_truncation_and_every_flipped_byte_is_survived(tmp_path):
    good = safetensors_bytes({"a.weight": ("F32", [4, 4]), "a.bias": ("F32", [4])})
    rng = random.Random(0)
    for cut in range(0, len(good) - 1, 7):
        with pytest.raises(SourceError):
            read_safetensors(write(tmp_path, "cut.safetensors", good[:cut]))
    for _ in range(300):
        damaged = bytearray(good)
        damaged[rng.randrange(len(good) - 80)] = rng.randrange(256)
        with contextlib.suppress(SourceError):  # some flips only rename a tensor; anything but SourceError fails the test
            read_checkpoint(write(tmp_path, "flip.safetensors", bytes(damaged)))


def test_tied_tensors_that_metadata_names_are_counted_once(tmp_path):
    content = safetensors_bytes(
        {"embed_tokens.weight": ("F32", [50, 8])}, {"lm_head.weight": "embed_tokens.weight", "format": "pt"}
    )
    (entry,) = read_checkpoint(write(tmp_path, "tied.safetensors", content))
    assert entry.facts["params"] == 400
    assert entry.graph is not None
    assert entry.graph.names == ["input", "embedding", "linear"]
    assert entry.graph.params.tolist() == [0, 400, 0]


# ---------------------------------------------------------------- state dicts


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_state_dict_counts_parameters_exactly(tmp_path, zipped):
    model = Small()
    path = save(tmp_path, "small.pt", model.state_dict(), _use_new_zipfile_serialization=zipped)
    (entry,) = read_checkpoint(path)
    assert entry.id == "checkpoint/small"
    assert entry.facts["params"] == sum(p.numel() for p in model.parameters())
    assert entry.facts["traced_by"] == "checkpoint"
    assert entry.facts["outputs"] == 10
    assert entry.facts["dim"] == 16
    assert entry.graph is not None
    assert entry.graph.names == ["input", "conv", "batch_norm", "conv", "conv", "linear"]
    assert int(entry.graph.params.sum()) == entry.facts["params"]
    assert {"depthwise_conv", "pointwise_conv"} <= set(entry.facts["ops"])
    assert "small.pt" in entry.origins["params"]


def test_what_shapes_cannot_tell_is_absent_never_zero(tmp_path):
    (entry,) = read_checkpoint(save(tmp_path, "small.pt", Small().state_dict()))
    assert not {"macs", "flops", "activations", "peak_memory", "depth", "input", "input_size", "seq_len"} & set(entry.facts)
    assert set(entry.origins) <= set(entry.facts)


def test_both_formats_give_the_same_graph(tmp_path):
    save_model = pytest.importorskip("safetensors.torch").save_model
    from netatlas.graph.canonical import content_hash

    save_model(Small(), str(tmp_path / "a.safetensors"))
    (one,) = read_checkpoint(tmp_path / "a.safetensors")
    (other,) = read_checkpoint(save(tmp_path, "b.pt", Small().state_dict()))
    assert one.graph is not None
    assert other.graph is not None
    assert content_hash(one.graph) == content_hash(other.graph)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_that_share_memory_are_counted_once(tmp_path, zipped):
    path = save(tmp_path, "tied.pt", Tied().state_dict(), _use_new_zipfile_serialization=zipped)
    (entry,) = read_checkpoint(path)
    assert entry.facts["params"] == 400
    assert entry.facts["vocab"] == 50


@pytest.mark.parametrize(
    ("wrap", "note"),
    [
        (lambda s: {"epoch": 3, "state_dict": s, "optimizer": {"state": {0: torch.zeros(9)}}}, "'state_dict'"),
        (lambda s: {"model": s, "step": torch.tensor(4)}, "'model'"),
        (lambda s: {"model_state_dict": s}, "'model_state_dict'"),
        (lambda s: {"ema": s}, "'ema'"),
        (lambda s: {"ema": {k: v.clone() for k, v in s.items()}, "state_dict": {"model": s}}, "'state_dict.model'"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "'module.'"),
        (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, "'_orig_mod.'"),
        (lambda s: {"model": {f"module._orig_mod.{k}": v for k, v in s.items()}}, "'module.'"),
    ],
)
def test_what_training_programs_wrap_around_is_removed_and_said(tmp_path, wrap, note):
    model = Small()
    (entry,) = read_checkpoint(save(tmp_path, "wrapped.pth", wrap(model.state_dict())))
    assert entry.facts["params"] == sum(p.numel() for p in model.parameters())
    assert note in entry.origins["params"]
    assert entry.graph is not None
    assert "conv1" in {scope.path for scope in entry.graph.scopes}


def test_several_networks_in_one_file_keep_their_names(tmp_path):
    value = {
        "encoder": {"fc.weight": torch.zeros(2, 3)},
        "decoder": {"fc.weight": torch.zeros(3, 2)},
        "optimizer": {"m": torch.zeros(99)},
    }
    listing = list_tensors(save(tmp_path, "two.pt", value))
    assert {t.name for t in listing.tensors} == {"encoder.fc.weight", "decoder.fc.weight"}
    assert "'optimizer'" in " ".join(listing.notes)


def test_settings_of_argparse_do_no_harm(tmp_path):
    import argparse

    value = {"state_dict": {"fc.weight": torch.zeros(2, 3)}, "args": argparse.Namespace(lr=0.1, name="x")}
    (entry,) = read_checkpoint(save(tmp_path, "args.pt", value))
    assert entry.facts["params"] == 6


class Evil:
    """Would create a file if anything in it were executed."""

    def __init__(self, target: Path, how: str) -> None:
        self.target, self.how = target, how

    def __reduce__(self):
        if self.how == "system":
            return os.system, (f"touch {self.target}",)
        if self.how == "eval":
            return eval, (f"__import__('pathlib').Path({str(self.target)!r}).touch()",)
        return Path.touch, (self.target,)


@pytest.mark.parametrize("how", ["system", "eval", "method"])
@pytest.mark.parametrize("form", ["zip", "legacy", "plain"])
def test_malicious_reduce_is_refused_and_nothing_runs(tmp_path, how, form):
    target = tmp_path / "executed"
    value = {"fc.weight": torch.zeros(2, 3), "evil": Evil(target, how)}
    if form == "plain":
        path = write(tmp_path, "evil.pt", pickle.dumps({"evil": Evil(target, how)}))
    else:
        path = save(tmp_path, "evil.pt", value, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(SourceError, match=r"^evil\.pt: .*refused, nothing was executed") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    assert not target.exists()
    if form == "plain" and how == "method":  # the trap itself works: plain pickle does run it
        pickle.loads(path.read_bytes())
        assert target.exists()


def test_whole_module_is_refused_by_name(tmp_path):
    with pytest.raises(SourceError, match=r"Small, which could run code.*state_dict"):
        read_checkpoint(save(tmp_path, "whole.pt", Small()))


BAD_FILES = {
    "empty": (b"", "is empty"),
    "text": (b"hello, this is not a checkpoint", "not a PyTorch checkpoint"),
    "half a pickle": (pickle.dumps({"a": 1})[:-3], "truncated|not a plain state dict"),
    "another pickle": (pickle.dumps([1, 2, 3]), "not a plain state dict|truncated or damaged"),
    "HTML page": (b"<!doctype html><html>404</html>", "not a PyTorch checkpoint"),
    "GGUF": (b"GGUF\x03\x00\x00\x00", "is a GGUF file"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    "zip of something": (None, "truncated or damaged|not a plain state dict"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_other_files_are_one_clear_line(tmp_path, name):
    content, words = BAD_FILES[name]
    if content is None:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("readme.txt", "nothing to see")
        content = buffer.getvalue()
    with pytest.raises(SourceError, match=words) as caught:
        read_checkpoint(write(tmp_path, "bad.pt", content))
    assert str(caught.value).startswith("bad.pt: ")
    assert "\n" not in str(caught.value)


def test_truncated_zip_says_so(tmp_path):
    path = save(tmp_path, "cut.pt", Small().state_dict())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match=r"^cut\.pt: the zip archive is truncated"):
        read_checkpoint(path)


def test_zip_bomb_is_refused_before_it_is_opened(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(300_000_000))
    assert path.stat().st_size < 1_000_000
    with pytest.raises(SourceError, match=r"claims 300,000,000 bytes in a file of .* refused"):
        read_checkpoint(path)


def torch_zip(folder: Path, name: str, program: bytes, record: bytes = b"") -> Path:
    """A checkpoint whose pickle is written by hand."""
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("x/data.pkl", program)
        archive.writestr("x/data/0", record)
        archive.writestr("x/version", "3\n")
        archive.writestr("x/byteorder", "little")
    return folder / name


def test_pickle_that_grows_hits_the_memory_limit(tmp_path, child):
    pytest.importorskip("resource")
    # bytearray is allowed by weights_only and takes a length: 64 GB from sixty bytes of pickle.
    program = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\x00\x00\x00\x00\x10\x85R."
    with pytest.raises(SourceError, match=r"^grow\.pt: .*refused"):
        read_pickles([torch_zip(tmp_path, "grow.pt", program)], memory_bytes=2**30)


def test_references_that_multiply_are_bounded(tmp_path):
    # Dicts that each hold the one before ten times: 10^10 paths to one tensor, in a small file.
    value: dict[str, object] = {"w": torch.zeros(1)}
    for _ in range(10):
        value = {str(i): value for i in range(10)}
    assert len(list_tensors(save(tmp_path, "laughs.pt", value)).tensors) == 1


def test_processor_time_is_bounded(tmp_path, child):
    pytest.importorskip("resource")
    program = b"\x80\x02}" + b"K\x01K\x02s" * 8_000_000 + b"."  # sets one item of one dict eight million times
    with pytest.raises(SourceError, match=r"^slow\.pt: reading used up its 1 s of processor time"):
        read_pickles([torch_zip(tmp_path, "slow.pt", program)], cpu_seconds=1)


def test_child_reads_both_formats_and_refuses_like_the_code_it_runs(tmp_path, child):
    for zipped in (True, False):
        path = save(tmp_path, "fine.pt", {"model": Small().state_dict()}, _use_new_zipfile_serialization=zipped)
        assert read_checkpoint(path)[0].facts["params"] == sum(p.numel() for p in Small().parameters())
    target = tmp_path / "executed"
    with pytest.raises(SourceError, match=r"system, which could run code: refused, nothing was executed"):
        read_checkpoint(save(tmp_path, "evil.pt", {"evil": Evil(target, "system")}))
    assert not target.exists()


def test_legacy_file_without_its_numbers_is_truncated(tmp_path):
    path = save(tmp_path, "cut.pt", {"fc.weight": torch.zeros(100, 100)}, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(SourceError, match="more bytes than the file"):
        read_checkpoint(path)


def test_tensor_that_claims_more_than_the_file_is_refused(tmp_path):
    path = save(tmp_path, "claims.pt", {"w": torch.zeros(4)})
    with zipfile.ZipFile(path) as archive:
        names = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    # The size of the storage is a one-byte integer (K\x04), of the tensor's shape too: make both huge.
    program = names["data.pkl"].replace(b"K\x04", b"\x8a\x06\x00\x00\x00\x00\x00\x10")
    with pytest.raises(SourceError, match=r"^huge\.pt: .*(more bytes than the file|damaged)"):
        read_checkpoint(torch_zip(tmp_path, "huge.pt", program, names["data/0"]))


def test_not_a_mapping(tmp_path):
    with pytest.raises(SourceError, match="holds a Tensor, not a state dict"):
        read_checkpoint(save(tmp_path, "one.pt", torch.zeros(3)))
    with pytest.raises(SourceError, match="holds a list"):
        read_checkpoint(save(tmp_path, "list.pt", [torch.zeros(3)]))
    with pytest.raises(SourceError, match="no tensors"):
        read_checkpoint(save(tmp_path, "none.pt", {"epoch": 1}))


def test_wrong_suffix_is_named(tmp_path):
    with pytest.raises(SourceError, match="is a PyTorch file, not safetensors"):
        read_checkpoint(save(tmp_path, "x.safetensors", {"w": torch.zeros(3)}))
    content = safetensors_bytes({"fc.weight": ("F32", [2, 3])})
    (entry,) = read_checkpoint(write(tmp_path, "really.bin", content))  # content, not name, decides where it can
    assert entry.facts["params"] == 6


def test_missing_file_names_the_nearest(tmp_path):
    write(tmp_path, "weights.safetensors", safetensors_bytes({"w": ("F32", [1])}))
    with pytest.raises(SourceError, match=r"no such file: .*did you mean 'weights\.safetensors'"):
        read_checkpoint(tmp_path / "weight.safetensors")
    with pytest.raises(SourceError, match="the folder has none of"):
        read_checkpoint(tmp_path)
    with pytest.raises(SourceError):
        read_checkpoint("x\0y.pt")


# ---------------------------------------------------------------- shards


def shard(folder: Path, weight_map: object, **files: dict[str, tuple[str, list[int]]]) -> Path:
    for name, tensors in files.items():
        write(folder, f"{name}.safetensors", safetensors_bytes(tensors))
    return write(folder, "model.safetensors.index.json", json.dumps({"metadata": {}, "weight_map": weight_map}).encode())


def test_shards_are_one_network(tmp_path):
    a, b = {"fc1.weight": ("F32", [4, 3])}, {"fc2.weight": ("F32", [2, 4])}
    index = shard(tmp_path, {"fc1.weight": "a.safetensors", "fc2.weight": "b.safetensors"}, a=a, b=b)
    (entry,) = read_checkpoint(index)
    assert entry.facts["params"] == 20
    assert entry.id == f"checkpoint/{tmp_path.name}"
    assert read_checkpoint(tmp_path)[0].facts["params"] == 20  # the folder stands for its index


def test_pickled_shards_are_read_by_one_child(tmp_path, child):
    for name in "ab":
        save(tmp_path, f"{name}.bin", {f"{name}.weight": torch.zeros(2, 3)})
    index = write(tmp_path, "pytorch_model.bin.index.json", b'{"weight_map": {"a.weight": "a.bin", "b.weight": "b.bin"}}')
    assert read_checkpoint(index)[0].facts["params"] == 12


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", "", "..\\a.safetensors", "C:a", "a\nb"]
)
def test_shards_stay_in_their_folder(tmp_path, name):
    with pytest.raises(SourceError, match="refused"):
        read_checkpoint(shard(tmp_path, {"w": name}))


def test_bad_indexes(tmp_path):
    tensor = {"w": ("F32", [1])}
    with pytest.raises(SourceError, match=r"shard 'gone\.safetensors' is missing"):
        read_checkpoint(shard(tmp_path, {"w": "gone.safetensors"}))
    with pytest.raises(SourceError, match="'w' is in more than one shard"):
        read_checkpoint(shard(tmp_path, {"w": "a.safetensors", "v": "b.safetensors"}, a=tensor, b=tensor))
    with pytest.raises(SourceError, match="'v' is not in its shard"):
        read_checkpoint(shard(tmp_path, {"v": "a.safetensors"}, a=tensor))
    for content in (b"{", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"w": 1}}', b"\xff"):
        with pytest.raises(SourceError, match="index"):
            read_checkpoint(write(tmp_path, "x.index.json", content))


# ---------------------------------------------------------------- names and shapes to layers


def test_numbers_sort_as_numbers_and_ends_stay_at_the_ends():
    names = [
        "head",
        "layers.10.lin",
        "layers.2.lin",
        "patch_embed.proj",
        "layers.2.norm",
        "final_norm",
        "conv2",
        "bn2",
        "conv1",
        "bn1",
    ]
    shapes = {f"{n}.weight": (4, 4) for n in names if "norm" not in n and "bn" not in n}
    shapes |= {f"{n}.{leaf}": (4,) for n in names if "norm" in n or "bn" in n for leaf in ("weight", "bias")}
    order = [layer.path for layer in layers_of(shapes)]
    assert order[0] == "patch_embed.proj"
    assert order[-1] == "head"
    assert order.index("conv1") < order.index("bn1") < order.index("conv2") < order.index("bn2")
    assert order.index("layers.2.lin") < order.index("layers.2.norm") < order.index("layers.10.lin")


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({"c.weight": (8, 3, 3, 3)}, ["conv"]),
        ({"c.weight": (8, 3, 3)}, ["conv"]),
        ({"c.weight": (8, 3, 3, 3, 3)}, ["conv"]),
        ({"deconv.weight": (8, 3, 3, 3)}, ["conv_transpose"]),
        ({"fc.weight": (8, 3), "fc.bias": (8,)}, ["linear"]),
        ({"word_embeddings.weight": (100, 8)}, ["embedding"]),
        ({"time_embed.weight": (100, 8), "time_embed.bias": (100,)}, ["linear"]),
        ({"bn.weight": (8,), "bn.bias": (8,), "bn.running_mean": (8,), "bn.running_var": (8,)}, ["batch_norm"]),
        ({"n.running_mean": (8,), "n.running_var": (8,), "n.num_batches_tracked": ()}, ["batch_norm"]),
        ({"ln.weight": (8,), "ln.bias": (8,)}, ["layer_norm"]),
        ({"input_layernorm.weight": (8,)}, ["rms_norm"]),
        ({"gn.weight": (8,), "gn.bias": (8,)}, ["group_norm"]),
        ({"LayerNorm.gamma": (8,), "LayerNorm.beta": (8,)}, ["layer_norm"]),
        ({"prelu.weight": (1,)}, ["prelu"]),
        ({"r.weight_ih_l0": (32, 4), "r.weight_hh_l0": (32, 8), "r.bias_ih_l0": (32,)}, ["lstm"]),
        ({"r.weight_ih_l0": (24, 4), "r.weight_hh_l0": (24, 8)}, ["gru"]),
        ({"r.weight_ih_l0": (8, 4), "r.weight_hh_l0": (8, 8)}, ["rnn"]),
        ({"a.in_proj_weight": (24, 8), "a.in_proj_bias": (24,), "a.out_proj.weight": (8, 8)}, ["linear", "attention", "linear"]),
        ({"a.qkv.weight": (24, 8), "a.proj.weight": (8, 8)}, ["linear", "attention", "linear"]),
        ({f"a.{x}_proj.weight": (8, 8) for x in "qkvo"}, ["linear", "linear", "linear", "attention", "linear"]),
        ({f"s.{x}.weight": (8, 8) for x in ("query", "key", "value")}, ["linear", "linear", "linear", "attention"]),
        (
            {"m.A_log": (16, 4), "m.D": (16,), "m.in_proj.weight": (32, 8), "m.out_proj.weight": (8, 16)},
            ["linear", "scan", "linear"],
        ),
        ({"ls1.gamma": (8,)}, ["mul"]),
        ({"pos_embed": (1, 9, 8), "fc.weight": (8, 8)}, ["add", "linear"]),
        ({"w.weight_g": (8, 1, 1), "w.weight_v": (8, 3, 3)}, ["conv"]),
        ({"p.parametrizations.weight.original0": (8, 1), "p.parametrizations.weight.original1": (8, 3)}, ["linear"]),
    ],
)
def test_operator_of(tensors, expected):
    assert ops_of(tensors) == expected


def test_queries_keys_and_values_stand_side_by_side():
    shapes = {
        "norm.weight": (8,),
        **{f"attn.{x}_proj.weight": (8 if x in "qo" else 4, 8) for x in "qkvo"},
        "attn.q_norm.weight": (8,),
    }
    layers = layers_of(shapes)
    at = {layer.path: i for i, layer in enumerate(layers)}
    assert {tuple(layers[at[f"attn.{x}_proj"]].inputs) for x in "qkv"} == {tuple(layers[at["attn.q_proj"]].inputs)}
    assert layers[at["attn.q_norm"]].inputs == [at["attn.q_proj"]]
    assert layers[at["attn"]].inputs == sorted([at["attn.q_norm"], at["attn.k_proj"], at["attn.v_proj"]])
    assert layers[at["attn.o_proj"]].inputs == [at["attn"]]
    from netatlas.graph.ops import FLAGS

    assert layers[at["attn"]].attrs["flags"] & FLAGS["grouped_query"]


def test_swin_table_tells_the_heads():
    layers = layers_of({"a.qkv.weight": (24, 8), "a.proj.weight": (8, 8), "a.relative_position_bias_table": (169, 4)})
    assert next(x for x in layers if x.op == "attention").attrs["heads"] == 4


def test_grey_images_are_not_depthwise():
    layers = layers_of({"conv1.weight": (32, 1, 3, 3), "conv2.weight": (32, 32, 3, 3), "conv3.weight": (32, 1, 3, 3)})
    assert [layer.attrs.get("groups", 0) for layer in layers] == [0, 0, 32]


NAMES = st.from_regex(
    r"(conv|bn|attn|layers|q_proj|k_proj|v_proj|qkv|0|12|head|norm)(\.(fc|0|A_log|proj|weight|bias|gamma|running_mean)){0,4}",
    fullmatch=True,
)


@given(st.dictionaries(NAMES, st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=20))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_names_and_shapes_give_a_chain_that_owns_every_parameter(tensors):
    listed = [StoredTensor(name, tuple(shape), "F32") for name, shape in tensors.items()]
    from netatlas.targets._checkpoint_layers import is_parameter
    from netatlas.targets.checkpoint import _graph

    graph = _graph(guess_layers(listed), listed)
    assert int(graph.params.sum()) == graph.total_params == sum(t.elements for t in listed if is_parameter(t))
    assert all(graph.inputs[i] for i in range(1, len(graph)))


@given(st.permutations(["b.weight", "a.weight", "layers.10.weight", "layers.9.weight", "head.weight", "stem.weight"]))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_order_in_the_file_does_not_matter(order):
    assert [x.path for x in layers_of(dict.fromkeys(order, (2, 2)))] == ["stem", "a", "b", "layers.9", "layers.10", "head"]


def test_packed_weights_leave_the_count_unknown(tmp_path):
    content = safetensors_bytes({"fc.qweight": ("I32", [4, 32]), "fc.scales": ("F16", [1, 32]), "norm.weight": ("F16", [8])})
    (entry,) = read_checkpoint(write(tmp_path, "gptq.safetensors", content))
    assert "params" not in entry.facts
    assert entry.graph is not None
    assert entry.graph.total_params is None
    assert "linear" in entry.graph.names


def test_buffers_are_not_parameters(tmp_path):
    tensors = {
        "h.attn.c_attn.weight": ("F32", [8, 24]),
        "h.attn.c_attn.bias": ("F32", [24]),
        "h.attn.bias": ("F32", [1, 1, 16, 16]),
    }
    tensors |= {"rope.inv_freq": ("F32", [4]), "position_ids": ("I64", [1, 16])}
    (entry,) = read_checkpoint(write(tmp_path, "gpt.safetensors", safetensors_bytes(tensors)))
    assert entry.facts["params"] == 8 * 24 + 24


def test_averaged_copies_are_left_out():
    tensors, notes = clean_names([StoredTensor("fc.weight", (2, 2), "F32"), StoredTensor("model_ema.fcweight", (2, 2), "F32")])
    assert [t.name for t in tensors] == ["fc.weight"]
    assert "model_ema" in notes[0]


def test_real_architectures_agree_with_torch(tmp_path):
    models = pytest.importorskip("torchvision").models
    save_model = pytest.importorskip("safetensors.torch").save_model
    for name in ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"):
        with torch.random.fork_rng(devices=[]):
            model = models.get_model(name)
        save_model(model, str(tmp_path / f"{name}.safetensors"))
        (entry,) = read_checkpoint(tmp_path / f"{name}.safetensors")
        graph = entry.graph
        assert graph is not None
        assert entry.facts["params"] == sum(p.numel() for p in model.parameters())
        counts = graph.op_counts()
        assert counts["conv"] == sum(isinstance(m, nn.Conv2d) for m in model.modules())
        assert counts["batch_norm"] == sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        depthwise = sum(isinstance(m, nn.Conv2d) and m.groups == m.in_channels > 1 for m in model.modules())
        assert int((graph.attr("groups") > 1).sum()) == depthwise
