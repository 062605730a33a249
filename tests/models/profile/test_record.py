"""Figures of the heads in the database."""

from datetime import date

import numpy as np
import pytest
from portrait.config import Settings
from portrait.models.profile.record import record_heads
from portrait.models.profile.report import Measured
from portrait.run import Run
from portrait.warehouse import Warehouse

RUN = Run("2026-03-01.1", date(2026, 3, 1), 7)


@pytest.fixture
def night(warehouse: Warehouse) -> Warehouse:
    warehouse.execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 7, 'running')",
        r=RUN.run_id,
        d=RUN.as_of,
    )
    return warehouse


def test_a_second_attempt_replaces_the_figures_of_the_first(night: Warehouse, settings: Settings) -> None:
    first = Measured("purchase", "profile_autoencoder", "window", "auc", np.float64(0.8), np.int64(40))
    record_heads(settings, RUN, [first, Measured("purchase", "base_rate", "window", "auc", 0.5, 40)])
    assert night.scalar("select value from ops.head_evaluation where model = 'profile_autoencoder'") == 0.8
    record_heads(settings, RUN, [Measured("purchase", "regression", "window", "auc", 0.75, 41)])
    assert night.rows("select head, model, protocol, metric, value, customers from ops.head_evaluation") == [
        {
            "head": "purchase", "model": "regression", "protocol": "window", "metric": "auc", "value": 0.75,
            "customers": 41,
        }
    ]  # fmt: skip
    record_heads(settings, RUN, [])
    assert night.scalar("select count(*) from ops.head_evaluation") == 0
