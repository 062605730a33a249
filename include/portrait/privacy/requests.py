"""What customers asked for, kept until it is done."""

import logging
from dataclasses import dataclass

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.customer import subject_of
from portrait.privacy.erase import erase
from portrait.privacy.sweep import sweep_ended_nights
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worked:
    """Requests by what became of them."""

    done: int
    refused: int

    def as_dict(self) -> dict[str, int]:
        return self.__dict__.copy()


def request_erasure(settings: Settings, asked: str, by: str, reason: str | None = None) -> int:
    """Note that a customer wants to be forgotten; gives the request's number.

    Contact data is kept as its hash. Raises PortraitError for what is neither a customer id nor ``kind:value``.
    """
    if not by.strip():
        raise PortraitError("say who enters the request")
    kind, value = subject_of(settings, asked)
    return int(
        open_warehouse(settings).scalar(
            "insert into privacy.request (kind, subject, requested_by, reason) values ('erase', :s, :b, :r) "
            "returning request_id",
            s=f"{kind}:{value}",
            b=by.strip(),
            r=reason,
        )
    )


def work_off(settings: Settings) -> Worked:
    """Work off the open requests, oldest first; one that cannot be is refused with the reason and stops no other.

    Then the files of nights that have ended are gone through again when somebody was erased while they were at work.
    """
    warehouse = open_warehouse(settings)
    done = refused = 0
    for row in warehouse.rows("select * from privacy.request where status = 'open' order by request_id"):
        number = row["request_id"]
        try:
            receipt = erase(settings, [row["subject"]], row["requested_by"]).receipt_id
        except PortraitError as error:
            refused += 1
            log.warning("request %d is refused: %s", number, error)
            warehouse.execute(
                "update privacy.request set status = 'refused', finished_at = now(), answer = :a where request_id = :n",
                a=str(error)[:2000],
                n=number,
            )
            continue
        done += 1
        # Whom it was about is forgotten, too, in every request of theirs.
        warehouse.execute(
            "update privacy.request set status = 'done', finished_at = now(), receipt_id = :r, subject = null, "
            "reason = null where request_id = :n",
            r=receipt,
            n=number,
        )
    sweep_ended_nights(settings)
    return Worked(done, refused)
