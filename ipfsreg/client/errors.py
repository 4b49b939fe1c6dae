"""How a call to a registry elsewhere fails. The text of each is one line for the user, and names the registry."""


class RemoteError(Exception):
    """The registry could not be asked, or did not do it."""


class Unreachable(RemoteError):
    """It cannot be reached, does not answer in time, or says that it cannot now: later it may."""


class Unintelligible(Unreachable):
    """It answers, and what it says is no HTTP: to ask again is of no use."""


class Refused(RemoteError):
    """It answered with a status that says no. ``code`` is the one of the OCI error document, if there is one."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class AccessDenied(Refused):
    """It wants other credentials, or any (401 and 403)."""


class Unknown(Refused):
    """It does not have what was asked for (404)."""


class Untrustworthy(RemoteError):
    """What it answered cannot be: a wrong digest or length, a document that is none, a list without an end."""


def printable(text: str, longest: int = 200) -> str:
    """A stranger's text for one line of a message: no longer than that, and nothing in it that steers a terminal."""
    cut = text[:longest]
    return "".join(each if each.isprintable() else " " for each in cut) + ("…" if len(text) > longest else "")
