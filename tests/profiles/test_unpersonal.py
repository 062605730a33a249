"""A night shows customers what they allow: popular items instead of personal ones, no tag against its purpose."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.config import Settings
from portrait.config.privacy import PrivacyConfig
from portrait.config.tags import Tag, TagsFile
from portrait.features.matrix import write_csr
from portrait.models.nightly.inputs import inputs_of
from portrait.profiles.build import build
from portrait.profiles.permission import permissions
from portrait.profiles.publish import audit, load, publish
from portrait.profiles.unpersonal import popular_items
from portrait.run import Run
from portrait.warehouse import Warehouse
from scipy.sparse import csr_matrix

WORDS = {"en": "a", "zh": "甲"}
WEIGHTS = [[1.0, 0.0, 3.0, 0.0], [1.0, 0.5, 2.0, 0.0]]
"""Of two customers for tea, milk, rice and soap: 2, 0.5, 5 and 0 of 7.5 in all."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """As it comes, with lists of three."""
    models = settings.models.model_copy(update={"recommendations": 3})
    return settings.model_copy(update={"privacy": PrivacyConfig(), "models": models})


@pytest.fixture
def matrix(settings: Settings, run: Run) -> None:
    folder = inputs_of(settings, run).folder
    folder.mkdir(parents=True)
    items = pa.table({"sku": ["tea", "milk", "rice", "soap"], "col": [0, 1, 2, 3]})
    pq.write_table(items, folder / "items.parquet")
    for name in ("full_weights", "full_bought"):
        write_csr(csr_matrix(np.array(WEIGHTS, np.float32)), folder / name)


@pytest.fixture
def allow(warehouse: Warehouse, add_raw: Callable[..., int]) -> Callable[..., None]:
    """`allow(customer, purpose, granted)`: by an account that is theirs."""
    number = iter(range(1, 1000))

    def state(customer: str, purpose: str, granted: bool = True) -> None:
        n = next(number)
        warehouse.execute(
            "insert into identity.identifier (kind, value, first_seen, last_seen, identifier_id)"
            " values ('account', :v, '2026-01-01', '2026-01-01', :n)",
            v=f"a{n}",
            n=n,
        )
        warehouse.execute("insert into identity.assignment values (:n, 1, :c, '2026-01-01')", n=n, c=customer)
        at = {"occurred_at": datetime(2026, 1, 1, tzinfo=UTC), "business_date": date(2026, 1, 1)}
        row = {"consent_id": f"s{n}", "account_id": f"a{n}", "purpose": purpose, "granted": granted}
        add_raw("consent_event", [{**row, **at}])

    return state


@pytest.mark.usefixtures("matrix")
def test_what_is_popular_is_what_has_the_most_weight(settings: Settings, run: Run) -> None:
    rows = popular_items(settings, run).to_pyarrow().to_pylist()
    assert [(r["rank"], r["sku"], round(r["score"], 6)) for r in rows] == [
        (1, "rice", round(5 / 7.5, 6)),
        (2, "tea", round(2 / 7.5, 6)),
        (3, "milk", round(0.5 / 7.5, 6)),
    ]


def test_a_run_without_a_matrix_has_nothing_popular(settings: Settings, run: Run) -> None:
    assert popular_items(settings, run).to_pyarrow().num_rows == 0


def test_who_stated_nothing_allows_what_needs_no_consent(
    warehouse: Warehouse, allow: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    allow("ann", "marketing_sms")
    allow("bob", "analytics", granted=False)
    customers = ibis.memtable({"customer_id": ["ann", "bob", "cat"]})
    may = permissions(ibis.duckdb.connect(), warehouse, customers).order_by("customer_id").to_pyarrow()
    assert may["analytics"].to_pylist() == [True, False, True]
    assert may["marketing_sms"].to_pylist() == [True, False, False]
    assert may["personalised_recommendation"].to_pylist() == [False, False, False]
    assert may["service"].to_pylist() == [True, True, True]
    assert "nobody allows personalised_recommendation" in caplog.text


def tag(code: str, expression: str, purpose: str) -> Tag:
    said: dict[str, Any] = {"name": WORDS, "description": WORDS, "type": "rule", "owner": "o", "use": "tests"}
    return Tag(code=code, expression=expression, purpose=purpose, **said)


@pytest.mark.usefixtures("matrix")
def test_a_night_makes_no_personal_list_and_no_tag_without_consent(
    settings: Settings,
    run: Run,
    add_run: Callable[[Run], None],
    small_night: Callable[..., None],
    warehouse: Warehouse,
    allow: Callable[..., None],
) -> None:
    """c0 allows both purposes, c1 only tags for e-mail, nobody else stated anything."""
    allow("c0", "personalised_recommendation")
    allow("c0", "marketing_email")
    allow("c1", "marketing_email")
    tags = TagsFile(
        tags=(
            tag("letter", "frequency > 0", "marketing_email"),
            tag("counted", "frequency > 0", "analytics"),
            tag("dear", "price_sensitivity is null", "service"),
        )
    )
    tonight = settings.model_copy(update={"tags": tags})
    add_run(run)
    small_night(run)
    build(tonight, run)
    load(tonight, run)
    audit(tonight, run)
    publish(tonight, run)
    # In the table below the view: nothing personal of who did not allow it was ever written.
    stored = warehouse.rows(
        "select customer_id, kind, rank, sku, model_version, because_kind from profile_store.recommendation"
        " where customer_id in ('c0', 'c1') order by 1, 2, 3"
    )
    assert [tuple(r.values()) for r in stored] == [
        *(("c0", kind, n, f"s{n}", None, None) for kind in ("again", "new") for n in (1, 2)),
        *(("c1", "new", n, sku, "popular", "no_consent") for n, sku in enumerate(("rice", "tea", "milk"), 1)),
    ]
    assert warehouse.scalar("select count(*) from profile_store.recommendation") == 4 + 5 * 3
    tagged = warehouse.rows(
        "select tag, array_agg(customer_id order by customer_id) as who from profile_store.customer_tag group by tag"
    )
    everybody = [f"c{n}" for n in range(6)]
    assert {r["tag"]: r["who"] for r in tagged} == {
        "letter": ["c0", "c1"],
        "counted": everybody,
        "dear": everybody,
    }
    limited = warehouse.rows("select tag from profile.tag_definition where price_limited")
    assert [r["tag"] for r in limited] == ["dear"]


def test_the_night_takes_over_which_purposes_need_consent(
    settings: Settings, run: Run, small_night: Callable[..., None], warehouse: Warehouse
) -> None:
    small_night(run)
    other = settings.model_copy(update={"privacy": PrivacyConfig(consent_required=("analytics",))})
    build(other, run)
    required = warehouse.rows("select purpose from privacy.purpose where consent_required")
    assert [r["purpose"] for r in required] == ["analytics"]
