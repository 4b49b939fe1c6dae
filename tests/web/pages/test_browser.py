"""The pages in a real browser, Chromium without a screen: how they look is for people, all else is here.

axe-core, which looks for what keeps people with disabilities out, has to find nothing on any page, in light and in
dark, on a desk and on a phone.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.access.helpers import HASH, PASSWORD
from tests.clients.programs import require_program, thorough, unavailable
from tests.daemon_process import DaemonProcess

from .content import STEPS, Pusher, fill

DESK, PHONE = (1280, 800), (360, 740)
LOOKS = [
    ("light", DESK),
    ("dark", PHONE),
    pytest.param("dark", DESK, marks=thorough),
    pytest.param("light", PHONE, marks=thorough),
]
STOREFRONT = "/repositories/shop/storefront"
PAGES = {
    "repositories": "/",
    "a search": "/?q=shop",
    "a search for nothing": "/?q=zebra",
    "tags": STOREFRONT,
    "tags filtered": f"{STOREFRONT}?q=2.3&order=a",
    "no tags": f"{STOREFRONT}?q=zebra",
    "an index": f"{STOREFRONT}:2.4.0",
    "an image": f"{STOREFRONT}:2.3.1",
    "a hostile image": "/repositories/shop/hostile:evil",
    "deleting": f"{STOREFRONT}:2.3.1/delete",
    "deleted": f"{STOREFRONT}?deleted=2.2.9",
    "status": "/status",
    "not found": "/repositories/none",
}
RULES = "\n  allow owner *,catalog,admin\n  allow anyone pull public/*"
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(2)>" + "w" * 300


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """One with everything in it, where ``owner`` may do all."""
    directory = tmp_path_factory.mktemp("pages")
    (directory / "htpasswd").write_text(f"owner:{HASH}\n")
    options = {"auth": {"htpasswd": str(directory / "htpasswd"), "challenge": "basic"}, "access": {"rules": RULES}}
    with DaemonProcess(directory, options) as process:
        push = Pusher(process, {"Authorization": basic()})
        fill(push)
        labels = {"config": {"Labels": {EVIL: EVIL}, "Env": [EVIL]}, "os": EVIL, "history": [{"created_by": EVIL}]}
        push.image("shop/hostile", "evil", STEPS[-3:], config=labels, annotations={EVIL: EVIL})
        push.close()
        yield process


def basic() -> str:
    import base64

    return "Basic " + base64.b64encode(f"owner:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser."""
    path = require_program("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("the Python package playwright is not installed")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


class Tab:
    """A window of the browser, with what went wrong in it."""

    def __init__(
        self,
        browser: Any,
        daemon: DaemonProcess,
        scheme: str = "light",
        size: tuple[int, int] = DESK,
        *,
        scripts: bool = True,
    ) -> None:
        self.url = daemon.url
        self.context = browser.new_context(
            base_url=daemon.url,
            color_scheme=scheme,
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        self.page = self.context.new_page()
        self.problems: list[str] = []
        self.page.on("console", lambda message: self._said(message))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: self.problems.append(f"a dialog: {dialog.message}"))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: Any) -> None:
        # That a page is 403, 404 or 503 is what some are about.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(message.text)

    def _asked(self, url: str) -> None:
        if not url.startswith(f"{self.url}/"):
            self.problems.append(f"asked for {url}")

    def sign_in(self) -> None:
        """Sign in as the one who may do everything."""
        self.page.goto("/sign-in")
        self.page.get_by_label("Name").fill("owner")
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_text("owner").wait_for()

    def close(self) -> None:
        """Nothing may have gone wrong."""
        self.context.close()
        assert not self.problems


def check_accessible(page: Any, what: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page)
    assert results.violations_count == 0, f"{what}: {results.generate_report()}"


def check_fits(page: Any, what: str) -> None:
    width = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert width <= 0, f"{what} is {width} px wider than its window"


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_axe_finds_nothing(daemon: DaemonProcess, chromium: Any, scheme: str, size: tuple[int, int]) -> None:
    tab = Tab(chromium, daemon, scheme, size)
    for what, target in {
        "cannot list": "/",
        "sign-in": "/sign-in",
        "no such public one": "/repositories/public/x",
    }.items():
        tab.page.goto(target)
        check_accessible(tab.page, what)
        check_fits(tab.page, what)
    tab.page.get_by_role("link", name="Sign in").first.click()
    tab.page.get_by_label("Name").fill("owner")
    tab.page.get_by_label("Password").fill("wrong")
    tab.page.get_by_role("button", name="Sign in").click()
    tab.page.get_by_text("Name or password is wrong").wait_for()
    check_accessible(tab.page, "a wrong password")
    tab.sign_in()
    for what, target in PAGES.items():
        tab.page.goto(target)
        for summary in tab.page.locator("summary").all():
            summary.click()
        check_accessible(tab.page, what)
        check_fits(tab.page, what)
    tab.close()


def test_an_empty_registry(tmp_path: Path, chromium: Any) -> None:
    with DaemonProcess(tmp_path) as process:
        tab = Tab(chromium, process)
        tab.page.goto("/")
        assert f"docker push {process.host}/busybox" in tab.page.inner_text("main")
        check_accessible(tab.page, "an empty registry")
        tab.close()


def test_from_the_first_page_to_a_deleted_tag_without_scripts(daemon: DaemonProcess, chromium: Any) -> None:
    tab = Tab(chromium, daemon, scripts=False)
    page = tab.page
    page.goto(f"{STOREFRONT}:2.2.0")
    page.get_by_label("Name").fill("owner")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{daemon.url}{STOREFRONT}:2.2.0")
    page.get_by_role("link", name="ipfsreg").click()
    page.get_by_label("Search repositories").fill("store")
    page.keyboard.press("Enter")
    page.wait_for_url("**/?q=store")
    assert page.locator("main .row").count() == 1
    page.get_by_role("link", name="shop/storefront").click()
    page.get_by_label("Filter tags").fill("2.2")
    page.get_by_role("button", name="Filter").click()
    page.wait_for_url("**?q=2.2")
    page.get_by_role("link", name="2.2.0", exact=True).click()
    page.get_by_role("heading", name="2.2.0").wait_for()
    assert page.locator("button.copy:visible").count() == 0
    page.locator("summary").first.click()
    assert '"schemaVersion": 2' in page.inner_text("details")
    page.get_by_role("link", name="Delete tag").click()
    page.get_by_role("link", name="Keep it").click()
    page.get_by_role("link", name="Delete tag").click()
    page.get_by_role("button", name="Delete the tag").click()
    page.wait_for_url("**?deleted=2.2.0")
    assert "2.2.0 was deleted" in page.inner_text("main")
    assert page.get_by_role("link", name="2.2.0", exact=True).count() == 0
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{daemon.url}/")
    assert "You cannot list the repositories" in page.inner_text("main")
    tab.close()


def test_copying_a_line(daemon: DaemonProcess, chromium: Any) -> None:
    tab = Tab(chromium, daemon)
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab.sign_in()
    tab.page.goto(f"{STOREFRONT}:2.4.0")
    tab.page.get_by_role("button", name="Copy the line for Docker", exact=True).click()
    tab.page.get_by_role("status").get_by_text("Copied").wait_for(state="attached")
    copied = tab.page.evaluate("navigator.clipboard.readText()")
    assert copied == f"docker pull {daemon.host}/shop/storefront:2.4.0"
    tab.close()


def test_the_keyboard_alone(daemon: DaemonProcess, chromium: Any) -> None:
    tab = Tab(chromium, daemon)
    tab.sign_in()
    tab.page.goto(STOREFRONT)
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.page.keyboard.press("Enter")
    assert tab.page.evaluate("document.activeElement.id") == "content"
    found = set()
    for _ in range(40):
        tab.page.keyboard.press("Tab")
        found.add(tab.page.evaluate("document.activeElement.textContent.trim()"))
    assert {"Filter", "latest", "Delete latest", "2.4.0"} <= found
    tab.close()


def test_a_form_of_another_site_does_nothing(daemon: DaemonProcess, chromium: Any) -> None:
    tab = Tab(chromium, daemon)
    tab.sign_in()
    target = f"{daemon.url}{STOREFRONT}:2.3.0/delete"
    form = f'<form method="post" action="{target}"><input name="token" value="x"><button>Win</button></form>'
    tab.page.goto("about:blank")
    tab.page.set_content(form)
    with tab.page.expect_navigation() as navigation:
        tab.page.get_by_role("button").click()
    assert navigation.value.status == 403
    tab.page.goto(f"{STOREFRONT}:2.3.0")
    assert "2.3.0" in tab.page.inner_text("h1")
    tab.close()
