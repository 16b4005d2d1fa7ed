"""The starter atlas in the package: complete, small, and what the libraries give today."""

from __future__ import annotations

import random

import pytest

from netatlas.atlas import places
from netatlas.atlas.store import Store
from netatlas.atlas.vectors import DEFAULT

LARGEST_BYTES = 25_000_000


@pytest.fixture(scope="module")
def store():
    path = places.starter_path()
    assert path is not None, "the starter atlas is part of the package: run 'make atlas'"
    with Store.open(path, "r", immutable=True) as opened:
        yield opened


def test_it_is_small():
    assert places.starter_path().stat().st_size <= LARGEST_BYTES


def test_every_architecture_has_a_graph_a_vector_and_costs(store):
    vectors = store.vectors(DEFAULT)
    facts = store.facts(store.ids("architecture"))
    assert len(facts) > 2000
    for entry_id, known in facts.items():
        assert entry_id in vectors
        assert known["params"] >= 0
        assert known["macs"] > 0
        assert known["task"]


def test_every_number_says_where_it_comes_from(store):
    for entry in store.entries():
        numbers = [name for name, value in entry.facts.items() if isinstance(value, (int, float))]
        assert all(entry.origins.get(name) for name in numbers), entry.id


def test_unknown_operators_are_rare(store):
    facts = store.facts(store.ids("architecture"))
    known = sum(f["unknown_ops"] == 0 for f in facts.values())
    assert known / len(facts) > 0.97


def _complete(store, source, names):
    here = {i for i in store.ids("architecture") if i.startswith(f"{source}/")}
    return here, {f"{source}/{name}" for name in names}


def test_all_of_timm_is_there(store):
    timm = pytest.importorskip("timm", reason="needs the extra 'zoo'")
    if store.facts(["timm/resnet50"])["timm/resnet50"]["version"] != timm.__version__:
        pytest.skip("made with another version of timm")
    here, expected = _complete(store, "timm", timm.list_models())
    assert here == expected


def test_all_of_torchvision_is_there(store):
    torchvision = pytest.importorskip("torchvision", reason="needs the extra 'zoo'")
    here, expected = _complete(store, "torchvision", torchvision.models.list_models())
    assert here >= expected or store.facts(["torchvision/resnet50"])["torchvision/resnet50"]["version"] != torchvision.__version__


def test_most_of_transformers_is_there(store):
    pytest.importorskip("transformers", reason="needs the extra 'zoo'")
    from netatlas.sources.transformers import TransformersSource

    here, expected = _complete(store, "transformers", TransformersSource().names())
    assert len(here & expected) / len(expected) >= 0.85


def _sample(count):
    rng = random.Random(20_261_125)
    path = places.starter_path()
    if path is None:
        return []
    with Store.open(path, "r", immutable=True) as opened:
        ids = opened.ids("architecture")
    return rng.sample(ids, count)


def check_rebuilt(store, entry_id):
    from netatlas.sources.base import SOURCES

    source, _, name = entry_id.partition("/")
    maker = SOURCES.build(source)
    stored = store.entry(entry_id, graph=True)
    if stored.facts["version"] != maker.version():
        pytest.skip(f"made with {source} {stored.facts['version']}")
    from netatlas.graph.canonical import content_hash

    built = maker.read(name)[0]
    assert content_hash(built.graph) == content_hash(stored.graph)
    assert dict(built.facts) == dict(stored.facts)


@pytest.mark.parametrize("entry_id", _sample(6))
def test_a_sample_built_now_is_the_same(store, entry_id):
    pytest.importorskip("timm", reason="needs the extra 'zoo'")
    check_rebuilt(store, entry_id)


@pytest.mark.slow
@pytest.mark.parametrize("entry_id", _sample(40)[6:])
def test_a_larger_sample_built_now_is_the_same(store, entry_id):
    pytest.importorskip("timm", reason="needs the extra 'zoo'")
    check_rebuilt(store, entry_id)
