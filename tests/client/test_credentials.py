"""What `docker login` and `podman login` store, and the programs that keep it elsewhere."""

import json
import os
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipfsreg.client import credentials as credentials_module
from ipfsreg.client.address import parse_address
from ipfsreg.client.credentials import Credentials, CredentialsError, find_credentials

HOST = "registry.example:5000"


def found(registry: str, environment: dict[str, str], repository: str = "") -> Credentials | None:
    return find_credentials(registry, environment).of(repository)


def stored(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": b64encode(f"{username}:{password}".encode()).decode()}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path / "run")}


@pytest.mark.parametrize("place", [".docker/config.json", "run/containers/auth.json", ".config/containers/auth.json"])
@pytest.mark.parametrize("key", [HOST, f"https://{HOST}/v1/", f"http://{HOST}"])
def test_where_the_programs_store_it(tmp_path: Path, environment: dict[str, str], place: str, key: str) -> None:
    assert found(HOST, environment) is None
    stored(tmp_path / place, {"auths": {"other.example": auth("a", "b"), key: auth("alice", "a:word")}})
    assert found(HOST, environment) == Credentials("alice", "a:word")
    assert found("registry.example", environment) is None


def test_places_that_variables_name(tmp_path: Path, environment: dict[str, str]) -> None:
    stored(tmp_path / "elsewhere" / "config.json", {"auths": {HOST: auth("docker", "1")}})
    environment["DOCKER_CONFIG"] = str(tmp_path / "elsewhere")
    assert found(HOST, environment) == Credentials("docker", "1")
    stored(tmp_path / "auth.json", {"auths": {HOST: {"username": "podman", "password": "2"}}})
    environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "auth.json")
    assert found(HOST, environment) == Credentials("podman", "2")


def test_the_order_of_the_places(tmp_path: Path, environment: dict[str, str]) -> None:
    """As containers-auth.json(5) has it."""
    for number, place in enumerate([".docker/config.json", ".config/containers/auth.json", "run/containers/auth.json"]):
        stored(tmp_path / place, {"auths": {HOST: auth(str(number), "x")}})
        assert found(HOST, environment) == Credentials(str(number), "x")


@pytest.mark.parametrize(
    ("repository", "user"),
    [("team/app", "app"), ("team/app/part", "app"), ("team/tools", "team"), ("teams", "all"), ("", "all")],
)
def test_the_longest_namespace_counts(tmp_path: Path, environment: dict[str, str], repository: str, user: str) -> None:
    names = {"all": HOST, "team": f"{HOST}/team", "app": f"{HOST}/team/app", "no": f"{HOST}/team/app/part/more"}
    stored(tmp_path / "run/containers/auth.json", {"auths": {key: auth(name, "x") for name, key in names.items()}})
    assert found(HOST, environment, repository) == Credentials(user, "x")


def test_a_namespace_of_one_file_and_the_registry_of_another(tmp_path: Path, environment: dict[str, str]) -> None:
    stored(tmp_path / "run/containers/auth.json", {"auths": {f"{HOST}/team": auth("team", "x")}})
    assert found(HOST, environment) is None
    stored(tmp_path / ".docker/config.json", {"auths": {HOST: auth("all", "x"), f"{HOST}/team": auth("no", "x")}})
    assert found(HOST, environment, "team/app") == Credentials("team", "x")
    assert found(HOST, environment, "other") == Credentials("all", "x")


def test_the_hub_has_a_key_of_its_own(tmp_path: Path, environment: dict[str, str]) -> None:
    stored(tmp_path / ".docker/config.json", {"auths": {"https://index.docker.io/v1/": auth("alice", "x")}})
    assert found(parse_address("docker.io").name, environment) == Credentials("alice", "x")


def test_an_identity_token(tmp_path: Path, environment: dict[str, str]) -> None:
    stored(tmp_path / ".docker/config.json", {"auths": {HOST: {"auth": "", "identitytoken": "long"}}})
    assert found(HOST, environment) == Credentials("", "", "long")


def test_a_secret_is_not_shown() -> None:
    assert "word" not in repr(Credentials("alice", "word", "tokenword"))


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ("[]", "is not a JSON object"),
        ("{", "is not JSON"),
        (json.dumps({"auths": {HOST: {"auth": "?secret?"}}}), "log in again"),
        (json.dumps({"credsStore": "../../evil"}), "no name of a credential helper"),
        (json.dumps({"credsStore": "is-not-installed"}), "not in PATH"),
    ],
)
def test_what_is_broken_is_named(tmp_path: Path, environment: dict[str, str], document: str, named: str) -> None:
    file = tmp_path / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text(document)
    with pytest.raises(CredentialsError, match=named) as told:
        found(HOST, environment)
    assert str(file) in str(told.value)
    assert "secret" not in str(told.value)


@given(st.recursive(st.none() | st.text() | st.integers(), lambda each: st.dictionaries(st.text(), each)))
def test_any_document_is_answered(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    home = tmp_path_factory.mktemp("home")
    stored(home / ".docker" / "config.json", {"auths": {HOST: document}})
    try:
        answer = found(HOST, {"HOME": str(home)})
    except CredentialsError:
        return
    assert answer is None or isinstance(answer, Credentials)


class Helper:
    """A program in PATH that keeps credentials."""

    def __init__(self, directory: Path, script: str) -> None:
        directory.mkdir()
        program = directory / "docker-credential-test"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)


@pytest.mark.parametrize("setting", [{"credsStore": "test"}, {"credHelpers": {HOST: "test"}}])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ('{"ServerURL":"x","Username":"alice","Secret":"word"}', Credentials("alice", "word")),
        ('{"ServerURL":"x","Username":"<token>","Secret":"long"}', Credentials("", "", "long")),
    ],
)
def test_a_helper_is_asked(
    tmp_path: Path,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    setting: dict[str, object],
    answer: str,
    expected: Credentials,
) -> None:
    Helper(tmp_path / "bin", f"read name\ntest \"$name\" = {HOST} && echo '{answer}'")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    stored(tmp_path / ".docker/config.json", setting)
    assert found(HOST, environment) == expected


@pytest.mark.parametrize(
    ("script", "named"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", None),
        ("echo my-secret; exit 1", "failed with status 1"),
        ("echo my-secret", "answered what is no credentials"),
        ("exec sleep 30", "took longer than"),
    ],
)
def test_a_helper_that_does_not_help(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, script: str, named: str | None
) -> None:
    monkeypatch.setattr(credentials_module, "HELPER_SECONDS", 0.3 if "sleep" in script else 10.0)
    Helper(tmp_path / "bin", script)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    stored(tmp_path / ".docker/config.json", {"credsStore": "test"})
    if named is None:
        assert found(HOST, environment) is None
        return
    with pytest.raises(CredentialsError, match=named) as told:
        found(HOST, environment)
    assert "my-secret" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("localhost:5000", "http://localhost:5000"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("https://localhost", "https://localhost"),
        ("registry.example", "https://registry.example"),
        ("registry.example:5000/", "https://registry.example:5000"),
        ("http://registry.example/v2/", "http://registry.example"),
        ("docker.io", "https://registry-1.docker.io"),
    ],
)
def test_addresses(text: str, base: str) -> None:
    assert parse_address(text).base == base


@pytest.mark.parametrize(
    "text",
    ["", "ftp://x", "https://", "https://a:b@registry.example", "https://x/y", "x:99999", "x:y", "https://ä.example"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)
