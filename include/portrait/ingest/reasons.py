"""Reason codes of refused rows, in a sentence."""

from portrait.config import SourceSpec
from portrait.contracts import CONTRACTS

_SENTENCES = {
    "missing": "{column} is required and is empty",
    "bad_timestamp": "{column} is not a date and time",
    "bad_date": "{column} is not a date",
    "bad_integer": "{column} is not a whole number",
    "bad_decimal": "{column} is not a number",
    "bad_boolean": "{column} is neither true nor false",
    "unknown_value": "{column} is not one of its allowed values",
    "too_small": "{column} is below its minimum",
    "too_large": "{column} is above its maximum",
    "implausible_date": "{column} is before 1970",
    "other_currency": "{column} is not the currency of sources.yaml: convert the amounts with an sql mapping",
    "future_date": "{column} is after the day that the row was delivered for",
    "bad_text": "{column} holds a NUL character, which Postgres cannot store",
    "bad_json": "the line is not a JSON object",
    "bad_line": "the line does not have the header's number of columns",
}


def sentence(source: SourceSpec, code: str) -> str:
    """What a reason code (``bad_decimal:unit_price``) means."""
    kind, _, detail = code.partition(":")
    if kind == "rule":
        return next(r.reason for r in source.reject if r.code == detail)
    if kind == "check":
        return next(c.sentence for c in CONTRACTS[source.entity].checks if c.code == detail)
    said = _SENTENCES[kind].format(column="the natural key" if detail == "key" else detail)
    if kind == "unknown_value":
        said += f": {', '.join(CONTRACTS[source.entity].column(detail).values)}"
    return said
