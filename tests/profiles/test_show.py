"""The look at the published night."""

from collections.abc import Callable
from datetime import date

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish
from portrait.profiles.show import KEY_COLUMNS, summary
from portrait.run import Run

AS_OF = date(2026, 3, 1)
CHANNELS = {  # receipts, online events
    "both1": (1, 1),
    "both2": (1, 1),
    "store": (1, 0),
    "looker": (0, 9),  # the busiest online, but bought nothing
}


@pytest.fixture
def published(
    settings: Settings, run: Run, add_run: Callable, write_inputs: Callable[..., None], buyer: Callable
) -> Run:
    evidence = {"both1": 3, "both2": 5, "store": 1, "looker": 50}
    write_inputs(
        run,
        customer=[{"customer_id": c, "is_known": True} for c in CHANNELS],
        rfm=[buyer(c, AS_OF, AS_OF) for c in CHANNELS if c != "looker"],
        activity=[
            {"customer_id": c, "store_receipts": receipts, "online_events": events}
            for c, (receipts, events) in CHANNELS.items()
        ],
        affinity=[
            {
                "customer_id": c,
                "dimension": "category",
                "value": f"Category {rank}",
                "rank": rank,
                "score": 0.5 / rank,
                "evidence": evidence[c],
                "last_on": AS_OF,
            }
            for c in CHANNELS
            for rank in (1, 2, 3, 4)
        ],
        recommendation=[
            {"customer_id": "both2", "kind": "new", "rank": r, "sku": f"sku{r}", "score": 1.0}
            for r in range(1, 8)
        ]
        + [{"customer_id": "both2", "kind": "again", "rank": 1, "sku": "sku9", "score": 1.0}],
        product=[{"sku": f"sku{r}", "name": f"Product {r}"} for r in range(1, 8)],
    )
    add_run(run)
    build(settings, run)
    load(settings, run)
    audit(settings, run)
    publish(settings, run)
    return run


@pytest.mark.usefixtures("published")
def test_summary(settings: Settings) -> None:
    found = summary(settings)
    assert (found["run_id"], found["as_of"]) == ("2026-03-01.1", AS_OF)
    assert found["rows"] == {
        "customer_profile": 4,
        "rfm": 3,
        "affinity": 16,
        "segment": 0,
        "embedding": 0,
        "recommendation": 8,
        "popular": 0,
        "customer_value": 3,
        "repurchase": 0,
        "search_interest": 0,
        "customer_tag": 0,
        "tag_definition": 0,
    }
    both, store = found["customers"]  # no online buyer in this shop
    assert both["profile"]["customer_id"] == "both2"
    assert tuple(both["profile"]) == KEY_COLUMNS
    assert both["categories"] == [
        {"value": "Category 1", "score": 0.5, "evidence": 5},
        {"value": "Category 2", "score": 0.25, "evidence": 5},
        {"value": "Category 3", "score": 0.5 / 3, "evidence": 5},
    ]
    assert both["new"] == [f"Product {r}" for r in range(1, 6)]
    assert both["again"] == ["sku9"]  # no name is known
    assert store["profile"]["customer_id"] == "store"
    assert store["new"] == []


def test_nothing_to_show(settings: Settings) -> None:
    with pytest.raises(PortraitError, match="nothing is published yet"):
        summary(settings)
