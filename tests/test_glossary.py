"""The glossary: what the table says, which ids it claims, and what it refuses."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netatlas import glossary
from netatlas.errors import ConfigError
from netatlas.glossary import Family, Glossary, parse

GLOSSARY = glossary.load()
FAMILIES = list(GLOSSARY.families.values())
PATTERNS = [(pattern, family.key) for family in FAMILIES for pattern in family.members]

RELEASED_EARLIER = frozenset(
    {"afmoe", "cohere2", "exaone_moe", "lighton_ocr", "mimo_v2_flash", "minimax_m2", "ministral3", "mixtral", "olmo2", "stablelm"}
)
"""Families that were public the year before their paper came to arXiv."""

TABLE = """
[resnet]
name = "ResNet"
aliases = ["residual network"]
title = "Deep Residual Learning for Image Recognition"
arxiv = "1512.03385"
year = 2015
sentence = "Blocks of convolutions whose input is added to their output by a shortcut."
traits = ["convnet"]
members = ["timm/resnet*"]
"""


def _literals(pattern: str) -> int:
    return len(re.sub(r"\[[^\]]*\]|[*?]", "", pattern))


def _claims(entry_id: str) -> list[tuple[int, str]]:
    """All (literal characters, key) whose pattern matches, best first: the rule, spelled out slowly."""
    whole = [(-_literals(p), key) for p, key in PATTERNS if "." in p and fnmatch.fnmatchcase(entry_id, p)]
    stem = entry_id.partition(".")[0]
    return sorted(whole or [(-_literals(p), key) for p, key in PATTERNS if "." not in p and fnmatch.fnmatchcase(stem, p)])


def _timm_ids() -> list[str]:
    timm = pytest.importorskip("timm", reason="needs the extra 'zoo'")
    return [f"timm/{name}" for name in timm.list_models()]


def _torchvision_ids() -> list[str]:
    models = pytest.importorskip("torchvision.models", reason="needs the extra 'zoo'")
    return [f"torchvision/{name}" for name in models.list_models()]


def _transformers_ids() -> list[str]:
    auto = pytest.importorskip("transformers.models.auto.configuration_auto", reason="needs the extra 'zoo'")
    return [f"transformers/{name}" for name in auto.CONFIG_MAPPING_NAMES]


LISTINGS = {"timm": _timm_ids, "torchvision": _torchvision_ids, "transformers": _transformers_ids}


# ------------------------------------------------------------------ the table


def test_there_are_many_families() -> None:
    assert len(FAMILIES) >= 150


def test_aliases_belong_to_one_family_only() -> None:
    owners: dict[str, str] = {}
    for family in FAMILIES:
        for alias in family.aliases:
            assert owners.setdefault(alias.casefold(), family.key) == family.key, alias


def test_no_alias_is_the_name_of_another_family() -> None:
    names = {word.casefold(): family.key for family in FAMILIES for word in (family.key, family.name)}
    for family in FAMILIES:
        for alias in family.aliases:
            assert names.get(alias.casefold(), family.key) == family.key, alias


def test_names_are_unique() -> None:
    names = [family.name.casefold() for family in FAMILIES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.key)
def test_each_family_is_well_described(family: Family) -> None:
    assert 40 <= len(family.sentence) <= 300
    assert family.sentence.endswith(".")
    assert family.traits
    if any(pattern.startswith(("timm/", "torchvision/")) for pattern in family.members):
        assert family.link, "a family has an arXiv id or a url"
    if family.arxiv:
        assert re.fullmatch(r"\d{4}\.\d{4,5}|[a-z-]+(\.[A-Z]{2})?/\d{7}", family.arxiv)
        assert family.title
        if family.key not in RELEASED_EARLIER:
            digits = family.arxiv.rpartition("/")[2]
            assert int(digits[:2]) == family.year % 100


def test_one_arxiv_id_has_one_title_and_year() -> None:
    said: dict[str, tuple[str, int]] = {}
    for family in FAMILIES:
        if family.arxiv:
            assert said.setdefault(family.arxiv, (family.title, family.year)) == (family.title, family.year), family.key


def test_sentences_are_not_repeated() -> None:
    assert len({family.sentence for family in FAMILIES}) == len(FAMILIES)


# ------------------------------------------------------------------ whose id is it


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_every_name_of_the_library_has_exactly_one_family(source: str) -> None:
    for entry_id in LISTINGS[source]():
        claims = _claims(entry_id)
        assert claims, f"{entry_id} belongs to no family"
        winners = {key for score, key in claims if score == claims[0][0]}
        assert len(winners) == 1, f"{entry_id} is claimed alike by {sorted(winners)}"


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_every_pattern_matches_something(source: str) -> None:
    ids = LISTINGS[source]()
    for family in FAMILIES:
        for pattern in family.members:
            if pattern.startswith(f"{source}/"):
                assert fnmatch.filter(ids, pattern), f"[{family.key}] {pattern} matches nothing"


@pytest.mark.parametrize("source", ["timm", "torchvision"])
def test_every_family_of_a_library_wins_something(source: str) -> None:
    won = {family.key for entry_id in LISTINGS[source]() if (family := GLOSSARY.family_of(entry_id))}
    claimed = {family.key for family in FAMILIES if any(pattern.startswith(f"{source}/") for pattern in family.members)}
    assert won == claimed


@pytest.mark.parametrize("source", list(LISTINGS))
def test_the_fast_look_up_follows_the_rule(source: str) -> None:
    for entry_id in LISTINGS[source]():
        claims = _claims(entry_id)
        family = GLOSSARY.family_of(entry_id)
        assert (family.key if family else None) == (claims[0][1] if claims else None), entry_id


@pytest.mark.parametrize(
    ("entry_id", "key"),
    [
        ("timm/resnet50", "resnet"),
        ("timm/resnet50.a1_in1k", "resnet"),
        ("timm/resnetv2_50x1_bit", "bit"),
        ("timm/resnetv2_50", "resnetv2"),
        ("timm/resnext50_32x4d", "resnext"),
        ("timm/resnest50d", "resnest"),
        ("timm/resnet50_clip", "clip_resnet"),
        ("timm/vit_base_patch16_224", "vit"),
        ("timm/vit_base_patch14_reg4_dinov2.lvd142m", "dinov2_registers"),
        ("timm/vit_base_patch16_siglip_224", "siglip"),
        ("timm/vit_giantopt_patch16_siglip_256", "siglip2"),
        ("timm/vit_base_patch16_rope_reg1_gap_256", "rope_vit"),
        ("timm/eva02_large_patch14_clip_224", "eva_clip"),
        ("timm/efficientnet_b0.ra_in1k", "efficientnet"),
        ("timm/efficientnet_lite0", "efficientnet_lite"),
        ("timm/fastvit_mci0", "mobileclip"),
        ("timm/swinv2_cr_tiny_224", "swinv2_cr"),
        ("torchvision/swin_v2_t", "swinv2"),
        ("torchvision/swin_t", "swin"),
        ("torchvision/ssdlite320_mobilenet_v3_large", "ssdlite"),
        ("torchvision/quantized_resnet18", "resnet"),
        ("torchvision/mvit_v2_s", "mvitv2"),
        ("transformers/vit", "vit"),
        ("transformers/dinov3_convnext", "dinov3_convnext"),
        ("transformers/kosmos-2", "kosmos_2"),
        ("transformers/kosmos-2.5", "kosmos_2_5"),
    ],
)
def test_known_members(entry_id: str, key: str) -> None:
    family = GLOSSARY.family_of(entry_id)
    assert family is not None
    assert family.key == key


@given(tag=st.from_regex(r"[a-z0-9_.]{0,20}", fullmatch=True), name=st.sampled_from(["resnet50", "swin_tiny", "nothing_known"]))
def test_a_model_belongs_to_the_family_of_its_architecture(tag: str, name: str) -> None:
    assert GLOSSARY.family_of(f"timm/{name}.{tag}") is GLOSSARY.family_of(f"timm/{name}")


@pytest.mark.parametrize("entry_id", ["", "resnet50", "python/pkg.nets:build", "onnx/resnet50", "timm/", "timm/never_seen", "/"])
def test_ids_that_belong_to_no_family(entry_id: str) -> None:
    assert GLOSSARY.family_of(entry_id) is None


def test_search_text_holds_what_people_type() -> None:
    text = Glossary.search_text(GLOSSARY.families["efficientnet_lite"])
    for words in ("EfficientNet-Lite", "efficientnet lite", "inverted residual", "squeeze-and-excite"):
        assert words in text or words.replace("-and-", "-") in text
    for family in FAMILIES:
        text = Glossary.search_text(family)
        assert all(part in text for part in (family.name, family.title, family.sentence, *family.aliases, *family.traits))


def test_it_is_read_once() -> None:
    assert glossary.load() is GLOSSARY


# ------------------------------------------------------------------ malformed tables


def test_a_good_table_is_read() -> None:
    family = parse(TABLE).families["resnet"]
    assert (family.name, family.year, family.members) == ("ResNet", 2015, ("timm/resnet*",))
    assert family.link == "https://arxiv.org/abs/1512.03385"


def _bad_tables() -> Iterator[tuple[str, str, str]]:
    yield 'name = "ResNet"', "", "name"
    yield 'name = "ResNet"', 'name = ""', "name"
    yield 'name = "ResNet"', "name = 50", "name"
    yield 'name = "ResNet"', 'name = " ResNet"', "name"
    yield 'aliases = ["residual network"]', 'aliases = "residual network"', "aliases"
    yield 'aliases = ["residual network"]', "aliases = [1]", "aliases"
    yield 'aliases = ["residual network"]', 'aliases = ["a", "A"]', "aliases"
    yield 'arxiv = "1512.03385"', 'arxiv = "1512.03385v1"', "arxiv"
    yield 'arxiv = "1512.03385"', 'arxiv = "https://arxiv.org/abs/1512.03385"', "arxiv"
    yield 'title = "Deep Residual Learning for Image Recognition"', "", "title"
    yield "year = 2015", 'year = "2015"', "year"
    yield "year = 2015", "year = 15", "year"
    yield "year = 2015", "year = true", "year"
    yield "year = 2015", "", "year"
    yield "year = 2015", 'year = 2015\nurl = "http://example.org"', "url"
    yield 'sentence = "', 'sentense = "', "sentense"
    yield 'traits = ["convnet"]', "traits = []", "traits"
    yield 'members = ["timm/resnet*"]', "", "members"
    yield 'members = ["timm/resnet*"]', 'members = ["resnet*"]', "members"
    yield 'members = ["timm/resnet*"]', 'members = ["*/resnet"]', "members"
    yield "[resnet]", "[ResNet]", "key"


@pytest.mark.parametrize(("right", "wrong", "field"), list(_bad_tables()))
def test_a_malformed_table_is_named_with_its_field(right: str, wrong: str, field: str) -> None:
    assert right in TABLE
    with pytest.raises(ConfigError) as caught:
        parse(TABLE.replace(right, wrong))
    message = str(caught.value)
    assert "\n" not in message
    assert repr(field) in message
    assert ("[ResNet]" if field == "key" else "[resnet]") in message


def test_an_unknown_field_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'sentence'"):
        parse(TABLE.replace("sentence", "sentense"))


def test_text_that_is_no_toml() -> None:
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse("[resnet")
    with pytest.raises(ConfigError, match="not valid TOML"):
        parse(TABLE + TABLE)


@pytest.mark.parametrize(
    ("old", "new", "shared"),
    [
        ('"timm/resnet*"', '"timm/other*"', "residual network"),
        ('"residual network"', '"Residual Network"', "residual network"),
        ('"residual network"', '"another"', "timm/resnet*"),
    ],
)
def test_what_two_families_share_is_refused(old: str, new: str, shared: str) -> None:
    other = TABLE.replace("[resnet]", "[other]").replace(old, new)
    with pytest.raises(ConfigError) as caught:
        parse(TABLE + other)
    assert "[other]" in str(caught.value)
    assert "[resnet]" in str(caught.value)
    assert repr(shared) in str(caught.value)


@settings(max_examples=10)
@given(st.permutations(FAMILIES[:40]))
def test_the_order_of_the_tables_does_not_matter(families: list[Family]) -> None:
    shuffled, plain = Glossary(families), Glossary(FAMILIES[:40])
    for entry_id in ("timm/resnet50", "timm/resnetv2_50x1_bit", "timm/seresnext50_32x4d", "timm/eca_resnet33ts", "timm/vgg11"):
        assert shuffled.family_of(entry_id) == plain.family_of(entry_id)
