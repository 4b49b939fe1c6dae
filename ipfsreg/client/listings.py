"""Lists that come in pages, from a server that may have no end of them."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from ipfsreg.registry.documents import read_json
from ipfsreg.registry.errors import RegistryError

from .address import join_url
from .authorization import Scope
from .errors import Untrustworthy, printable
from .session import Session
from .transport import Answer

PAGE_MAX = 8 * 1024**2
"""Bytes of one page."""

ENTRIES_MAX = 10_000_000
"""Names in one list."""

EMPTY_PAGES_MAX = 16
"""Pages that may follow each other without a new name."""

T = TypeVar("T")


async def read_list(
    session: Session, path: str, field: str, scope: Scope, parse: Callable[[str], T]
) -> AsyncGenerator[T, None]:
    """The names in a list, each once where it is sorted, as pages come.

    :raises RemoteError: where it cannot be read, or has no end.
    """
    url, count, empty, last = session.address.url(path), 0, 0, ""
    seen: set[str] = set()
    while url:
        answer = await session.request("GET", url, scope)
        content = await answer.content(PAGE_MAX)
        try:
            found = read_json(content).get(field)
            names = [] if found is None else found
            if type(names) is not list or not all(type(each) is str for each in names):
                raise Untrustworthy(f"{session.address.name}: its list of {field} is none")
            new = [each for each in dict.fromkeys(names) if each not in seen]
            for name in new:
                yield parse(name)
        except RegistryError as error:
            raise Untrustworthy(f"{session.address.name}: its list of {field}: {printable(error.message)}") from None
        seen = set(names)  # a page may begin with the end of the one before
        count += len(new)
        empty = 0 if new and names[-1] != last else empty + 1
        last = names[-1] if names else last
        following = next_page(session, answer)
        if count > ENTRIES_MAX or empty > EMPTY_PAGES_MAX or following == url:
            raise Untrustworthy(f"{session.address.name}: its list of {field} does not end")
        url = following


def next_page(session: Session, answer: Answer) -> str:
    """The URL of the next page, by the ``Link`` header (RFC 8288); empty where there is none.

    :raises Untrustworthy: where that is of another server, or none.
    """
    for link in answer.headers("Link"):
        target, _, parameters = link.partition(">")
        if not target.lstrip().startswith("<") or "next" not in parameters.replace('"', "").lower():
            continue
        url = join_url(answer.url, target.lstrip()[1:])
        if url is None or not session.address.has(url):
            raise Untrustworthy(f"{session.address.name} leads to another server for the next page of a list")
        return url
    return ""
