"""The credentials that `docker login` and `podman login` have stored.

Sources: docs.docker.com "docker login" (config.json, credsStore, credHelpers and the protocol of the helpers), and
containers-auth.json(5) for the places where podman and skopeo look.
"""

import json
import os
import re
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipfsreg.config.small_file import CONFIG_MAX, read_small_file

HELPER_SECONDS = 30.0
"""How long a credential helper may take: it may ask its user to unlock something."""

_HELPER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TOKEN_USER = "<token>"
_NOT_FOUND = "credentials not found"


class CredentialsError(Exception):
    """What is stored cannot be read: one line that names the file or the helper, and never a secret."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A name with its password, or an identity token that takes the place of both."""

    username: str
    password: str = field(repr=False, default="")
    identity_token: str = field(repr=False, default="")


class Logins:
    """What is stored for one registry: of each file that has something, the credentials by namespace.

    That is ``""`` for all of the registry, or a repository or what is before one of its slashes.
    """

    def __init__(self, files: Sequence[Mapping[str, Credentials]]) -> None:
        self._files = files

    def of(self, repository: str) -> Credentials | None:
        """The credentials of the first file that has any, for the longest namespace; ``""`` is for no repository."""
        for stored in self._files:
            namespace = repository
            while namespace and namespace not in stored:
                namespace = namespace.rpartition("/")[0]
            if namespace in stored:
                return stored[namespace]
        return None


def find_credentials(registry: str, environment: Mapping[str, str] = os.environ) -> Logins:
    """The credentials for a registry, by its name as in `docker login`.

    It reads files and may run a helper: call it in a thread.

    :raises CredentialsError: where a file or a helper is broken.
    """
    found: list[Mapping[str, Credentials]] = []
    for path in _files(environment):
        try:
            content = read_small_file(path, CONFIG_MAX)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
        except OSError as error:
            raise CredentialsError(f"{path}: {error.strerror}") from None
        stored = _in_file(path, content, registry)
        found += [stored] if stored else []
        if "" in stored:  # no later file is asked for anything, nor is its helper
            break
    return Logins(found)


def _files(environment: Mapping[str, str]) -> Iterator[Path]:
    """In the order of containers-auth.json(5); what a variable names comes before what is in the usual places."""
    home = Path(environment.get("HOME") or Path.home())
    if named := environment.get("REGISTRY_AUTH_FILE"):
        yield Path(named)
    if directory := environment.get("DOCKER_CONFIG"):
        yield Path(directory) / "config.json"
    if runtime := environment.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "containers" / "auth.json"
    yield Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json"
    if not directory:
        yield home / ".docker" / "config.json"


def _in_file(path: Path, content: bytes, registry: str) -> dict[str, Credentials]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        raise CredentialsError(f"{path} is not JSON") from None
    if not isinstance(document, dict):
        raise CredentialsError(f"{path} is not a JSON object")
    auths, helpers = (_object(document, name) for name in ("auths", "credHelpers"))
    helper = helpers.get(registry) or document.get("credsStore")
    if helper:
        told = _ask_helper(path, str(helper), registry)
        if told is not None:
            return {"": told}
    found: dict[str, Credentials] = {}
    for key, entry in auths.items():
        host, namespace = _parts_of(key)
        if host == registry and isinstance(entry, dict):
            read = _entry(path, key, entry)
            if read is not None:
                found.setdefault(namespace, read)
    return found


def _object(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _parts_of(key: str) -> tuple[str, str]:
    """Host and namespace. Old versions wrote ``https://HOST/v1/``, and for Docker Hub all do."""
    host, _, namespace = key.rpartition("://")[2].partition("/")
    return "docker.io" if host == "index.docker.io" else host, "" if "://" in key else namespace.rstrip("/")


def _entry(path: Path, key: str, entry: Mapping[str, Any]) -> Credentials | None:
    username, password = str(entry.get("username") or ""), str(entry.get("password") or "")
    if auth := entry.get("auth"):
        try:
            username, _, password = b64decode(str(auth), validate=True).decode().partition(":")
        except ValueError:
            raise CredentialsError(f"{path}: what it has for {key} cannot be read: log in again") from None
    token = str(entry.get("identitytoken") or "")
    return Credentials(username, password.rstrip("\0"), token) if username or token else None


def _ask_helper(path: Path, name: str, registry: str) -> Credentials | None:
    program = f"docker-credential-{name}"
    registry = "https://index.docker.io/v1/" if registry == "docker.io" else registry
    if not _HELPER.fullmatch(name):
        raise CredentialsError(f"{path}: {name!r} is no name of a credential helper")
    try:
        ran = subprocess.run(  # its name has no path in it, and it is looked for in PATH as docker does
            [program, "get"], input=registry.encode(), capture_output=True, timeout=HELPER_SECONDS, check=False
        )
    except FileNotFoundError:
        raise CredentialsError(f"{path} names the credential helper {program}, which is not in PATH") from None
    except OSError as error:
        raise CredentialsError(f"{program}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise CredentialsError(f"{program} took longer than {HELPER_SECONDS:g} seconds") from None
    if ran.returncode:
        if _NOT_FOUND in (ran.stdout + ran.stderr).decode(errors="replace").lower():
            return None
        raise CredentialsError(f"{program} failed with status {ran.returncode}; try: echo {registry} | {program} get")
    try:
        answer = json.loads(ran.stdout)
        username, secret = str(answer["Username"]), str(answer["Secret"])
    except (ValueError, RecursionError, KeyError, TypeError):
        raise CredentialsError(f"{program} answered what is no credentials") from None
    return Credentials("", "", secret) if username == _TOKEN_USER else Credentials(username, secret)
