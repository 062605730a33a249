"""What each customer allows at this moment, for the tables of a night."""

import logging

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.purposes import CODES, PERSONALISED_RECOMMENDATION, SERVICE
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)


def take_over_purposes(settings: Settings, warehouse: Warehouse) -> None:
    """Make `consent_required` of `privacy.yaml` what the views of the database go by."""
    changed = warehouse.scalar(
        "select privacy.require_consent(cast(:r as text[]))", r=list(settings.privacy.consent_required)
    )
    for purpose in changed:
        needed = purpose in settings.privacy.consent_required
        log.warning("%s: %s", purpose, "only with consent from now on" if needed else "until they say no")


def permissions(connection: Backend, warehouse: Warehouse, customers: ir.Table) -> ir.Table:
    """A table `may`: customer_id and a boolean column a purpose, one row for each of `customers`.

    Who stated nothing for a purpose allows it only where no consent is required. `service` is allowed by everybody.
    """
    said = warehouse.read_arrow(f"select customer_id, {', '.join(CODES)} from privacy.permission")
    (unstated,) = warehouse.rows("select * from privacy.unstated")
    known = connection.create_table("said", _typed(said), temp=True)
    joined = customers.select("customer_id").left_join(known, "customer_id")
    allowed = {code: joined[code].fill_null(bool(unstated[code])) for code in CODES}
    rows = joined.select("customer_id", **allowed, **{SERVICE: ibis.literal(True)})
    may = connection.create_table("may", rows, temp=True)
    _tell(may)
    return may


def only_allowed(rows: ir.Table, may: ir.Table, purpose: str) -> ir.Table:
    """The rows of customers who allow the purpose."""
    return rows.semi_join(may.filter(may[purpose]), "customer_id")


def _tell(may: ir.Table) -> None:
    counted = (
        may.agg(customers=may.count(), **{c: may[c].sum().fill_null(0) for c in CODES})
        .to_pyarrow()
        .to_pylist()[0]
    )
    log.info("what customers allow: %s", counted)
    if counted["customers"] and not counted[PERSONALISED_RECOMMENDATION]:
        log.warning(
            "nobody allows %s: everybody is recommended what is popular (consent_required of privacy.yaml)",
            PERSONALISED_RECOMMENDATION,
        )


def _typed(said: pa.Table) -> pa.Table:
    """An empty result has no types of its own."""
    return said.cast(pa.schema([("customer_id", pa.string()), *((c, pa.bool_()) for c in CODES)]))
