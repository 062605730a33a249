"""Where files lie: this machine's folders, or a store that fsspec reaches (``s3://``, ``gs://``, ``oss://``, ...)."""

import glob
import os
import re
import stat
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Protocol

from portrait.config import SourceSpec
from portrait.sources.pattern import PathPattern


@dataclass(frozen=True)
class Entry:
    """A file as its storage lists it; `version` changes with the content, as far as the storage says it."""

    name: str
    size: int
    version: str
    written: datetime | None

    @property
    def fingerprint(self) -> str:
        return f"{self.size}-{self.version}"


class Storage(Protocol):
    """Lists files, each time anew."""

    settles: bool
    """Whether a file is seen while it is being written."""

    def find(self, pattern: PathPattern, until: date | None) -> list[Entry]:
        """Files that a pattern means; those for later dates than `until` may be left out."""

    def look(self, name: str) -> Entry | None:
        """One file as it is now; None when there is none of that name."""

    def exist(self, names: set[str]) -> set[str]:
        """Those of the names that there are."""


def is_remote(path: str) -> bool:
    return "://" in path and not path.startswith("file://")


def open_storage(source: SourceSpec) -> Storage:
    """The storage of a source's path. Raises `PortraitError` when its protocol is unknown or not installed."""
    if not is_remote(str(source.path)):
        return LocalStorage()
    from portrait.sources.remote import RemoteStorage

    return RemoteStorage(source)


def without_password(url: str) -> str:
    """A URL to show: no password, nor the query of a web address, which may be a signature."""
    return re.sub(r"^(https?://[^?]*\?).*", r"\1...", re.sub(r"^(\w+://[^/@:]*):[^/]*@", r"\1@", url))


class LocalStorage:
    """Folders of this machine."""

    settles = True

    def find(self, pattern: PathPattern, until: date | None) -> list[Entry]:
        names = sorted(glob.glob(pattern.glob, recursive=True))  # noqa: PTH207  Path.glob takes no absolute one
        entries = (self.look(name) for name in names if pattern.match(name))
        return [e for e in entries if e is not None]

    def look(self, name: str) -> Entry | None:
        try:
            status = os.stat(name)  # noqa: PTH116
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        # Copies keep the time of writing, archives may lose it; the inode's last change is this machine's.
        written = datetime.fromtimestamp(max(status.st_mtime, status.st_ctime), UTC)
        return Entry(name, status.st_size, str(status.st_mtime_ns), written)

    def exist(self, names: set[str]) -> set[str]:
        return {name for name in names if self.look(name)}
