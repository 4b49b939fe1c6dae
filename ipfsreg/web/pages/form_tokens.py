"""Whether a form that was sent is one of our own: protection against forgery across sites (CSRF).

A form has a token that is made of a cookie that only this browser has, and of the secret of its session, or of this
process where it has none. A page of another site can send neither the cookie (``SameSite=Strict``) nor such a token.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence

from ipfsreg.web.cookies import cookie_name, read_cookie, set_cookie
from ipfsreg.web.errors import HttpError
from ipfsreg.web.http.forwarded import TrustedProxies
from ipfsreg.web.http.request import Request
from ipfsreg.web.visitors import Visitors

FIELD = "token"
"""The name of the field that has it."""

_COOKIE = "ipfsreg-form"
_LONGEST = 100


class FormTokens:
    """Makes the tokens of forms, and looks at them."""

    def __init__(self, visitors: Visitors, clients: TrustedProxies) -> None:
        self._visitors = visitors
        self._clients = clients
        self._key = secrets.token_bytes(32)

    def token(self, request: Request) -> str:
        """The token for the forms of the answer, which gives the browser its cookie where it has none."""
        secure = self._clients.is_secure(request)
        name = cookie_name(_COOKIE, secure=secure)
        own = read_cookie(request, name)
        if not own or len(own) > _LONGEST:
            own = secrets.token_urlsafe(24)
            set_cookie(request, name, own, secure=secure, same_site="Strict")
        return self._made(own, request)

    def check(self, request: Request, form: Mapping[str, Sequence[str]]) -> None:
        """See that a form is one of ours.

        :raises HttpError: 403 where it is not.
        """
        if not self.is_ours(request, form):
            message = "this form is not from this registry, or too old: go back, load the page anew, and send it again"
            raise HttpError(403, "DENIED", message)

    def is_ours(self, request: Request, form: Mapping[str, Sequence[str]]) -> bool:
        """Whether a form is one of ours."""
        given = form.get(FIELD, [""])[0]
        own = read_cookie(request, cookie_name(_COOKIE, secure=self._clients.is_secure(request)))
        return bool(own and hmac.compare_digest(given.encode(), self._made(own, request).encode()))

    def _made(self, own: str, request: Request) -> str:
        # A session outlives the process, and so do the forms that were shown in it.
        key = self._visitors.session(request).encode() or self._key
        return hmac.new(key, own.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
