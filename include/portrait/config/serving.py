"""The shape of `serving.yaml`: how the profile API listens, and what one caller may ask of it."""

from pydantic import Field

from portrait.config.origins import Frozen


class ServingConfig(Frozen):
    """How the profile API runs.

    Attributes
    ----------
    host, port : where it listens; loopback unless told otherwise.
    workers : processes.
    connections : database connections of one worker.
    refresh_seconds : how soon a new night, a new champion and a revoked key are noticed.
    statement_timeout_ms : a query that takes longer is given up.
    requests_per_second, burst : rate of one API key over all workers, and how many may come at once.
    body_limit : longest body of a request, bytes.
    batch_limit : most customers of one batch.
    frame_ancestors : which sites may show the page in a frame, as in a Content-Security-Policy: Airflow's.
    item_weight : weight of an item of `POST /predict` beside the customer's own history.
    """

    host: str = "127.0.0.1"
    port: int = Field(8090, ge=1, le=65535)
    workers: int = Field(2, ge=1, le=64)
    connections: int = Field(6, ge=1, le=64)
    refresh_seconds: float = Field(1.0, gt=0)
    statement_timeout_ms: int = Field(5000, ge=100)
    requests_per_second: float = Field(200, gt=0)
    burst: float = Field(400, ge=1)
    body_limit: int = Field(1_000_000, ge=1_000)
    batch_limit: int = Field(1000, ge=1, le=1000)
    item_weight: float = Field(1.0, gt=0)
    frame_ancestors: str = Field("'self' http://127.0.0.1:* http://localhost:*", pattern=r"^[^;\r\n]+$")
