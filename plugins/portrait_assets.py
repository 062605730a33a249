"""Airflow's asset manager with a lock that it lacks; `[core] asset_manager_class` names it.

Two sources that finish in the same moment may each begin a night of their own for the same date, and neither then ever
has all its sources: Airflow 3.3.2 locks the asset, not the Dag and partition that wait for it (apache/airflow#71070).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.assets.manager import AssetManager
from sqlalchemy import text

if TYPE_CHECKING:
    from airflow.models.asset import AssetPartitionDagRun
    from airflow.models.dag import DagModel
    from sqlalchemy.orm import Session


class PortraitAssetManager(AssetManager):
    """One event at a time for a waiting Dag and partition. To be removed with the release that mends it."""

    @classmethod
    def _get_or_create_apdr(
        cls, *, target_dag: DagModel, target_key: str, session: Session, **event: Any
    ) -> AssetPartitionDagRun:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(  # until the transaction ends
                text("select pg_advisory_xact_lock(hashtext(:waiting))"),
                {"waiting": f"{target_dag.dag_id}/{target_key}"},
            )
        return super()._get_or_create_apdr(
            target_dag=target_dag, target_key=target_key, session=session, **event
        )
