"""What can be wrong with a login, or with a file that access control is made of."""


class BadCredentials(Exception):
    """Nobody is known by these credentials. The text is for the log and never for the client, which learns no more."""


class TooManyAttempts(Exception):
    """The credentials were not looked at: too many attempts failed or wait. In ``retry_after`` seconds they are."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"too many attempts; again in {retry_after:.0f} s")
        self.retry_after = retry_after


class Unavailable(Exception):
    """Whether the credentials are good cannot be said now, since an issuer's keys cannot be had. Answer 503."""


class BadScope(ValueError):
    """A scope does not follow the grammar, or there are too many. The text is for the client."""


class AccessFileError(Exception):
    """A file cannot be used. The text is one line for the operator, and names the file; no secret is in it."""
