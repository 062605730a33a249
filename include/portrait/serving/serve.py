"""Running the API: uvicorn with its workers."""

import os
import shutil
from pathlib import Path

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.serving import telemetry


def serve(settings: Settings, host: str, port: int, workers: int) -> None:
    """Answer until a signal ends it.

    Raises
    ------
    PortraitError : when a worker would not start: the database is not there, nothing is migrated, a key is missing.
    """
    import uvicorn

    from portrait.ingest.pii import pii_key
    from portrait.warehouse import open_warehouse

    # Once here, where a mistake is one line, rather than in every worker.
    open_warehouse(settings)
    pii_key(settings)
    figures = settings.workspace_dir / "serving" / "metrics"
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    os.environ[telemetry.FOLDER_VARIABLE] = str(figures)
    # The workers are the parallelism; a product of one row gains nothing from threads.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    for variable, value in _surroundings(settings).items():
        os.environ[variable] = value
    try:
        uvicorn.run(
            "portrait.serving.app:from_environment",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            # The guard writes its own, without personal data.
            log_config=_LOGGING,
            server_header=False,
            # Slow clients: headers of 16 kB and idle connections of 30 s are enough.
            h11_max_incomplete_event_size=16_384,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
        )
    except OSError as error:
        raise PortraitError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port"
        ) from None


def _surroundings(settings: Settings) -> dict[str, str]:
    """What makes a worker read the same settings as this process."""
    paths: dict[str, Path] = {"PORTRAIT_HOME": settings.home, "PORTRAIT_SOURCES": settings.sources_path}
    return {name: str(path) for name, path in paths.items()}


_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
        "bare": {"format": "%(message)s"},
    },
    "handlers": {
        "line": {"class": "logging.StreamHandler", "formatter": "line"},
        "access": {"class": "logging.StreamHandler", "formatter": "bare", "stream": "ext://sys.stdout"},
    },
    "loggers": {
        "uvicorn": {"level": "WARNING", "handlers": ["line"], "propagate": False},
        "portrait": {"level": "INFO", "handlers": ["line"], "propagate": False},
        "portrait.access": {"level": "INFO", "handlers": ["access"], "propagate": False},
    },
}
