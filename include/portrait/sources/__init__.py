"""Sources: from a `sources.yaml` entry to Arrow record batches."""

from portrait.sources.files import SourceFile, pending_files
from portrait.sources.readers import read_batches, source_schema

__all__ = ["SourceFile", "pending_files", "read_batches", "source_schema"]
