"""What customers' data may be used for: the one list of purposes, which `privacy.purpose` repeats for SQL."""

from dataclasses import dataclass

SERVICE = "service"
"""Doing what the customer asked for (a return, a call back): part of the contract, no consent is asked."""


@dataclass(frozen=True)
class Purpose:
    """One use of personal data that customers allow or refuse.

    Attributes
    ----------
    code : its name in deliveries, tags, audiences and SQL.
    consent_required : whether nobody's data is used for it until they say yes. Else it is used until they say no.
    """

    code: str
    consent_required: bool


ANALYTICS = "analytics"
PERSONALISED_RECOMMENDATION = "personalised_recommendation"
MARKETING_EMAIL = "marketing_email"
MARKETING_SMS = "marketing_sms"
AD_AUDIENCE = "ad_audience"
PROFILING_INFERENCE = "profiling_inference"

PURPOSES = (
    Purpose(ANALYTICS, consent_required=False),
    Purpose(PERSONALISED_RECOMMENDATION, consent_required=True),
    Purpose(MARKETING_EMAIL, consent_required=True),
    Purpose(MARKETING_SMS, consent_required=True),
    Purpose(AD_AUDIENCE, consent_required=True),
    Purpose(PROFILING_INFERENCE, consent_required=True),
)
CODES = tuple(p.code for p in PURPOSES)
CONSENT_REQUIRED = tuple(p.code for p in PURPOSES if p.consent_required)
"""What `privacy.yaml` says unless it says otherwise."""
