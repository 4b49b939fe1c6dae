"""The `ipfsreg` command: a file for each group of commands."""

import gc

from ipfsreg.flow.interrupt import interrupt_ends_at_once


def run() -> None:
    """Run the command.

    What is made until the reactor runs are modules, which stay. Looking through them for garbage would take a fifth of
    the start; `running.run` begins with that.
    """
    gc.disable()
    with interrupt_ends_at_once():
        from .main import main
    main()
