"""Contracts of all predictors, the trees against scikit-learn's, calibration on machines that are known."""

from __future__ import annotations

import json
from importlib import resources

import numpy as np
import pytest

from netatlas.atlas.atlas import Atlas
from netatlas.errors import ConfigError, StoreError
from netatlas.facts import FACTS, FILLED
from netatlas.graph.work import COLUMNS, SUMS, work
from netatlas.predictors._calibration import Calibration, calibrate, errors, spearman
from netatlas.predictors._features import features, time_shares
from netatlas.predictors._stored import load
from netatlas.predictors._trees import Trees
from netatlas.predictors.base import PREDICTORS


@pytest.fixture(scope="module")
def real():
    """Work of architectures spread over the starter atlas."""
    atlas = Atlas.open(None)
    ids = sorted(i for i in atlas.with_graphs() if i.startswith("timm/"))[::40]
    return ids, np.stack([work(atlas.graph(i)) for i in ids])


@pytest.fixture(params=list(PREDICTORS))
def predictor(request):
    return PREDICTORS.build(request.param)


def test_every_predictor_has_a_fact_of_its_own(predictor):
    assert FACTS[predictor.fact].predicts in FACTS
    assert FACTS[predictor.fact].entries == ("architecture",)
    assert predictor.fact != FACTS[predictor.fact].predicts


def test_accuracy_is_never_filled():
    assert set(FILLED) == {"latency_ms"}


def test_values_lie_inside_their_intervals(predictor, real):
    values, low, high = predictor.values(real[1])
    assert np.isfinite([values, low, high]).all()
    assert ((low <= values) & (values <= high)).all()
    assert (low > 0).all()


def test_all_at_once_equals_one_by_one(predictor, real):
    values, _, _ = predictor.values(real[1])
    alone = [predictor.values(row[None])[0][0] for row in real[1]]
    np.testing.assert_allclose(values, alone, rtol=1e-12)


@pytest.mark.parametrize("vector", [np.zeros(len(COLUMNS)), np.full(len(COLUMNS), 1e18)])
def test_whatever_comes_in_what_comes_out_is_finite(predictor, vector):
    assert np.isfinite(predictor.values(vector[None])).all()


def test_nothing_is_predicted_of_no_operators_or_of_unknown_ones(predictor, real):
    assert predictor.predict(np.zeros(len(COLUMNS))) is None
    foreign = real[1][3].copy()
    foreign[COLUMNS.index("unknown")] = foreign[[i for i, name in enumerate(COLUMNS) if name.endswith(".count")]].sum()
    assert predictor.predict(foreign) is None


@pytest.mark.parametrize("name", ["latency", "throughput"])
def test_no_time_is_told_of_networks_far_smaller_than_all_that_were_trained_on(name, real):
    """What a call costs besides its operators is not in the model: a thousandth of a network took microseconds."""
    predictor, whole = PREDICTORS.build(name), real[1][3]
    assert predictor.predict(whole) is not None
    assert predictor.predict(whole * 1e-4) is None


def test_a_prediction_says_what_it_is(predictor, real):
    found = next(p for row in real[1] if (p := predictor.predict(row)) is not None)
    assert str(found).startswith("predicted, ±")
    assert "unseen families" in str(found)
    assert predictor.machine in str(found)


def test_text_models_get_no_accuracy_and_a_doubtful_latency(real):
    text = real[1][3].copy()
    text[COLUMNS.index("classifier")] = 0
    assert PREDICTORS.build("top1").predict(text) is None
    latency = PREDICTORS.build("latency")
    doubtful, sure = latency.predict(text), latency.predict(real[1][3])
    assert doubtful.high / doubtful.low > 1.5 * sure.high / sure.low
    assert "more for a network like this" in str(doubtful)


def test_more_of_everything_takes_longer(real):
    latency = PREDICTORS.build("latency")
    larger = real[1].copy()
    larger[:, : len(SUMS)] *= 4
    before, after = latency.values(real[1])[0], latency.values(larger)[0]
    assert (after > before).all()
    # Far outside the training range only the roofline can grow: four times the work is four times the time.
    huge = 1e4 * real[1][:, :]
    np.testing.assert_allclose(load("latency").roofline(4 * huge), 4 * load("latency").roofline(huge))


def test_trees_equal_those_of_scikit_learn():
    ensemble = pytest.importorskip("sklearn.ensemble")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 6)).astype(np.float32).astype(np.float64), rng.standard_normal(300)
    model = ensemble.GradientBoostingRegressor(n_estimators=40, max_depth=3, min_samples_leaf=20, random_state=0).fit(x, y)
    ours = Trees.from_sklearn(list(model.estimators_[:, 0]), 3, model.learning_rate, float(model.init_.constant_.ravel()[0]))
    fresh = rng.standard_normal((500, 6)).astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(ours.predict(fresh), model.predict(fresh), atol=1e-6)


def test_the_package_data_needs_no_pickle():
    for name in PREDICTORS:
        with resources.files("netatlas.data").joinpath(f"predict_{name}.npz").open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            told = json.loads(str(file["told"]))
            assert told["errors"]["families"] > 60
            assert all(file[key].dtype != object for key in file.files)


def test_features_are_finite_and_shares_sum_to_one(real):
    assert np.isfinite(features(real[1])).all()
    np.testing.assert_allclose(time_shares(real[1]).sum(axis=1), 1.0)


def test_spearman_equals_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 6, 50).astype(float), rng.integers(0, 6, 50).astype(float)
    assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    assert spearman(a, np.zeros(50)) == 0.0


def _reference(vectors):
    return np.log(PREDICTORS.build("latency").values(vectors)[0])


def test_a_machine_that_is_only_slower_is_found_exactly(real):
    reference = _reference(real[1])
    made, predicted = calibrate("here", 3.0 * np.exp(reference), reference, real[1], real[0])
    np.testing.assert_allclose(predicted, 3.0 * np.exp(reference), rtol=1e-6)
    assert made.errors["median_relative_error"] < 1e-6
    calibrated = PREDICTORS.build("latency", calibration=made)
    np.testing.assert_allclose(calibrated.values(real[1])[0], 3.0 * np.exp(reference), rtol=1e-6)
    assert calibrated.machine == "here"
    assert "calibrated on" in calibrated.method


def test_a_machine_that_is_bad_at_one_kind_of_operator_is_found(real):
    reference, shares = _reference(real[1]), time_shares(real[1])
    truth = np.exp(reference + 1.0 + 1.5 * shares[:, 2])
    made, predicted = calibrate("here", truth, reference, real[1], real[0])
    shift_only = np.exp(reference + np.median(np.log(truth) - reference))
    assert errors(truth, predicted)["median_relative_error"] < 0.5 * errors(truth, shift_only)["median_relative_error"]
    assert made.slopes[3] > 0.5


def test_noise_does_not_move_the_slopes_far(real):
    reference = _reference(real[1])
    noisy = np.exp(reference + np.random.default_rng(0).normal(0, 0.5, len(reference)))
    made, _ = calibrate("here", noisy, reference, real[1], real[0])
    assert np.abs(made.slopes).max() < 0.5


def test_too_few_measurements_are_refused(real):
    with pytest.raises(ConfigError, match="takes 5 measured architectures of 3 families, there are 4 of 4"):
        calibrate("here", np.ones(4), np.zeros(4), real[1][:4], list("abcd"))
    with pytest.raises(ConfigError, match="there are 6 of 1"):
        calibrate("here", np.ones(6), np.zeros(6), real[1][:6], ["a"] * 6)


def test_a_calibration_comes_back_from_text_and_nonsense_does_not(real):
    made, _ = calibrate("here", np.exp(_reference(real[1])), _reference(real[1]), real[1], real[0])
    assert Calibration.from_json(made.to_json()) == made
    for text in ("", "[]", "{}", made.to_json().replace("[", "[1.0, ", 1), made.to_json().replace(str(made.low), "NaN")):
        with pytest.raises(StoreError, match="netatlas calibrate"):
            Calibration.from_json(text)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["latency", "top1"])
def test_the_stored_error_is_found_again(kind):
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parent.parent.parent / "scripts/train_predictors.py"
    spec = importlib.util.spec_from_file_location("train_predictors", path)
    script = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = script
    spec.loader.exec_module(script)
    model, _ = script.train(script.data_of(Atlas.open(None), kind), kind, "")
    assert model.errors == pytest.approx(dict(load(kind).errors), rel=0.02)
    np.testing.assert_allclose(model.trees.leaf, load(kind).trees.leaf, atol=1e-4)
