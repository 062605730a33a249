"""Nights, models, evidence, the map, the tags: against the tables they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
from portrait.serving.segment_map import as_points, project

if TYPE_CHECKING:
    from tests.serving.conftest import Shop


def test_the_overview_counts_the_night(shop: Shop, api: httpx.Client) -> None:
    found = api.get("/operations/overview").json()
    (counted,) = shop.warehouse.rows(
        "select count(*) as customers, count(*) filter (where is_known) as known, "
        "count(*) filter (where frequency > 0) as buyers from profile.served_customer where in_statistics"
    )
    assert {k: found["crowd"][k] for k in counted} == counted
    assert sum(found["crowd"]["lifecycle"].values()) == counted["customers"]
    nights = found["nights"]
    assert (nights["run"]["run_id"], nights["run"]["as_of"]) == (shop.run.run_id, shop.run.as_of.isoformat())
    everybody = shop.warehouse.scalar("select count(*) from profile.customer_profile")
    assert everybody > counted["customers"]  # some object to analytics
    assert [(n["run_id"], n["status"], n["customers"]) for n in nights["nights"]] == [
        (shop.run.run_id, "published", everybody)
    ]
    assert {f["source"] for f in nights["freshness"]} == {s.name for s in shop.settings.sources.sources}
    assert all(q["passed"] for q in nights["quality"])
    assert {(m["slot"], m["model"]) for m in nights["metrics"]} == {
        (slot, model) for slot in ("new", "next") for model in ("popularity", "article")
    }


def test_models_and_why_they_serve(shop: Shop, api: httpx.Client) -> None:
    found = api.get("/operations/models").json()
    assert found["run_id"] == shop.run.run_id
    assert len(found["evaluation"]) == shop.warehouse.scalar("select count(*) from ops.evaluation")
    champions = {v["slot"]: v["model"] for v in found["versions"] if v["status"] == "champion"}
    assert champions == {"new": "popularity", "next": champions["next"], "embedding": "article"}
    assert all(v["reason"] for v in found["versions"])


def test_evidence_is_what_explain_says_with_values_cut_short(shop: Shop, api: httpx.Client) -> None:
    (someone,) = shop.warehouse.rows(
        "select customer_id from profile.customer_profile where cards = 1 and accounts = 1 order by 1 limit 1"
    )
    rows = shop.warehouse.rows(
        "select step, kind_a, kind_b, rule from identity.explain(cast(:c as text)) order by step, kind_b, value_b",
        c=someone["customer_id"],
    )
    assert rows
    links = api.get(f"/customers/{someone['customer_id']}/identity").json()["links"]
    assert [(x["step"], x["from_kind"], x["to_kind"], x["rule"]) for x in links] == [
        tuple(r.values()) for r in rows
    ]
    assert max(len(x["to"]) for x in links) <= 11


def test_the_map_has_a_point_a_customer(shop: Shop, api: httpx.Client) -> None:
    points = api.get("/segments/map").json()["points"]
    assert len(points) == shop.warehouse.scalar("select count(*) from profile.segment")
    sizes = {s["segment_id"]: s["customers"] for s in api.get("/segments").json()["segments"]}
    assert {i: sum(p[2] == i for p in points) for i in sizes} == sizes


def test_tags_mean_something_in_both_languages(shop: Shop, api: httpx.Client) -> None:
    tags = api.get("/tags").json()["tags"]
    served = shop.warehouse.scalar("select count(*) from profile.tag_definition where tag <> 'price_watcher'")
    assert len(tags) == served > 0
    assert all(t["name_en"] and t["name_zh"] and t["expression"] and t["use"] for t in tags)
    (someone,) = shop.warehouse.rows(
        "select customer_id, tag, value from profile.customer_tag order by 1, 2 limit 1"
    )
    found = api.get(f"/customers/{someone['customer_id']}").json()["tags"][0]
    assert (found["tag"], found["value"]) == (someone["tag"], someone["value"])
    assert found["reason"]


def test_directions_of_a_plane() -> None:
    """Unit vectors on a quarter circle: the first direction is the chord, the second the bulge."""
    points = project([[1, 0], [np.sqrt(0.5), np.sqrt(0.5)], [0, 2]])
    np.testing.assert_allclose(np.abs(points[[0, 2], 0]), [1, 1])
    np.testing.assert_allclose(points[0, 0], -points[2, 0])
    np.testing.assert_allclose(points[1, 0], 0, atol=1e-9)
    np.testing.assert_allclose(points[1, 1], 1)
    np.testing.assert_allclose(points[[0, 2], 1], [-0.5, -0.5])


@pytest.mark.parametrize("vectors", [[[1.0, 2.0]], [[1.0], [2.0]], [[0.0, 0.0], [0.0, 0.0]]])
def test_too_little_for_a_plane(vectors: list[list[float]]) -> None:
    assert np.isfinite(project(vectors)).all()
    assert as_points([]) == []
