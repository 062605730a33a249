"""The shapes of requests and answers, with examples, as the OpenAPI document shows them."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictInt, StrictStr

from portrait.serving.lookup import LONGEST

CUSTOMER = "C5f0c1e2a9b3d4e77"
_ASKED = Annotated[str, Field(min_length=1, max_length=LONGEST)]
_LARGEST = 2**53 - 1
"""Up to here every JSON reader has whole numbers right (RFC 8259, 6)."""


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 7.0 is 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Id = Annotated[
    Annotated[StrictInt, Field(ge=-_LARGEST, le=_LARGEST)]
    | Annotated[StrictStr, Field(min_length=1, max_length=LONGEST)],
    BeforeValidator(_whole),
]
"""The article's ids are numbers; a retailer's may be text."""


class Request(BaseModel):
    """A key that does not exist is an error."""

    model_config = ConfigDict(extra="forbid")


class PredictRequest(Request):
    """The article's question."""

    user_id: Id = Field(description="Customer id, card, account, or `kind:value`", examples=["A100245"])
    item_ids: list[Id] = Field(
        max_length=1000,
        description="What the customer has at hand: viewed, in the cart, just bought",
        examples=[["P00012"]],
    )


class PredictAnswer(BaseModel):
    """The article's answer: ten items, best first; numbers where the question's ids were."""

    recommended_items: list[int | str] = Field(examples=[["P00417", "P00033", "P00158"]])


class PredictBatch(Request):
    questions: list[PredictRequest] = Field(min_length=1, max_length=1000)


class Prediction(PredictAnswer):
    """One answer of a batch, with what it rests on."""

    user_id: int | str
    basis: Literal["history+items", "history", "items", "popularity", "no_consent"]
    ignored_items: list[int | str] = Field(description="Item ids that the model has never seen")


class PredictBatchAnswer(BaseModel):
    model_version: str = Field(examples=["2026-03-01.1/new/ease"])
    answers: list[Prediction]


class CustomerBatch(Request):
    ids: list[_ASKED] = Field(min_length=1, max_length=1000, examples=[[CUSTOMER, "card:6201 0000 0017"]])


class RecommendationBatch(CustomerBatch):
    kind: Literal["new", "again"] | None = None
    limit: int = Field(10, ge=1, le=100)


class Rfm(BaseModel):
    r_score: int | None
    f_score: int | None
    m_score: int | None
    first_purchase_on: date | None
    interpurchase_days: float | None
    frequency_30d: int | None
    monetary_30d: float | None
    frequency_90d: int | None
    monetary_90d: float | None
    frequency_365d: int | None
    monetary_365d: float | None


class Affinity(BaseModel):
    dimension: str
    value: str
    rank: int | None
    score: float | None
    evidence: int | None
    last_on: date | None


class Tag(BaseModel):
    tag: str
    value: str | None
    reason: str | None = Field(examples=["recency_days = 9, frequency = 5"])


class Customer(BaseModel):
    """One customer of the published night. Columns: docs/tables.md, profile.customer_profile and profile.rfm."""

    customer_id: str = Field(examples=[CUSTOMER])
    run_id: str = Field(examples=["2026-03-01.1"])
    as_of: date | None
    is_known: bool | None
    gender: str | None
    age: int | None
    age_band: str | None = Field(examples=["25-34"])
    region: str | None
    city: str | None
    member_level: str | None
    home_store: str | None
    joined_on: date | None
    tenure_days: int | None
    cards: int | None
    accounts: int | None
    devices: int | None
    channels: str | None
    first_seen_on: date | None
    last_seen_on: date | None
    last_purchase_on: date | None
    recency_days: int | None
    frequency: int | None
    monetary: float | None
    refunded: float | None
    average_basket: float | None
    store_share: float | None
    views_30d: int | None
    searches_30d: int | None
    value_type: str | None
    lifecycle: str | None = Field(examples=["active"])
    spending_tier: str | None
    favourite_category: str | None
    favourite_brand: str | None
    segment_id: int | None
    segment_name: str | None
    aipl_stage: str | None
    p_alive: float | None
    expected_orders_90d: float | None
    expected_spend_90d: float | None
    clv_12m: float | None
    clv_12m_low: float | None
    clv_12m_high: float | None
    return_rate: float | None
    promotion_sensitivity: str | None
    favourite_daypart: str | None
    rfm: Rfm | None
    affinities: list[Affinity]
    tags: list[Tag]


class FoundCustomer(BaseModel):
    id: str = Field(description="As it was asked")
    problem: Literal["not found", "ambiguous"] | None = None
    customer: Customer | None = None


class CustomerBatchAnswer(BaseModel):
    customers: list[FoundCustomer]


class Recommendation(BaseModel):
    kind: Literal["new", "again"] = Field(description="new: not bought before; again: bought before and due")
    rank: int
    sku: str | None
    product_name: str | None
    score: float | None
    model_version: str | None
    because_kind: Literal["again", "item", "category", "popular", "no_consent"] | None = Field(
        description="again: they bought it before; item: something they bought speaks for it; category: they know its "
        "category; popular: nothing is known that speaks for it; no_consent: popular, because the customer does not allow "
        "personal recommendations"
    )
    because_of: str | None = Field(description="SKU of what they bought, or the category")
    because_name: str | None


class Recommendations(BaseModel):
    customer_id: str = Field(examples=[CUSTOMER])
    run_id: str
    as_of: date | None
    recommendations: list[Recommendation]


class FoundRecommendations(BaseModel):
    id: str
    problem: Literal["not found", "ambiguous"] | None = None
    customer: Recommendations | None = None


class RecommendationBatchAnswer(BaseModel):
    customers: list[FoundRecommendations]


class Similar(BaseModel):
    customer_id: str
    similarity: float = Field(description="Cosine of the two customers' vectors, -1 to 1")
    segment_name: str | None
    value_type: str | None
    lifecycle: str | None
    favourite_category: str | None


class SimilarAnswer(BaseModel):
    customer_id: str
    similar: list[Similar]


class Event(BaseModel):
    occurred_at: datetime
    business_date: date
    channel: Literal["online", "store"]
    event: str = Field(examples=["product_viewed"])
    place: str | None = Field(description="app or web, or the store")
    sku: str | None
    product_name: str | None
    search_query: str | None
    quantity: float | None
    amount: float | None
    currency: str | None


class Timeline(BaseModel):
    customer_id: str
    events: list[Event]
    next: str | None = Field(description="`after` of the next page; null on the last")


class Segment(BaseModel):
    segment_id: int
    segment_name: str | None
    customers: int
    buyers: int
    average_monetary: float | None
    average_recency_days: float | None
    average_basket: float | None
    store_share: float | None
    lifecycle: dict[str, int]
    top_category: str | None
    top_brand: str | None


class Segments(BaseModel):
    run_id: str | None
    as_of: date | None
    segments: list[Segment]


class TagDefinition(BaseModel):
    tag: str
    version: int | None
    type: str | None
    name_en: str | None
    name_zh: str | None
    description_en: str | None
    description_zh: str | None
    expression: str | None
    owner: str | None
    purpose: str | None
    use: str | None


class TagDefinitions(BaseModel):
    run_id: str | None
    tags: list[TagDefinition]


class AudienceSize(BaseModel):
    as_of: date
    members: int
    control: int
    without_consent: int
    entered: int
    left: int


class Audience(BaseModel):
    audience: str = Field(examples=["win_back"])
    name_en: str
    name_zh: str
    condition: str
    purpose: str
    channel: str
    owner: str
    as_of: date
    sizes: list[AudienceSize]


class Overlap(BaseModel):
    a: str
    b: str
    customers: int
    jaccard: float = Field(description="Share of both together that is in both, 0 to 1")


class Audiences(BaseModel):
    audiences: list[Audience]
    overlaps: list[Overlap]


class Member(BaseModel):
    customer_id: str
    entered_on: date
    is_control: bool


class AudienceDefinition(BaseModel):
    audience: str
    name_en: str
    name_zh: str
    purpose: str
    channel: str
    in_use: bool
    as_of: date


class AudiencePage(BaseModel):
    definition: AudienceDefinition
    members: list[Member]
    next: str | None


class Link(BaseModel):
    step: int
    from_kind: str
    from_: str | None = Field(alias="from")
    to_kind: str
    to: str | None
    rule: str | None
    source: str | None
    first_seen: date | None
    last_seen: date | None


class Identity(BaseModel):
    customer_id: str
    links: list[Link]


class SegmentMap(BaseModel):
    run_id: str | None
    points: list[list[float | int | None]] = Field(
        description="x, y, segment id", examples=[[[0.12, -0.4, 3]]]
    )


class Overview(BaseModel):
    """docs/tables.md, schema ops, says what each figure is."""

    crowd: dict[str, Any]
    nights: dict[str, Any]


class Models(BaseModel):
    run_id: str | None
    evaluation: list[dict[str, Any]]
    versions: list[dict[str, Any]]


class Ready(BaseModel):
    status: Literal["ready", "not ready"]
    checks: dict[str, bool]


class Alive(BaseModel):
    status: Literal["ok"] = "ok"


def example(body: Any) -> dict[str, Any]:
    """`responses[200]` with an example."""
    return {"content": {"application/json": {"example": body}}}
