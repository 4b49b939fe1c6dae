"""etc/ipfsreg.ini, and the ini blocks of the documents."""

import configparser
import re
from pathlib import Path

import pytest
from platformdirs import user_data_path
from twisted.internet import reactor

from ipfsreg.app.configuration import load_config
from ipfsreg.bucket.backends import BACKENDS
from ipfsreg.bucket.textile.server.encoding import to_base32
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from ipfsreg.config.sections import SECTIONS, Config

from .certificates import make_certificate
from .documents import CHECKOUT, Block, blocks

INI = CHECKOUT / "etc" / "ipfsreg.ini"
_DEFAULT = re.compile(r"^#(?=[a-z_]+ = )", re.MULTILINE)
_EXAMPLE = re.compile(r"^# ([a-z_]+) = ", re.MULTILINE)


ALL_SECTIONS = {**SECTIONS, **{name: backend.options() for name, backend in BACKENDS.items()}}


def uncommented() -> str:
    """The file with every default made an option."""
    return _DEFAULT.sub("", INI.read_text(encoding="utf-8"))


def options_shown() -> dict[str, set[str]]:
    """The options that the file shows, by section, with a default or as an example."""
    shown: dict[str, set[str]] = {}
    for part in re.split(r"^(?=\[)", INI.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        section = part.partition("]")[0].strip("[")
        defaults = re.findall(r"^#([a-z_]+) = ", part, re.MULTILINE)
        assert len(set(defaults)) == len(defaults)
        shown[section] = {*defaults, *_EXAMPLE.findall(part)}
    return shown


def load(path: Path) -> Config:
    # What a daemon needs beside its configuration, which `ipfsreg space init` makes, is not there.
    return load_config(path, reactor, {}, for_daemon="backend = space" not in path.read_text(encoding="utf-8"))


def test_it_sets_nothing() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(INI, encoding="utf-8")
    assert {section: dict(parser.items(section)) for section in parser.sections()} == {
        name: {} for name in ALL_SECTIONS
    }


def test_it_shows_every_option_and_no_other() -> None:
    assert options_shown() == {name: set(section.model_fields) for name, section in ALL_SECTIONS.items()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_it_shows_are_the_defaults(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    chosen, shown = tmp_path / "chosen.ini", tmp_path / "shown.ini"
    option = BACKENDS[backend].options().directory_option
    chosen.write_text(f"[registry]\nbackend = {backend}\n[{backend}]\n{option} = {user_data_path('ipfsreg')}\n")
    shown.write_text(uncommented().replace("\nbackend = local\n", f"\nbackend = {backend}\n"))
    assert load(shown) == load(chosen)
    if backend == "local":
        shown.write_text(uncommented())
        assert load(shown) == load(chosen)


def test_every_option_is_explained() -> None:
    lines = INI.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        if _DEFAULT.match(line) or _EXAMPLE.match(line):
            # A comment, or the option that shares it.
            assert lines[number - 1].startswith("#"), f"{line} has no explanation"


@pytest.mark.parametrize("block", blocks("ini"), ids=lambda block: f"{block.document}: {block.heading}")
def test_what_the_documents_show_is_valid(block: Block, tmp_path: Path) -> None:
    key, certificate = make_certificate(tmp_path)
    save_identity(Identity.generate(), tmp_path / "identity")
    (tmp_path / "node-secret").write_text("bearer:token\n")
    (tmp_path / "hub-key").write_text("bkey\n")
    (tmp_path / "hub-secret").write_text(to_base32(b"secret") + "\n")
    text = block.text
    for shown, made in {
        "/etc/ipfsreg/tls-key.pem": key,
        "/etc/ipfsreg/tls-cert.pem": certificate,
        "/etc/ipfsreg/node-secret": tmp_path / "node-secret",
        "/etc/ipfsreg/hub-key": tmp_path / "hub-key",
        "/etc/ipfsreg/hub-secret": tmp_path / "hub-secret",
        "/etc/ipfsreg/identity": tmp_path / "identity",
    }.items():
        text = text.replace(shown, str(made))
    file = tmp_path / "shown.ini"
    file.write_text(text)
    assert load(file).registry.listen
