"""Where the ``ipfsreg`` program begins."""

from ipfsreg.flow.interrupt import interrupt_ends_at_once


def run() -> None:
    """Load the command, which takes most of a second, and run it."""
    with interrupt_ends_at_once():
        from .main import main
    main()
