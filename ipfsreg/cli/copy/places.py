"""The two ends of `ipfsreg copy`: what a user may write for one."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from ipfsreg.cli.command import load

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ipfsreg.client.address import RegistryAddress
    from ipfsreg.config.sections import Config

_PREFIXES = ("ini:", "oci:", "car:")


@dataclass(frozen=True, slots=True)
class Layout:
    """A directory with an OCI image layout."""

    path: Path


@dataclass(frozen=True, slots=True)
class Car:
    """A CAR file."""

    path: Path


@dataclass(frozen=True)
class Configured:
    """The registry of a configuration file."""

    file: Path

    @cached_property
    def config(self) -> "Config":
        """Read once; what is wrong with it ends the program. A shell that completes a line does not ask for it."""
        return load(self.file)

    @property
    def path(self) -> Path:
        """Where its daemon would be found."""
        return self.config.backend.state_directory


Where: TypeAlias = "Configured | RegistryAddress | Layout | Car"


class PlaceType(click.ParamType):
    """One end of a copy."""

    name = "place"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        """See click. The shell knows the files."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Where:
        """See click."""
        text = str(value)
        prefix, rest = next(((each, text[len(each) :]) for each in _PREFIXES if text.startswith(each)), ("", text))
        path = Path(rest)
        if prefix == "ini:" or (not prefix and path.suffix == ".ini"):
            return Configured(path)
        if prefix == "car:" or (not prefix and path.suffix == ".car"):
            return Car(path)
        if prefix == "oci:" or path.is_dir():
            return Layout(path)
        scheme, _, rest = text.rpartition("://")
        host, slash, image = rest.partition("/")
        if not scheme and (not _is_host(host) or (slash and Path(host).exists())):
            return Layout(path)
        if image.rstrip("/") not in {"", "v2"}:
            told = f"{text}: name the registry alone, {host}, and {image} after DESTINATION"
            self.fail(f"{told} (a directory is oci:{text})", param, ctx)
        from ipfsreg.client.address import parse_address

        try:
            return parse_address(text.removeprefix("docker://"))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _is_host(text: str) -> bool:
    return text == "localhost" or "." in text[1:].strip(".") or ":" in text


def are_same(source: Where, destination: Where) -> bool:
    """Whether these are two names of one place."""
    one, other = (getattr(each, "path", each) for each in (source, destination))
    return one == other
