"""The difference of two checkpoints: by hand, and for what libraries call the same network."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netatlas.errors import SourceError
from netatlas.targets._checkpoint_tensors import StoredTensor
from netatlas.targets.tensor_diff import diff_checkpoints, diff_tensors

TIMM = ("blocks.{}.norm1", "blocks.{}.attn.proj", "blocks.{}.norm2", "blocks.{}.mlp.fc1", "blocks.{}.mlp.fc2")
HUGGING_FACE = (
    "encoder.layer.{}.layernorm_before", "encoder.layer.{}.attention.output.dense", "encoder.layer.{}.layernorm_after",
    "encoder.layer.{}.intermediate.dense", "encoder.layer.{}.output.dense",
)  # fmt: skip
SHAPES = ((32,), (32, 32), (32,), (128, 32), (32, 128))


def tensors(**shapes):
    return [StoredTensor(name.replace("__", "."), shape, "F32") for name, shape in shapes.items()]


def encoder(names, layers=4):
    return [
        StoredTensor(f"{name.format(n)}.{leaf}", shape if leaf == "weight" else shape[:1], "F32")
        for n in range(layers)
        for name, shape in zip(names, SHAPES, strict=True)
        for leaf in ("weight", "bias")
    ]


def write(path: Path, listed) -> Path:
    header, position = {}, 0
    for t in listed:
        size = 4
        for n in t.shape:
            size *= n
        header[t.name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(position))
    return path


def test_equal_checkpoints_are_the_same_and_order_does_not_count():
    found = diff_tensors(encoder(TIMM), encoder(TIMM)[::-1])
    assert found.is_same
    assert found.text().splitlines()[-1] == "the same names and shapes: 40 tensors"
    assert found.to_dict()["pairs"] == []


def test_what_was_added_reshaped_and_removed_by_hand():
    ours = tensors(stem__weight=(8, 3, 3, 3), head__weight=(10, 8), old__bias=(5,))
    theirs = tensors(stem__weight=(8, 3, 5, 5), head__weight=(10, 8), new__weight=(7, 7))
    found = diff_tensors(ours, theirs, "a", "b")
    assert [p.a.name for p in found.reshaped] == ["stem.weight"]
    assert ([t.name for t in found.only_a], [t.name for t in found.only_b]) == (["old.bias"], ["new.weight"])
    lines = found.text().splitlines()
    assert "- stem.weight  8x3x3x3" in lines
    assert "+ stem.weight  8x3x5x5" in lines
    assert "- old.bias  5" in lines
    assert "+ new.weight  7x7" in lines
    assert (
        found.stat().splitlines()[-1] == "1 tensor alike, 0 renamed, 1 of other shapes, 1 only in the first, 1 only in the second"
    )


def test_a_renamed_prefix_is_one_rule():
    theirs = [StoredTensor(t.name.replace("blocks.", "encoder.layers."), t.shape, t.dtype) for t in encoder(TIMM)]
    found = diff_tensors(encoder(TIMM), theirs)
    assert dict(found.renames) == {("blocks.*", "encoder.layers.*"): 40}
    assert not found.reshaped
    assert "the same shapes under other names: 40 tensors" in found.text()


def test_one_network_by_two_libraries_pairs_layer_by_layer():
    """ViT of timm and of transformers; which module is which is known by hand."""
    found = diff_tensors(encoder(TIMM), encoder(HUGGING_FACE))
    assert not found.only_a
    assert not found.only_b
    wanted = {(a.format(n), b.format(n)) for n in range(4) for a, b in zip(TIMM, HUGGING_FACE, strict=True)}
    assert {(p.a.name.rpartition(".")[0], p.b.name.rpartition(".")[0]) for p in found.pairs} == wanted
    assert all(p.a.name.rpartition(".")[2] == p.b.name.rpartition(".")[2] for p in found.pairs)


def test_more_layers_are_counted_and_none_is_called_renamed():
    found = diff_tensors(encoder(TIMM, 4), encoder(TIMM, 7), "a", "b")
    assert not found.renames
    assert len(found.only_b) == 30
    assert "+ blocks.*.mlp.fc1.weight  128x32  x 3" in found.text()


def test_another_network_is_not_called_a_renamed_one():
    strange = tensors(proj__weight=(32, 32), **{f"x{n}__weight": (n + 200, 17, 3, 3) for n in range(9)})
    found = diff_tensors(encoder(TIMM, 1), strange)
    assert not found.pairs  # one tensor of one shape is chance
    assert (len(found.only_a), len(found.only_b)) == (10, 10)


def test_another_number_format_is_a_note_and_no_difference():
    half = [StoredTensor(t.name, t.shape, "F16") for t in encoder(TIMM)]
    found = diff_tensors(encoder(TIMM), half)
    assert found.is_same
    assert found.notes == ("40 tensors are F32 in the first and F16 in the second",)
    assert not diff_tensors(encoder(TIMM), [StoredTensor(t.name, t.shape, "torch.float32") for t in encoder(TIMM)]).notes


NAMES = st.lists(st.sampled_from([f"{m}.{n}.{leaf}" for m in "ab" for n in range(3) for leaf in ("weight", "bias")]), unique=True)


@given(NAMES, NAMES, st.data())
def test_laws(x, y, data):
    shapes = st.sampled_from([(4,), (4, 4), (8, 4)])
    ours, theirs = ([StoredTensor(n, data.draw(shapes), "F32") for n in names] for names in (x, y))
    found, back = diff_tensors(ours, theirs), diff_tensors(theirs, ours)
    assert sorted([p.a.name for p in found.pairs] + [t.name for t in found.only_a]) == sorted(x)
    assert sorted([p.b.name for p in found.pairs] + [t.name for t in found.only_b]) == sorted(y)
    assert {p.a.name for p in found.pairs} >= set(x) & set(y)
    assert found.is_same == back.is_same == ({(t.name, t.shape) for t in ours} == {(t.name, t.shape) for t in theirs})
    assert diff_tensors(ours, theirs).text() == found.text()
    assert json.dumps(found.to_dict())


def test_too_many_other_names_are_not_searched(monkeypatch):
    from netatlas.targets import tensor_diff

    monkeypatch.setattr(tensor_diff, "MOST_CELLS", 100)
    found = diff_tensors(encoder(TIMM), encoder(HUGGING_FACE))
    assert not found.pairs
    assert found.notes == ("40 x 40 tensors of other names are too many to look for renames",)


# ---------------------------------------------------------------- files


def test_files_are_compared_and_drawn(tmp_path):
    a, b = write(tmp_path / "a.safetensors", encoder(TIMM, 2)), write(tmp_path / "b.safetensors", encoder(TIMM, 3))
    found = diff_checkpoints(a, b)
    assert (found.name_a, found.name_b, len(found.only_b)) == ("a.safetensors", "b.safetensors", 10)
    assert "<svg" in found.svg()
    assert bool(found)
    assert not diff_checkpoints(a, a)


def test_files_of_one_name_are_told_apart(tmp_path):
    (tmp_path / "x").mkdir()
    a, b = write(tmp_path / "m.safetensors", encoder(TIMM, 1)), write(tmp_path / "x" / "m.safetensors", encoder(TIMM, 2))
    found = diff_checkpoints(a, b)
    assert found.name_a != found.name_b


def test_a_bad_file_is_named(tmp_path):
    good = write(tmp_path / "good.safetensors", encoder(TIMM, 1))
    (tmp_path / "bad.safetensors").write_bytes(b"\x01")
    with pytest.raises(SourceError, match=r"bad\.safetensors"):
        diff_checkpoints(good, tmp_path / "bad.safetensors")
    with pytest.raises(SourceError, match=r"gone\.safetensors"):
        diff_checkpoints(good, tmp_path / "gone.safetensors")
    with pytest.raises(SourceError, match="have no drawing"):
        diff_tensors(encoder(TIMM), encoder(TIMM)).svg()
