"""The audiences of `audiences.yaml`, by their code and in the database."""

from difflib import get_close_matches

from sqlalchemy import Connection, text

from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.errors import PortraitError


def find_audience(settings: Settings, code: str) -> Audience:
    """The audience of this code. Raises PortraitError when there is none, with the nearest one there is."""
    known = {a.code: a for a in settings.audiences.audiences}
    if code in known:
        return known[code]
    near = get_close_matches(code, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"
    raise PortraitError(f"audiences.yaml has no audience '{code}'; {hint}")


def codes(settings: Settings) -> list[str]:
    """Codes of all audiences, in the order of the file."""
    return [a.code for a in settings.audiences.audiences]


def record_definition(connection: Connection, audience: Audience, as_of: object) -> None:
    """Write in `audience.definition` what is used for this business date."""
    cap = audience.frequency_cap
    connection.execute(
        text(
            "insert into audience.definition values (:audience, :name_en, :name_zh, :condition, :purpose, :channel,"
            " :owner, :control_share, :cap_times, :cap_days, :destination, true, :as_of)"
            " on conflict (audience) do update set name_en = excluded.name_en, name_zh = excluded.name_zh,"
            " condition = excluded.condition, purpose = excluded.purpose, channel = excluded.channel,"
            " owner = excluded.owner, control_share = excluded.control_share, cap_times = excluded.cap_times,"
            " cap_days = excluded.cap_days, destination = excluded.destination, in_use = true,"
            " defined_for = excluded.defined_for"
        ),
        {
            "audience": audience.code,
            "name_en": audience.name.en,
            "name_zh": audience.name.zh,
            "condition": audience.where,
            "purpose": audience.purpose,
            "channel": audience.channel,
            "owner": audience.owner,
            "control_share": audience.control_share,
            "cap_times": cap.times if cap else None,
            "cap_days": cap.days if cap else None,
            "destination": audience.destination.format,
            "as_of": as_of,
        },
    )


def retire_others(connection: Connection, settings: Settings, as_of: object) -> None:
    """Audiences that the file has no more are not in use, and nobody is in them."""
    gone = {"known": codes(settings), "as_of": as_of}
    connection.execute(
        text("update audience.definition set in_use = false where in_use and audience <> all(:known)"), gone
    )
    # A stay that began on this very date never was one.
    connection.execute(
        text(
            "delete from audience.membership"
            " where audience <> all(:known) and left_on is null and entered_on >= :as_of"
        ),
        gone,
    )
    connection.execute(
        text(
            "update audience.membership set left_on = :as_of where audience <> all(:known) and left_on is null"
        ),
        gone,
    )
