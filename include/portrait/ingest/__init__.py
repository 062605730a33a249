"""Ingest: record batches and a contract in, `raw.*` rows and quarantined rows out."""

from portrait.ingest.check import SourceReport, check_sources
from portrait.ingest.pull import PullResult, pull

__all__ = ["PullResult", "SourceReport", "check_sources", "pull"]
