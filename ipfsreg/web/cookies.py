"""Cookies (RFC 6265), as far as pages need them."""

from .http.request import Request


def cookie_name(name: str, *, secure: bool) -> str:
    """The name of a cookie: over TLS with the prefix that keeps other hosts and plain HTTP from setting it."""
    return f"__Host-{name}" if secure else name


def read_cookie(request: Request, name: str) -> str | None:
    """The first value of a cookie of that name, or None."""
    for part in (request.header("cookie") or "").split(";"):
        found, separator, value = part.strip().partition("=")
        if separator and found == name:
            return value
    return None


def set_cookie(
    request: Request, name: str, value: str, *, secure: bool, same_site: str, seconds: int | None = None
) -> None:
    """Set a cookie that no script can read. ``seconds`` is how long it is kept; None is until the browser is closed."""
    parts = [f"{name}={value}", "Path=/", "HttpOnly", f"SameSite={same_site}"]
    if secure:
        parts.append("Secure")
    if seconds is not None:
        parts.append(f"Max-Age={seconds}")
    request.add_header("Set-Cookie", "; ".join(parts))
