"""The commands of encrypted buckets: ``ipfsreg keys`` and ``ipfsreg team``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ipfsreg.bucket.errors import SetupError
from ipfsreg.bucket.team.key_file import PASSPHRASE_VARIABLE, KeyFile, read_passphrase
from ipfsreg.encryption.documents import NAME_MAX, Role, is_name
from ipfsreg.encryption.key_text import parse_recovery_text, to_recovery_text
from ipfsreg.encryption.member_key import MemberKey, parse_public_key

from .command import ask, config_option, fail, fail_for, load
from .errors import Exit
from .terminal.asking import ask_secret
from .terminal.declare import group
from .terminal.output import Output, output_option
from .terminal.table import Column, Table

T = TypeVar("T")

_TOLD = 10
"""So many documents that do not count are named."""

key_argument = click.argument(
    "file", required=False, type=click.Path(dir_okay=False, readable=False, path_type=Path), metavar="[FILE]"
)
passphrase_options = [
    click.option("--passphrase", "under", is_flag=True, help="Ask for a passphrase, without which nobody reads it."),
    click.option(
        "--passphrase-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help=f"A file with the passphrase in its first line. {PASSPHRASE_VARIABLE} in the environment does as well.",
    ),
]


def with_passphrase(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options for a passphrase."""
    for option in passphrase_options:
        command = option(command)
    return command


class MemberName(click.ParamType):
    """What a member is called in the team."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        if not is_name(str(value)):
            self.fail(f"a name has at most {NAME_MAX} printable characters", param, ctx)
        return str(value)


class PublicKey(click.ParamType):
    """A member's public key."""

    name = "public key"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        try:
            return parse_public_key(str(value)).hex()
        except ValueError as error:
            self.fail(str(error), param, ctx)


@group
def keys() -> None:
    """Make and show the key by which this daemon is a member of an encrypted bucket's team."""


@keys.command(
    short_help="Make a new key, and print its public key.",
    examples=["ipfsreg keys init", "ipfsreg keys init key --passphrase"],
    result="{file, public_key}",
)
@config_option
@key_argument
@with_passphrase
@output_option
def init(path: Path | None, file: Path | None, under: bool, passphrase_file: Path | None, output: Output) -> None:
    """Make a new key in FILE, and print its public key, by which an owner of the bucket adds it.

    Without FILE it is where [encryption] key says. It is secret: only its user can read it, and there is no copy.
    """
    _save(output, _key_file(path, file), MemberKey.generate(), _new_passphrase(under, passphrase_file))


@keys.command(examples=["ipfsreg keys show"], result="{file, public_key}")
@config_option
@key_argument
@output_option
def show(path: Path | None, file: Path | None, output: Output) -> None:
    """Print the public key of the key in FILE. No passphrase is needed for it."""
    target = _key_file(path, file)
    public = _unless(lambda: KeyFile(target).public()).hex()
    output.show({"file": str(target), "public_key": public}, public)


@keys.command(
    short_help="Make a key anew from a recovery key.",
    examples=["ipfsreg keys recover new-key"],
    result="{file, public_key}",
)
@config_option
@key_argument
@with_passphrase
@output_option
def recover(path: Path | None, file: Path | None, under: bool, passphrase_file: Path | None, output: Output) -> None:
    """Make FILE anew from a recovery key as `ipfsreg team recovery` printed it; it is asked for, or read from a pipe.

    Capitals, blanks and hyphens do not matter. Who has it is an owner.
    """
    target = _key_file(path, file)
    if os.path.lexists(target):
        fail(f"{target} is there already; it is never overwritten", Exit.PROBLEM)
    if sys.stdin.isatty():
        text = "".join(click.prompt(f"Line {number} of 2 of the recovery key", err=True) for number in (1, 2))
    else:
        text = sys.stdin.read(4096)
    try:
        key = parse_recovery_text(text)
    except ValueError as error:
        fail(str(error), Exit.PROBLEM)
    _save(output, target, key, _new_passphrase(under, passphrase_file))


@group
def team() -> None:
    """Say who can read an encrypted bucket, and who can push to it.

    Each member is a public key (see `ipfsreg keys`), with a role that includes the ones before it: reader, writer,
    owner. Only owners change the team.
    """


@team.command(
    "list",
    short_help="Show who is in the team.",
    examples=["ipfsreg team list", "ipfsreg team list --json"],
    result=(
        "{bucket, founder, you, generation, rewrapped, members: [{name, key, role, since, until, you, has_key}], "
        "problems: [line]}; since and until are generations"
    ),
)
@config_option
@output_option
def list_(path: Path | None, output: Output) -> None:
    """Show who is in the team (exit status 1 where the storage gives documents that do not count)."""
    found = _ask(path, "team-list", quiet=output.as_json)
    rows = ([each["role"], each["key"], each["name"], _notes(each, found)] for each in found["members"])
    members = Table(["ROLE", Column("PUBLIC KEY", long=True), "NAME", "NOTE"], rows)
    output.show(found, members, f"New content is of generation {found['generation']}.")
    problems = found["problems"]
    for problem in problems[:_TOLD]:
        output.note(f"Does not count: {problem}")
    if len(problems) > _TOLD:  # whoever has the storage can make any number of them
        output.note(f"{len(problems) - _TOLD} more documents do not count: --json has them all.")
    if problems:
        sys.exit(Exit.PROBLEM)


@team.command(
    short_help="Add a member, or change a role or a name.",
    examples=["ipfsreg team add PUBLIC_KEY --role writer --name anna"],
    result="{name, key, role, since, until, you}",
)
@config_option
@click.argument("key", type=PublicKey(), metavar="PUBLIC_KEY")
@click.option("--role", type=click.Choice(["reader", "writer", "owner"]), default="reader", show_default=True)
@click.option("--name", type=MemberName(), help="What to call the member in lists.")
@output_option
def add(path: Path | None, key: str, role: str, name: str | None, output: Output) -> None:
    """Let the holder of PUBLIC_KEY be a member, or give one another role or name.

    He reads all that is there, old content too. A role that is less than before makes a new generation of keys.
    """
    _print(_add(path, key, role, name, quiet=output.as_json), output)


@team.command(
    short_help="Remove a member, and have new keys made.",
    examples=["ipfsreg team remove anna"],
    result="{name, key, role, since, until, you, generation}",
)
@config_option
@click.argument("who", metavar="MEMBER")
@output_option
def remove(path: Path | None, who: str, output: Output) -> None:
    """Remove MEMBER, by name or public key, and have new content encrypted with a key that he does not have.

    What he could read until now he may have copied, and he can read it as long as it is stored as it is.
    """
    removed = _ask(path, "team-remove", {"who": who}, quiet=output.as_json)
    _print(removed, output, f"{removed['name']} reads nothing new from now on.")


@team.command(
    short_help="Have new content encrypted with a new key.",
    examples=["ipfsreg team rotate", "ipfsreg team rotate --reencrypt"],
    result="{generation}",
)
@config_option
@click.option("--reencrypt", is_flag=True, help="Also encrypt all content anew in the background, with new file keys.")
@output_option
def rotate(path: Path | None, reencrypt: bool, output: Output) -> None:
    """Have new content encrypted with a new key, and old content's keys encrypted with it in the background."""
    found = _ask(path, "team-rotate", {"reencrypt": "1"} if reencrypt else {}, quiet=output.as_json)
    _print(found, output, f"New content is of generation {found['generation']}.")


@team.command(
    short_help="Bring old content to the newest keys now.",
    examples=["ipfsreg team rewrap"],
    result="{generation, files, changed, stored, damaged: [path]}",
)
@config_option
@output_option
def rewrap(path: Path | None, output: Output) -> None:
    """Do now what an owner's daemon does in the background after a rotation: bring old content to the newest key.

    It can be stopped at any moment, and goes on when it is run again (exit status 1 where some of it is damaged).
    """
    found = _ask(path, "team-rewrap", quiet=output.as_json)
    _print(found, output, f"{found['changed']} of {found['files']} files are of generation {found['generation']} now.")
    for damaged in found["damaged"]:
        output.note(f"Damaged, and left as it is: {damaged}")
    if found["damaged"]:
        sys.exit(Exit.PROBLEM)


@team.command(
    short_help="Make a recovery key, and print it once.",
    examples=["ipfsreg team recovery"],
    result="{name, key, secret}; key is the public one",
)
@config_option
@click.option("--name", type=MemberName(), default="recovery key", show_default=True)
@output_option
def recovery(path: Path | None, name: str, output: Output) -> None:
    """Make a recovery key, an owner of its own, and print it this once: for paper, in a safe place.

    `ipfsreg keys recover` makes a key file of it again, when all others are lost.
    """
    key = MemberKey.generate()
    _add(path, key.public.hex(), Role.OWNER.value, name, quiet=output.as_json)
    output.note(f"`ipfsreg team list` names it by its public key: {key.public.hex()}")
    output.note("Write this down, or print it. It is shown this once, and opens everything:")
    text = to_recovery_text(key)
    output.show({"name": name, "key": key.public.hex(), "secret": text}, *text.splitlines())


def _ask(path: Path | None, task: str, arguments: dict[str, str] | None = None, *, quiet: bool) -> dict[str, Any]:
    if not load(path).encryption.enabled:
        fail_for(path, "an encrypted bucket", "[encryption] enabled = no")
    return ask(path, task, arguments, quiet=quiet)


def _add(path: Path | None, key: str, role: str, name: str | None, *, quiet: bool) -> dict[str, Any]:
    return _ask(path, "team-add", {"key": key, "role": role} | ({} if name is None else {"name": name}), quiet=quiet)


def _print(found: dict[str, Any], output: Output, text: str | None = None) -> None:
    output.show(found, text or f"{found['name']} is a member now, as {found['role']}.")


def _notes(member: dict[str, Any], found: dict[str, Any]) -> str | None:
    notes = []
    if member["you"]:
        notes.append("this daemon")
    if member["key"] == found["founder"]:
        notes.append("vouches for the bucket")
    if member["role"] == Role.REMOVED.value:
        notes.append(f"until generation {member['until']}")
    elif not member["has_key"]:
        notes.append(f"without the key of generation {found['generation']} yet")
    return ", ".join(notes) or None


def _key_file(path: Path | None, file: Path | None) -> Path:
    return load(path).encryption.key if file is None else file


def _new_passphrase(under: bool, file: Path | None) -> str:
    """The passphrase that a new key gets; empty for none."""
    if file is not None:
        return _unless(lambda: read_passphrase(file))
    given = os.environ.get(PASSPHRASE_VARIABLE, "")
    if under and not given:
        given = ask_secret("Passphrase", f"--passphrase-file or {PASSPHRASE_VARIABLE} in the environment gives it")
    return given


def _save(output: Output, file: Path, key: MemberKey, passphrase: str) -> None:
    if not file.parent.is_dir():
        _unless(lambda: _make_directory(file.parent))
    _unless(lambda: KeyFile(file).save(key, passphrase))
    output.note(f"{file} holds the key of the member with this public key:")
    output.show({"file": str(file), "public_key": key.public.hex()}, key.public.hex())


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise SetupError(f"cannot make {directory}: {error.strerror}") from None


def _unless(work: Callable[[], T]) -> T:
    """What some work answers; a `SetupError` ends the program with its line."""
    try:
        return work()
    except SetupError as error:
        fail(str(error), Exit.PROBLEM)
