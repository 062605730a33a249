"""### Audiences: who is reached tonight, and sending them where they belong

Starts when a night of profiles is published. For each audience of `audiences.yaml` it asks the published night who
fulfils the condition and consented to the purpose, records who **entered and left**, and **exports** the members
without the control group and without those who were reached too often already.

Each audience is a mapped task of its own: one whose receiver is away is tried again alone. An export happens once a
night, whatever is cleared or retried; `audience.export_log` says who got what when.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import DAG, Asset, PartitionedAssetTimetable, get_current_context, task, task_group
from portrait.config import load_settings
from portrait_airflow import DEFAULTS, settings, stage

SETTINGS = load_settings()
PROFILE = Asset("profile.customer_profile", uri="portrait://profile/customer_profile")


with DAG(
    "audiences",
    description="Members of each audience, their overlaps, and the exports",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=PROFILE),
    start_date=pendulum.datetime(2000, 1, 1, tz=SETTINGS.sources.timezone),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["portrait", "audiences"],
):

    @task(doc_md="The audiences of audiences.yaml, checked before any of them is asked for.")
    def declared() -> list[str]:
        from portrait.audiences.definitions import codes
        from portrait.audiences.query import check_audiences

        current = settings()
        stage(check_audiences, current)
        return codes(current)

    @task(
        map_index_template="{{ audience }}",
        doc_md="Who is in the audience tonight, who entered and who left.",
    )
    def refresh(code: str) -> str:
        from portrait.audiences.refresh import refresh as bring_up_to_date

        get_current_context()["audience"] = code
        stage(bring_up_to_date, settings(), code)
        return code

    @task(trigger_rule="all_done", doc_md="Customers that two audiences share.")
    def overlaps() -> int:
        from portrait.audiences.refresh import record_overlaps

        return stage(record_overlaps, settings())

    @task(
        map_index_template="{{ audience }}", doc_md="The members to the audience's destination, once a night."
    )
    def export(code: str) -> dict[str, object]:
        from portrait.audiences.export import export_audience

        get_current_context()["audience"] = code
        return stage(export_audience, settings(), code).as_dict()

    @task_group(group_id="audience", tooltip="One audience after the other, each on its own")
    def one(code: str) -> None:
        export(refresh(code))

    one.expand(code=declared()) >> overlaps()
