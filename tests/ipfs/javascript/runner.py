"""Runs the scripts beside it with IPFS libraries from npm, on the Node that they want, which npm brings too.

All of it is installed into ``node_modules`` here by `install`, from the lock file. Where that cannot be done a test is
skipped with the reason, or fails if the environment has ``IPFSREG_REQUIRE_PROGRAMS=1``.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.clients.programs import run, unavailable
from tests.javascript_client import JavaScriptClient

HERE = Path(__file__).parent
NODE = HERE / "node_modules" / ".bin" / "node"


def install() -> None:
    """Have the libraries and Node installed as the lock file says; returns at once where they are."""
    JavaScriptClient(HERE, "IPFS in JavaScript").install()
    if not NODE.exists():
        unavailable("npm has no Node for this kind of machine")


@contextmanager
def asking(script: str) -> Iterator[Callable[[Any], str]]:
    """Run a script that answers each line of JSON with a line; it ends when its input does."""
    process = subprocess.Popen(
        [NODE, script], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    question, answer = process.stdin, process.stdout

    def ask(value: Any) -> str:
        question.write(json.dumps(value) + "\n")
        return answer.readline().strip()

    yield ask
    question.close()
    process.wait(10)
    answer.close()


def answer_of(script: str, *arguments: str) -> Any:
    """Run a script to its end, and give what it printed as JSON."""
    return json.loads(run(NODE, HERE / script, *arguments, cwd=HERE).splitlines()[-1])
