"""What a night's tags and value models amount to, for the book in `ops`."""

import json

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.profiles.partitions import LOADING, partition
from portrait.profiles.tables import CUSTOMER_PROFILE, CUSTOMER_TAG, value_model_file
from portrait.run import Run

COMMON_VALUES = 50
"""Values of a tag that are listed, the most frequent ones."""


def record(connection: Connection, settings: Settings, run: Run) -> None:
    """Write `ops.tag_coverage`, `ops.tag_distribution` and `ops.value_model` of the run that is being loaded."""
    for table in ("tag_coverage", "tag_distribution", "value_model"):
        connection.execute(text(f"delete from ops.{table} where run_id = :r"), {"r": run.run_id})
    _record_tags(connection, settings, run)
    learned = json.loads(value_model_file(settings, run).read_text(encoding="utf-8"))
    if learned:
        connection.execute(
            text("insert into ops.value_model (run_id, parameter, value) values (:r, :p, :v)"),
            [{"r": run.run_id, "p": name, "v": value} for name, value in learned.items()],
        )


def _record_tags(connection: Connection, settings: Settings, run: Run) -> None:
    tagged = f"profile_store.{partition(CUSTOMER_TAG.name, run.run_id, LOADING)}"
    profile = f"profile_store.{partition(CUSTOMER_PROFILE.name, run.run_id, LOADING)}"
    everybody = connection.execute(text(f"select count(*) from {profile}")).scalar_one()
    connection.execute(
        text(
            f"""
            insert into ops.tag_distribution (run_id, tag, value, customers)
            select :r, tag, value, customers
            from (
                select tag, value, count(*) as customers,
                       row_number() over (partition by tag order by count(*) desc, value) as place
                from {tagged} group by tag, value
            ) as counted
            where place <= :n
            """
        ),
        {"r": run.run_id, "n": COMMON_VALUES},
    )
    counted = connection.execute(text(f"select tag, count(*) as customers from {tagged} group by tag"))
    customers = {row.tag: row.customers for row in counted}
    rows = [
        {"r": run.run_id, "t": t.code, "v": t.version, "c": customers.get(t.code, 0), "n": everybody}
        for t in settings.tags.tags
    ]
    if rows:
        connection.execute(
            text(
                "insert into ops.tag_coverage (run_id, tag, version, customers, coverage)"
                " values (:r, :t, :v, :c, case when :n > 0 then cast(:c as double precision) / :n else 0 end)"
            ),
            rows,
        )
