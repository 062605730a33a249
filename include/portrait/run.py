"""A run is a business date: the only clock that a stage may read."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Self


@dataclass(frozen=True)
class Run:
    """One night's work.

    Attributes
    ----------
    run_id : identifies the night's outputs, ``<as_of>.<attempt>`` (``2026-03-01.1``).
    as_of : the business date, in the retailer's time zone. Nothing dated after it is used.
    seed : drives every random choice of the night.
    """

    run_id: str
    as_of: date
    seed: int = 0

    @classmethod
    def of_id(cls, run_id: str) -> Self:
        """Without its seed."""
        return cls(run_id, date.fromisoformat(run_id.partition(".")[0]))

    @property
    def suffix(self) -> str:
        """`run_id` as part of a table name: ``20260301_1``."""
        return self.run_id.replace("-", "").replace(".", "_")


def holdout_cutoff(as_of: date, holdout_days: int) -> date:
    """Last day of the training window; the `holdout_days` after it, up to `as_of`, are for evaluation."""
    return as_of - timedelta(days=holdout_days)
