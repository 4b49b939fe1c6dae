"""The ``ipfsreg`` command: checks a configuration, and has the registry do what its protocol has no word for."""

from importlib import import_module

import click

from ipfsreg import __version__
from ipfsreg.flow.interrupt import interrupt_ends_at_once

from .terminal.declare import MistakesInOneLine

_COMMANDS = {
    "check": "upkeep",
    "gc": "upkeep",
    "verify": "upkeep",
    "cid": "images",
    "publish": "images",
    "export": "images",
    "import": "images",
    "copy": "copy",
    "token": "accounts",
    "keys": "team",
    "team": "team",
    "access": "accounts",
    "identity": "textile",
    "share": "textile",
    "archive": "textile",
    "space": "space",
}
"""The module that each command is in. It is loaded when the command is used: most of the time would go into that."""


class _Group(MistakesInOneLine):
    """The commands of `_COMMANDS`, by name; ``import_`` is the one whose name Python has taken."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        with interrupt_ends_at_once():
            module = import_module(f".{_COMMANDS[cmd_name]}", __package__)
        command: click.Command = getattr(module, "import_" if cmd_name == "import" else cmd_name)
        return command


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipfsreg")
def main() -> None:
    """Look after an ipfsreg registry. The daemon itself is started with `twistd -n ipfsreg`.

    Where the daemon runs, it is asked to do the work; else the command does it itself.
    """
