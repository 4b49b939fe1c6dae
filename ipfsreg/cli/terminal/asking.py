"""What a person is asked for on the terminal."""

import getpass
import sys
import warnings

import click

from .declare import OneLine


def ask_secret(what: str, instead: str) -> str:
    """Ask twice for ``what``, which is not shown. ``instead`` says what to do where there is no terminal.

    Without one the two answers are lines of standard input. `getpass` would read them too, but warn of showing them.
    Where they are not there, or differ, the program ends with status 2.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)
            answer: str = click.prompt(what, hide_input=True, confirmation_prompt=True, err=True)
    except getpass.GetPassWarning:
        answer, again = sys.stdin.readline(), sys.stdin.readline()
        if not again or answer != again:
            raise OneLine(f"ipfsreg: there is no terminal to ask on: {instead}", click.UsageError.exit_code) from None
        answer = answer.removesuffix("\n")
    return answer
