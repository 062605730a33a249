"""Rows that say when they were changed end the same whatever order and batches they are delivered in."""

import csv
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from portrait.config import Settings, load_settings
from portrait.ingest import pull
from portrait.warehouse import Warehouse

from .conftest import AS_OF, source, sources_yaml

HEADER = ["id", "what", "at", "sku", "qty", "changed", "file"]


class Version(NamedTuple):
    """A version of an order line; what it says follows from its key and when it was changed, as in any real system."""

    key: int
    changed: int

    @property
    def cells(self) -> list[str]:
        what = "order_refunded" if (self.key + self.changed) % 3 == 0 else "order_completed"
        quantity = "two" if self.changed % 5 == 4 else str(self.changed)
        day = (
            1 + (self.key * 7 + self.changed // 2) % 9
        )  # corrections move rows between days, and months do not matter
        return [
            f"k{self.key}", what, f"2025-03-{day:02d} 09:00", "p1", quantity, f"2025-03-05 08:{self.changed:02d}",
        ]  # fmt: skip

    @property
    def good(self) -> bool:
        return self.changed % 5 != 4


versions = st.builds(Version, key=st.integers(0, 5), changed=st.integers(0, 9))


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Version]]:
    """The same rows, some of them more than once, in any order, split into any files."""
    rows = draw(st.permutations(draw(st.lists(versions, min_size=1, max_size=20))))
    cuts = sorted(draw(st.sets(st.integers(1, max(len(rows) - 1, 1)), max_size=3)))
    return [
        list(rows[start:end])
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)
        if start < end
    ]


number = count()


@pytest.fixture
def base(make_settings: Any) -> Settings:
    return make_settings()


@hypothesis_settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(files=deliveries(), together=st.booleans())
def test_any_order_any_batches(
    base: Settings, warehouse: Warehouse, tmp_path: Path, files: list[list[Version]], together: bool
) -> None:
    name = f"s{next(number)}"
    columns = {
        "event_id": "id", "event_name": "what", "occurred_at": "at", "sku": "sku", "quantity": "qty",
        "updated_at": "changed",
    }  # fmt: skip
    path = tmp_path / f"{name}.yaml"
    path.write_text(sources_yaml(source("online_event", name, columns=columns, path=f"{name}/*.csv")))
    environ = {
        "PORTRAIT_DATABASE_URL": str(base.database_url), "PORTRAIT_PII_KEY": "k", "PORTRAIT_HOME": str(base.home),
    }  # fmt: skip
    settings = load_settings(environ, path)
    (tmp_path / name).mkdir()
    counted: Counter[str] = Counter()
    for place, rows in enumerate(files):
        with (tmp_path / name / f"{place}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([[*HEADER[:-1], f"file{place}"], *([*r.cells, "x"] for r in rows)])
        if not together or place == len(files) - 1:
            counted.update(
                {k: v for k, v in pull(settings, name, AS_OF).as_dict().items() if k.startswith("rows_")}
            )

    everything = [row for rows in files for row in rows]
    assert counted["rows_read"] == len(everything)
    assert counted["rows_rejected"] == sum(not r.good for r in everything)
    assert counted["rows_read"] == sum(v for k, v in counted.items() if k != "rows_read")

    newest = {}
    for row in sorted((r for r in everything if r.good), key=lambda r: r.changed):
        newest[f"k{row.key}"] = row
    found = warehouse.rows("select * from raw.online_event where source = :s", s=name)
    assert {
        r["event_id"]: (r["event_name"], str(int(r["quantity"])), f"{r['business_date']} 09:00")
        for r in found
    } == {key: (row.cells[1], row.cells[4], row.cells[2]) for key, row in newest.items()}
    assert len(found) == len(newest) == counted["rows_inserted"]
    changed = warehouse.rows(
        "select sum(rows_changed)::int as n from ops.batch_partition join ops.batch using (batch_id) where source = :s",
        s=name,
    )
    assert (changed[0]["n"] or 0) >= counted["rows_inserted"]
    quarantined = warehouse.scalar("select count(*) from quarantine.rejected_row where source = :s", s=name)
    assert quarantined == counted["rows_rejected"]
