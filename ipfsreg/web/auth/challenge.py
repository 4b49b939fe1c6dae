"""401: how to say who one is."""

from typing import Literal

from ipfsreg.web.errors import HttpError
from ipfsreg.web.gate import TOKEN_PATH
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request

ChallengeKind = Literal["token", "basic"]


class Challenge:
    """Says it as Docker's registry does (distribution, "Token Authentication Specification"), or by RFC 7617.

    ``kind`` is what clients are told to use; the daemon understands both. ``url`` is the registry's own where a proxy
    hides it; without it, it is the one that the client asked. ``service`` is the registry's name.
    """

    def __init__(self, kind: ChallengeKind, service: str, url: str | None, clients: TrustedProxies) -> None:
        self._kind = kind
        self._service = service
        self._url = url
        self._clients = clients

    def error(self, request: Request, scope: str | None, *, problem: str | None = None) -> HttpError:
        """The answer to a request without credentials, or with some that are not good for ``scope``.

        ``problem`` is the error code of RFC 6750, 3.1.
        """
        if self._kind == "basic":
            value = f'Basic realm="{self._service}", charset="UTF-8"'
        else:
            value = f'Bearer realm="{self._own_url(request)}{TOKEN_PATH}",service="{self._service}"'
            if scope is not None:
                value += f',scope="{scope}"'
            if problem is not None:
                value += f',error="{problem}"'
        return HttpError(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": value})

    def _own_url(self, request: Request) -> str:
        if self._url is not None:
            return self._url.rstrip("/")
        return f"{'https' if self._clients.is_secure(request) else 'http'}://{request.asked_host}"
