"""``ipfsreg completion``."""

import click
from click.shell_completion import get_completion_class

from .command import fail
from .main import main
from .terminal.declare import command
from .terminal.output import Output

VARIABLE = "_IPFSREG_COMPLETE"
"""In the environment it makes the program complete a line, which click does for its shell."""


@command(
    examples=[
        "ipfsreg completion bash > ~/.local/share/bash-completion/completions/ipfsreg",
        "ipfsreg completion zsh > ~/.zfunc/_ipfsreg",
        "ipfsreg completion fish > ~/.config/fish/completions/ipfsreg.fish",
    ],
    result="{shell, script}",
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str, output: Output) -> None:
    """Print a script that completes commands and options in a shell."""
    made = get_completion_class(shell)
    if made is None:
        fail(f"nothing is known of {shell}")
    script = made(main, {}, "ipfsreg", VARIABLE).source()
    if output.as_json:
        output.show({"shell": shell, "script": script})
    else:
        click.echo(script)
