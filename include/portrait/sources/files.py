"""Which files a source has for a business date."""

import glob
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from portrait.config import Settings, SourceSpec
from portrait.errors import PortraitError

_DATE = r"(\d{4}-?\d{2}-?\d{2})"


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Attributes
    ----------
    delivered_for : the business date in its path, None where the path has none.
    fingerprint : size and time of writing at the first look; what is added while it is read counts as new.
    loaded_through : the business date for which the file was read before: only later rows are of interest.
    """

    path: Path
    delivered_for: date | None
    fingerprint: str
    loaded_through: date | None = None

    @property
    def size(self) -> int:
        return int(self.fingerprint.partition("-")[0])


def pending_files(settings: Settings, source: SourceSpec, as_of: date | None = None) -> list[SourceFile]:
    """Files that the source's path names, delivered up to `as_of` (all when None), oldest first.

    `{business_date}` in the path stands for a date (2026-03-01 or 20260301), `*` and `**` for anything.

    Raises
    ------
    PortraitError : when the path names no file at all.
    """
    pattern = settings.source_path(source.path)
    if source.dated:
        first, *rest = pattern.split("{business_date}")
        # Only the first date is captured, further ones must be the same.
        dated = re.compile(_wildcards(first) + _DATE + r"\1".join(map(_wildcards, rest)))
    found = []
    # A bracket in a folder's name is no wildcard. Path.glob takes no absolute pattern.
    everything = pattern.replace("[", "[[]").replace("{business_date}", "*")
    for name in sorted(glob.glob(everything, recursive=True)):  # noqa: PTH207
        path = Path(name)
        if not path.is_file():
            continue
        if not source.dated:
            found.append(SourceFile(path, None, _fingerprint(path)))
        elif match := dated.fullmatch(name):
            day = _date(match.group(1))
            if day is not None:
                found.append(SourceFile(path, day, _fingerprint(path)))
    if not found:
        raise PortraitError(
            f"sources[{source.name}].path: no file matches {pattern}; "
            f"correct the path in {settings.sources_path} or deliver the file"
        )
    found.sort(key=lambda f: (f.delivered_for or date.min, f.path))
    return [f for f in found if as_of is None or f.delivered_for is None or f.delivered_for <= as_of]


def _fingerprint(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def _wildcards(text: str) -> str:
    """The regular expression of a glob pattern's fixed and starred parts."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    return "".join(
        {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(p, re.escape(p)) for p in parts
    )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
