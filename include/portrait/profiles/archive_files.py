"""Where the archives of old nights lie, and the list of their files with the checksum of each.

``archive/<run_id>/<table>/part-0001.parquet``, and ``archive/<run_id>/manifest.json`` beside the folders.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.errors import PortraitError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One file: its path below the archive's folder, its rows, its length in octets, its BLAKE2b (128 bits, hexadecimal)."""

    path: str
    rows: int
    octets: int
    checksum: str

    @classmethod
    def of(cls, file: Path, folder: Path) -> "Part":
        rows = pq.read_metadata(file).num_rows
        return cls(str(file.relative_to(folder)), rows, file.stat().st_size, checksum(file))


@dataclass(frozen=True)
class Manifest:
    """What an archive holds.

    Attributes
    ----------
    tables : table -> its files, in the order of their rows; none where the table was empty.
    """

    run_id: str
    as_of: date
    tables: dict[str, tuple[Part, ...]]

    @property
    def parts(self) -> Iterator[Part]:
        for parts in self.tables.values():
            yield from parts

    @property
    def rows(self) -> int:
        return sum(p.rows for p in self.parts)

    @property
    def octets(self) -> int:
        return sum(p.octets for p in self.parts)

    def write(self, folder: Path) -> None:
        content = {
            "run_id": self.run_id,
            "as_of": str(self.as_of),
            "tables": {t: [asdict(p) for p in parts] for t, parts in self.tables.items()},
        }
        with draft_of(folder / MANIFEST) as draft:
            draft.write_text(json.dumps(content, indent=1), encoding="utf-8")


def archives_dir(settings: Settings) -> Path:
    """Folder of all archives of the workspace."""
    return settings.workspace_dir / "archive"


def archive_dir(settings: Settings, run_id: str) -> Path:
    """Folder of a night's archive; it appears whole or not at all."""
    return archives_dir(settings) / run_id


def read_manifest(folder: Path) -> Manifest:
    """The list of an archive's files.

    Raises
    ------
    PortraitError : when it is not there.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise PortraitError(
            f"{path}: no such file; the archive is gone or incomplete, restore it from a backup"
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    tables = {t: tuple(Part(**p) for p in parts) for t, parts in content["tables"].items()}
    return Manifest(content["run_id"], date.fromisoformat(content["as_of"]), tables)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Compare every file with the list.

    Raises
    ------
    PortraitError : naming the first file that is missing or not what was written.
    """
    for part in manifest.parts:
        file = folder / part.path
        if not file.is_file():
            raise PortraitError(f"{file}: no such file; restore the archive from a backup")
        found = checksum(file)
        if found != part.checksum:
            raise PortraitError(
                f"{file}: has checksum {found}, not {part.checksum} as it was written: it is damaged or was changed;"
                " restore the archive from a backup"
            )


def reseal(file: Path) -> None:
    """Enter a file that an erasure has rewritten in the list of its archive."""
    folder = file.parent.parent
    manifest = read_manifest(folder)
    path = str(file.relative_to(folder))
    tables = {
        t: tuple(Part.of(file, folder) if p.path == path else p for p in parts)
        for t, parts in manifest.tables.items()
    }
    Manifest(manifest.run_id, manifest.as_of, tables).write(folder)


def checksum(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
