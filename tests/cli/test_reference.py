"""What is promised of every command: its line in the help, examples that can be typed, --json, and the documents."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from docs.commands import FILES, STATUSES
from ipfsreg.cli.errors import Exit
from ipfsreg.cli.main import main
from ipfsreg.cli.terminal.declare import Command
from tests import fork_server
from tests.clients.programs import require_program
from tests.daemon_process import DaemonProcess, program


def commands(group: click.Group = main, before: str = "ipfsreg") -> Iterator[tuple[str, Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            assert isinstance(command, Command), f"{before} {name}"
            yield f"{before} {name}", command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", sorted({words[1] for words in map(str.split, COMMANDS) if len(words) > 2}))
def test_no_line_in_the_list_of_commands_is_cut(name: str) -> None:
    shown = CliRunner().invoke(main, [name, "--help"], terminal_width=80).stdout
    assert "..." not in shown.partition("\nCommands:\n")[2]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_documents_are_those_of_the_commands(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "run `make reference`"


def test_every_exit_status_is_told() -> None:
    assert set(STATUSES) == {each.value for each in Exit}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_what_is_promised(name: str) -> None:
    command = COMMANDS[name]
    options = {option for each in command.params for option in each.opts}
    assert "--json" in options
    assert command.result.startswith("{")
    assert "" not in promised(name)
    assert command.examples
    assert command.help
    assert len(command.help.split("\n")[0]) <= 118
    for example in command.examples:
        assert name in example


def promised(name: str) -> set[str]:
    """The names in the document of a command, those at its top."""
    names, depth, inner = "", 0, False
    for each in COMMANDS[name].result:
        depth += (each in "{[") - (each in "}]")
        inner = depth > 1 or (each == "}" and depth == 1) or (each == "]" and depth == 1)
        if not depth:
            break
        names += "" if inner else each
    return {each.partition(":")[0].strip() for each in names.removeprefix("{").split(",")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_can_be_typed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for example in COMMANDS[name].examples:
        for typed in re.findall(r"ipfsreg [^|>)]*", example):
            if "PUBLIC_KEY" in typed:
                continue
            _, *words = shlex.split(typed)
            for word in words:
                if word.endswith(".ini") and "/" not in word:
                    (tmp_path / word).touch()
            command: click.Command = main
            while isinstance(command, click.Group):
                found = command.get_command(click.Context(command), words.pop(0))
                assert found is not None, typed
                command = found
            command.make_context("example", words)


def test_the_manual_page_is_in_order() -> None:
    require_program("man")
    require_program("groff")
    page = next(path for path in FILES if path.suffix == ".1")
    shown = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True, timeout=60, check=True)
    assert shown.stderr == ""
    assert "ipfsreg verify" in shown.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_commands(shell: str, tmp_path: Path) -> None:
    registry = DaemonProcess(tmp_path)
    command = [program("ipfsreg"), "completion", shell]
    script = fork_server.run(command, cwd=tmp_path, env={"HOME": str(tmp_path)}).stdout
    assert "_IPFSREG_COMPLETE" in script
    require_program(shell)
    (tmp_path / "script").write_text(script)
    subprocess.run([shell, "-n", tmp_path / "script"], timeout=60, check=True)
    typed = {
        "bash": "COMP_WORDS=(ipfsreg ver) COMP_CWORD=1; source ./script; _ipfsreg_completion ipfsreg; echo $COMPREPLY",
        "fish": "source ./script; complete -C 'ipfsreg ver'",
        "zsh": "COMP_WORDS='ipfsreg ver' COMP_CWORD=1 _IPFSREG_COMPLETE=zsh_complete ipfsreg",
    }
    shown = subprocess.run(
        [shell, "-c", typed[shell]],
        cwd=tmp_path,
        env={"PATH": f"{Path(program('ipfsreg')).parent}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "verify" in shown.stdout.split()
    assert not registry.path.exists()


@pytest.mark.parametrize("typed", ["ipfsreg copy ", "ipfsreg copy a.ini ", "ipfsreg import ", "ipfsreg ls --config "])
def test_a_shell_completes_files(typed: str) -> None:
    words = {"_IPFSREG_COMPLETE": "bash_complete", "COMP_WORDS": typed + "x", "COMP_CWORD": str(typed.count(" "))}
    done = CliRunner().invoke(main, env=words, prog_name="ipfsreg")
    assert done.output == "file,x\n"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["gc", "--foo"], "ipfsreg gc: No such option '--foo'"),
        (["nosuch"], "ipfsreg: No such command 'nosuch'; see `ipfsreg --help`"),
        (["cid"], "ipfsreg cid: Missing argument 'NAME[:TAG|@DIGEST]'; see `ipfsreg cid --help`"),
        (["token", "nosuch\x1b[31m"], r"ipfsreg token: No such command 'nosuch\x1b[31m'"),
    ],
)
def test_a_mistake_is_told_in_one_line(typed: list[str], line: str, tmp_path: Path) -> None:
    ended = fork_server.run([program("ipfsreg"), *typed], cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(line)
    assert ended.stderr.count("\n") == 1
