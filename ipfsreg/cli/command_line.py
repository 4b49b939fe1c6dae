"""What the `ipfsreg` command gives to a backend's own commands."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipfsreg.bucket.options import BackendOptions

Run = Callable[[Path | None, str, dict[str, str]], dict[str, Any]]
"""Does a task for the configuration file that was named, and ends the program where it fails."""

RunAgain = Callable[[Path | None, str, dict[str, str], Callable[[dict[str, Any]], str | None]], None]
"""A task, and then whichever a function names for its result, until it names none."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """How commands are made, and how they do something.

    ``config_option`` is a decorator that gives a command the option ``--config`` as its parameter ``path``.
    ``repository_directories`` are those of a repository alone; ValueError with one line for what is no repository.
    ``options`` reads the section of a backend, whichever is used; it ends the program for a wrong configuration.
    ``alone`` runs something with the reactor, without a bucket, and answers what it answers; it ends the program where
    that fails with a `BucketError` or `SetupError`.
    """

    run: Run
    run_again: RunAgain
    config_option: Callable[[Any], Any]
    repository_directories: Callable[[str], Sequence[str]]
    options: Callable[[Path | None, str], BackendOptions]
    alone: Callable[[Callable[[Any], Awaitable[Any]]], Any]
