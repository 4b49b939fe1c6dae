"""``ipfsreg encrypt`` and ``ipfsreg decrypt``: a bucket is converted in place."""

import sys
from pathlib import Path
from typing import Literal

from .command import ask, config_option, describe_storage, fail_for, load
from .errors import Exit
from .terminal.declare import command
from .terminal.output import Output
from .terminal.text import counted, sized

_RESULT = "{storage, files, bytes, damaged: [path, ...]}"


@command(examples=["ipfsreg encrypt"], result=_RESULT)
@config_option
def encrypt(path: Path | None, output: Output) -> None:
    """Convert the bucket to an encrypted one, in place, while it is used or not.

    The configuration has to say [encryption] enabled = yes and convert = encrypt, to the daemon too. It can be stopped
    at any moment, and goes on when it is run again (exit status 1 where something is damaged and stays).
    """
    _convert(path, "encrypt", output)
    output.note("Everything is encrypted. Take `convert` out of [encryption], and start the daemon anew.")


@command(examples=["ipfsreg decrypt"], result=_RESULT)
@config_option
def decrypt(path: Path | None, output: Output) -> None:
    """Convert an encrypted bucket to a plain one, in place, while it is used or not.

    The configuration has to say [encryption] enabled = yes and convert = decrypt, to the daemon too. It can be stopped
    at any moment, and goes on when it is run again (exit status 1 where something is damaged and stays).
    """
    _convert(path, "decrypt", output)
    output.note("Nothing is encrypted any more. Set [encryption] enabled = no, and start the daemon anew.")


def _convert(path: Path | None, direction: Literal["encrypt", "decrypt"], output: Output) -> None:
    options = load(path).encryption
    if not options.enabled or options.convert != direction:
        said = f"enabled = {'yes' if options.enabled else 'no'}, convert = {options.convert or 'nothing'}"
        fail_for(path, f"[encryption] enabled = yes and convert = {direction} (docs/encryption.md has the steps)", said)
    with output.progress("Converting") as progress:
        found = ask(path, "convert", {"direction": direction}, quiet=True, progress=progress)
    storage = describe_storage(path)
    lines = [f"Converted {counted(found['files'], 'file')}, {sized(found['bytes'])}, of {storage}."]
    lines += [f"Damaged, and left as it is: {each}" for each in found["damaged"]]
    output.show({"storage": storage} | found, *lines)
    if found["damaged"]:
        sys.exit(Exit.PROBLEM)
