"""What a person decided about two identifiers: it has the last word, over caps and unique kinds too."""

from dataclasses import dataclass
from datetime import datetime

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.blocked import stored_value
from portrait.identity.kinds import KIND_COLUMNS
from portrait.warehouse import Transaction, open_warehouse

MUST, CANNOT = "must_link", "cannot_link"


@dataclass(frozen=True, order=True)
class Rule:
    """A rule that counts; values as stored."""

    kind: str
    kind_a: str
    value_a: str
    kind_b: str
    value_b: str


def add_rule(
    settings: Settings,
    kind: str,
    a: tuple[str, str],
    b: tuple[str, str],
    reason: str,
    created_by: str,
) -> int:
    """Note that two identifiers are one customer's, or are not; counts from the next night on.

    Parameters
    ----------
    kind : `must_link` or `cannot_link`.
    a, b : kind and value; cards, phones and e-mails in clear (or as stored, ``v1:…``).

    Returns
    -------
    The rule's number.

    Raises
    ------
    PortraitError : for an unknown kind, a value that is none of its kind, no reason or author, or a rule that says
        the opposite of one that counts.
    """
    if kind not in (MUST, CANNOT):
        raise PortraitError(f"'{kind}' is no rule; write {MUST} or {CANNOT}")
    if not reason.strip() or not created_by.strip():
        raise PortraitError("a rule needs a reason and an author")
    ends = sorted((_end(settings, *a), _end(settings, *b)))
    if ends[0] == ends[1]:
        raise PortraitError("both identifiers of the rule are the same")
    warehouse = open_warehouse(settings)
    (kind_a, value_a), (kind_b, value_b) = ends
    values = {"ka": kind_a, "va": value_a, "kb": kind_b, "vb": value_b}
    other = CANNOT if kind == MUST else MUST
    found = warehouse.scalar(
        "select rule_id from identity.manual_rule where kind = :k and revoked_at is null "
        "and (kind_a, value_a, kind_b, value_b) = (:ka, :va, :kb, :vb)",
        k=other,
        **values,
    )
    if found is not None:
        raise PortraitError(f"rule {found} says {other} of the same two identifiers; revoke it first")
    return int(
        warehouse.scalar(
            "insert into identity.manual_rule (kind, kind_a, value_a, kind_b, value_b, reason, created_by) "
            "values (:k, :ka, :va, :kb, :vb, :r, :c) returning rule_id",
            k=kind,
            r=reason.strip(),
            c=created_by.strip(),
            **values,
        )
    )


def revoke_rule(settings: Settings, rule_id: int) -> None:
    """Take a rule back; it stays in the table. Raises PortraitError when no such rule counts."""
    found = open_warehouse(settings).scalar(
        "update identity.manual_rule set revoked_at = clock_timestamp() "
        "where rule_id = :r and revoked_at is null returning rule_id",
        r=rule_id,
    )
    if found is None:
        raise PortraitError(f"no rule {rule_id} that counts; `select * from identity.manual_rule` lists them")


def rules_at(record: Transaction, moment: datetime | None) -> list[Rule]:
    """The rules that counted at a moment, or count now; sorted."""
    when = "revoked_at is null"
    if moment is not None:
        when = f"created_at <= '{moment.isoformat()}' and (revoked_at is null or revoked_at > '{moment.isoformat()}')"
    rows = record.rows(
        f"select kind, kind_a, value_a, kind_b, value_b from identity.manual_rule where {when}"
    )
    return sorted({Rule(**r) for r in rows})


def _end(settings: Settings, kind: str, value: str) -> tuple[str, str]:
    if kind not in KIND_COLUMNS:
        raise PortraitError(f"'{kind}' is no kind of identifier; write one of {', '.join(KIND_COLUMNS)}")
    stored = stored_value(settings, kind, value)
    if stored is None:
        raise PortraitError(f"'{value}' is no {kind}")
    return kind, stored
