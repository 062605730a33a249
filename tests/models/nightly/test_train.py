"""Training one candidate up to the holdout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.errors import PortraitError
from portrait.models import create, load
from portrait.models.nightly.inputs import inputs_of, validation_split
from portrait.models.nightly.train import train, trained
from portrait.run import Run
from scipy.sparse import csr_matrix

MULTVAE = (
    "{name: multvae, params: {hidden: 16, latent: 4, batch_size: 10, epochs: 12, patience: 2, anneal_epochs: 2, "
    "learning_rate: 0.05, validation_k: 3, validation_exclude_seen: false}}"
)


def tastes(n: int, seed: int, items: int = 10) -> np.ndarray:
    """n customers who each like the first or the second half of the items."""
    random = np.random.default_rng(seed)
    likes_first = np.arange(n) % 2 == 0
    chance = np.where(likes_first[:, None] == (np.arange(items) < items // 2), 0.6, 0.05)
    return (random.random((n, items)) < chance).astype(np.float32)


@pytest.fixture
def vae(make_nights: Callable[..., Any]) -> Any:
    return make_nights(MULTVAE, "popularity")


@pytest.fixture
def vae_run(vae: Any) -> Run:
    """60 customers, 40 of whom bought in the validation window."""
    target = tastes(60, 2)
    target[target.sum(axis=1) == 0, 0] = 1
    target[::3] = 0
    return vae.write(1, tastes(60, 1), np.zeros((60, 10)), validation_target=target)


def saved(nights: Any, run: Run, name: str) -> Path:
    return nights.settings.run_dir(run.run_id) / "models" / "evaluated" / name


def vectors(nights: Any, run: Run) -> np.ndarray:
    return load(saved(nights, run, "multvae"), threads=1).embed(csr_matrix(np.eye(10, dtype=np.float32)))


def test_the_candidate_is_saved_and_loads_again(make_nights: Callable[..., Any]) -> None:
    nights = make_nights("popularity")
    run = nights.write(1, [[3, 1, 0], [1, 0, 0]], [[0, 0, 1], [0, 0, 0]])
    (result,) = nights.train(run)
    assert (result.model, result.customers, result.items, result.epochs) == ("popularity", 2, 3, None)
    # 4, 1 and 0 of 5: what was held out is not known.
    np.testing.assert_allclose(load(saved(nights, run, "popularity")).prior_, [0.8, 0.2, 0.0])
    assert trained(nights.settings, run) == [result]


def test_a_name_that_is_not_in_model_yaml(make_nights: Callable[..., Any]) -> None:
    nights = make_nights("popularity", "repeat")
    run = nights.write(1, [[1]], [[0]])
    with pytest.raises(PortraitError, match="'ease' is not in model.yaml; it has popularity, repeat"):
        train(nights.settings, run, "ease")


@pytest.mark.parametrize("model", ["popularity", MULTVAE])
def test_nothing_before_the_holdout(make_nights: Callable[..., Any], model: str) -> None:
    nights = make_nights(model)
    run = nights.write(1, np.zeros((3, 2)), np.ones((3, 2)))
    with pytest.raises(PortraitError, match="fewer than 2 days of history; lower holdout_days"):
        nights.train(run)
    assert trained(nights.settings, run) == []


def test_early_stopping_is_judged_by_customers_who_are_not_trained_on(vae: Any, vae_run: Run) -> None:
    result = vae.train(vae_run, "multvae")[0]
    assert result.customers == 60 - 4  # a tenth of the 40 buyers
    before = vectors(vae, vae_run)
    kept, pair = validation_split(inputs_of(vae.settings, vae_run), vae_run.seed)
    assert pair is not None
    assert kept.shape[0] == 56

    weights = tastes(60, 1)
    held = [n for n in range(60) if n not in _rows_of(weights, kept)]
    changed = weights.copy()
    changed[held] = 5.0
    vae.write(1, changed, np.zeros((60, 10)), validation_weights=weights, validation_target=_target())
    vae.train(vae_run, "multvae")
    np.testing.assert_array_equal(vectors(vae, vae_run), before)

    changed = weights.copy()
    changed[next(n for n in range(60) if n not in held)] = 5.0
    vae.write(1, changed, np.zeros((60, 10)), validation_weights=weights, validation_target=_target())
    vae.train(vae_run, "multvae")
    assert (vectors(vae, vae_run) != before).any()


def _target() -> np.ndarray:
    target = tastes(60, 2)
    target[target.sum(axis=1) == 0, 0] = 1
    target[::3] = 0
    return target


def _rows_of(weights: np.ndarray, kept: csr_matrix) -> list[int]:
    """Positions of the kept rows, which are in order."""
    found, place = [], 0
    for row in kept.toarray():
        while not (weights[place] == row).all():
            place += 1
        found.append(place)
        place += 1
    return found


def test_the_best_epoch_is_recorded(vae: Any, vae_run: Run) -> None:
    result = vae.train(vae_run, "multvae")[0]
    matrix, pair = validation_split(inputs_of(vae.settings, vae_run), vae_run.seed)
    model = create("multvae", **vae.settings.models.candidates[0].params, threads=1)
    model.fit(matrix, pair, seed=vae_run.seed)
    scores = [entry["score"] for entry in model.log_]  # type: ignore[attr-defined]
    assert result.epochs == int(np.argmax(scores)) + 1
    assert len(scores) == min(result.epochs + 2, 12)  # patience


def test_a_model_without_early_stopping_records_its_epochs(
    make_nights: Callable[..., Any], article: str
) -> None:
    nights = make_nights(article)
    run = nights.write(1, tastes(20, 1), np.zeros((20, 10)))
    assert nights.train(run)[0].epochs == 3


def test_a_rerun_gives_the_same_model(vae: Any, vae_run: Run) -> None:
    first = vae.train(vae_run, "multvae")[0]
    before = vectors(vae, vae_run)
    again = vae.train(vae_run, "multvae")[0]
    assert (first.epochs, first.customers) == (again.epochs, again.customers)
    np.testing.assert_array_equal(vectors(vae, vae_run), before)


def test_a_failed_rerun_does_not_leave_the_model_of_the_first_attempt(
    make_nights: Callable[..., Any],
) -> None:
    nights = make_nights("popularity", "repeat")
    run = nights.write(1, [[1, 0]], [[0, 1]])
    nights.train(run)
    nights.write(1, [[0, 0]], [[0, 1]])
    with pytest.raises(PortraitError):
        nights.train(run, "popularity")
    assert [r.model for r in trained(nights.settings, run)] == ["repeat"]


def test_results_come_in_the_order_of_model_yaml(make_nights: Callable[..., Any]) -> None:
    nights = make_nights("repeat", "popularity")
    run = nights.write(1, [[1, 0]], [[0, 1]])
    nights.train(run, "popularity", "repeat")
    assert [r.model for r in trained(nights.settings, run)] == ["repeat", "popularity"]
