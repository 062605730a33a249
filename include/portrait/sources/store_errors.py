"""What an error of a store means to the person who can mend it."""

import errno
import re
from urllib.parse import urlsplit

from portrait.errors import PortraitError, SourceUnavailable

FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, TypeError)
"""What no store says, but a mistake in a program."""

_NETWORK = {"ConnectionError", "HTTPClientError", "IncompleteReadError"}
_SETTINGS = {errno.EINVAL, errno.EPERM, errno.ENOSYS, getattr(errno, "EREMCHG", errno.EINVAL)}


def explain(error: Exception, where: str, protocol: str) -> PortraitError:
    """The same as a sentence that begins with `where`. A store's own message may hold secrets and stays out.

    Returns `SourceUnavailable` where trying again may help.
    """
    code = code_of(error)
    if code == "NoSuchBucket":
        return PortraitError(f"{where}: the bucket does not exist; correct the path, or the store's endpoint")
    if isinstance(error, FileNotFoundError):
        return PortraitError(f"{where}: the file is gone; deliver it again")
    refused = isinstance(error, PermissionError) or code in ("401", "403")
    if refused or re.search("Auth|Credential|Token|Profile", type(error).__name__):
        known = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        which = f" ({known})" if protocol in ("s3", "s3a") else ""
        return PortraitError(
            f"{where}: access is refused ({code}); check the store's credentials{which} and that they may list and "
            "read this path"
        )
    if _stays(error):
        return PortraitError(
            f"{where}: the store cannot be used like this ({code}); correct the path, or the store's endpoint and "
            "region"
        )
    host = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", ""))).hostname
    return SourceUnavailable(
        f"{where}: the store does not answer{f' at {host}' if host else ''} ({code}); try again later"
    )


def code_of(error: BaseException) -> str:
    """The store's own word for an error, else its kind."""
    for known in (error, error.__cause__):
        response = getattr(known, "response", None)
        if isinstance(response, dict) and response.get("Error", {}).get("Code"):
            return str(response["Error"]["Code"])
        if isinstance(getattr(known, "status", None), int):
            return str(known.status)  # type: ignore[union-attr]
    return type(error).__name__


def _stays(error: Exception) -> bool:
    """Whether trying again would not help: botocore's errors but those of the network, and requests refused."""
    kinds = {c.__name__ for c in type(error).__mro__}
    if "BotoCoreError" in kinds:
        return not kinds & _NETWORK
    if isinstance(error, OSError):
        return error.errno in _SETTINGS
    return isinstance(error, ValueError)
