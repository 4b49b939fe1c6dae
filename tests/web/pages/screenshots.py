"""Makes the README's pictures of the pages anew: ``python -m tests.web.pages.screenshots docs/images``."""

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.clients.programs import require_program
from tests.daemon_process import DaemonProcess

from .content import Pusher, fill

PICTURES = (
    # file, page, look, height
    ("pages-tags.png", "/repositories/shop/storefront", "light", 720),
    ("pages-image.png", "/repositories/shop/storefront:2.3.1", "dark", 1330),
)
WIDTH = 1180


def make(directory: Path) -> None:
    """Make them from a daemon of their own."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as store, sync_playwright() as playwright:
        options = {"auth": {"url": "https://registry.example.org"}, "access": {"rules": "allow anyone *,catalog,admin"}}
        with DaemonProcess(Path(store), options) as daemon:
            push = Pusher(daemon)
            fill(push)
            push.close()
            arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
            browser: Any = playwright.chromium.launch(executable_path=require_program("chromium"), args=arguments)
            for name, target, look, height in PICTURES:
                viewport = {"width": WIDTH, "height": height}
                page = browser.new_page(base_url=daemon.url, color_scheme=look, viewport=viewport)
                page.goto(target)
                page.screenshot(path=directory / name)
            browser.close()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
