"""Where the pages are."""

from urllib.parse import quote, urlencode

from ipfsreg.registry.digest import Digest

HOME = "/"
STATUS = "/status"
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"
REPOSITORIES = "/repositories"
ASSETS = "/assets"

_OF_PROGRAMS = (b"/v2", b"/auth/", b"/ipfs/", b"/routing/", b"/events", b"/metrics", b"/livez", b"/readyz")
_NEXT_MAX = 2048


def is_page(path: bytes) -> bool:
    """Whether a path is one of a page, or of nothing at all: what is for programs is not."""
    return not path.startswith(_OF_PROGRAMS)


def repository_path(repository: str, **query: str | None) -> str:
    """That of a repository's tags."""
    return with_query(f"{REPOSITORIES}/{quote(repository, safe='/')}", **query)


def image_path(repository: str, reference: Digest | str) -> str:
    """That of an image by its tag or digest."""
    text = str(reference)
    return f"{REPOSITORIES}/{quote(repository, safe='/')}{'@' if ':' in text else ':'}{quote(text, safe=':')}"


def delete_path(repository: str, tag: str) -> str:
    """That where a tag is deleted."""
    return f"{image_path(repository, tag)}/delete"


def sign_in_path(then: str) -> str:
    """That of signing in, which leads to ``then`` afterwards."""
    return with_query(SIGN_IN, then=None if then in {HOME, SIGN_IN} else then[:_NEXT_MAX])


def local_path(text: str | None) -> str:
    """A path here to go to, out of what somebody may have made up; `HOME` for anything else."""
    if text is None or len(text) > _NEXT_MAX or not text.startswith("/") or text.startswith(("//", "/\\")):
        return HOME
    return quote(text, safe="/:@?=&%+~,;!*'()-._$")


def with_query(path: str, **query: str | None) -> str:
    """A path with the parameters that are there."""
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path
