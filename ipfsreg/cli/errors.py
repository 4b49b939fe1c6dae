"""How what a command asked for fails, and the exit status that says so."""

from enum import IntEnum

from ipfsreg.client.errors import Refused, RemoteError, Unreachable


class Exit(IntEnum):
    """With what a command ends. docs/commands.md promises these."""

    DONE = 0
    PROBLEM = 1
    """It failed, or it found something wrong, as `verify` does; or the answer is no, as of `access check`."""
    USAGE = 2
    """The command line or the configuration is wrong."""
    UNKNOWN = 3
    """There is no image, tag or repository of that name."""
    REFUSED = 4
    """It is not allowed: a login is missing or is not enough, or what is named can only be read."""
    UNAVAILABLE = 5
    """The storage, the daemon or the registry does not answer. It may later."""

    @classmethod
    def of(cls, http_status: int) -> "Exit":
        """What a failure with this HTTP status ends a command with."""
        if http_status == 404:
            return cls.UNKNOWN
        if http_status in (401, 403, 405):
            return cls.REFUSED
        return cls.UNAVAILABLE if http_status in (429, 502, 503, 504) else cls.PROBLEM


class ControlError(Exception):
    """The registry could not be asked, or could not do it: one line that says why."""

    def __init__(self, message: str, status: Exit = Exit.PROBLEM) -> None:
        super().__init__(message)
        self.status = status


def control_error(error: RemoteError) -> ControlError:
    """What a failure of a registry elsewhere is to a command."""
    if isinstance(error, Unreachable):
        return ControlError(str(error), Exit.UNAVAILABLE)
    return ControlError(str(error), Exit.of(error.status) if isinstance(error, Refused) else Exit.PROBLEM)
