"""The shape of `tags.yaml`."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator

from portrait.config.expressions import parse_expression
from portrait.config.origins import Frozen
from portrait.config.sources import _suggest
from portrait.purposes import CODES, SERVICE

TagType = Literal["attribute", "statistical", "rule", "predictive"]
NullPolicy = Literal["omit", "unknown"]


def _purpose(code: str) -> str:
    if code not in (known := {*CODES, SERVICE}):
        raise ValueError(f"'{code}' is no purpose; {_suggest(code, known)}")
    return code


UsedFor = Annotated[str, AfterValidator(_purpose)]
"""A purpose of consent, or `service`."""


class TagText(Frozen):
    """One text in the two languages of the people who read it."""

    en: str = Field(min_length=1)
    zh: str = Field(min_length=1)


class Tag(Frozen):
    """What is said of a customer in one word.

    Attributes
    ----------
    code : its name in SQL; it never changes its meaning, a new meaning is a new `version`.
    type : attribute (declared or plain fact), statistical (counted), rule (decided), predictive (a model's).
    expression : SQL over the columns of `profile.customer_profile`. A condition gives the value `true` to those for
        whom it holds and no row to the others; anything else gives its value as text.
    owner : who answers for the definition.
    purpose : a purpose of consent, or `service`, which needs none. Customers who do not allow it do not have the tag.
    use : what it is for, in words.
    null_policy : what becomes of a customer for whom the expression is null: no row (`omit`), or the value `unknown`.
    """

    code: str = Field(pattern=r"^[a-z][a-z0-9_]{1,47}$")
    name: TagText
    description: TagText
    type: TagType
    expression: str
    owner: str = Field(min_length=1)
    purpose: UsedFor
    use: str = Field(min_length=1)
    null_policy: NullPolicy = "omit"
    version: int = Field(1, ge=1)

    @field_validator("expression")
    @classmethod
    def _is_an_expression(cls, sql: str) -> str:
        parse_expression(sql)
        return sql


class TagsFile(Frozen):
    """All tags, each code once."""

    tags: tuple[Tag, ...] = ()

    @field_validator("tags")
    @classmethod
    def _a_code_once(cls, tags: tuple[Tag, ...]) -> tuple[Tag, ...]:
        codes = [t.code for t in tags]
        if twice := sorted({c for c in codes if codes.count(c) > 1}):
            raise ValueError(f"{', '.join(twice)} stands there twice; keep one entry a code")
        return tags
