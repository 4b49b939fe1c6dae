"""The lines of `[webhooks] endpoints`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ipfsreg.config.webhook_options import WebhookEndpoint, WebhookOptions

URLS = (
    "http://h/s3cret",
    "https://h:99999/s3cret",
    "https://[s3cret",
    "ftp://s3cret",
    "http://u:s3cret@h/",
    "http://é/",
)
OPTIONS = ("ignore=", "ignore=pull,a/b", "secret=", "secret=~/x", "secret=~nobody-here/x", "=", "ignore", "\x00")
WORDS = st.sampled_from((*URLS, *OPTIONS, "ci"))


def test_what_a_line_says() -> None:
    text = "\n  ci https://h:8443/a?b=c  secret=/etc/s ignore=pull,application/octet-stream\n\n  b.2 http://[::1]:80/\n"
    assert WebhookOptions.model_validate({"endpoints": text}).endpoints == (
        WebhookEndpoint("ci", "https://h:8443/a?b=c", Path("/etc/s"), frozenset({"pull", "application/octet-stream"})),
        WebhookEndpoint("b.2", "http://[::1]:80/"),
    )


@given(st.lists(st.lists(WORDS | st.text(max_size=8), max_size=5), max_size=3))
def test_whatever_it_says_is_read_or_refused_without_a_secret(lines: list[list[str]]) -> None:
    text = "\n".join(" ".join(words) for words in lines)
    try:
        options = WebhookOptions.model_validate({"endpoints": text})
    except ValidationError as error:
        (problem,) = error.errors()
        assert "http" not in problem["msg"].replace("http:// or https://", "")
    else:
        assert "s3cret" not in repr(options.endpoints)
        assert all(each.url.startswith("http") for each in options.endpoints)


@pytest.mark.parametrize("text", ["a http://h/\na http://i/", "\n".join(f"a{each} http://h/" for each in range(33))])
def test_two_of_a_name_and_too_many(text: str) -> None:
    with pytest.raises(ValidationError):
        WebhookOptions.model_validate({"endpoints": text})
