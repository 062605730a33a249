"""What a source's Dag says in the Airflow UI about where its rows come from. Logins stay out of it."""

from collections.abc import Callable

import pytest
from portrait.config import Settings
from portrait.local.origin import describe, origin

HEAD = "workspace: test\ntimezone: Asia/Shanghai\nsources:\n"
COLUMNS = "    entity: store\n    columns: {store_id: store_id, name: name}\n"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ('path: "tills/{business_date}.csv"\n    format: csv', "`tills/{business_date}.csv`"),
        ("database: {connection: shop, table: public.stores}", "table `public.stores` of connection `shop`"),
        (
            'database: {url: "postgresql://me:s3cret@db.example:5433/shop", table: stores}',
            "table `stores` of `postgresql://db.example:5433/shop`",
        ),
        ('database: {connection: shop, query: "select 1 as store_id"}', "a query of connection `shop`"),
        ("http: {connection: api, path: /v1/stores}", "`/v1/stores` of connection `api`"),
        ('http: {url: "https://me:s3cret@api.example/v1?key=s3cret"}', "`https://api.example/v1`"),
    ],
)
def test_origin(make_settings: Callable[..., Settings], where: str, expected: str) -> None:
    sources = make_settings(f"{HEAD}  - name: stores\n    {where}\n{COLUMNS}").sources
    assert origin(sources.source("stores")) == expected
    assert "s3cret" not in describe(sources.source("stores"), sources)


def test_what_a_dag_says(make_settings: Callable[..., Settings]) -> None:
    sources = make_settings(
        f"{HEAD}  - name: stores\n    path: stores.csv\n    format: csv\n{COLUMNS}"
        '    description: Our stores\n    schedule: "0 2 * * *"\n    deadline: "06:00"\n    pool: tills\n'
        "    retries: 20\n    retry_minutes: 15\n    owner: tills-team\n"
    ).sources
    said = describe(sources.source("stores"), sources)
    assert said.startswith("**Source** `stores`: Our stores\n\n| | |\n|---|---|\n")
    assert said.splitlines()[4:] == [
        "| fills | `raw.store` |",
        "| rows from | `stores.csv` |",
        "| runs | `0 2 * * *` (Asia/Shanghai) |",
        "| due by | 06:00 (Asia/Shanghai) |",
        "| tried again | 20 times, every 15 minutes |",
        "| pool | `tills` |",
        "| owner | tills-team |",
    ]


def test_what_a_plain_one_says(make_settings: Callable[..., Settings]) -> None:
    sources = make_settings().sources
    said = describe(sources.source("stores"), sources)
    assert "| runs | when triggered |\n| due by | no deadline |\n" in said
