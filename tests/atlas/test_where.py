"""The query language: laws, units, three-valued logic against a naive oracle, and errors that say where."""

from __future__ import annotations

import fnmatch
import itertools
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import netatlas
from netatlas.atlas import where as w
from netatlas.atlas._where_words import word_table
from netatlas.atlas.columns import Columns
from netatlas.atlas.where import And, Arithmetic, Compare, Fact, Has, Known, Like, Negative, Not, Number, OneOf, Or, parse
from netatlas.errors import QueryError
from netatlas.facts import FACTS
from netatlas.graph.ops import FAMILIES, OPERATORS

# ------------------------------------------------------------------------------------------------ strategies

NUMERIC = ["params", "macs", "depth", "top1", "latency_ms", "year"]
amounts = st.one_of(st.integers(0, 10**13).map(float), st.floats(0, 1e15, allow_nan=False))
words = st.sampled_from(
    ["resnet", "swin-v2", "a b", "in", "it's", 'q"', "back\\slash", "ünïcode", "x/y.z", "timm/resnet50.a1", "*", "7"]
)


def terms(unit_of):
    same = st.sampled_from(unit_of).map(Fact)
    return st.recursive(
        same,
        lambda inner: st.one_of(
            st.builds(Arithmetic, st.sampled_from("+-"), inner, inner),
            st.builds(Arithmetic, st.sampled_from("*/"), inner, st.floats(0.5, 1e6).map(Number)),
            st.builds(Negative, inner),
        ),
        max_leaves=5,
    )


conditions = st.one_of(
    st.builds(
        Compare, st.sampled_from(["<", "<=", "=", "!=", ">=", ">"]), st.sampled_from(NUMERIC).map(Fact), amounts.map(Number)
    ),
    st.builds(Compare, st.sampled_from(["<", ">="]), terms(["params", "depth"]), terms(["params", "depth"])),
    st.builds(
        OneOf, st.sampled_from(["family", "source", "task"]), st.lists(words, min_size=1, max_size=3, unique=True).map(tuple)
    ),
    st.builds(OneOf, st.just("heads"), st.lists(st.integers(0, 99).map(float), min_size=2, max_size=3, unique=True).map(tuple)),
    st.builds(Like, st.sampled_from(["family", "task"]), st.sampled_from(["res*", "*former", "v?t", "[ab]x", "!x", "a b*"])),
    st.builds(Has, st.sampled_from(["attention", "squeeze_excite", "gelu", "activation", "depthwise_conv"])),
    st.builds(Known, st.sampled_from(NUMERIC)),
)
expressions = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)

# ------------------------------------------------------------------------------------------------ the oracle

ROWS = [
    {
        "params": 5e6,
        "macs": 4e8,
        "depth": 50,
        "top1": 77.5,
        "family": "resnet",
        "ops": ("conv", "relu"),
        "heads": 8,
        "year": 2015,
    },
    {
        "params": 2e7,
        "macs": 4e9,
        "depth": 12,
        "family": "swin_v2",
        "ops": ("attention", "gelu"),
        "task": ("image-classification",),
    },
    {"params": 0, "macs": 0, "top1": 0.0, "ops": (), "task": (), "latency_ms": 0.0},
    {},
    {"family": "ResNet", "ops": ("linear_attention", "silu", "squeeze_excite"), "task": ("a", "resnet"), "source": "timm"},
    {"params": 10**12, "depth": 3, "heads": 12, "latency_ms": 9.5, "year": 2021, "ops": ("self_attention",)},
]
TABLE = Columns.from_entries((f"x/{i}", "model", row) for i, row in enumerate(ROWS))


def value(term, row):
    """The value of a term for one row, ``None`` when unknown."""
    match term:
        case Number(number):
            return number
        case Fact(name):
            return row.get(name)
        case Negative(inner):
            found = value(inner, row)
            return None if found is None else -found
        case Arithmetic(symbol, left, right):
            a, b = value(left, row), value(right, row)
            if a is None or b is None or (symbol == "/" and b == 0):
                return None
            return {"+": a + b, "-": a - b, "*": a * b}[symbol] if symbol != "/" else a / b
    raise AssertionError(term)


def plain(word):
    return word.lower().replace("_", "-")


def oracle(expression, row):
    """True, False or None (unknown), for one row, by the textbook."""
    match expression:
        case Compare(symbol, left, right):
            a, b = value(left, row), value(right, row)
            if a is None or b is None:
                return None
            return {"<": a < b, "<=": a <= b, "=": a == b, "!=": a != b, ">=": a >= b, ">": a > b}[symbol]
        case OneOf(fact, values):
            if fact not in row:
                return None
            have = row[fact] if isinstance(row[fact], tuple) else (row[fact],)
            return any((plain(h) == plain(v)) if isinstance(v, str) else h == v for h in have for v in values)
        case Like(fact, pattern):
            if fact not in row:
                return None
            have = row[fact] if isinstance(row[fact], tuple) else (row[fact],)
            return any(fnmatch.fnmatchcase(plain(h), plain(pattern)) for h in have)
        case Has(name):
            members = {op.name for op in OPERATORS if op.family == name} or {name}
            members |= {"self_attention"} if name == "attention" else set()
            return bool(members & set(row["ops"])) if "ops" in row else None
        case Known(fact):
            return fact in row
        case Not(item):
            found = oracle(item, row)
            return None if found is None else not found
        case And(items):
            found = [oracle(item, row) for item in items]
            return False if False in found else None if None in found else True
        case Or(items):
            found = [oracle(item, row) for item in items]
            return True if True in found else None if None in found else False
    raise AssertionError(expression)


def answers(expression):
    truth = expression.evaluate(TABLE)
    assert not (truth.true & truth.unknown).any()
    return [None if u else bool(t) for t, u in zip(truth.true, truth.unknown, strict=True)]


@given(expressions)
@settings(max_examples=300, deadline=None)
def test_evaluation_equals_the_oracle(expression):
    assert answers(expression) == [oracle(expression, row | {"kind": "model"}) for row in ROWS]


@given(expressions)
@settings(max_examples=300, deadline=None)
def test_canonical_text_round_trips(expression):
    text = str(expression)
    assert parse(text) == expression
    assert str(parse(text)) == text


@given(expressions, expressions)
@settings(max_examples=100, deadline=None)
def test_kleene_laws(a, b):
    assert answers(Not(Not(a))) == answers(a)
    assert answers(Not(And((a, b)))) == answers(Or((Not(a), Not(b))))
    assert answers(And((a, b))) == answers(And((b, a)))
    assert answers(Or((a, And((a, b))))) == answers(a)


@given(expressions)
@settings(max_examples=100, deadline=None)
def test_chips_are_always_printable(expression):
    shown = w.chips(expression)
    assert shown
    assert all(chip and "\n" not in chip for chip in shown)


# ------------------------------------------------------------------------------------------------ grammar


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("params<30M", "params < 30000000"),
        ("params < 6 M", "params < 6000000"),
        ("params < 6m", "params < 6000000"),
        ("params < 7B", "params < 7000000000"),
        ("params < 1_000_000", "params < 1000000"),
        ("params < 1.2e9", "params < 1200000000"),
        ("params < 0.07G", "params < 70000000"),
        ("params < 10k", "params < 10000"),
        ("params < 10K", "params < 10000"),
        ("params < 1T", "params < 1000000000000"),
        ("params:<30M", "params < 30000000"),
        ("macs < 1.5 GMACs", "macs < 1500000000"),
        ("macs < 4GMAC", "macs < 4000000000"),
        ("macs <= 300M MACs", "macs <= 300000000"),
        ("macs < 2 GFLOPs", "macs < 1000000000"),
        ("flops < 1 GMAC", "flops < 2000000000"),
        ("latency < 10 ms", "latency_ms < 10"),
        ("latency_ms < 0.01 s", "latency_ms < 10"),
        ("latency_ms < 500 us", "latency_ms < 0.5"),
        ("top-1 > 75%", "top1 > 75"),
        ("accuracy > 75 %", "top1 > 75"),
        ("memory < 512 MB", "peak_memory < 512000000"),
        ("memory < 1 GiB", "peak_memory < 1073741824"),
        ("memory < 512 B", "peak_memory < 512"),
        ("resolution = 224px", "input_size = 224"),
        ("throughput > 2k img/s", None),
        ("throughput > 2000 img/s", "gpu_throughput > 2000"),
        ("5M < params < 10M", "params > 5000000 and params < 10000000"),
        ("2020 <= year <= 2022 and depth > 3", "year >= 2020 and year <= 2022 and depth > 3"),
        ("6M > params", "params < 6000000"),
        ("family == resnet", "family = resnet"),
        ("family:resnet", "family = resnet"),
        ("family != 'my net'", "family != 'my net'"),
        ("family in (resnet, swin)", "family in (resnet, swin)"),
        ("family not in (resnet, swin)", "family not in (resnet, swin)"),
        ("family like res*", "family ~ 'res*'"),
        ("family not like res*", "not family ~ 'res*'"),
        ("input_size in (224px, 256)", "input_size in (224, 256)"),
        ("heads in (8)", "heads = 8"),
        ("has(SE)", "has(squeeze_excite)"),
        ("has(dwconv, BN)", "has(depthwise_conv) and has(batch_norm)"),
        ("has(swish) or has(LN)", "has(silu) or has(layer_norm)"),
        ("has('batch norm')", "has(batch_norm)"),
        ("has(Batch Normalisation)", "has(batch_norm)"),
        ("ops = attention", "has(attention)"),
        ("known(latency) && !known(top1)", None),
        ("known(latency) && not known(top1)", "known(latency_ms) and not known(top1)"),
        ("NOT has(attention) AND params < 3", "not has(attention) and params < 3"),
        ("params < 3 or params > 4 and depth = 5", "params < 3 or params > 4 and depth = 5"),
        ("(params < 3 or params > 4) and depth = 5", "(params < 3 or params > 4) and depth = 5"),
        ("macs / params < 100", "macs / params < 100"),
        ("macs/params<100", "macs / params < 100"),
        ("top1 / (macs / 1e9) > 20", "top1 / (macs / 1000000000) > 20"),
        ("params - 2 - 3 > -depth", "params - 2 - 3 > -depth"),
        ("params - (2 - 3) > 0", "params - (2 - 3) > 0"),
        ("top1 - top1_v2 > -5", "top1 - top1_v2 > -5"),
        ("peak_memory * 2 < 1 GB", "peak_memory * 2 < 1000000000"),
        ("params ≤ 5", "params <= 5"),
    ],
)
def test_canonical_forms(text, canonical):
    if canonical is None:
        with pytest.raises(QueryError):
            parse(text)
        return
    assert str(parse(text)) == canonical
    assert parse(canonical) == parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params < 6M and not has(attention) and top1 > 75%", ["params < 6M", "no attention", "top1 > 75 %"]),
        ("family = resnet", ["family = resnet"]),
        ("5M < params <= 10M", ["5M < params <= 10M"]),
        ("params <= 10M and year > 2020 and params > 5M", ["5M < params <= 10M", "year > 2020"]),
        ("macs < 1.5G", ["macs < 1.5 GMAC"]),
        ("params < 5288548", ["params < 5288548"]),
        ("params < 7B", ["params < 7B"]),
        ("latency < 10 ms", ["latency_ms < 10 ms"]),
        ("memory < 1 GiB", ["peak_memory < 1073741824 B"]),
        ("has(SE) or has(BN)", ["with squeeze excite or with batch norm"]),
        ("task not in (a, b)", ["task != a, b"]),
        ("not known(top1)", ["top1 unknown"]),
        ("not (params < 5M or has(gelu))", ["not (params < 5M or with gelu)"]),
        ("macs / params < 100", ["macs / params < 100"]),
    ],
)
def test_chips(text, expected):
    assert w.chips(parse(text)) == expected


@given(st.integers(1, 10**15), st.sampled_from(["params", "macs", "peak_memory", "latency_ms", "top1", "year"]))
def test_a_chip_states_the_exact_number(number, fact):
    chip = w.chips(Compare("<", Fact(fact), Number(float(number))))[0]
    assert parse(chip) == Compare("<", Fact(fact), Number(float(number)))


def test_a_chip_does_not_round_what_a_double_can_tell():
    assert w.chips(parse(f"macs < {5 * 10**17 + 64}")) == ["macs < 5.0000000000000006e+17 MAC"]


def test_has_takes_every_name():
    for name in {op.name for op in OPERATORS} | set(word_table()["forms"]):
        found = w.find_operator(name)
        assert found == name or name == "norm", name
    for family in ("attention", "activation", "normalisation", "convolution", "pooling", "recurrence"):
        assert w.find_operator(family) == family
        assert set(w.operator_names(family)) >= {op.name for op in OPERATORS if op.family == family}
    assert w.find_operator("norm") == "normalisation"


def test_the_words_table():
    forms = pytest.importorskip("netatlas.graph.forms").FORMS
    table = word_table()
    path = Path(netatlas.__file__ or next(iter(netatlas.__path__)) + "/__init__.py").parent / "data" / "words.toml"
    assert tomllib.loads(path.read_text(encoding="utf-8")) == table
    assert {*table["forms"], *table["operators"]} >= set(forms), "every form the recogniser knows has its words"
    assert set(table["operators"]) <= {op.name for op in OPERATORS} | set(FAMILIES)
    assert set(table["measures"]) <= {name for name, fact in FACTS.items() if fact.kind in ("count", "number")}
    assert {key[1:] for key in table["soft"]} <= set(FACTS)


SOUP = "params macs family task has ( ) , < <= = : ~ and or not in + - * / 6M 10ms 75% 'a' resnet SE -1 0 1e9"

# ------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("parms < 6M", ["unknown fact 'parms'", "did you mean 'params'", "position 1"]),
        ("params < 10 ms", ["params is a plain count", "'10 ms' has the unit ms", "position 10"]),
        ("macs < 10 MB", ["macs is in MAC", "has the unit B"]),
        ("latency < 5 GMACs", ["latency_ms is in ms", "unit MAC"]),
        ("params < 75%", ["params is a plain count", "unit %"]),
        ("params<30Q", ["unknown unit 'Q'", "position 10"]),
        ("params < 6 bananas", ["unknown unit 'bananas'"]),
        ("flops>nan", ["'nan'", "position 7"]),
        ("flops < inf", ["'inf'"]),
        ("latency<-1", ["latency_ms is never negative", "-1"]),
        ("params < 1e999", ["too large"]),
        ("params < 1e99999999", ["too large"]),
        ("params < 1e300T", ["'1e300 T' is too large"]),
        ("params < 1e308 T", ["too large"]),
        ("params < < 6M", ["'<'", "position 10"]),
        ("params < 6M and", ["the end", "position 16"]),
        ("(params < 6M", ["')' is needed", "position 13"]),
        ("params < 6M)", ["')' does not belong here"]),
        ("params < 5 6", ["'6' does not belong here"]),
        ("params / 0 > 3", ["division by zero"]),
        ("params / (1 - 1) > 3", ["division by zero"]),
        ("params", ["not compared with anything"]),
        ("attention", ["has(attention)"]),
        ("has attention", ["parentheses"]),
        ("has(attenton)", ["unknown operator 'attenton'", "'attention'"]),
        ("has()", ["position 5"]),
        ("hos(conv)", ["unknown function 'hos'", "has, has_motif, known"]),
        ("known(nope)", ["unknown fact 'nope'"]),
        ("family < 3", ["family holds words"]),
        ("family", ["not compared"]),
        ("params ~ 'a*'", ["~ compares words"]),
        ("family = 'abc", ["never closed"]),
        ("family ~", ["a word is needed"]),
        ("family in resnet", ["'(' is needed"]),
        ("1 < 2", ["a comparison needs a fact"]),
        ("macs < latency", ["units differ"]),
        ("macs + 10 ms < 4", ["unit ms"]),
        ("(params < 3) + 2 < 4", ["a condition where a number is needed"]),
        ("params in (a, b)", ["a number is needed"]),
        ("", ["empty"]),
        (" \n\t", ["empty"]),
        ("\0", ["'\\x00'"]),
        ("params < \0", ["\\x00"]),
        ("family = 'a\0'", ["printable"]),
        ("__import__('os').system('true')", ["unknown function"]),
    ],
)
def test_errors_say_what_and_where(text, parts):
    with pytest.raises(QueryError) as error:
        parse(text)
    message = str(error.value)
    assert "\n" not in message
    assert len(message) < 300
    for part in parts:
        assert part in message, message


@pytest.mark.parametrize(
    "text",
    [
        "(" * 200_000,
        "not " * 50_000,
        "-" * 9_000 + "1 < params",
        "(" * 3_000 + "params < 3" + ")" * 3_000,
        "params" + " + 1" * 2_000 + " > 3",
        "params < " + "1" * 9_000,
        "has(" * 2_000,
        "x" * 200_000,
        "params < 3 and " * 600,
        "family ~ '" + "*a" * 4_000 + "'",
        "a-" * 4_000,
        "'" * 9_999,
        "params < 1" + "_" * 9_000,
        "1 < " * 2_000,
    ],
)
def test_hostile_input_is_refused_or_read_quickly(text):
    start = time.process_time()
    message = ""
    try:
        parse(text).evaluate(TABLE)
    except QueryError as error:
        message = str(error)
    assert len(message) < 300
    assert time.process_time() - start < 1.0


def test_nesting_up_to_the_limit_is_read():
    depth = w.MAX_DEPTH
    deep = "(" * depth + "params < 3" + ")" * depth
    assert parse(deep) == parse("params < 3")
    nested = "params < 3"
    for _ in range(depth // 2 - 1):
        nested = f"not (depth > 1 or {nested} and depth < 9)"
    assert parse(str(parse(nested))) == parse(nested)
    assert parse(nested).evaluate(TABLE).true.shape == (len(ROWS),)
    with pytest.raises(QueryError, match="more than 100"):
        parse("(" * (depth + 1) + "params < 3" + ")" * (depth + 1))


@given(st.text(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_raises_a_query_error(text):
    try:
        found = parse(text)
    except QueryError:
        return
    assert parse(str(found)) == found


@given(st.lists(st.sampled_from(SOUP.split())))
@settings(max_examples=500, deadline=None)
def test_token_soup_parses_or_raises_a_query_error(tokens):
    try:
        found = parse(" ".join(tokens))
    except QueryError:
        return
    assert parse(str(found)) == found
    found.evaluate(TABLE)


# ------------------------------------------------------------------------------------------------ evaluation


def test_unknown_is_never_zero_or_false():
    truth = parse("top1 < 10").evaluate(TABLE)
    assert truth.true.tolist() == [False, False, True, False, False, False]
    assert truth.unknown.tolist() == [False, True, False, True, True, True]
    assert truth.false.tolist() == [True, False, False, False, False, False]
    assert parse("not top1 < 10").evaluate(TABLE).unknown.tolist() == truth.unknown.tolist()


def test_division_by_a_zero_fact_is_unknown():
    columns = Columns.from_entries([("x/0", "model", {"macs": 5, "params": 0}), ("x/1", "model", {"macs": 0, "params": 0})])
    for text in ("macs / params < 1000", "macs / params > 1000", "not macs / params > 1000"):
        assert parse(text).evaluate(columns).unknown.tolist() == [True, True]


def test_overflow_is_unknown():
    columns = Columns.from_entries([("x/0", "model", {"params": 10**12})])
    assert parse("params * 1e300 > 3").evaluate(columns).unknown.tolist() == [True]


def test_large_counts_are_exact():
    columns = Columns.from_entries((f"x/{i}", "model", {"params": 2**53 - i}) for i in range(3))
    assert parse(f"params < {2**53 - 1}").evaluate(columns).true.tolist() == [False, False, True]


def test_warnings_name_values_nobody_has():
    (line,) = parse("family = resnett or family = resnet").warnings(TABLE)
    assert line.startswith("no entry has family = resnett: did you mean 'resnet'") or "'ResNet'" in line
    assert parse("family ~ 'zz*'").warnings(TABLE) == ["no entry has family like 'zz*'"]
    assert "percent" in parse("top1 > 0.8").warnings(TABLE)[0]
    assert parse("family = RESNET and params < 3").warnings(TABLE) == []


def test_empty_columns():
    truth = parse("params < 6M and not has(attention) or family ~ 'a*'").evaluate(Columns.from_entries([]))
    assert truth.true.shape == truth.unknown.shape == (0,)


def test_all_of():
    a, b = parse("params < 3"), parse("depth > 4 and params < 3")
    assert w.all_of([]) is None
    assert w.all_of([None, a]) == a
    assert w.all_of([a, None, b]) == parse("params < 3 and depth > 4")


# ------------------------------------------------------------------------------------------------ orders


def test_sort_keys():
    assert w.sort_key("-top1") == ("top1", True)
    assert w.sort_key("accuracy") == ("top1", False)
    assert w.sort_key("+family") == ("family", False)
    for text, part in [
        ("ops", "several words"),
        ("-parms", "did you mean 'params'"),
        ("-", "a fact is needed"),
        ("", "a fact is needed"),
    ]:
        with pytest.raises(QueryError, match=part):
            w.sort_key(text)


def test_pareto_axes():
    assert [str(axis) for axis in w.pareto_axes("top1, macs")] == ["+top1", "-macs"]
    assert [str(axis) for axis in w.pareto_axes("-top1,+depth")] == ["-top1", "+depth"]
    for text, part in [
        ("top1,depth", "no better direction"), ("top1,family", "holds words"), ("top1,,macs", "a fact is needed"),
        ("top1,tops", "unknown fact 'tops'"), ("top1,accuracy", "twice"),
    ]:  # fmt: skip
        with pytest.raises(QueryError, match=part):
            w.pareto_axes(text)


@given(
    st.integers(1, 4).flatmap(
        lambda k: st.lists(st.tuples(*[st.integers(-1, 6)] * k), max_size=30).map(
            lambda rows: (k, [tuple(None if v < 0 else v for v in row) for row in rows])
        )
    ),
    st.integers(2, 9),
)
@settings(max_examples=200, deadline=None)
def test_pareto_front_equals_the_definition(case, left_out):
    k, rows = case
    facts = ["params", "macs", "top1", "latency_ms"][:k]
    columns = Columns.from_entries(
        (f"x/{i}", "model", {f: v for f, v in zip(facts, row, strict=True) if v is not None}) for i, row in enumerate(rows)
    )
    among = np.array([i % left_out != 1 for i in range(len(rows))], dtype=bool)
    costs = [None if None in row or not take else tuple(-v if f == "top1" else v for f, v in zip(facts, row, strict=True))
             for row, take in zip(rows, among, strict=True)]  # fmt: skip
    expected = [
        a is not None and not any(b is not None and b != a and all(y <= x for x, y in zip(a, b, strict=True)) for b in costs)
        for a in costs
    ]
    assert w.pareto_front(columns, w.pareto_axes(",".join(facts)), among).tolist() == expected


def test_pareto_front_of_many_entries_across_blocks():
    rng = np.random.default_rng(0)
    points = rng.random((5_000, 3))
    columns = Columns.from_entries(
        (f"x/{i}", "model", dict(zip(("params", "macs", "latency_ms"), row, strict=True)))
        for i, row in enumerate(points.tolist())
    )
    front = w.pareto_front(columns, w.pareto_axes("params,macs,latency_ms"))
    for i in itertools.chain(np.flatnonzero(front)[:50], np.flatnonzero(~front)[:50]):
        dominated = ((points <= points[i]).all(axis=1) & (points < points[i]).any(axis=1)).any()
        assert front[i] == (not dominated)


@pytest.mark.parametrize(
    ("text", "said"), [("gmacs < 2", "it is a unit, write macs < 2 gmacs"), ("GFLOPs < 4", "write flops < 2 GFLOPs")]
)
def test_a_unit_in_the_place_of_a_fact_is_explained(text, said):
    with pytest.raises(QueryError, match=said):
        parse(text)
