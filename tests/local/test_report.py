"""What `make run` prints at its end, from real rows."""

from datetime import date
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.local.report import print_report
from portrait.profiles.tables import TABLES
from portrait.warehouse import Warehouse
from rich.console import Console

RUN = "2026-03-01.1"
SCORES = {("ease", "candidate"): 0.31, ("repeat", "champion"): 0.35, ("popularity", "candidate"): 0.12}


def insert(warehouse: Warehouse, table: str, **row: Any) -> None:
    columns = ", ".join(row)
    warehouse.execute(f"insert into {table} ({columns}) values ({', '.join(f':{c}' for c in row)})", **row)


@pytest.fixture
def published(warehouse: Warehouse) -> None:
    """A night of one customer, with the partitions of its run."""
    insert(warehouse, "ops.run", run_id=RUN, as_of=date(2026, 3, 1), run_key="a", seed=7, status="published")
    for table in TABLES:
        warehouse.execute(
            f"create table profile_store.{table}_20260301_1 partition of profile_store.{table} for values in ('{RUN}')"
        )
    customer = {"run_id": RUN, "customer_id": "C1"}
    insert(
        warehouse, "profile_store.customer_profile", **customer, as_of=date(2026, 3, 1), channels="both",
        city="Xi'an [west]", frequency=3, monetary=1234.5, favourite_category="Dairy", favourite_brand=None,
    )  # fmt: skip
    for rank, (value, score) in enumerate((("Dairy", 0.64), ("Tea [/b]", 0.2)), start=1):
        insert(
            warehouse, "profile_store.affinity", **customer, dimension="category", value=value, rank=rank,
            score=score, evidence=5, last_on=date(2026, 3, 1),
        )  # fmt: skip
    for rank, name in enumerate(("全脂牛奶 1 L", "Milk [red]offer[/red] [/]"), start=1):
        insert(
            warehouse, "profile_store.recommendation", **customer, kind="new", rank=rank, sku=f"s{rank}",
            product_name=name, score=1.0, model_version="m",
        )  # fmt: skip
    insert(warehouse, "privacy.permission", customer_id="C1", personalised_recommendation=True)
    insert(warehouse, "ops.published_run", run_id=RUN)
    for (model, role), ndcg in SCORES.items():
        for metric, value in (("ndcg", ndcg), ("recall", ndcg / 2), ("precision", 0.1), ("hit_rate", 0.5)):
            for slot in ("next", "new"):
                insert(
                    warehouse, "ops.evaluation", run_id=RUN, slot=slot, model=model, role=role,
                    metric=metric, k=10, value=value, customers=1500 if slot == "next" else 900,
                )  # fmt: skip
    insert(
        warehouse, "ops.evaluation", run_id=RUN, slot="again", model="ease", role="candidate", metric="recall",
        k=10, value=0.7654, customers=800,
    )  # fmt: skip
    insert(
        warehouse, "ops.model_version", model_version="v", slot="next", model="ease", parameters="{}", run_id=RUN,
        trained_through=date(2026, 3, 1), path=None, status="candidate", reason="loses to repeat [v0]",
    )  # fmt: skip


@pytest.fixture
def output(settings: Settings, published: None) -> str:
    console = Console(record=True, width=120, force_terminal=False)
    print_report(console, settings)
    return console.export_text()


def line(output: str, start: str) -> list[str]:
    """The cells of the first row that starts so."""
    row = next(r for r in output.splitlines() if r.strip("│┃ ").startswith(start))
    return [c.strip() for c in row.replace("┃", "│").strip()[1:-1].split("│")]


def test_the_evaluation_has_the_best_model_first(output: str) -> None:
    assert "What they buy next (repeats allowed): 1,500 customers, k = 10" in output
    assert "What they buy for the first time: 900 customers, k = 10" in output
    first = output[: output.index("What they buy for the first time")]
    places = [first.index(name) for name in ("repeat (champion)", "ease ", "popularity")]
    assert places == sorted(places)
    assert line(output, "ease") == ["ease", "0.3100", "0.1550", "0.1000", "", "0.5000", "", "0.7654"]
    assert line(output, "repeat (champion)")[-1] == ""
    assert line(output, "model") == [
        "model", "ndcg@10", "recall@10", "precision@10", "f1@10", "hit_rate@10", "coverage@10", "repeat recall",
    ]  # fmt: skip


def test_decisions_and_sizes(output: str) -> None:
    assert f"Run {RUN}, as of 2026-03-01" in output
    assert "next: ease candidate - loses to repeat [v0]" in output
    assert line(output, "profile.customer_profile") == ["profile.customer_profile", "1"]
    assert line(output, "profile.recommendation") == ["profile.recommendation", "2"]
    assert line(output, "profile.rfm") == ["profile.rfm", "0"]


def test_the_customer_is_shown_as_the_data_have_it(output: str) -> None:
    """Brackets in names are no markup."""
    assert "Customer C1" in output
    assert line(output, "city") == ["city", "Xi'an [west]"]
    assert line(output, "monetary") == ["monetary", "1,234.50"]
    assert line(output, "favourite_brand") == ["favourite_brand", "-"]
    assert line(output, "likes") == ["likes", "Dairy 64%, Tea [/b] 20%"]
    assert line(output, "recommended, new")[1] == "全脂牛奶 1 L; Milk [red]offer[/red] [/]"
    assert line(output, "recommended, again")[1] == "-"


def test_every_line_fits(output: str) -> None:
    assert max(len(row) for row in output.splitlines()) <= 120


def test_nothing_is_published(settings: Settings) -> None:
    with pytest.raises(PortraitError, match="nothing is published yet"):
        print_report(Console(record=True, width=120), settings)
