"""The `ipfsreg` command: a file for each group of commands."""

import gc

from ipfsreg.flow.interrupt import interrupt_ends_at_once


def run() -> None:
    """Run the command. Its modules stay, and looking through them for garbage would take a fifth of the start."""
    gc.disable()
    try:
        with interrupt_ends_at_once():
            from .main import main
    finally:
        gc.freeze()
        gc.enable()
    main()
