"""The `ipfsreg` command: a file for each group of commands."""

import gc


def run() -> None:
    """Run the command. Its modules stay, and looking through them for garbage would take a fifth of the start."""
    gc.disable()
    try:
        from .main import main
    finally:
        gc.freeze()
        gc.enable()
    main()
