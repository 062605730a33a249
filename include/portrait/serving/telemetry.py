"""What Prometheus reads: requests by route, the night, the champion; of all workers together."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set by `serve` before the workers start; where the library lets them write their figures."""

_SECONDS = Histogram(
    "portrait_request_seconds",
    "Time to answer, by route",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_REQUESTS = Counter("portrait_requests", "Answers, by route and status", ["method", "route", "status"])
_PUBLISHED = Gauge(
    "portrait_published_timestamp_seconds",
    "When the night that is shown was published",
    multiprocess_mode="mostrecent",
)
_CHAMPION = Gauge(
    "portrait_champion_ready", "Whether the champion that should serve does: 1 or 0", multiprocess_mode="min"
)
_BASIS = Counter("portrait_predictions", "Answers of the champion, by what they rest on", ["basis"])


def observe(method: str, route: str, status: int, seconds: float) -> None:
    """Note one answer."""
    _SECONDS.labels(method, route).observe(seconds)
    _REQUESTS.labels(method, route, str(status)).inc()


def predicted(basis: str) -> None:
    """Note one answer of the champion."""
    _BASIS.labels(basis).inc()


def standing(published_at: float | None, champion_ready: bool) -> None:
    """Note what is shown and serves."""
    _PUBLISHED.set(published_at or 0)
    _CHAMPION.set(champion_ready)


def exposition() -> tuple[bytes, str]:
    """Every figure in Prometheus' text format, and its media type."""
    registry = REGISTRY
    if os.environ.get(FOLDER_VARIABLE):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST
