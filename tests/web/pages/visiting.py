"""A browser without a screen: cookies, redirects and forms, over the test's own HTTP client."""

import re
from collections.abc import Mapping
from html import unescape
from urllib.parse import urlencode

from tests.web.client import Answer
from tests.web.served import Served

HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Visitor:
    """One browser: it keeps cookies, and sends them with each request."""

    def __init__(self, served: Served, address: str = "10.1.2.3", host: str = "127.0.0.1:5000") -> None:
        self.served = served
        self._address = address
        self._host = host
        self.cookies: dict[str, str] = {}

    async def get(self, target: str, method: str = "GET", **headers: object) -> Answer:
        """Ask for a page."""
        return await self._ask(method, target, headers, None)

    async def post(self, target: str, fields: Mapping[str, str], **headers: object) -> Answer:
        """Send a form."""
        more = {"Content_Type": "application/x-www-form-urlencoded", **headers}
        return await self._ask("POST", target, more, urlencode(fields).encode())

    async def form(self, target: str, post_to: str | None = None, **fields: str) -> Answer:
        """Load a page, and send its form with some fields filled in."""
        page = await self.get(target)
        assert page.status == 200, page.content
        return await self.post(post_to or target.partition("?")[0], hidden_fields(page) | fields)

    async def sign_in(self, name: str, password: str, then: str = "/") -> Answer:
        """Sign in."""
        return await self.form(f"/sign-in?{urlencode({'then': then})}", name=name, password=password)

    async def _ask(self, method: str, target: str, more: Mapping[str, object], content: bytes | None) -> Answer:
        headers: dict[str, object] = {
            "Host": self._host,
            "Accept": HTML,
            "User-Agent": "Mozilla/5.0",
            "X-Forwarded-For": self._address,
        }
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers |= {name.replace("_", "-"): value for name, value in more.items()}
        answer = await self.served.ask(method, target, headers, content)
        for cookie in answer.headers.get("set-cookie", []):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer


def hidden_fields(page: Answer) -> dict[str, str]:
    """The hidden fields of the page's own form, which is the last one."""
    forms = page.content.decode().split("<form")
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', forms[-1])
    return {name: unescape(value) for name, value in found}


def text_of(page: Answer) -> str:
    """What a page says, without its markup."""
    return unescape(re.sub(r"<[^>]*>", " ", page.content.decode()))
