"""The paths of `sources.yaml`: what `{business_date}`, `*`, `?` and `**` stand for."""

import re
from datetime import date
from functools import cached_property

BUSINESS_DATE = "{business_date}"
_DATE = r"\d{4}-?\d{2}-?\d{2}"
_UNFINISHED = r"\.(?:tmp|temp|part|partial|filepart|crdownload)"


class PathPattern:
    """An absolute path or URL with wildcards.

    `{business_date}` stands for a date (2026-03-01 or 20260301; everywhere the same one), `*` and `?` for what is no
    slash, `**` for folders of any depth; everything else, also a bracket, for itself. A wildcard takes nothing
    hidden (``.x``, folders and marker files as ``_temporary/``, ``_SUCCESS``) and nothing unfinished (``*.tmp``,
    ``*.part``): a pattern that means them spells that part out.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = text.split("/")
        if self.parts[-1] == "**":
            self.parts.append("*")
        self.fixed = next((n for n, part in enumerate(self.parts) if is_wild(part)), len(self.parts))
        """How many leading parts have no wildcard."""

    @property
    def glob(self) -> str:
        """For `glob.glob`, which takes more than is meant."""
        return self.text.replace("[", "[[]").replace(BUSINESS_DATE, "*")

    def match(self, name: str) -> re.Match[str] | None:
        """Whether a file's name is meant; `day_of` says for which date."""
        return self._file.fullmatch(name)

    @cached_property
    def _file(self) -> re.Pattern[str]:
        return self.upto(len(self.parts))

    def upto(self, depth: int) -> re.Pattern[str]:
        """The first `depth` parts as a regular expression: folders that may hold what is meant."""
        text, dated = "", False
        for place, part in enumerate(self.parts[:depth]):
            last = place == len(self.parts) - 1
            if part == "**":
                text += r"(?:(?![._])[^/]+/)*"
                continue
            first, *rest = part.split(BUSINESS_DATE)
            pieces = _wildcards(first)
            for piece in rest:
                pieces += ("(?P=day)" if dated else f"(?P<day>{_DATE})") + _wildcards(piece)
                dated = True
            text += _hidden(part, last) + pieces + ("" if place == depth - 1 else "/")
        return re.compile(text)


def is_wild(part: str) -> bool:
    return bool(re.search(r"[*?]", part)) or BUSINESS_DATE in part


def day_of(match: re.Match[str]) -> date | None:
    """The date in a name that matched, None where the digits are none or the pattern has no date."""
    day = match.groupdict().get("day")
    try:
        return date.fromisoformat(day) if day else None
    except ValueError:
        return None


def _wildcards(text: str) -> str:
    """The regular expression of a part between dates."""
    pieces = re.split(r"(\*+|\?)", text)
    return "".join("[^/]" if p == "?" else "[^/]*" if p.startswith("*") else re.escape(p) for p in pieces)


def _hidden(part: str, last: bool) -> str:
    """What the wildcards of a part may not take."""
    if not is_wild(part):
        return ""
    refused = ""
    if part[0] in "*?":
        refused += r"(?!\.|_[^./]*$)" if last else "(?![._])"
    if last and not re.search(_UNFINISHED + "$", part):
        refused += f"(?!(?i:[^/]*{_UNFINISHED}$))"
    return refused
