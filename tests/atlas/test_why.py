"""Why a hit is like the example, and where two compared entries part."""

from __future__ import annotations

import numpy as np
import pytest

from netatlas.atlas import places
from netatlas.atlas.atlas import Atlas
from netatlas.atlas.comparison import compare
from netatlas.atlas.why import made_of, why_alike

pytestmark = pytest.mark.skipif(places.starter_path() is None, reason="the starter atlas has not been built: run 'make atlas'")


@pytest.fixture(scope="module")
def atlas():
    with_starter = Atlas.open(None)
    yield with_starter
    with_starter.close()


def why(atlas, example, entry_id):
    return why_alike(atlas, made_of(atlas.graph(example)), entry_id)


def test_forms_in_common_are_counted(atlas):
    """Howard et al., ICCV 2019, table 1, and Tan and Le, ICML 2019, table 1: 15 and 16 blocks, 8 and 16 with squeeze-excite."""
    told = why(atlas, "timm/mobilenetv3_large_100", "timm/efficientnet_b0")
    assert "8 squeeze-excites" in told
    assert "8 more squeeze-excites" in told or "SiLU for" in told


def test_what_replaces_what_is_named(atlas):
    assert "GELU for ReLU" in why(atlas, "timm/resnet50", "timm/convnext_tiny")
    assert "ReLU for GELU" in why(atlas, "timm/convnext_tiny", "timm/resnet50")


def test_the_same_operators_and_another_size(atlas):
    assert why(atlas, "timm/vit_small_patch16_224", "timm/vit_small_patch16_384").endswith("in common; the same operators")
    told = why(atlas, "timm/vit_small_patch16_224", "timm/vit_base_patch16_224")
    assert told.endswith("in common; the same operators, 3.9 x the parameters")
    both = [int(np.sum(atlas.graph(f"timm/vit_{size}_patch16_224").params)) for size in ("base", "small")]
    assert 3.85 < both[0] / both[1] < 3.95


def test_an_entry_without_a_graph_has_no_reason(atlas):
    from netatlas.errors import StoreError

    made = made_of(atlas.graph("timm/resnet18"))

    class Empty:
        def graph(self, _):
            raise StoreError("no graph")

    assert why_alike(Empty(), made, "x") == ""


def test_find_says_why(atlas):
    hits = atlas.find(like=["timm/vit_small_patch16_224"], k=3)
    assert all("12 pre-norm transformer blocks" in hit.why[0] for hit in hits), [hit.why for hit in hits]


def test_two_compared_entries_are_explained_and_three_are_not(atlas):
    found = compare(atlas, ["timm/resnet18", "timm/resnet34"])
    assert "Side by side\n69 operators alike, 0 changed, 0 only in the first, 56 only in the second" in found.text()
    assert found.to_dict()["why"]["forms"]["common"]["residual"] == 8
    three = compare(atlas, ["timm/resnet18", "timm/resnet34", "timm/resnet50"])
    assert three.difference is None
    assert three.to_dict()["why"] is None
    assert "Side by side" not in three.text()
