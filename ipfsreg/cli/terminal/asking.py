"""What a person is asked for on the terminal."""

import getpass
import warnings

import click

from .declare import OneLine


class NoTerminal(OneLine):
    """There is nobody to ask."""

    exit_code = 2


def ask_secret(what: str, instead: str) -> str:
    """Ask twice for ``what``, which is not shown. ``instead`` says what to do where there is no terminal.

    :raises NoTerminal: where there is none. `getpass` would read the answer from standard input, and show it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer: str = click.prompt(what, hide_input=True, confirmation_prompt=True, err=True)
    except getpass.GetPassWarning:
        raise NoTerminal(f"ipfsreg: there is no terminal to ask on: {instead}") from None
    return answer
