"""Whatever is delivered, in whatever files: every row is counted once, and raw ends as the last good rows say."""

import csv
from collections import Counter
from datetime import date
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from portrait.config import Settings, load_settings
from portrait.ingest import PullResult, pull
from portrait.warehouse import Warehouse

from .conftest import source, sources_yaml

TODAY, TOMORROW = date(2025, 3, 3), date(2025, 3, 4)
HEADER = ["id", "what", "at", "sku", "qty", "kind", "file"]


class Row(NamedTuple):
    """One line of a file; `day` 4 is not due until TOMORROW."""

    key: str = "k1"
    quantity: str = "1"
    day: int = 1
    kind: str = "event"

    @property
    def fate(self) -> str:
        if self.kind == "ragged":
            return "rejected"
        if self.kind == "other":
            return "skipped"
        return "rejected" if not self.key or self.quantity == "two" else "good"

    @property
    def cells(self) -> list[str]:
        at = f"2025-03-{self.day:02d} 08:00"
        cells = [self.key, "order_completed", at, "p1", self.quantity, self.kind, "x"]
        return cells[:3] if self.kind == "ragged" else cells


rows = st.builds(
    Row,
    key=st.sampled_from(["k1", "k2", "k3", "k4", ""]),
    quantity=st.sampled_from(["1", "2", "3", "two"]),
    day=st.sampled_from([1, 2, 2, 3, 4]),
    kind=st.sampled_from(["event", "event", "event", "event", "other", "ragged"]),
)
# Files in the order of their delivery; a pull follows each file that is marked.
deliveries = st.lists(st.tuples(st.lists(rows, max_size=8), st.booleans()), min_size=1, max_size=3)


class Model:
    """What the documentation promises, in a few lines of Python."""

    def __init__(self) -> None:
        self.raw: dict[str, tuple[str, int]] = {}
        self.waiting: list[list[Row]] = []

    def pull(self, files: list[list[Row]], as_of: date, loaded_through: date | None = None) -> Counter[str]:
        counts: Counter[str] = Counter()
        latest: dict[str, tuple[str, int]] = {}
        for file in files:
            held = False
            for row in file:
                counts["read"] += 1
                if row.fate != "good":
                    counts[row.fate] += 1
                elif row.day > as_of.day:
                    counts["not_due"] += 1
                    held = True
                elif loaded_through is not None and row.day <= loaded_through.day:
                    counts["unchanged"] += 1
                else:
                    counts["duplicate"] += row.key in latest
                    latest[row.key] = (row.quantity, row.day)
            if held:
                self.waiting.append(file)
        for key, value in latest.items():
            known = self.raw.get(key)
            counts["inserted" if known is None else "unchanged" if known == value else "updated"] += 1
        self.raw |= latest
        return +counts


def counted(result: PullResult) -> Counter[str]:
    found = {k.removeprefix("rows_"): v for k, v in result.as_dict().items() if k.startswith("rows_")}
    assert result.rows_read == sum(found.values()) - result.rows_read
    return +Counter(found)


number = count()


@pytest.fixture
def base(make_settings: Any) -> Settings:
    return make_settings()


@hypothesis_settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(files=deliveries)
@example(files=[([Row(), Row(day=4)], True), ([Row(quantity="2")], True)])
@example(
    files=[([Row(day=2)], True), ([Row(day=3), Row("", "two"), Row(kind="ragged"), Row(kind="other")], True)]
)
def test_every_row_is_counted_once_and_raw_is_the_expected(
    base: Settings, warehouse: Warehouse, tmp_path: Path, files: list[tuple[list[Row], bool]]
) -> None:
    name = f"s{next(number)}"
    columns = {"event_id": "id", "event_name": "what", "occurred_at": "at", "sku": "sku", "quantity": "qty"}
    path = tmp_path / f"{name}.yaml"
    spec = source("online_event", name, columns=columns, path=f"{name}/*.csv", where="kind = 'event'")
    path.write_text(sources_yaml(spec))
    environ = {
        "PORTRAIT_DATABASE_URL": str(base.database_url), "PORTRAIT_PII_KEY": "k", "PORTRAIT_HOME": str(base.home),
    }  # fmt: skip
    settings = load_settings(environ, path)
    (tmp_path / name).mkdir()

    model, delivered, refused = Model(), [], 0
    for place, (lines, pull_now) in enumerate([*files, ([], True)]):
        with (tmp_path / name / f"{place}.csv").open("w", newline="") as file:
            # The last column makes no two files the same: those of the same bytes are not read (test_again.py).
            header = [*HEADER[:-1], f"file{place}"]
            csv.writer(file).writerows([header, *(row.cells for row in lines)])
        delivered.append(lines)
        if pull_now:
            assert counted(pull(settings, name, TODAY)) == model.pull(delivered, TODAY)
            refused += sum(row.fate == "rejected" for lines in delivered for row in lines)
            delivered = []

    waiting, model.waiting = model.waiting, []
    assert counted(pull(settings, name, TOMORROW)) == model.pull(waiting, TOMORROW, TODAY)
    assert pull(settings, name, TOMORROW).files == 0

    found = warehouse.rows("select * from raw.online_event where source = :s", s=name)
    assert {r["event_id"]: (f"{r['quantity']:.0f}", r["business_date"].day) for r in found} == model.raw
    assert len(found) == len(model.raw)
    assert (
        warehouse.scalar("select count(*) from quarantine.rejected_row where source = :s", s=name) == refused
    )
