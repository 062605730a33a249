"""What people see of the audiences: the list, and a preview of one that need not be in the file yet."""

from typing import TYPE_CHECKING, Any

from portrait.audiences.query import find_members
from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.errors import PortraitError
from portrait.warehouse import open_warehouse

if TYPE_CHECKING:
    from rich.table import Table

SAMPLE = 5


def audience_table(settings: Settings) -> "Table":
    """Every audience of the file with its size on the last night it was refreshed."""
    from rich.table import Table

    sizes = open_warehouse(settings).rows(
        "select distinct on (audience) * from audience.size_daily order by audience, as_of desc"
    )
    known = {s["audience"]: s for s in sizes}
    table = Table(title="Audiences", title_justify="left")
    for column in ("code", "name", "purpose", "channel", "to"):
        table.add_column(column)
    for column in ("as of", "members", "control", "no consent", "entered", "left"):
        table.add_column(column, justify="right")
    for audience in settings.audiences.audiences:
        size = known.get(audience.code)
        columns = ("as_of", "members", "control", "without_consent", "entered", "left_it")
        counts = [str(size[c]) for c in columns] if size else ["-"] * len(columns)
        names = (audience.code, f"{audience.name.en} {audience.name.zh}", audience.purpose, audience.channel)
        table.add_row(*names, audience.destination.format, *counts)
    return table


def preview(settings: Settings, audience: Audience) -> dict[str, Any]:
    """Who would be in an audience; nothing is recorded.

    Returns
    -------
    run_id, as_of : the night that was asked.
    members, without_consent : int
    customers : the first few ids.

    Raises
    ------
    PortraitError : when the condition cannot be asked.
    """
    found = find_members(settings, open_warehouse(settings), audience)
    return {
        "run_id": found.run_id,
        "as_of": found.as_of,
        "members": len(found.members),
        "without_consent": found.without_consent,
        "customers": found.members[:SAMPLE],
    }


def sketch(where: str, purpose: str) -> Audience:
    """An audience that is in no file, for a preview. Raises PortraitError when the condition is not allowed."""
    from pydantic import ValidationError

    try:
        return Audience.model_validate(
            {
                "code": "preview",
                "name": {"en": "Preview", "zh": "预览"},
                "where": where,
                "purpose": purpose,
                "channel": "none",
                "owner": "preview",
            }
        )
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        message = problem["msg"].removeprefix("Value error, ")
        raise PortraitError(f"--{problem['loc'][0]}: {message}") from None
