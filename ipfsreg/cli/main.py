"""The ``ipfsreg`` command: checks a configuration, and has the registry do what its protocol has no word for."""

import click

from ipfsreg import __version__

from . import accounts, images, space, textile, upkeep


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="ipfsreg")
def main() -> None:
    """Look after an ipfsreg registry. The daemon itself is started with `twistd -n ipfsreg`.

    Where the daemon runs, it is asked to do the work; else the command does it itself.
    """


for command in (
    upkeep.check,
    upkeep.gc,
    upkeep.verify,
    images.cid,
    images.publish,
    images.export,
    images.import_,
    accounts.token,
    accounts.access,
    textile.identity,
    textile.share,
    textile.archive,
    space.space,
):
    main.add_command(command)
