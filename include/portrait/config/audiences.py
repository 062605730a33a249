"""The shape of `audiences.yaml`."""

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from portrait.config.expressions import parse_expression
from portrait.config.origins import Frozen
from portrait.config.tags import TagText, UsedFor


class FrequencyCap(Frozen):
    """At most `times` exports of one customer to the audience's channel, all audiences together, in `days`."""

    times: int = Field(ge=1)
    days: int = Field(ge=1, le=366)


class Webhook(Frozen):
    """Where batches are posted as JSON.

    `url` may name an environment variable, ``${CRM_URL}``, as may `token`, which is sent as a bearer token.
    """

    url: str = Field(pattern=r"^https?://")
    token: str | None = Field(None, repr=False)
    batch_rows: int = Field(500, ge=1, le=10_000)
    attempts: int = Field(5, ge=1, le=10)
    timeout_seconds: float = Field(20.0, gt=0)


class Destination(Frozen):
    """Where an audience goes: a file below the workspace's `exports` folder, a table of the warehouse, a webhook."""

    format: Literal["csv", "parquet", "table", "webhook"] = "csv"
    webhook: Webhook | None = None

    @model_validator(mode="after")
    def _webhook_has_an_address(self) -> Self:
        if (self.format == "webhook") != (self.webhook is not None):
            raise ValueError("give webhook: {url: ...} with format webhook, and with no other")
        return self


class Audience(Frozen):
    """A group of customers for one purpose, the same every night but for who is in it.

    Attributes
    ----------
    where : SQL condition over the columns of `profile.customer_profile`, and `has_tag(...)`, `likes(...)`.
    purpose : what it is for: a purpose of consent (marketing_email), or `service`, which needs none. Members who do not
        allow it are left out.
    channel : by what they are reached; the frequency cap counts exports a channel.
    control_share : share of the members that is held back to measure against, by a hash that does not move.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")
    name: TagText
    where: str
    purpose: UsedFor
    channel: str = Field(pattern=r"^[a-z][a-z0-9_]{1,31}$")
    owner: str = Field(min_length=1)
    control_share: float = Field(0.1, ge=0, lt=1)
    frequency_cap: FrequencyCap | None = None
    destination: Destination = Field(default_factory=Destination)

    @field_validator("where")
    @classmethod
    def _is_a_condition(cls, sql: str) -> str:
        parse_expression(sql, questions=True)
        return sql


class AudiencesFile(Frozen):
    """All audiences, each code once.

    Attributes
    ----------
    statement_timeout_seconds : the longest that the query of one audience may take.
    """

    audiences: tuple[Audience, ...] = ()
    statement_timeout_seconds: int = Field(default=60, ge=1)

    @field_validator("audiences")
    @classmethod
    def _a_code_once(cls, audiences: tuple[Audience, ...]) -> tuple[Audience, ...]:
        codes = [a.code for a in audiences]
        if twice := sorted({c for c in codes if codes.count(c) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice; keep one entry a code")
        return audiences
