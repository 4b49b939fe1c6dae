"""``[tls]``: the certificates of endpoints such as ``tls:5443``."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator

from .kinds import Directory, Section, split_list


class TlsOptions(Section):
    """Pairs of certificate and key, the first of which is shown to who asks for no name that another one has.

    A file may hold both: without ``key`` each certificate's file does. With ``client_ca`` clients have to show a
    certificate of that authority, or may, as ``client_certificate`` says.
    """

    certificate: Annotated[tuple[Directory, ...], BeforeValidator(split_list)] = ()
    key: Annotated[tuple[Directory, ...], BeforeValidator(split_list)] = ()
    client_ca: Directory | None = None
    client_certificate: Literal["required", "optional"] = "required"

    @model_validator(mode="after")
    def _fit(self) -> Any:
        if self.key and len(self.key) != len(self.certificate):
            raise ValueError(f"{len(self.certificate)} in certificate and {len(self.key)} in key: each has one")
        if self.client_ca is not None and not self.certificate:
            raise ValueError("client_ca needs a certificate of this daemon, too: set certificate and key")
        return self

    @property
    def pairs(self) -> tuple[tuple[Path, Path], ...]:
        """The files of each certificate and of its key."""
        return tuple(zip(self.certificate, self.key or self.certificate, strict=True))
