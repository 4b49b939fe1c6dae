"""Forms as browsers and OAuth clients send them."""

from twisted.web.http import parse_qs

from .errors import HttpError
from .http.budget import Budget
from .http.request import Request

FORM_MAX = 64 * 1024
"""Bytes of a form: it may have a token of another issuer, and many scopes."""


async def read_form(request: Request, memory: Budget) -> dict[str, list[str]]:
    """The fields of a form, each with its values.

    :raises HttpError: 415 for another kind of body, 400 where it is not UTF-8.
    :raises BodyTooLong: where it is longer than `FORM_MAX`.
    """
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise HttpError(415, "UNSUPPORTED", "a form is application/x-www-form-urlencoded")
    with memory.lease(request.give_up_body) as lease:
        content = await request.body.read(FORM_MAX, lease)
    try:
        parsed = parse_qs(content, keep_blank_values=True)
        return {name.decode(): [value.decode() for value in values] for name, values in parsed.items()}
    except UnicodeDecodeError:
        raise HttpError(400, "UNSUPPORTED", "the form is not UTF-8") from None
