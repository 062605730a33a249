"""What somebody should look at, in `ops.alert`."""

from datetime import date

from sqlalchemy import Connection, text

LONGEST = 2000


def raise_alert(connection: Connection, kind: str, message: str, business_date: date | None = None) -> None:
    """Note what happened and what to do.

    Parameters
    ----------
    kind : what sort of thing, for example ``no_inferences``; the column's comment lists them.
    message : cut after `LONGEST` characters.
    business_date : the night it is about.
    """
    connection.execute(
        text("insert into ops.alert (kind, business_date, message) values (:k, :d, :m)"),
        {"k": kind, "d": business_date, "m": message[:LONGEST]},
    )
