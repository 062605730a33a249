"""What a key may ask. No scope gives contact data: the API's role cannot read it."""

from enum import StrEnum


class Scope(StrEnum):
    """One kind of question."""

    CUSTOMERS = "customers"
    """Profiles, recommendations, alike customers."""
    TIMELINE = "timeline"
    """What one customer did, event by event, search words included."""
    IDENTITY = "identity"
    """Which identifiers were taken for one customer, and why (keyed hashes)."""
    PREDICT = "predict"
    """Answers of the champion."""
    SEGMENTS = "segments"
    AUDIENCES = "audiences"
    OPERATIONS = "operations"
    """Nights, models, data quality, /metrics."""


ROLES: dict[str, tuple[Scope, ...]] = {
    "marketing": (Scope.CUSTOMERS, Scope.SEGMENTS, Scope.AUDIENCES),
    "service": (Scope.CUSTOMERS, Scope.TIMELINE, Scope.IDENTITY, Scope.SEGMENTS),
    "shop": (Scope.PREDICT, Scope.CUSTOMERS),
    "monitoring": (Scope.OPERATIONS,),
    "analyst": tuple(Scope),
}
"""Usual sets of scopes, for `portrait api-key create --role`."""
