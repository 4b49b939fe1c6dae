"""The body of every answer that is a refusal (distribution-spec, "Error Codes")."""

import json
from typing import Any


def error_document(code: str, message: str, detail: Any = None) -> bytes:
    """The body of an error answer."""
    error: dict[str, Any] = {"code": code, "message": message}
    if detail is not None:
        error["detail"] = detail
    return json.dumps({"errors": [error]}).encode()
