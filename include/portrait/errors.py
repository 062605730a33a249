"""The errors a user is meant to read."""


class PortraitError(Exception):
    """A mistake in configuration or data that its owner can fix.

    The message is one line: it names the file, key or row, and says what to do. The command line prints
    it and exits with code 2; an Airflow task fails with it and does not retry.
    """


class SourceUnavailable(PortraitError):
    """A source did not answer, or has not delivered yet: trying again later may help.

    An Airflow task that fails with it is retried.
    """
