"""The daemon's own directory: one process at a time."""

import os
import sys
import time
from pathlib import Path

import pytest

from ipfsreg.app.state_directory import Locked, StateDirectory
from ipfsreg.bucket.errors import SetupError
from tests import fork_server


def test_the_directory_is_made_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    first, second = StateDirectory(path), StateDirectory(path)
    first.acquire()
    assert (path / "lock").read_text() == f"{os.getpid()}\n"
    with pytest.raises(Locked, match=rf"^another ipfsreg is using {path}: stop it, or give"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
    second.release()


def test_drafts_of_a_process_that_was_killed_go(tmp_path: Path) -> None:
    kept = [".peer-id", "peer-id-0123456789abcdef", ".kubo.json-0123456789abcde", ".a-0123456789ABCDEF"]
    for name in (*kept, ".kubo.json-0123456789abcdef", ".scrub-position-00000000000000ff"):
        (tmp_path / name).write_text("")
    (tmp_path / ".sizes-0123456789abcdef").mkdir()
    state = StateDirectory(tmp_path)
    state.acquire()
    state.release()
    assert {each.name for each in tmp_path.iterdir()} == {*kept, ".sizes-0123456789abcdef", "lock"}


def test_a_process_that_was_killed_keeps_nothing(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from ipfsreg.app.state_directory import StateDirectory
StateDirectory(Path({str(tmp_path)!r})).acquire()
os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = fork_server.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], env={})
    assert killed.returncode == -9
    state = StateDirectory(tmp_path)
    state.acquire()
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    state.release()


@pytest.mark.parametrize("below", ["", "below/further"])
def test_a_file_is_no_directory(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    state = StateDirectory(file / below)
    assert state.problem() == f"{file} is not a directory"
    with pytest.raises(SetupError, match=r"^cannot use the directory"):
        state.acquire()


def test_what_is_writable_is_no_problem(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path).problem() is None
    assert StateDirectory(tmp_path / "not" / "there" / "yet").problem() is None


def test_what_is_not_writable_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # root may write anywhere
    assert StateDirectory(tmp_path / "new").problem() == f"{tmp_path} is not writable for this user"


def test_the_command_finds_the_daemon_by_its_directory(tmp_path: Path) -> None:
    assert StateDirectory(tmp_path).control_socket == tmp_path / "control.sock"


def test_when_a_daemon_was_last_seen(tmp_path: Path) -> None:
    """While it runs, for the next minute as well: nobody can tell of a kill."""
    state = StateDirectory(tmp_path)
    assert state.last_seen() == 0.0
    state.acquire()
    assert state.last_seen() == 0.0  # a command also holds the directory
    state.note_daemon(60.0)
    assert time.time() + 50 < state.last_seen() <= time.time() + 60
    state.note_daemon()
    assert time.time() - 10 < state.last_seen() <= time.time()
    state.release()
    assert StateDirectory(tmp_path).last_seen() == state.last_seen()


def test_nobody_else_may_look_into_a_new_directory(tmp_path: Path) -> None:
    """One that is there is left as its owner wants it."""
    (tmp_path / "old").mkdir(mode=0o755)
    for name, mode in (("old", 0o755), ("a/new", 0o700)):
        state = StateDirectory(tmp_path / name)
        state.acquire()
        state.release()
        assert (tmp_path / name).stat().st_mode & 0o777 == mode
