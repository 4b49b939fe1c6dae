"""The ``ipfsreg`` command: checks a configuration, and has the registry do what its protocol has no word for."""

from importlib import import_module
from typing import TYPE_CHECKING

import click

from ipfsreg.flow.interrupt import interrupt_ends_at_once

from .terminal.declare import MistakesInOneLine

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_COMMANDS = {
    "access": ("accounts", "What the rules of [access] mean."),
    "archive": ("textile", "Back the bucket up on Filecoin."),
    "check": ("upkeep", "Say whether the configuration file is in order."),
    "cid": ("images", "Print an image's CID."),
    "completion": ("completion", "Print a script that completes commands in a shell."),
    "copy": ("copy.command", "Copy images from one registry, layout or CAR to another."),
    "decrypt": ("converting", "Convert an encrypted bucket to a plain one, in place."),
    "encrypt": ("converting", "Convert the bucket to an encrypted one, in place."),
    "export": ("images", "Write an image to a CAR file."),
    "gc": ("upkeep", "Free what no tag leads to."),
    "identity": ("textile", "Make and show the key pair for a Textile server."),
    "import": ("images", "Store the image that is in a CAR file."),
    "inspect": ("contents", "Show an image: platforms, layers, history, referrers."),
    "keys": ("team", "Make and show a member's key of encrypted buckets."),
    "ls": ("contents", "List the repositories."),
    "publish": ("images", "Print the CID for `nerdctl pull ipfs://CID`."),
    "retention": ("retention", "Delete the tags that no rule of [retention] keeps."),
    "rm": ("contents", "Delete a tag, a manifest or a repository."),
    "share": ("textile", "Say who else may change what is in the bucket."),
    "space": ("space", "Set up a Fleek Space Daemon, and look after its bucket."),
    "status": ("upkeep", "Show what runs, what is used, and what could be freed."),
    "tags": ("contents", "List the tags of a repository."),
    "team": ("team", "Say who may read and write an encrypted bucket."),
    "token": ("accounts", "Make and list robot accounts."),
    "user": ("accounts", "Add and remove users with a password."),
    "verify": ("upkeep", "Compare everything with its digest."),
}
"""The module that each command is in, and its line in the help: it is loaded when the command is used."""


class _Group(MistakesInOneLine):
    """The commands of `_COMMANDS`, by name; ``import_`` is the one whose name Python has taken."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module_name, _ = _COMMANDS[cmd_name]
        with interrupt_ends_at_once():
            module = import_module(f".{module_name}", __package__)
        command: click.Command = getattr(module, "import_" if cmd_name == "import" else cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """See click, which would load every command for its line of help."""
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        commands = ((name, line) for name, (_, line) in _COMMANDS.items() if name.startswith(incomplete))
        return [CompletionItem(name, help=line) for name, line in commands] + options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in sorted(_COMMANDS.items())])


def _show_version(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from ipfsreg import __version__

        click.echo(f"ipfsreg {__version__}")
        context.exit()


@click.group("ipfsreg", cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_show_version, help="Show the version."
)
def main() -> None:
    """Look after an ipfsreg registry. The daemon itself is started with `twistd -n ipfsreg`.

    Where the daemon runs, it is asked to do the work; else the command does it itself. With --registry, commands ask
    a registry elsewhere.

    Exit status: 0 done; 1 it failed, or found something wrong; 2 the command line or the configuration is wrong; 3
    there is no such image or repository; 4 not allowed; 5 the storage or the registry does not answer now.
    """
