"""Sources: from a `sources.yaml` entry to Arrow record batches."""

from portrait.config import Settings, SourceSpec
from portrait.sources.delivery import BadLine, Connector, Delivery, Window

__all__ = ["BadLine", "Connector", "Delivery", "Window", "connector"]


def connector(settings: Settings, source: SourceSpec) -> Connector:
    """The way to a source's rows: files, a database or an API."""
    if source.database is not None:
        from portrait.sources.database import DatabaseConnector

        return DatabaseConnector(settings, source)
    if source.http is not None:
        from portrait.sources.http import HttpConnector

        return HttpConnector(settings, source)
    from portrait.sources.files import FileConnector

    return FileConnector(settings, source)
