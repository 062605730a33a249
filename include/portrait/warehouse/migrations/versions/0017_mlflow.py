"""A schema for MLflow's own tables, which it makes and upgrades by itself."""

from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    bind = op.get_bind()
    bind.exec_driver_sql("create schema mlflow")
    bind.exec_driver_sql(
        "comment on schema mlflow is 'Tables of MLflow: nights and model versions to look at; ops decides'"
    )
