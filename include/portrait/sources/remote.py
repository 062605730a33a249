"""Files in a store that fsspec reaches: an object store, a web or SFTP server.

Endpoint and credentials are the store's own settings in the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ...;
fsspec's FSSPEC_<PROTOCOL>_<SETTING>), never Portrait's.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from itertools import chain
from typing import Any

from portrait.config import SourceSpec
from portrait.errors import PortraitError
from portrait.sources.pattern import PathPattern, day_of, is_wild
from portrait.sources.storage import Entry, without_password
from portrait.sources.store_errors import FAULTS, code_of, explain

_AT_ONCE = 16
_VERSIONS = ("ETag", "generation", "etag", "Content-MD5")
_TIMES = ("LastModified", "last_modified", "Last-Modified", "updated", "mtime", "modified", "created")
# There an object is seen when it is whole.
_OBJECT_STORES = frozenset(
    ("s3", "s3a", "gs", "gcs", "oss", "abfs", "abfss", "az", "adl", "oci", "obs", "cos", "http", "https")
)


class RemoteStorage:
    """A store that fsspec reaches, by the URL that a source's path begins with."""

    def __init__(self, source: SourceSpec) -> None:
        self.source = source
        url = str(source.path)
        self.protocol, _, rest = url.partition("://")
        self._login = f"{self.protocol}://{rest.partition('/')[0]}"
        self.root = without_password(self._login)
        self.settles = self.protocol not in _OBJECT_STORES
        key = f"sources[{source.name}].path: {without_password(url)}"
        if "::" in url:
            raise PortraitError(f"{key}: one URL inside another is not supported; give the files' own URL")
        if is_wild(rest.partition("/")[0]):
            raise PortraitError(f"{key}: the bucket or host cannot be a pattern; name it")
        if self.protocol in ("http", "https") and is_wild(rest):
            raise PortraitError(f"{key}: a web server has no list of its files; give the address of one file")
        self._pid = -1

    @property
    def _store(self) -> Any:
        """The fsspec file system. Its event loop's thread does not survive a fork: each process has its own."""
        if self._pid != os.getpid():
            self._made, self._pid = self._make(), os.getpid()
        return self._made

    def _make(self) -> Any:
        from fsspec import get_filesystem_class

        key = f"sources[{self.source.name}].path: {self.protocol}://"
        try:
            kind = get_filesystem_class(self.protocol)
        except ImportError as error:
            package = getattr(error.__cause__, "name", None) or self.protocol
            raise PortraitError(
                f"{key} needs a package that is not installed; pip install {package}"
            ) from None
        except ValueError:
            raise PortraitError(f"{key} is no protocol that fsspec knows; for example s3://") from None
        try:
            with self._explained(self.root):
                # Neither an instance nor a listing of an earlier look is used.
                return kind(**kind._get_kwargs_from_urls(self._login), skip_instance_cache=True)
        except TypeError:
            raise PortraitError(
                f"{key} a setting of the store is unknown; check the variables FSSPEC_{self.protocol.upper()}_*"
            ) from None

    def find(self, pattern: PathPattern, until: date | None) -> list[Entry]:
        """Only folders that may hold what is meant are listed, each once."""
        self._store.invalidate_cache()
        parts = pattern.parts
        folders = ["/".join(parts[: min(pattern.fixed, len(parts) - 1)])]
        for depth in range(min(pattern.fixed, len(parts) - 1), len(parts) - 1):
            part = parts[depth]
            if part == "**":
                return self._meant(pattern, chain.from_iterable(self._each(self._below, folders)))
            if not is_wild(part):
                folders = [f"{folder}/{part}" for folder in folders]
                continue
            prefix = _prefix(part)
            listed = chain.from_iterable(self._each(partial(self._list, prefix=prefix), folders))
            found = [self._url(i["name"]) for i in listed if i["type"] == "directory"]
            meant = pattern.upto(depth + 1)
            folders = [f for f in found if _is_due(meant.fullmatch(f), until)]
        if not is_wild(parts[-1]):
            names = [f"{folder}/{parts[-1]}" for folder in folders]
            return [e for e in self._each(self._look, names) if e is not None and pattern.match(e.name)]
        prefix = _prefix(parts[-1])
        return self._meant(
            pattern, chain.from_iterable(self._each(partial(self._list, prefix=prefix), folders))
        )

    def look(self, name: str) -> Entry | None:
        self._store.invalidate_cache()
        return self._look(name)

    def exist(self, names: set[str]) -> set[str]:
        return {e.name for e in self._each(self._look, sorted(names)) if e is not None}

    @contextmanager
    def open(self, name: str, block_bytes: int | None) -> Iterator["Stream"]:
        """A file's bytes: blocks of at least so many one after the other, or the ranges asked for (None)."""
        settings: dict[str, Any] = {"block_size": block_bytes, "cache_type": "readahead"}
        if block_bytes is None:
            settings["cache_type"] = "none"
        elif self.protocol in ("http", "https"):
            settings["block_size"] = 0  # many web servers give no parts: one answer, read as it comes

        def start() -> Any:
            self._store.invalidate_cache()
            return self._store.open(self._path(name), "rb", **settings)

        stream = Stream(start, lambda: self._explained(name))
        try:
            yield stream
        finally:
            stream.end()

    def _path(self, name: str) -> str:
        """A URL as the store's own methods take it."""
        return self._store._strip_protocol(self._login + name.removeprefix(self.root))

    def _list(self, folder: str, prefix: str) -> list[dict[str, Any]]:
        path = self._path(folder)
        with self._explained(folder):
            try:
                if prefix and self.protocol in ("s3", "s3a"):
                    found = self._store.find(path, maxdepth=1, withdirs=True, detail=True, prefix=prefix)
                    return list(found.values())
                return self._store.ls(path, detail=True)
            except FileNotFoundError as error:
                if code_of(error) == "NoSuchBucket":
                    raise
                return []

    def _below(self, folder: str) -> list[dict[str, Any]]:
        path = self._path(folder)
        with self._explained(folder):
            return list(self._store.find(path, detail=True).values())

    def _look(self, name: str) -> Entry | None:
        path = self._path(name)
        with self._explained(name):
            try:
                info = self._store.info(path)
            except FileNotFoundError as error:
                if error.__cause__ is None or code_of(error) in ("404", "410", "NoSuchKey"):
                    return None
                # A bucket that is none; a web server that refuses or is silent, which fsspec takes for the same.
                raise error.__cause__ from None
        return _entry(name, info) if info["type"] == "file" else None

    def _meant(self, pattern: PathPattern, listed: Iterator[dict[str, Any]]) -> list[Entry]:
        entries = (_entry(self._url(i["name"]), i) for i in listed if i["type"] == "file")
        # An object whose name ends in a slash is what consoles show as an empty folder.
        return sorted(
            (e for e in entries if not e.name.endswith("/") and pattern.match(e.name)), key=lambda e: e.name
        )

    def _url(self, path: str) -> str:
        """A listed path as the URL that pattern and names have."""
        above = self._store._strip_protocol(self._login).rstrip("/")
        return f"{self.root}/{path.removeprefix(above).lstrip('/')}"

    def _each(self, look: Callable[[str], Any], names: list[str]) -> list[Any]:
        """Ask for many at once, where the store can."""
        if len(names) < 2 or not getattr(self._store, "async_impl", False):
            return [look(name) for name in names]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return list(pool.map(look, names))

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except (PortraitError, *FAULTS):
            raise
        except Exception as error:
            where = f"sources[{self.source.name}].path: {without_password(name)}"
            raise explain(error, where, self.protocol) from None


class Stream:
    """A store's file as Arrow reads it: errors are explained, only `end` closes it, and then nothing is left to read."""

    mode = "rb"
    closed = False

    def __init__(
        self, start: Callable[[], Any], explained: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._start, self._explained = start, explained
        self._reading = threading.Lock()
        self._ended = False
        with explained():
            self._file = start()

    def read(self, size: int = -1) -> bytes:
        with self._reading, self._explained():
            return b"" if self._ended else self._file.read(size)

    def seek(self, position: int, whence: int = 0) -> int:
        with self._reading, self._explained():
            return 0 if self._ended else self._file.seek(position, whence)

    def tell(self) -> int:
        return self._file.tell()

    def rewind(self) -> "Stream":
        """From the beginning again; of what is still at hand nothing is fetched twice."""
        if self._file.tell():
            try:
                self._file.seek(0)
            except ValueError:  # a web server's answer goes one way
                self._file.close()
                with self._explained():
                    self._file = self._start()
        return self

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def flush(self) -> None: ...

    def close(self) -> None: ...

    def end(self) -> None:
        with self._reading:
            self._ended = True
            self._file.close()


def _prefix(part: str) -> str:
    """What every name that a part means begins with."""
    return re.split(r"[*?{]", part)[0]


def _is_due(match: re.Match[str] | None, until: date | None) -> bool:
    """Whether a folder is meant, and not for a later date."""
    if match is None:
        return False
    day = day_of(match)
    if day is None:
        return not match.groupdict().get("day")
    return until is None or day <= until


def _entry(name: str, info: dict[str, Any]) -> Entry:
    written = next((t for k in _TIMES if (t := _time(info.get(k)))), None)
    version = next((str(info[k]).strip('"') for k in _VERSIONS if info.get(k)), None)
    return Entry(
        name,
        size=info.get("size") or 0,
        version=version or (written.isoformat() if written else ""),
        written=written,
    )


def _time(value: Any) -> datetime | None:
    """A time as stores give it: datetime, seconds since 1970, ISO 8601 or as in HTTP."""
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str):
        for read in (datetime.fromisoformat, parsedate_to_datetime):
            try:
                value = read(value)
                break
            except ValueError:
                continue
    if not isinstance(value, datetime):
        return None
    return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
