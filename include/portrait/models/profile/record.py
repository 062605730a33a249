"""The heads' figures in `ops.head_evaluation`."""

from collections.abc import Sequence

from sqlalchemy import text

from portrait.config import Settings
from portrait.models.profile.report import Measured
from portrait.run import Run
from portrait.warehouse import open_warehouse


def record_heads(settings: Settings, run: Run, measured: Sequence[Measured]) -> None:
    """These figures in place of those of an earlier attempt; none where the heads could not be judged."""
    with open_warehouse(settings).begin() as connection:
        connection.execute(text("delete from ops.head_evaluation where run_id = :r"), {"r": run.run_id})
        if measured:
            connection.execute(
                text(
                    "insert into ops.head_evaluation (run_id, head, model, protocol, metric, value, customers) "
                    "values (:run, :head, :model, :protocol, :metric, :value, :customers)"
                ),
                # The database's driver knows no numbers of NumPy.
                [
                    {"run": run.run_id, **m.as_dict(), "value": float(m.value), "customers": int(m.customers)}
                    for m in measured
                ],
            )
