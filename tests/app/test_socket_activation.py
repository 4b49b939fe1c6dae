"""Sockets that systemd listens on and hands over (etc/systemd/ipfsreg.socket), with a real daemon."""

import http.client
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import fork_server
from tests.certificate_authority import CertificateAuthority
from tests.clients.programs import require_program, run
from tests.daemon_process import program
from tests.docs.documents import CHECKOUT
from tests.full import some
from tests.marks import full

NAME = "ipfsreg.socket"
SECONDS = 30.0
DAEMON = [program("twistd"), "-n", "--pidfile=", "ipfsreg"]


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """What systemd listens on, whether or not the service runs."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


def configured(directory: Path, listen: str, more: str = "") -> Path:
    path = directory / "ipfsreg.ini"
    path.write_text(f"[registry]\nlisten = {listen}\n[local]\npath = {directory / 'store'}\n{more}")
    return path


@contextmanager
def service(
    config: Path, given: socket.socket, name: str | None = NAME, count: int = 1
) -> Iterator["subprocess.Popen[bytes]"]:
    """The daemon as systemd starts it: the socket is descriptor 3 and those behind it, and the environment says so."""
    names = "" if name is None else f"LISTEN_FDNAMES={name}"
    sockets = " ".join(f"{number}<&{given.fileno()}" for number in range(3, 3 + count))
    hand_over = f'exec {sockets}; LISTEN_PID=$$ LISTEN_FDS={count} {names} exec "$@"'
    daemon = [*DAEMON, "--config", str(config)]
    with (config.parent / "log").open("wb") as log:
        process = subprocess.Popen(
            ["bash", "-c", hand_over, "bash", *daemon],
            cwd=config.parent,
            pass_fds=(given.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) in (0, -signal.SIGTERM), (config.parent / "log").read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def port_of(given: socket.socket) -> int:
    port: int = given.getsockname()[1]
    return port


def asking(given: socket.socket) -> http.client.HTTPConnection:
    """A connection on which `GET /v2/` was sent; the answer may come whenever there is a daemon."""
    connection = http.client.HTTPConnection("127.0.0.1", port_of(given), timeout=SECONDS)
    connection.request("GET", "/v2/")
    return connection


def test_who_comes_before_the_service_and_between_two_waits_and_is_served(
    tmp_path: Path, listening: socket.socket
) -> None:
    config = configured(tmp_path, f"systemd:name={NAME}")
    for _ in range(2):
        early = asking(listening)
        with service(config, listening):
            assert early.getresponse().status == 200
    assert f"http://127.0.0.1:{port_of(listening)}/v2/" in (tmp_path / "log").read_text()


@full
def test_tls_over_it(tmp_path: Path, listening: socket.socket) -> None:
    authority = CertificateAuthority()
    certificate, key = authority.issue(tmp_path, "registry", "127.0.0.1")
    tls = f"[tls]\ncertificate = {certificate}\nkey = {key}\n"
    with service(configured(tmp_path, "systemd:index=0:tls=yes", tls), listening, "any"):
        context = ssl.create_default_context(cadata=authority.pem.decode())
        connection = http.client.HTTPSConnection("127.0.0.1", port_of(listening), timeout=SECONDS, context=context)
        connection.request("GET", "/v2/")
        assert connection.getresponse().status == 200
    assert "https://" in (tmp_path / "log").read_text()


@full
@pytest.mark.parametrize("listen", ["systemd:index=0", "systemd:name=unknown"])
def test_nobody_has_to_name_it(tmp_path: Path, listening: socket.socket, listen: str) -> None:
    with service(configured(tmp_path, listen), listening, None):
        assert asking(listening).getresponse().status == 200


def refusal(config: Path, given: socket.socket, name: str = NAME, count: int = 1) -> str:
    with pytest.raises(AssertionError), service(config, given, name, count) as process:
        process.wait(SECONDS)
    return (config.parent / "log").read_text()


def test_a_socket_that_anybody_reaches_needs_rules(tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as given:
        assert "lets whoever reaches it push and delete" in refusal(configured(tmp_path, f"systemd:name={NAME}"), given)


@pytest.mark.parametrize(
    ("listen", "line"),
    [
        ("systemd:", "either name= or index="),
        ("systemd:name=a:index=0", "either name= or index="),
        ("systemd:index=x", "index is not a number"),
        ("systemd:index=0:tls=perhaps", "tls is yes or no"),
        ("systemd:index=0:domain=INET", "domain is not one of"),
        ("systemd:index=0:tls=yes", "needs [tls] certificate and key"),
    ],
)
def test_each_mistake_is_one_line(tmp_path: Path, listen: str, line: str) -> None:
    """Nothing has to be handed over to see them."""
    command = [*DAEMON, "--config", str(configured(tmp_path, listen))]
    done = fork_server.run(command, cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert line in said
    assert "Traceback" not in said


@pytest.mark.parametrize("listen", some(1, ["systemd:name=other.socket", "systemd:index=1"]))
def test_another_socket_than_was_handed_over(tmp_path: Path, listening: socket.socket, listen: str) -> None:
    said = refusal(configured(tmp_path, listen), listening)
    line = f"[registry] listen: {listen}: systemd has not handed over that one; there is index=0 with name={NAME}"
    assert line in said
    assert "Traceback" not in said


@full
def test_two_of_one_name(tmp_path: Path, listening: socket.socket) -> None:
    """As of a unit with two ``ListenStream=``: nobody would take the connections of the other one."""
    said = refusal(configured(tmp_path, "systemd:name=a"), listening, "a:a", 2)
    assert "2 of that name: list each by its index (index=0 with name=a, index=1 with name=a)" in said


def test_nothing_was_handed_over(tmp_path: Path) -> None:
    command = [*DAEMON, "--config", str(configured(tmp_path, "systemd:index=0"))]
    done = fork_server.run(command, cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode == 2
    assert "systemd has handed over no socket: is its socket unit enabled" in done.stdout + done.stderr


def test_a_unix_socket_is_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as given:
        given.bind(str(tmp_path / "socket"))
        given.listen()
        said = refusal(configured(tmp_path, f"systemd:name={NAME}"), given)
    assert "has to hand over a TCP socket that listens" in said
    assert "Traceback" not in said
    assert (tmp_path / "socket").is_socket()


def test_check_accepts_it_without_systemd(tmp_path: Path) -> None:
    config = configured(tmp_path, f"systemd:name={NAME}")
    command = [program("ipfsreg"), "check", "--config", str(config)]
    assert "OK" in fork_server.run(command, cwd=tmp_path, env={"HOME": str(tmp_path)}).stdout


def test_systemd_finds_nothing_wrong_with_the_socket_unit(tmp_path: Path) -> None:
    units = CHECKOUT / "etc" / "systemd"
    service_unit = (units / "ipfsreg.service").read_text().replace("/opt/ipfsreg/bin/twistd", program("twistd"))
    (tmp_path / "ipfsreg.service").write_text(service_unit)
    (tmp_path / "ipfsreg.socket").write_text((units / "ipfsreg.socket").read_text())
    assert run(require_program("systemd-analyze"), "verify", tmp_path / "ipfsreg.socket") == ""
