"""The ``ipfsreg`` command and ``twistd ipfsreg`` as users run them."""

import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ipfsreg import __version__
from ipfsreg.cli.main import main
from ipfsreg.ipfs.cid import raw_cid
from tests import fork_server
from tests.daemon_process import DaemonProcess, free_port, program
from tests.web.served import MANIFEST_TYPE, digest_of, image

WRONG = {
    "[registry]\nthreads = none": "[registry] threads: Input should be a valid integer, unable to parse string as an",
    "[registri]": "unknown section [registri]; did you mean registry?",
    "[local]\npaht = /tmp": "[local] paht: unknown option; did you mean path?",
    "[registry]\nlisten = 5000": "[registry] listen: '5000' is not a Twisted endpoint string",
}

LISTEN = "tcp:0:interface=127.0.0.1"


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands in this process, in a directory of its own, with a home of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("ipfsreg.config.file.SYSTEM_FILE", tmp_path / "etc" / "ipfsreg.ini")
    for name in ("PORT", "HUB_KEY", "HUB_HOST", "BUCKET_NAME", "DAEMON_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return CliRunner()


def fails(result: Result, status: int = 2) -> str:
    """The one line that a command says on standard error when it fails."""
    assert (result.exit_code, result.stdout) == (status, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("ipfsreg: ")
    return line.removeprefix("ipfsreg: ")


def test_check_without_a_file(command: CliRunner) -> None:
    result = command.invoke(main, ["check"])
    assert (result.exit_code, result.output) == (0, "OK: no configuration file, the defaults run\n")


def test_check_finds_the_file(command: CliRunner, tmp_path: Path) -> None:
    for name in ("etc/ipfsreg.ini", "config/ipfsreg/ipfsreg.ini", "ipfsreg.ini", "given.ini"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"[registry]\nlisten = {LISTEN}\n")
        arguments = ["--config", "given.ini"] if name == "given.ini" else []
        result = command.invoke(main, ["check", *arguments])
        shown = name if "/" not in name else file
        assert (result.exit_code, result.output) == (0, f"OK: {shown}\n")


@pytest.mark.parametrize("text", WRONG)
def test_check_says_what_is_wrong(command: CliRunner, tmp_path: Path, text: str) -> None:
    (tmp_path / "wrong.ini").write_text(text)
    line = fails(command.invoke(main, ["check", "-c", "wrong.ini"]))
    assert line.startswith(f"wrong.ini: {WRONG[text]}")


def test_what_is_no_file_is_told_in_one_line(command: CliRunner, tmp_path: Path) -> None:
    """Nothing is waited for, and what is there and cannot be read is not passed over for the next place."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nothing")
    (tmp_path / "long.ini").write_bytes(b"#" * 1024**2 + b"\n")
    for task in ("check", "gc"):
        assert fails(command.invoke(main, [task, "-c", "pipe"])) == "pipe: Is a pipe and not a file"
        line = fails(command.invoke(main, [task, "-c", "link"]))
        assert line == "link: No such file or directory (it is a link to nothing)"
        assert fails(command.invoke(main, [task, "-c", "/dev/zero"])) == "/dev/zero: Is longer than 1048576 bytes"
        assert fails(command.invoke(main, [task, "-c", "long.ini"])) == "long.ini: Is longer than 1048576 bytes"
    assert command.invoke(main, ["check", "-c", "/dev/null"]).output == "OK: /dev/null\n"
    (tmp_path / "link").rename(tmp_path / "ipfsreg.ini")
    assert fails(command.invoke(main, ["check"])).startswith("ipfsreg.ini: No such file or directory")


def test_a_file_that_may_not_be_read_is_told_in_one_line(
    command: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.ini").write_text("")

    def refuse(path: Path, limit: int) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("ipfsreg.config.file.read_small_file", refuse)  # root may read everything
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    assert fails(command.invoke(main, ["check", "-c", "x.ini"])) == "x.ini: Permission denied"


@pytest.mark.parametrize("name", ["missing.ini", "directory"])
def test_check_says_that_there_is_no_file(command: CliRunner, tmp_path: Path, name: str) -> None:
    (tmp_path / "directory").mkdir()
    line = fails(command.invoke(main, ["check", "--config", name]))
    assert line in ("missing.ini: No such file or directory", "directory: Is a directory")


def test_check_looks_at_the_directory(command: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "x.ini").write_text(f"[local]\npath = {tmp_path}/file/store\n")
    line = fails(command.invoke(main, ["check", "--config", "x.ini"]))
    assert line == f"x.ini: [local] path: {tmp_path}/file is not a directory"


@pytest.mark.parametrize("task", ["gc", "verify"])
def test_the_other_commands_say_it_in_one_line_too(command: CliRunner, tmp_path: Path, task: str) -> None:
    (tmp_path / "x.ini").write_text("[registry]\nthreads = 0\n")
    assert fails(command.invoke(main, [task, "--config", "x.ini"])).startswith("x.ini: [registry] threads: ")


def test_the_version(command: CliRunner) -> None:
    assert command.invoke(main, ["--version"]).output == f"ipfsreg {__version__}\n"


def twistd(*arguments: str, cwd: Path, pid_file: str = "") -> subprocess.CompletedProcess[str]:
    """Run the daemon where it cannot run."""
    command = [program("twistd"), "-n", f"--pidfile={pid_file}", "ipfsreg", *arguments]
    return fork_server.run(command, cwd=cwd, env={"PATH": os.environ["PATH"], "HOME": str(cwd)}, timeout=30)


def said_by(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line that says why it ended; Twisted brings what goes to standard error into its log."""
    log = ended.stdout + ended.stderr
    assert "Traceback" not in log
    (line,) = [line.partition(" ipfsreg: ")[2] for line in log.splitlines() if " ipfsreg: " in line]
    return line


def test_the_daemon_says_what_is_wrong_before_it_binds_anything(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "ipfsreg.ini").write_text(f"[registry]\nlisten = tcp:{port}:interface=127.0.0.1\nidle_timeout = 5\n")
    ended = twistd(cwd=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("ipfsreg: ipfsreg.ini: [registry] idle_timeout: a time is a number with ms, s, m, h, d or w")
    assert ended.stdout == ""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))
    assert [path.name for path in tmp_path.iterdir()] == ["ipfsreg.ini"]


def test_the_daemon_says_why_it_cannot_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        (tmp_path / "x.ini").write_text(f"[registry]\nlisten = {endpoint}\n[local]\npath = {tmp_path}/store\n")
        ended = twistd("--config", "x.ini", cwd=tmp_path)
    assert ended.returncode == 2
    assert said_by(ended) == (
        f"x.ini: [registry] listen: {endpoint}: Address already in use; choose another port here, or "
        "without a configuration file by PORT=5001 in the environment"
    )


def test_a_failed_start_leaves_no_pid_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "x.ini").write_text(
        f"[local]\npath = {tmp_path}/file\n[registry]\nlisten = tcp:0:interface=127.0.0.1\n"
    )
    ended = twistd("--config", "x.ini", cwd=tmp_path, pid_file="twistd.pid")
    assert ended.returncode == 2
    assert said_by(ended) == f"x.ini: [local] path: {tmp_path}/file is not a directory"
    assert not (tmp_path / "twistd.pid").exists()


@pytest.mark.parametrize("content", [None, "1\n", "99999999\n", "", "garbage", "own"])
def test_a_pid_file_of_a_killed_daemon_is_in_nobodys_way(tmp_path: Path, content: str | None) -> None:
    """Its number may be another process's by now; in a container even that of the new daemon itself."""
    (tmp_path / "file").write_text("")
    (tmp_path / "x.ini").write_text(
        f"[local]\npath = {tmp_path}/file\n[registry]\nlisten = tcp:0:interface=127.0.0.1\n"
    )
    pid_file = tmp_path / "x.pid"
    if content == "own":
        code = f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid())); import sys; sys.argv = sys.argv[1:]; "
        code += "from twisted.scripts.twistd import run; run()"
        command = [sys.executable, "-c", code, "twistd", "-n", f"--pidfile={pid_file}", "ipfsreg", "--config", "x.ini"]
        ended = fork_server.run(command, cwd=tmp_path, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    else:
        if content is not None:
            pid_file.write_text(content)
        ended = twistd("--config", "x.ini", cwd=tmp_path, pid_file=str(pid_file))
    assert said_by(ended) == f"x.ini: [local] path: {tmp_path}/file is not a directory"
    assert not pid_file.exists()


def test_in_the_foreground_there_is_no_pid_file_unless_one_is_named(tmp_path: Path) -> None:
    """A left one would stop the next daemon; and the working directory need not be writable."""
    (tmp_path / "twistd.pid").write_text("1\n")
    (tmp_path / "file").write_text("")
    (tmp_path / "x.ini").write_text(
        f"[local]\npath = {tmp_path}/file\n[registry]\nlisten = tcp:0:interface=127.0.0.1\n"
    )
    ended = fork_server.run(
        [program("twistd"), "-n", "ipfsreg", "--config", str(tmp_path / "x.ini")],
        cwd=Path("/proc"),
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    assert said_by(ended).endswith(f"{tmp_path}/file is not a directory")
    ended = twistd("--config", "x.ini", cwd=tmp_path, pid_file="/proc/x.pid")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "ipfsreg: the pid file /proc/x.pid: No such file or directory; choose another one with "
        "`twistd --pidfile=FILE`\n"
    )


def test_a_pinning_service_needs_a_backend_that_can_use_it(tmp_path: Path) -> None:
    (tmp_path / "x.ini").write_text(f"[local]\npath = {tmp_path}/store\n[pin]\nservice = somewhere\n")
    ended = twistd("--config", "x.ini", cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "ipfsreg: x.ini: [pin] service: the backend local cannot use a pinning service\n"


class Client:
    """A few requests to a daemon process."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon

    def ask(
        self, method: str, target: str, status: int, content: bytes = b"", **headers: str
    ) -> http.client.HTTPMessage:
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=20)
        connection.request(method, target, content, headers)
        answer = connection.getresponse()
        answered = answer.read()
        connection.close()
        assert answer.status == status, answered
        return answer.headers

    def push_image(self, tag: str, layer: bytes) -> None:
        for blob in (b"{}", layer):
            self.ask("POST", f"/v2/box/blobs/uploads/?digest={digest_of(blob)}", 201, blob)
        self.ask("PUT", f"/v2/box/manifests/{tag}", 201, image(layers=[layer]), **{"Content-Type": MANIFEST_TYPE})


def test_commands_answer_the_same_with_the_daemon_and_alone(tmp_path: Path) -> None:
    answers = []
    for alone in (False, True):
        directory = tmp_path / str(alone)
        directory.mkdir()
        with DaemonProcess(directory) as daemon:
            client = Client(daemon)
            client.push_image("kept", b"kept layer")
            client.push_image("deleted", b"deleted layer")
            client.push_image("damaged", b"damaged layer")
            client.ask("DELETE", "/v2/box/manifests/deleted", 202)
            (damaged,) = (daemon.path / "bucket" / "blobs").rglob(digest_of(b"damaged layer").partition(":")[2])
            damaged.write_bytes(b"DAMAGED layer")
            second = twistd("--config", str(daemon.config_file), cwd=directory)
            assert second.returncode == 2
            assert said_by(second) == (
                f"another ipfsreg is using {daemon.path}: stop it, or give this one a directory of its own (`path`)"
            )
            if alone:
                daemon.stop()
            commands = (["gc", "--dry-run", "--now"], ["gc", "--now"], ["verify"], ["verify"])
            ended = [daemon.command(*arguments) for arguments in commands]
            assert not any(each.stderr for each in ended)
            about = f"This is about local directory {daemon.path}, as {daemon.config_file} says.\n"
            assert all(each.stdout.startswith(about) for each in ended)
            answers.append([(each.returncode, each.stdout.removeprefix(about)) for each in ended])
    with_daemon, without = answers
    assert with_daemon == without
    dry, freed, verified, verified_again = with_daemon
    deleted = len(image(layers=[b"deleted layer"])) + len(b"deleted layer")
    assert dry == (
        0,
        f"Would free {deleted} bytes: 1 manifest and 1 blob taken out of their repositories, 2 files deleted that no "
        "repository needs any more.\n",
    )
    assert freed == (0, dry[1].replace("Would free", "Freed"))
    assert verified[0] == verified_again[0] == 1
    name = digest_of(b"damaged layer")
    assert f"{name} is damaged, moved to quarantine. Used by: box:damaged\n" in verified[1]
    assert f"{name} is missing. Used by: box:damaged\n" in verified_again[1]
    assert "Push one of the images again to heal it.\n" in verified_again[1]


def test_a_command_keeps_what_the_last_daemons_clients_rely_on(tmp_path: Path) -> None:
    """As README says of `[gc] grace`, though no daemon runs that could remember it."""
    with DaemonProcess(tmp_path) as daemon:
        client = Client(daemon)
        for end in (daemon.stop, daemon.kill):
            client.push_image("deleted", b"layer")
            client.ask("DELETE", "/v2/box/manifests/deleted", 202)
            end()
            kept = daemon.command("gc")
            assert "\nFreed 0 bytes: 0 manifests" in kept.stdout, kept
            assert "1 thing that somebody pushed or asked for less than 1 hour ago ([gc] grace)" in kept.stdout
            seen = daemon.path / "last-seen"
            os.utime(seen, (0, seen.stat().st_mtime - 3000))
            assert "\nFreed 0 bytes" in daemon.command("gc").stdout
            os.utime(seen, (0, seen.stat().st_mtime - 900))
            assert "1 manifest and 2 blobs taken out of their repositories, 3 files" in daemon.command("gc").stdout
            daemon.start()


def test_a_command_makes_no_bucket(tmp_path: Path) -> None:
    """A daemon that finds a new, empty bucket in the place of its own would say that nothing is there."""
    with DaemonProcess(tmp_path) as daemon:
        client = Client(daemon)
        client.push_image("t", b"layer")
        shutil.rmtree(daemon.path)
        client.ask("GET", "/v2/box/manifests/t", 503)
        for command in ("gc", "verify"):
            ended = daemon.command(command)
            assert (ended.returncode, ended.stdout) == (1, "")
            assert ended.stderr.startswith(f"ipfsreg: there is no bucket in {daemon.path}")
        client.ask("GET", "/v2/box/manifests/t", 503)


def test_uploads_go_on_after_a_stop_and_after_a_kill(tmp_path: Path) -> None:
    content = os.urandom(6_000_000)
    part = 2_000_000
    with DaemonProcess(tmp_path, {"registry": {"shutdown_grace": "300ms"}}) as daemon:
        client = Client(daemon)
        location = client.ask("POST", "/v2/box/blobs/uploads/", 202)["Location"]
        received = 0
        for end in (daemon.stop, daemon.kill):
            connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
            connection.putrequest("PATCH", location)
            connection.putheader("Content-Length", str(len(content) - received))
            connection.endheaders(content[received : received + part])
            before = received
            while written(daemon) <= before:  # until something of it is in the spool
                pass
            end()
            connection.close()
            daemon.start()
            received = int(client.ask("GET", location, 204)["Range"].partition("-")[2]) + 1
            assert before < received <= before + part
        client.ask("PATCH", location, 202, content[received:], **{"Content-Range": f"{received}-{len(content) - 1}"})
        client.ask("PUT", f"{location}?digest={digest_of(content)}", 201)
        headers = client.ask("HEAD", f"/v2/box/blobs/{digest_of(content)}", 200)
        assert headers["Content-Length"] == str(len(content))


def written(daemon: DaemonProcess) -> int:
    """How many bytes the only upload has in the spool."""
    (data,) = (daemon.path / "uploads").glob("*/data")
    return data.stat().st_size


def test_cids(tmp_path: Path) -> None:
    layer = b"a layer" * 300_000
    manifest = image(layers=[layer])
    cid = str(raw_cid(hashlib.sha256(manifest).digest()))
    with DaemonProcess(tmp_path) as daemon:
        Client(daemon).push_image("latest", layer)
        assert daemon.command("cid", "box").stdout == f"{cid}\n"
        said = daemon.command("cid", "box:none")
        assert (said.returncode, said.stdout) == (3, "")
        assert said.stderr == (
            f"ipfsreg: there is no image box:none; box has the tag latest (local directory {daemon.path}, as "
            f"{daemon.config_file} says)\n"
        )
        listed = daemon.command("cid", "--blobs", "box:latest")
        daemon.stop()
        alone = daemon.command("cid", "--blobs", f"box@{digest_of(manifest)}")
        assert alone.stdout == listed.stdout
        assert [line.split() for line in listed.stdout.splitlines()] == [
            [cid, digest_of(manifest), str(len(manifest))],
            [str(raw_cid(hashlib.sha256(b"{}").digest())), digest_of(b"{}"), "2"],
            ["bafybeiarah43a2jivznkrhh2ue5ebdldemrzaintoowwwxsoxvr45qwdxa", digest_of(layer), str(len(layer))],
        ]
        daemon.start()


def test_commands_make_nothing_where_no_daemon_was(command: CliRunner, tmp_path: Path) -> None:
    """Neither in a wrong place nor in the one that is found where nobody said which is meant."""
    (tmp_path / "wrong.ini").write_text(f"[local]\npath = {tmp_path}/wrong\n")
    (tmp_path / "kubo.ini").write_text(f"[registry]\nbackend = kubo\n[kubo]\ndirectory = {tmp_path}/wrong\n")
    before = set(tmp_path.rglob("*"))
    for arguments in (["gc"], ["verify"], ["cid", "box"], ["publish", "box"], ["export", "box", "-o", "box.car"]):
        for config in (["-c", "wrong.ini"], ["-c", "kubo.ini"], []):
            command_line = [program("ipfsreg"), *arguments, *config]
            ended = fork_server.run(command_line, cwd=tmp_path, env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]})
            assert (ended.returncode, ended.stdout) == (1, "")
            (line,) = ended.stderr.splitlines()
            assert line.startswith(f"ipfsreg: there is no bucket in {tmp_path}/")
            if config:
                assert line.endswith(f", as {config[1]} says)")
            else:
                assert line.endswith(", without a configuration file; --config FILE names another registry)")
            assert set(tmp_path.rglob("*")) == before


def test_root_makes_no_files_in_the_directory_of_another_user(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be told apart from the owner")
    with DaemonProcess(tmp_path) as daemon:
        os.chown(daemon.path, 12345, -1)
        assert daemon.command("gc").returncode == 0  # the daemon does it, as whoever it is
        daemon.stop()
        before = set(daemon.path.rglob("*"))
        ended = daemon.command("gc")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert f"{daemon.path} belongs to another user" in ended.stderr
        assert "setpriv --reuid=12345" in ended.stderr
        assert set(daemon.path.rglob("*")) == before
        os.chown(daemon.path, 0, -1)
        assert daemon.command("gc").returncode == 0
        daemon.start()


def test_the_storage_is_named_where_nobody_said_which_is_meant(tmp_path: Path) -> None:
    """As after `make run CONFIG=x` and a command without it."""
    with DaemonProcess(tmp_path) as daemon:
        Client(daemon).push_image("latest", b"layer")

        def run(*arguments: str, cwd: Path = tmp_path) -> subprocess.CompletedProcess[str]:
            env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
            return fork_server.run([program("ipfsreg"), *arguments], cwd=cwd, env=env)

        found = run("cid", "box")
        assert found.returncode == 0
        assert found.stdout == daemon.command("cid", "box").stdout
        about = f"local directory {daemon.path}, as ipfsreg.ini says"
        assert found.stderr == f"ipfsreg: this is about {about}; --config FILE names another registry\n"
        assert run("gc").stdout.startswith(f"This is about {about}.\n")
        assert daemon.command("cid", "box").stderr == ""
        (tmp_path / "elsewhere").mkdir()
        elsewhere = run("cid", "box", cwd=tmp_path / "elsewhere")
        assert (elsewhere.returncode, elsewhere.stdout) == (1, "")
        assert "without a configuration file; --config FILE names another" in elsewhere.stderr


def test_an_overwritten_tag_is_freed_on_demand(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"gc": {"grace": "0s"}}) as daemon:
        client = Client(daemon)
        client.push_image("t", b"first")
        client.push_image("t", b"second")
        kept = daemon.command("gc", "--now").stdout
        assert "\nFreed 0 bytes" in kept
        assert (
            "\nKept for now: 1 manifest without a tag, which [gc] untagged keeps for 1 day. "
            "To free them: ipfsreg gc --untagged 0\n"
        ) in kept
        assert "for 1 hour" in daemon.command("gc", "--untagged", "1h").stdout
        assert "\nFreed 0 bytes" in daemon.command("gc").stdout
        would = daemon.command("gc", "--untagged", "0", "--dry-run").stdout
        freed = daemon.command("gc", "--untagged", "0").stdout
        assert freed == would.replace("Would free", "Freed")
        assert ": 1 manifest and 1 blob taken out of their repositories, 2 files deleted" in freed
        assert "Kept" not in freed
        client.ask("GET", "/v2/box/manifests/t", 200)
        wrong = daemon.command("gc", "--untagged", "5")
        assert wrong.returncode == 2
        assert "a time is a number with ms, s, m, h, d or w" in wrong.stderr


def test_names_as_clients_have_them(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        empty = daemon.command("cid", "nosuch")
        assert "there is no image nosuch:latest, nor any other: nothing was pushed yet (" in empty.stderr
        Client(daemon).push_image("1", b"layer")
        cid = daemon.command("cid", "box:1").stdout
        for host in (daemon.host, f"localhost:{daemon.port}", f"127.0.0.7:{daemon.port}", f"docker://{daemon.host}"):
            assert daemon.command("cid", f"{host}/box:1").stdout == cid
        assert "there is no image nosuch:latest; there are box (" in daemon.command("cid", "nosuch").stderr
        assert "box has the tag 1 (" in daemon.command("cid", f"box@{digest_of(b'other')}").stderr
        for host in ("127.0.0.1:1", f"registry.example.org:{daemon.port}", f"192.0.2.1:{daemon.port}", "a:b"):
            other = daemon.command("cid", f"{host}/box:1")
            assert other.returncode == 2
            assert other.stderr == (
                f"ipfsreg: {host}/box:1: this registry does not listen at {host}; name the image without a host: "
                "box:1\n"
            )
        named = daemon.command("cid", "registry.example.org/box:1").stderr
        assert "no image registry.example.org/box:1; there are box; without its host an image is box (" in named


def test_what_is_no_car(tmp_path: Path) -> None:
    files = {"text": b"hello\n", "empty": b"", "tar": bytes(257) + b"ustar" + bytes(500), "binary": os.urandom(5000)}
    registry = DaemonProcess(tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        ended = registry.command("import", name, "box")
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr.startswith(f"ipfsreg: {name} is no CAR file, such as `ipfsreg export NAME -o FILE` writes")
        assert ("docker-archive:tar" in ended.stderr) == (name == "tar")
        assert not registry.path.exists()


def test_a_node_that_is_down(tmp_path: Path) -> None:
    port = free_port()
    section = {"directory": str(tmp_path / "state"), "api": f"/ip4/127.0.0.1/tcp/{port}"}
    with DaemonProcess(tmp_path, {"registry": {"backend": "kubo"}, "kubo": section}) as daemon:
        url = f"http://127.0.0.1:{port}"
        said = f"version: Connection refused; is the IPFS node at {url} ([kubo] api)?"
        ended = daemon.command("gc")
        assert (ended.returncode, ended.stdout) == (5, "")
        assert ended.stderr == (
            f"ipfsreg: {said} (bucket /ipfsreg on the IPFS node at {url}, as {daemon.config_file} says)\n"
        )
        assert f"cannot be used yet: {said}" in daemon.log


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Box:1", "Box:1: repository name must be lower-case letters and digits, joined by"),
        ("box:", "box:: a tag is at most 128 letters"),
        ("box@sha256:1", "box@sha256:1: a sha256 digest has 64 lower-case hexadecimal digits"),
        ("box:1@sha256:1", "box:1@sha256:1: repository name must be lower-case"),
    ],
)
def test_cids_of_names_that_are_none(command: CliRunner, name: str, problem: str) -> None:
    assert fails(command.invoke(main, ["cid", name])).startswith(problem)
