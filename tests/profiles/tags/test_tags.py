"""Tags: refused before the night, or computed with their reasons and counted."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from portrait.config import Settings, load_settings
from portrait.config.tags import Tag, TagsFile
from portrait.errors import PortraitError
from portrait.profiles.build import build
from portrait.profiles.publish import audit, load, publish
from portrait.profiles.tags.check import check_tags, is_condition
from portrait.run import Run
from portrait.stages import begin_run
from portrait.warehouse import Warehouse
from pydantic import ValidationError

AS_OF = date(2026, 3, 1)


def tag(code: str, expression: str, **others: Any) -> Tag:
    words = {"en": "a", "zh": "甲"}
    given = {
        "type": "rule",
        "owner": "crm",
        "purpose": "analytics",
        "use": "tests",
        "name": words,
        "description": words,
        **others,
    }
    return Tag(code=code, expression=expression, **given)


TAGS = TagsFile(
    tags=(
        tag("rich", "monetary >= 100 and frequency > 1"),
        tag("regional", "region", type="attribute", null_policy="unknown"),
        tag("stage", "lifecycle"),
        tag("old_birth", "age > 60", null_policy="unknown"),
        tag("share", "case when store_share > 0.5 then 'store' else 'online' end"),
    )
)


@pytest.fixture
def tagging(settings: Settings) -> Settings:
    return settings.model_copy(update={"tags": TAGS})


@pytest.fixture
def published(
    tagging: Settings, run: Run, add_run: Callable, write_inputs: Callable[..., None], buyer: Callable
) -> Run:
    """ann is rich and of Zhejiang, bob bought once, cat never."""
    write_inputs(
        run,
        customer=[
            {"customer_id": "ann", "is_known": True, "region": "Zhejiang"},
            {"customer_id": "bob", "is_known": True, "birth_date": date(1950, 1, 1)},
            {"customer_id": "cat", "is_known": True},
        ],
        rfm=[
            buyer("ann", AS_OF, AS_OF, frequency=4, monetary=250.5, store_monetary=200.0),
            buyer("bob", AS_OF, AS_OF, store_monetary=0.0),
        ],
    )
    add_run(run)
    build(tagging, run)
    load(tagging, run)
    audit(tagging, run)
    publish(tagging, run)
    return run


@pytest.mark.usefixtures("published")
def test_every_tag_has_its_value_and_reason(warehouse: Warehouse) -> None:
    rows = warehouse.rows("select customer_id, tag, value, reason from profile.customer_tag order by 1, 2")
    assert [tuple(r.values()) for r in rows] == [
        ("ann", "old_birth", "unknown", "age = null"),
        ("ann", "regional", "Zhejiang", "region = Zhejiang"),
        ("ann", "rich", "true", "monetary = 250.5, frequency = 4"),
        ("ann", "share", "store", "store_share = 0.8"),
        ("ann", "stage", "new", "lifecycle = new"),
        ("bob", "old_birth", "true", "age = 76"),
        ("bob", "regional", "unknown", "region = null"),
        ("bob", "share", "online", "store_share = 0.0"),
        ("bob", "stage", "new", "lifecycle = new"),
        ("cat", "old_birth", "unknown", "age = null"),
        ("cat", "regional", "unknown", "region = null"),
        ("cat", "share", "online", "store_share = null"),
        ("cat", "stage", "prospect", "lifecycle = prospect"),
    ]


def test_definitions_coverage_and_distribution_are_kept_with_the_night(
    warehouse: Warehouse, published: Run
) -> None:
    definitions = warehouse.rows("select tag, expression, name_zh from profile.tag_definition order by tag")
    assert [d["tag"] for d in definitions] == ["old_birth", "regional", "rich", "share", "stage"]
    assert definitions[2] == {
        "tag": "rich",
        "expression": "monetary >= 100 and frequency > 1",
        "name_zh": "甲",
    }
    coverage = warehouse.rows(
        "select tag, customers, round(coverage::numeric, 3)::float as c from ops.tag_coverage order by 1"
    )
    assert [tuple(r.values()) for r in coverage] == [
        ("old_birth", 3, 1.0),
        ("regional", 3, 1.0),
        ("rich", 1, 0.333),
        ("share", 3, 1.0),
        ("stage", 3, 1.0),
    ]
    stages = warehouse.rows(
        "select value, customers from ops.tag_distribution where tag = 'stage' order by 1"
    )
    assert [tuple(r.values()) for r in stages] == [("new", 2), ("prospect", 1)]


def test_loading_again_counts_once(tagging: Settings, warehouse: Warehouse, published: Run) -> None:
    load(tagging, published)
    assert warehouse.scalar("select count(*) from ops.tag_coverage") == 5


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("frequncy > 1", "there is no column 'frequncy'; did you mean frequency?"),
        ("as_of + region > 1", r"tags\[odd\].expression: Binder Error"),
    ],
)
def test_a_tag_that_cannot_be_computed_stops_the_run_before_it_starts(
    settings: Settings, warehouse: Warehouse, expression: str, message: str
) -> None:
    wrong = settings.model_copy(update={"tags": TagsFile(tags=(tag("odd", expression),))})
    with pytest.raises(PortraitError, match=message):
        begin_run(wrong, AS_OF, "test")
    assert warehouse.scalar("select count(*) from ops.run") == 0


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("customer_id in (select customer_id from pii.contact)", "is not allowed"),
        ("pg_sleep(10) is null", "`PG_SLEEP\\(10\\)` is not allowed"),
        ("frequency > 1; drop table ops.run", "must be one expression"),
        ("monetary >", "is no SQL expression"),
        ("now() > as_of", "is not allowed"),
    ],
)
def test_an_expression_can_only_compare(expression: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        tag("odd", expression)


def test_a_code_stands_for_one_tag() -> None:
    with pytest.raises(ValidationError, match="odd stands there twice; keep one entry a code"):
        TagsFile(tags=(tag("odd", "region"), tag("odd", "city")))


def test_the_tags_that_come_with_portrait_are_sound() -> None:
    settings = load_settings({})
    check_tags(settings)
    tags = {t.code: t for t in settings.tags.tags}
    assert len(tags) >= 25
    assert {t.type for t in tags.values()} == {"attribute", "statistical", "rule", "predictive"}
    assert is_condition(tags["win_back"])
    assert not is_condition(tags["rfm_type"])
