"""Finding and running the real programs.

`.ci/install-programs` installs them. Some come from the system's packages; others are in a folder of their
own, `$IPFSREG_TOOLS` or `.tools/` in the checkout. Without a program its tests skip and say why, unless
IPFSREG_REQUIRE_PROGRAMS=1, which makes them fail: on CI nothing may be left out unseen.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

TOOLS = Path(os.environ.get("IPFSREG_TOOLS") or Path(__file__).parents[2] / ".tools").absolute()
NEWER_ENGINE = TOOLS / "trixie" / "usr"
NEWER_ENGINE_PATH = f"{NEWER_ENGINE / 'bin'}:{NEWER_ENGINE / 'sbin'}"


thorough = pytest.mark.skipif(
    os.environ.get("IPFSREG_REQUIRE_PROGRAMS") != "1",
    reason="it takes long; IPFSREG_REQUIRE_PROGRAMS=1 runs it, as .ci/run does",
)
"""For tests that `make test` leaves out."""


def require_program(name: str, path: str | None = None) -> str:
    """The absolute path of a program, on this process's PATH or on `path`; without one the test ends."""
    found = shutil.which(name, path=path)
    if found is None:
        unavailable(f"{name} is not installed (.ci/install-programs installs it)")
    return found


def needed(name: str, path: str | None = None) -> Callable[[], None]:
    """A fixture for a module none of whose tests runs without a program: so no daemon is started for them either."""

    @pytest.fixture(scope="module", autouse=True)
    def there() -> None:
        require_program(name, path)

    return there


def require_root() -> None:
    """End the test unless it runs as root, as an engine with a private daemon must."""
    if os.geteuid() != 0:
        unavailable("container engines need root")


def unavailable(reason: str) -> NoReturn:
    """Skip the running test, or fail it under IPFSREG_REQUIRE_PROGRAMS=1."""
    if os.environ.get("IPFSREG_REQUIRE_PROGRAMS") == "1":
        pytest.fail(f"IPFSREG_REQUIRE_PROGRAMS=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def run(
    *command: str | Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    deadline: float = 90.0,
    fails: bool = False,
) -> str:
    """Run a program to its end and return what it printed, both streams together.

    :param fails: whether it is expected to end with an error (any exit code but 0).
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=deadline,
        env=env,
        cwd=cwd,
        check=False,
    )
    assert (done.returncode != 0) is fails, f"{words} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def client_environment(home: Path, path: Sequence[str] = ()) -> dict[str, str]:
    """An environment in which a client finds no settings, logins or caches but those in `home`.

    :param path: folders to be searched for programs before the system's.
    """
    runtime = home / "runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    settings = home / ".docker"
    settings.mkdir(exist_ok=True)
    # buildah fails on a folder that is named to it and has no such file.
    (settings / "config.json").write_text("{}")
    return {
        "PATH": ":".join([*path, os.environ["PATH"], "/usr/sbin", "/sbin"]),
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(runtime),
        "DOCKER_CONFIG": str(settings),
        "TMPDIR": str(home / "runtime"),
    }
