"""Posting an audience in batches to somebody else's system."""

import logging
from typing import TYPE_CHECKING

from portrait.config.audiences import Webhook
from portrait.errors import PortraitError, SourceUnavailable

if TYPE_CHECKING:
    import httpx

    from portrait.audiences.destinations import Batch, Note

log = logging.getLogger(__name__)

_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0


class _TryAgain(Exception):
    """The receiver is busy or away."""


def post_batches(webhook: Webhook, batch: "Batch", note: "Note") -> None:
    """Post the customers `batch_rows` at a time; those that were taken before are not posted again.

    Each request carries ``Idempotency-Key: <export>-<number>``, the same on every try, so that a receiver that took a
    batch whose answer was lost can tell. No answer, 429 and 5xx are tried `attempts` times, waiting longer each time.

    Raises
    ------
    PortraitError : when the receiver refuses (any other 4xx): its owner must mend something.
    SourceUnavailable : when all attempts failed; the next export goes on with this batch.
    """
    import httpx

    rows = webhook.batch_rows
    parts = [batch.customers[i : i + rows] for i in range(0, len(batch.customers), rows)]
    headers = {"Authorization": f"Bearer {webhook.token}"} if webhook.token else {}
    with httpx.Client(timeout=webhook.timeout_seconds, headers=headers) as client:
        for number, customers in enumerate(parts, start=1):
            if number <= batch.sent:
                continue
            body = {
                "audience": batch.audience,
                "as_of": str(batch.as_of),
                "purpose": batch.purpose,
                "channel": batch.channel,
                "batch": number,
                "batches": len(parts),
                "customers": customers,
            }
            _post(client, webhook, body, f"{batch.idempotency_key}-{number}")
            note(len(parts), number)


def _post(client: "httpx.Client", webhook: Webhook, body: dict[str, object], key: str) -> None:
    import httpx
    from tenacity import RetryError, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

    tries = Retrying(
        stop=stop_after_attempt(webhook.attempts),
        wait=wait_exponential(multiplier=_WAIT_S, max=_LONGEST_WAIT_S),
        retry=retry_if_exception_type((_TryAgain, httpx.TransportError)),
    )
    try:
        for attempt in tries:
            with attempt:
                answer = client.post(webhook.url, json=body, headers={"Idempotency-Key": key})
                if answer.status_code == 429 or answer.status_code >= 500:
                    raise _TryAgain(f"answered {answer.status_code}")
    except RetryError as error:
        cause = error.last_attempt.exception()
        raise SourceUnavailable(
            f"the webhook of audience {body['audience']} took batch {body['batch']} of {body['batches']} not in"
            f" {webhook.attempts} attempts ({cause or 'no answer'}); export again when it is back"
        ) from None
    if answer.status_code >= 300:
        raise PortraitError(
            f"the webhook of audience {body['audience']} refused batch {body['batch']} with status"
            f" {answer.status_code}; check url and token in audiences.yaml"
        )
    log.debug("batch %s of %s taken", body["batch"], body["batches"])
