"""A night's training that goes on from the night before, and when it may not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from portrait.models import load
from portrait.models.nightly import warm_start
from portrait.models.nightly.inputs import inputs_of
from portrait.models.nightly.train import TrainResult
from portrait.models.nightly.withdraw import withdraw
from portrait.run import Run
from scipy.sparse import csr_matrix

from .test_train import tastes

MULTVAE = (
    "{{name: multvae, params: {{hidden: 16, latent: 4, batch_size: 10, epochs: {epochs}, patience: 2, anneal_epochs: 2, "
    "learning_rate: 0.01, validation_k: 3, validation_exclude_seen: false}}}}"
)


def busy(n: int, seed: int, items: int = 10) -> np.ndarray:
    """`tastes` of customers who all touched the first item."""
    drawn = tastes(n, seed, items)
    drawn[:, 0] = 1
    return drawn


class Chain:
    """Nights of the same customers, run through all model stages."""

    def __init__(self, nights: Any) -> None:
        self.nights = nights

    def night(
        self, day: int, items: int = 10, customers: int = 60, run: Run | None = None
    ) -> tuple[Run, TrainResult]:
        weights = busy(customers, day, items)
        target = busy(customers, 50 + day, items)
        target[::3] = 0
        run = self.nights.write(day, weights, target, run=run, validation_target=target)
        result = self.nights.train(run, "multvae")[0]
        self.nights.evaluate(run)
        self.nights.promote(run)
        return run, result

    def saved(self, run: Run, kind: str) -> Path:
        return self.nights.settings.models_dir / run.run_id / "multvae" / kind

    def weights(self, run: Run, kind: str) -> np.ndarray:
        model: Any = load(self.saved(run, kind), threads=1)
        return model.module_.to_items.weight.detach().numpy()


@pytest.fixture
def chain(make_nights: Callable[..., Any]) -> Chain:
    return Chain(make_nights(MULTVAE.format(epochs=12)))


def test_a_night_goes_on_from_the_night_before(chain: Chain) -> None:
    first, from_nothing = chain.night(1)
    assert (from_nothing.start_path, from_nothing.warm_nights) == (None, 0)
    second, result = chain.night(2)
    assert (result.start_path, result.warm_nights) == (f"{first.run_id}/multvae", 1)
    assert chain.night(3)[1].warm_nights == 2
    # What is judged goes on from what was judged, which has not seen the days held out tonight; what serves from what served.
    for kind in ("evaluated", "serving"):
        other = "serving" if kind == "evaluated" else "evaluated"
        moved = np.abs(chain.weights(second, kind) - chain.weights(first, kind)).mean()
        assert moved < np.abs(chain.weights(second, kind) - chain.weights(first, other)).mean()


def test_running_a_night_again_starts_where_it_started(chain: Chain) -> None:
    chain.night(1)
    second, result = chain.night(2)
    before = chain.weights(second, "serving")
    chain.night(3)
    again, repeated = chain.night(2, run=second)
    assert (repeated.start_path, repeated.epochs) == (result.start_path, result.epochs)
    np.testing.assert_array_equal(chain.weights(again, "serving"), before)


def test_new_items_and_customers_join(chain: Chain) -> None:
    chain.night(1)
    run, result = chain.night(2, items=14, customers=80)
    assert result.warm_nights == 1
    model = load(chain.saved(run, "serving"), threads=1)
    assert model.n_items == 14
    lists, _ = model.recommend(csr_matrix(busy(80, 2, 14)), 14, exclude_seen=False)
    assert (np.sort(lists, axis=1) == np.arange(14)).all()


def test_from_nothing_every_so_many_nights(make_nights: Callable[..., Any]) -> None:
    nights = make_nights(MULTVAE.format(epochs=3))
    models = nights.settings.models.model_copy(update={"full_training_every": 3})
    nights.settings = nights.settings.model_copy(update={"models": models})
    chain = Chain(nights)
    assert [chain.night(day)[1].warm_nights for day in range(1, 7)] == [0, 1, 2, 0, 1, 2]


def test_from_nothing_once_somebody_was_erased(chain: Chain, caplog: pytest.LogCaptureFixture) -> None:
    chain.night(1)
    chain.nights.warehouse.execute(
        "insert into privacy.suppression (hash, kind, key_version) values ('0', 'customer', 'v1')"
    )
    with caplog.at_level("INFO"):
        assert chain.night(2)[1].warm_nights == 0
    assert "multvae: trained from nothing: somebody was erased since the last version" in caplog.text
    assert chain.night(3)[1].warm_nights == 1  # the second night knows nothing of them


def test_from_nothing_with_other_parameters(make_nights: Callable[..., Any]) -> None:
    Chain(make_nights(MULTVAE.format(epochs=12))).night(1)
    nights = make_nights(MULTVAE.format(epochs=11))
    assert Chain(nights).night(2)[1].warm_nights == 0


def test_from_nothing_after_a_shorter_holdout(make_nights: Callable[..., Any]) -> None:
    """The night before held out one day, tonight two: its model has seen the first of them."""
    nights = make_nights(MULTVAE.format(epochs=3))
    two_days = nights.settings
    assert two_days.models.holdout_days == 2
    nights.settings = two_days.model_copy(
        update={"models": two_days.models.model_copy(update={"holdout_days": 1})}
    )
    chain = Chain(nights)
    chain.night(1)
    chain.night(2)
    nights.settings = two_days
    assert chain.night(3)[1].warm_nights == 2  # 2 March less a day is 3 March less two: nothing more was seen
    nights.settings = two_days.model_copy(
        update={"models": two_days.models.model_copy(update={"holdout_days": 4})}
    )
    assert chain.night(4)[1].warm_nights == 0


def test_from_nothing_when_items_or_the_code_are_others(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    chain.night(1, items=12)
    with caplog.at_level("INFO"):
        assert chain.night(2, items=10)[1].warm_nights == 0
    assert "the last version knows items that are gone" in caplog.text
    monkeypatch.setattr(warm_start, "source_digest", lambda: "another")
    settings, entry = chain.nights.settings, chain.nights.settings.models.candidates[0]
    later = chain.nights.write(3, busy(60, 3), busy(60, 4))
    with caplog.at_level("INFO"):
        assert warm_start.start_of(settings, later, inputs_of(settings, later), entry) is None
    assert "the code changed" in caplog.text


def test_a_withdrawn_version_is_not_gone_on_from(chain: Chain) -> None:
    first, _ = chain.night(1)
    chain.night(2)
    for slot in ("next", "new", "embedding"):
        withdraw(chain.nights.settings, slot, "bad")
    assert chain.night(3)[1].start_path == f"{first.run_id}/multvae"


def test_a_model_without_a_start_is_left_alone(make_nights: Callable[..., Any]) -> None:
    nights = make_nights("popularity")
    for day in (1, 2):
        run = nights.write(day, busy(20, 1), busy(20, 2))
        result = nights.train(run)[0]
        nights.evaluate(run)
        nights.promote(run)
        assert (result.start_path, result.warm_nights) == (None, 0)
