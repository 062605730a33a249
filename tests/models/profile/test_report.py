"""Figures worked out by hand."""

import numpy as np
import pytest
from portrait.models.profile.report import amount_figures, class_figures, probabilities, reliability


def test_two_classes() -> None:
    """Chances .9, .8, .3, .6 of what was 1, 0, 0, 1: one false alarm."""
    chance = np.array([0.9, 0.8, 0.3, 0.6])
    found = class_figures(np.stack([1 - chance, chance], axis=1), np.array([1, 0, 0, 1]))
    assert found["accuracy"] == 0.75
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == 1
    assert found["f1"] == pytest.approx(0.8)
    # Of four pairs (one who bought, one who did not) three are in order.
    assert found["auc"] == 0.75
    assert found["brier"] == pytest.approx((0.01 + 0.64 + 0.09 + 0.16) / 4)
    # Each in a bin of their own.
    assert found["calibration_error"] == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)
    assert (found["predicted_8"], found["observed_8"], found["customers_8"]) == (pytest.approx(0.8), 0, 1)


def test_three_classes() -> None:
    chance = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]])
    found = class_figures(chance, np.array([0, 2]))
    assert found["accuracy"] == 0.5
    assert found["recall"] == 0.5  # classes 0 and 2 occur
    assert found["brier"] == pytest.approx((0.16 + 0.09 + 0.01 + 0.04 + 0.49 + 0.81) / 2)
    # Class 0 is ranked right, class 2 is a tie.
    assert found["auc"] == 0.75


def test_reliability_bins() -> None:
    bins = reliability(np.array([0.05, 0.15, 0.16, 1.0]), np.array([0, 1, 0, 1], bool))
    assert bins[1].tolist() == [pytest.approx(0.155), 0.5, 2]
    assert bins[9].tolist() == [1, 1, 1]
    assert np.isnan(bins[5, 0])


def test_amounts() -> None:
    found = amount_figures(np.array([1.0, 2.0, 6.0]), np.array([0.0, 2.0, 10.0]))
    assert found["mean_absolute_error"] == pytest.approx(5 / 3)
    assert found["root_mean_squared_error"] == pytest.approx(np.sqrt(17 / 3))
    assert found["rank_correlation"] == 1
    assert found["total_ratio"] == 0.75


def test_one_logit_is_the_chance_of_one() -> None:
    np.testing.assert_allclose(probabilities(np.array([0.0, np.log(3.0)])), [[0.5, 0.5], [0.25, 0.75]])
