"""The shape of `privacy.yaml`: which purposes need consent, and how long rows are kept."""

from typing import Annotated

from pydantic import Field, field_validator

from portrait.config.origins import Frozen
from portrait.config.sources import _suggest
from portrait.purposes import CODES, CONSENT_REQUIRED

RETAINED = {
    "raw.online_event": "business_date",
    "raw.pos_receipt": "business_date",
    "raw.pos_receipt_line": "business_date",
    "raw.consent_event": "business_date",
    "quarantine.rejected_row": "first_seen_at",
    "audience.membership": "left_on",
    "audience.export_log": "started_at",
    "audience.size_daily": "as_of",
    "audience.overlap": "as_of",
    "ops.alert": "raised_at",
    "privacy.access_log": "at",
    "privacy.request": "finished_at",
}
"""Table -> date or instant by which its rows grow old; where it is null (a membership that goes on) they do not."""


class PrivacyConfig(Frozen):
    """What is used only with consent, and what is deleted by age.

    Attributes
    ----------
    consent_required : purposes for which nobody's data is used until they say yes. For the others it is used until they
        say no: a withdrawal counts in either case.
    retention : table -> days for which its rows are kept; a table that is not named keeps all.
    """

    consent_required: tuple[str, ...] = CONSENT_REQUIRED
    retention: dict[str, Annotated[int, Field(ge=1, le=36_500)]] = Field(default_factory=dict)

    @field_validator("consent_required")
    @classmethod
    def _purposes(cls, required: tuple[str, ...]) -> tuple[str, ...]:
        for purpose in required:
            if purpose not in CODES:
                raise ValueError(f"'{purpose}' is no purpose; {_suggest(purpose, set(CODES))}")
        return required

    @field_validator("retention")
    @classmethod
    def _known(cls, retention: dict[str, int]) -> dict[str, int]:
        for table in retention:
            if table not in RETAINED:
                raise ValueError(f"'{table}' has no age; {_suggest(table, set(RETAINED))}")
        if retention.get("raw.pos_receipt") != retention.get("raw.pos_receipt_line"):
            raise ValueError("a receipt and its lines go together: give both tables the same days")
        return retention
