"""What servers behind gRPC mean by their refusals, as the bucket's own errors.

Their codes mislead: nearly every refusal is UNKNOWN (2), a missing file like a broken server; only the texts tell. So a
backend has a table of the texts that are known. What no row knows is an outage, never an absence.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ipfsreg.grpcweb.errors import CallError, GrpcError, one_line
from ipfsreg.grpcweb.status import GrpcStatus

from .errors import BucketError, Unavailable

TEXT_MAX = 300
"""Characters of a server's text that go into a message of ours."""

MATCHED_MAX = 4096
"""Characters of a server's text that are looked at: what patterns may cost grows faster than the text."""


@dataclass(frozen=True, slots=True)
class Row:
    """One refusal that is known: a status, a pattern that its text has somewhere, and what that means.

    ``explanation`` is what the user should know; the server's own text follows it in brackets. Without one, the
    server's text stands alone. A row with ``methods`` is for refusals of these only.
    """

    code: GrpcStatus
    pattern: str
    meaning: type[BucketError]
    explanation: str = ""
    methods: Collection[str] = ()

    def matches(self, code: GrpcStatus, text: str, method: str) -> bool:
        """Whether the row is for this refusal."""
        if code is not self.code or (self.methods and method not in self.methods):
            return False
        return re.search(self.pattern, text[:MATCHED_MAX]) is not None


@dataclass(frozen=True, slots=True)
class Refusals:
    """The table of one kind of server, which ``server`` names. The first row that matches counts."""

    server: str
    rows: Sequence[Row]

    def find(self, code: GrpcStatus, text: str, method: str) -> Row | None:
        """The row for a refusal."""
        return next((row for row in self.rows if row.matches(code, text, method)), None)

    def meaning(self, code: GrpcStatus, text: str, method: str) -> BucketError:
        """The bucket's error for a refusal. ``method`` is what was tried, by its short name."""
        row = self.find(code, text, method)
        if row is None:
            return Unavailable(f"{method}: {self.server} answers {shown(code, text)}")
        told = f"{row.explanation} ({shown(code, text)})" if row.explanation else shown(code, text)
        return row.meaning(f"{method}: {told}")

    def translate(self, error: CallError, method: str) -> BucketError:
        """The bucket's error for one of a call's: `meaning`, or an outage where the server did not answer."""
        if isinstance(error, GrpcError):
            return self.meaning(error.code, error.message, method)
        return Unavailable(f"{method}: {error}")


def whole(text: str) -> str:
    """A pattern for a text that is nothing but this."""
    return rf"^{re.escape(text)}$"


def shown(code: GrpcStatus, text: str) -> str:
    """A refusal for a log line: its text, shortened, and its status."""
    line = one_line(text[: TEXT_MAX + 1])
    if len(line) > TEXT_MAX:
        line = line[:TEXT_MAX] + "…"
    return f"{line!r}, {code.name}" if line else code.name
