"""The shape of `profiles.yaml`: how long nights can be queried, and how long their archives are kept."""

from pydantic import Field

from portrait.config.origins import Frozen


class ProfilesConfig(Frozen):
    """Which nights are in the database, and which in archives.

    Attributes
    ----------
    kept_nights : the last published nights, which `portrait rollback` can show again.
    kept_month_ends : of the months that are over, the last published night each, so many months back.
    restored_days : how long a night stays that was restored from its archive.
    archive_days : archives of nights dated earlier than so many days before the newest are deleted.
    """

    kept_nights: int = Field(7, ge=1)
    kept_month_ends: int = Field(3, ge=0)
    restored_days: int = Field(7, ge=1)
    archive_days: int = Field(730, ge=1)
