"""``ipfsreg ls``, ``tags``, ``inspect``, ``rm`` and ``status``: by the daemon, alone, and elsewhere."""

import base64
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ipfsreg.ipfs.cid import raw_cid
from tests import fork_server
from tests.access.helpers import HASH, PASSWORD
from tests.cli.test_images import ask, push, refusal, said
from tests.cli.test_reference import promised
from tests.clients.images import Image, make_image, random_layer, sha256
from tests.copying.collection import docker_registry
from tests.daemon_process import DaemonProcess, program
from tests.full import FULL, some
from tests.terminal import on_terminal

INDEX = "application/vnd.oci.image.index.v1+json"
IMAGE = "application/vnd.oci.image.manifest.v1+json"

MANY = 2500
"""Tags: more than are read, sent or written at once."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def image() -> Image:
    return make_image([random_layer("a", 2000), random_layer("b", 3000)])


def put(daemon: DaemonProcess, target: str, document: dict[str, Any]) -> str:
    """Push a manifest; answers its digest."""
    content = json.dumps(document).encode()
    assert ask(daemon, "PUT", target, content, document["mediaType"])[0] == 201
    return sha256(content)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[DaemonProcess]:
    """With ``team/app``, an index of two platforms of which one is not here, and a signature; and ``other``."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as daemon:
        push(daemon, "team/app", image, "1")
        push(daemon, "other", image, "latest")
        here = {
            "mediaType": IMAGE,
            "digest": image.digest,
            "size": len(image.manifest),
            "platform": {"os": "linux", "architecture": "arm", "variant": "v7\x1b[31m"},
        }
        gone = {"mediaType": IMAGE, "digest": f"sha256:{'0' * 64}", "size": 7}
        put(
            daemon,
            "team/app/manifests/multi",
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [here, gone],
                "annotations": {"told": "a\x1b]0;title\x07\u202ereversed\nline"},
            },
        )
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2}
        assert ask(daemon, "POST", f"team/app/blobs/uploads/?digest={sha256(b'{}')}", b"{}")[0] == 201
        put(
            daemon,
            f"team/app/manifests/{sha256(signature(image, config))}",
            json.loads(signature(image, config)),
        )
        yield daemon


def signature(image: Image, config: dict[str, Any]) -> bytes:
    subject = {"mediaType": IMAGE, "digest": image.digest, "size": len(image.manifest)}
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "artifactType": "application/example.signature",
            "config": config,
            "layers": [config],
            "subject": subject,
        }
    ).encode()


WAYS = ("daemon", "alone", "elsewhere")


def elsewhere_of(daemon: DaemonProcess, directory: Path) -> Run:
    """Runs commands where no configuration is, on a registry that has only an address."""

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        env = {"HOME": str(directory), "PATH": os.environ["PATH"]}
        command = [program("ipfsreg"), *arguments, "--registry", daemon.url]
        return fork_server.run(command, cwd=directory, env=env)

    return run


@contextmanager
def reached(daemon: DaemonProcess, way: str, directory: Path) -> Iterator[Run]:
    """Runs commands on a registry in one of the `WAYS`."""
    if way == "alone":
        daemon.stop()
    yield elsewhere_of(daemon, directory) if way == "elsewhere" else daemon.command
    if way == "alone":
        daemon.start()


@pytest.fixture(params=WAYS)
def run(request: pytest.FixtureRequest, daemon: DaemonProcess, tmp_path: Path) -> Iterator[Run]:
    """Runs a command on the registry in each of the ways to it."""
    with reached(daemon, request.param, tmp_path) as run:
        yield run


def promise(name: str, document: dict[str, Any]) -> dict[str, Any]:
    """The document, which has every name that is promised for it, and no other."""
    assert set(document) == promised(name)
    return document


def found(done: "subprocess.CompletedProcess[str]") -> Any:
    """The document of a command that was asked for JSON."""
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    return json.loads(done.stdout)


def test_lists(run: Run, image: Image) -> None:
    assert said(run("ls")).split() == ["other", "team/app"]
    promise("ipfsreg ls", found(run("ls", "--json")))
    assert found(run("ls", "--json")) == {"repositories": [{"name": "other"}, {"name": "team/app"}]}
    long = found(run("ls", "-l", "--json"))["repositories"]
    assert [(each["name"], each["tags"]) for each in long] == [("other", 1), ("team/app", 2)]
    assert all(each["size"] is None or each["size"] > 5000 for each in long)
    assert said(run("tags", "team/app")).split() == ["1", "multi"]
    assert found(run("tags", "team/app", "--json")) == {
        "repository": "team/app",
        "tags": [{"tag": "1"}, {"tag": "multi"}],
    }
    one, multi = found(run("tags", "--long", "team/app", "--json"))["tags"]
    size = sum(map(len, image.blobs.values()))
    assert (one["tag"], one["digest"], one["size"]) == ("1", image.digest, size)
    assert (multi["size"], multi["platforms"]) == (size, ["linux/arm/v7\x1b[31m"])
    rows = [line.split("\t") for line in said(run("tags", "--long", "team/app")).splitlines()]
    assert [row[0] for row in rows] == ["1", "multi"]
    assert rows[0][-1] == image.digest
    assert rows[1][3] == r"linux/arm/v7\x1b[31m"


def test_an_image(run: Run, image: Image) -> None:
    document = promise("ipfsreg inspect", found(run("inspect", "team/app:1", "--json")))
    assert document["digest"] == image.digest
    assert document["artifact_type"] is None
    assert document["cid"] == str(raw_cid(bytes.fromhex(image.digest.partition(":")[2])))
    (platform,) = document["platforms"]
    described = json.loads(image.manifest)
    assert [(each["digest"], each["size"]) for each in platform["layers"]] == [
        (each["digest"], each["size"]) for each in described["layers"]
    ]
    assert platform["total_size"] == sum(map(len, image.blobs.values()))
    assert platform["config"]["digest"] == described["config"]["digest"]
    (referrer,) = document["referrers"]
    assert referrer["artifact_type"] == "application/example.signature"
    assert document["name"] == "team/app:1"
    text = said(run("inspect", "team/app:1"))
    assert described["layers"][0]["digest"] in text
    assert "application/example.signature" in text


def test_what_others_wrote_does_nothing_to_a_terminal(run: Run) -> None:
    text = said(run("inspect", "team/app:multi"))
    assert all(line.isprintable() for line in text.replace("\t", " ").splitlines())
    assert r"told: a\x1b]0;title\x07\u202ereversed\nline" in text
    assert "It is not here." in text
    here, gone = found(run("inspect", "team/app:multi", "--json"))["platforms"]
    assert (here["platform"], here["present"], gone["present"]) == ("linux/arm/v7\x1b[31m", True, False)


def test_what_is_not_there(run: Run) -> None:
    assert "no image" in refusal(run("inspect", "team/app:none"), 3)
    assert "none" in refusal(run("tags", "none"), 3)
    refusal(run("rm", "team/app:none", "--yes"), 3)
    refusal(run("rm", "none", "--all", "--yes"), 3)
    assert "must be lower-case" in refusal(run("inspect", "Team/../x"), 2)
    assert "without a tag" in refusal(run("tags", "team/app:1"), 2)


@pytest.mark.parametrize("way", WAYS)
def test_deleting(way: str, image: Image, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    with DaemonProcess(tmp_path) as daemon:
        for tag in ("1", "2", "3"):
            push(daemon, "box", image, tag)
        push(daemon, "kept", image, "latest")
        with reached(daemon, way, tmp_path / "home") as run:
            assert "say --all" in refusal(run("rm", "box", "--yes"), 2)
            assert "say --yes" in refusal(run("rm", "box:1"), 1)
            assert said(run("rm", "box:1", "--yes")) == "Deleted box:1: 1 tag."
            assert said(run("tags", "box")).split() == ["2", "3"]
            assert found(run("rm", f"box@{image.digest}", "-y", "--json"))["manifests"] == 1
            assert said(run("ls")).split() == ["kept"]
            assert found(run("rm", "kept", "--all", "--yes", "--json")) == {"name": "kept", "tags": 1, "manifests": 1}
            assert said(run("ls")) == ""


@pytest.mark.parametrize("lost", ["content", "record"])
def test_an_image_whose_manifest_is_damaged_is_said_to_be(image: Image, tmp_path: Path, lost: str) -> None:
    with DaemonProcess(tmp_path, {"registry": {"cache_memory": "0"}}) as daemon:
        push(daemon, "box", image, "1")
        name = image.digest.removeprefix("sha256:")
        pattern = f"blobs/sha256/*/{name}" if lost == "content" else f"repositories/box/_manifests/sha256/*/{name}"
        (file,) = (daemon.path / "bucket").glob(pattern)
        file.write_bytes(bytes(file.stat().st_size))
        for reference in ("box:1", f"box@{image.digest}"):
            told = refusal(daemon.command("inspect", reference), 3)
            assert f"{reference} is damaged or missing" in told
            assert "`ipfsreg verify`" in told
        assert "damaged or missing: run `ipfsreg verify`" in said(daemon.command("tags", "--long", "box"))
        assert found(daemon.command("tags", "--long", "box", "--json"))["tags"][0]["digest"] is None


def test_a_terminal_gets_tables_and_questions(tmp_path: Path, image: Image) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon, "box", image, "1")
        config = ["--config", str(daemon.config_file)]
        status, shown = on_terminal([program("ipfsreg"), "tags", "-l", "box", *config], cwd=tmp_path)
        assert status == 0
        assert "PLATFORMS" in shown
        assert " kB" in shown
        assert "sha256:" in shown
        status, shown = on_terminal([program("ipfsreg"), "rm", "box:1", *config], typed=b"n\n", cwd=tmp_path)
        assert (status, "Delete box:1?" in shown) == (1, True)
        assert said(daemon.command("tags", "box")) == "1"
        status, shown = on_terminal([program("ipfsreg"), "rm", "box:1", *config], typed=b"y\n", cwd=tmp_path)
        assert (status, "Deleted box:1" in shown) == (0, True)


def test_what_it_is_about_is_said_when_no_bar_is_drawn(tmp_path: Path, image: Image) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon, "box", image, "1")
        found = tmp_path / ".config" / "ipfsreg" / "ipfsreg.ini"
        found.parent.mkdir(parents=True)
        found.write_text(daemon.config_file.read_text())
        at_once = "from ipfsreg.cli.terminal import progress; progress.SHOWN_AFTER = 0; "
        command = at_once + "from ipfsreg.cli.main import main; main(prog_name='ipfsreg')"
        status, shown = on_terminal([sys.executable, "-c", command, "inspect", "box:1"], cwd=tmp_path)
        assert status == 0
        *_, last = shown.splitlines()
        assert last.startswith("ipfsreg: this is about local directory ")
        assert "Reading" in shown
        status, shown = on_terminal([sys.executable, "-c", command, "inspect", "box:2"], cwd=tmp_path)
        assert "Reading" in shown
        last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.splitlines()[-1])
        assert (status, last.startswith("ipfsreg: there is no image box:2; ")) == (3, True)


def test_no_digest_is_cut_where_the_terminal_is_narrow(daemon: DaemonProcess, image: Image, tmp_path: Path) -> None:
    config = ["--config", str(daemon.config_file)]
    layers = [each["digest"] for each in json.loads(image.manifest)["layers"]]
    for columns in (60, 100, 400):
        for words, digests in ((["tags", "-l", "team/app"], [image.digest]), (["inspect", "team/app:1"], layers)):
            _, shown = on_terminal([program("ipfsreg"), *words, *config], cwd=tmp_path, columns=columns)
            assert all(digest in shown for digest in digests), shown
            assert "\N{HORIZONTAL ELLIPSIS}" not in shown


def test_sizes_are_in_bytes_where_no_person_reads_them(daemon: DaemonProcess, image: Image) -> None:
    size = sum(map(len, image.blobs.values()))
    assert f"  Size:    {size} bytes" in said(daemon.command("inspect", "other")).splitlines()
    used = next(line for line in said(daemon.command("status")).splitlines() if line.startswith("Used:"))
    assert re.fullmatch(r"Used: +\d{4,} bytes", used)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    "words", some(3, ["ls", "tags team/app", "tags -l team/app", "ls --json", "inspect other", "export other"])
)
def test_a_result_that_cannot_be_written(daemon: DaemonProcess, words: str, alone: bool, tmp_path: Path) -> None:
    command = [program("ipfsreg"), *words.split(), "--config", str(daemon.config_file)]
    with reached(daemon, "alone" if alone else "daemon", tmp_path), open("/dev/full", "wb") as full:
        done = fork_server.run(command, cwd=tmp_path, env={"HOME": str(tmp_path)}, stdout=full)
    assert done.returncode == 1
    line = done.stderr.splitlines()[-1]
    assert (line, "Traceback" in done.stderr) == ("ipfsreg: standard output: No space left on device", False)


def test_who_reads_may_have_enough(daemon: DaemonProcess) -> None:
    for words in ("ls", "tags -l team/app", "inspect team/app:multi"):
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as left:
            command = [program("ipfsreg"), *words.split(), "--config", str(daemon.config_file)]
            done = fork_server.run(command, cwd=daemon.directory, env={"HOME": str(daemon.directory)}, stdout=left)
        assert (done.returncode in {0, 1}, done.stderr) == (True, "")


def test_an_encrypted_bucket_has_no_cids_and_its_size_is_counted_by_a_daemon(tmp_path: Path, image: Image) -> None:
    daemon = DaemonProcess(tmp_path, {"encryption": {"enabled": "yes", "key": str(tmp_path / "member.key")}})
    daemon.command("keys", "init")
    with daemon:
        push(daemon, "box", image, "1")
        assert "CID:       none, in an encrypted bucket" in said(daemon.command("inspect", "box:1")).splitlines()
        daemon.stop()
        assert "Used:          not counted yet" in said(daemon.command("status")).splitlines()
        daemon.start()


def test_the_status(tmp_path: Path, image: Image) -> None:
    with DaemonProcess(tmp_path, {"gc": {"grace": "0s", "untagged": "0s"}}) as daemon:
        push(daemon, "box", image, "1")
        assert ask(daemon, "POST", "box/blobs/uploads/")[0] == 202
        assert ask(daemon, "DELETE", "box/manifests/1")[0] == 202
        document = promise("ipfsreg status", found(daemon.command("status", "--json")))
        assert document["daemon"]["pid"] == daemon.pid
        assert document["backend"] == "local"
        assert document["uploads"] == {"count": 1, "bytes": 0}
        assert document["garbage"]["contents"] > 0
        assert document["used"] > 5000
        assert f"process {daemon.pid}" in said(daemon.command("status"))
        daemon.stop()
        document = found(daemon.command("status", "--json"))
        assert document["daemon"] is None
        assert "none runs" in said(daemon.command("status"))
        daemon.start()


def test_the_registry_elsewhere_does_not_answer(daemon: DaemonProcess, tmp_path: Path) -> None:
    if FULL:  # it is tried for some seconds
        assert "127.0.0.1" in refusal(elsewhere_of(DaemonProcess(tmp_path), tmp_path)("ls"), 5)
    assert "leave one out" in refusal(daemon.command("ls", "--registry", "http://127.0.0.1:1"), 2)


@pytest.mark.parametrize("alone", [False, True])
def test_documents_of_the_other_commands(alone: bool, image: Image, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon, "box", image, "1")
        with reached(daemon, "alone" if alone else "daemon", tmp_path) as run:

            def document(*arguments: str) -> dict[str, Any]:
                return promise(f"ipfsreg {arguments[0]}", found(run(*arguments, "--json")))

            assert document("check") == {"file": str(daemon.config_file), "backend": "local"}
            assert document("gc", "--dry-run")["dry_run"] is True
            assert document("gc", "--untagged", "2h")["untagged_for"] == 7200
            assert document("verify")["whole"] is True
            assert document("cid", "box:1", "--blobs")["cid"] == said(run("cid", "box:1"))
            assert document("publish", "box:1")["missing"] == []
            exported = document("export", "box:1", "-o", str(tmp_path / "box.car"))
            assert (exported["name"], exported["missing_manifests"]) == ("box:1", 0)
            imported = document("import", str(tmp_path / "box.car"), "again:2")
            assert (imported["name"], imported["digest"], imported["missing"]) == ("again:2", image.digest, [])
            assert said(run("ls")).split() == ["again", "box"]
            refusal(run("export", "box:1", "--json"), 2)
            damaged = next((daemon.path / "bucket" / "blobs").rglob(image.digest.partition(":")[2]))
            damaged.write_bytes(b"?")
            broken = run("verify", "--json")
            assert (broken.returncode, broken.stderr) == (1, "")
            assert json.loads(broken.stdout)["damaged"] == [image.digest]


@pytest.fixture(scope="module")
def with_many_tags(tmp_path_factory: pytest.TempPathFactory, image: Image) -> Iterator[DaemonProcess]:
    with DaemonProcess(tmp_path_factory.mktemp("many")) as daemon:
        push(daemon, "box", image, "0")
        tags = daemon.path / "bucket" / "repositories" / "box" / "_tags"
        for number in range(1, MANY):
            (tags / f"v{number:05}").write_text(f"{image.digest}\n")
        yield daemon


@pytest.mark.parametrize("way", WAYS)
def test_a_list_of_many_pages(way: str, with_many_tags: DaemonProcess, tmp_path: Path) -> None:
    with reached(with_many_tags, way, tmp_path) as run:
        assert said(run("tags", "box")).split() == ["0", *(f"v{number:05}" for number in range(1, MANY))]


def test_who_reads_a_list_of_many_pages_may_have_enough(with_many_tags: DaemonProcess, tmp_path: Path) -> None:
    command = [program("ipfsreg"), "tags", "box", "-c", str(with_many_tags.config_file)]
    reading, writing = os.pipe()
    with (tmp_path / "errors").open("w+b") as errors, open(os.devnull, "rb") as nothing:
        with os.fdopen(writing, "wb") as end:
            env = {"HOME": str(tmp_path)}
            process = fork_server.start(command, cwd=tmp_path, env=env, stdin=nothing, stdout=end, stderr=errors)
        with os.fdopen(reading, "rb") as lines:
            assert lines.readline() == b"0\n"
        process.wait(60)
        assert errors.read() == b""


def test_a_login_of_docker_is_used_elsewhere(image: Image, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".docker").mkdir(parents=True)
    (tmp_path / "htpasswd").write_text(f"alice:{HASH}\n")
    config = {"auth": {"htpasswd": str(tmp_path / "htpasswd")}, "access": {"rules": "allow alice *,catalog"}}
    with DaemonProcess(tmp_path, config) as daemon:
        run = elsewhere_of(daemon, home)
        assert "login" in refusal(run("ls"), 4)
        login = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        (home / ".docker" / "config.json").write_text(json.dumps({"auths": {daemon.host: {"auth": login}}}))
        assert found(run("ls", "--json")) == {"repositories": []}
        wrong = base64.b64encode(b"alice:wrong").decode()
        (home / ".docker" / "config.json").write_text(json.dumps({"auths": {daemon.host: {"auth": wrong}}}))
        refused = run("ls")
        refusal(refused, 4)
        assert "wrong" not in refused.stderr


def test_what_a_command_deletes_is_told_to_those_who_listen(image: Image, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path) as daemon:
        push(daemon, "box", image, "1")
        connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        connection.request("GET", "/events")
        with connection.getresponse() as told:
            said(daemon.command("rm", "box:1", "--yes"))
            while b'"delete"' not in (line := told.readline()):
                assert line
        assert b'"tag":"1"' in line.replace(b" ", b"")
        connection.close()


@pytest.mark.parametrize("way", ["daemon", "alone"])
def test_a_repository_with_an_immutable_tag_stays_whole(way: str, image: Image, tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"immutable": "box:v*"}}) as daemon:
        for tag in ("1", "v1"):
            push(daemon, "box", image, tag)
        with reached(daemon, way, tmp_path) as run:
            assert "v1" in refusal(run("rm", "box", "--all", "--yes"), 4)
            assert said(run("tags", "box")).split() == ["1", "v1"]


def test_a_time_that_is_none_is_null(image: Image, tmp_path: Path) -> None:
    right = "2026-01-02T03:04:05.123456789Z"
    with DaemonProcess(tmp_path) as daemon:
        for tag, created in (("good", right), ("bad", "\x1b[31mnow")):
            config = json.dumps({"created": created, "history": [{"created": created}]}).encode()
            assert ask(daemon, "POST", f"box/blobs/uploads/?digest={sha256(config)}", config)[0] == 201
            described = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": sha256(config)}
            manifest = {
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": described | {"size": len(config)},
                "layers": [],
            }
            put(daemon, f"box/manifests/{tag}", manifest)
        tags = {each["tag"]: each["created"] for each in found(daemon.command("tags", "box", "-l", "--json"))["tags"]}
        assert tags == {"good": right, "bad": None}
        (platform,) = found(daemon.command("inspect", "box:bad", "--json"))["platforms"]
        assert (platform["created"], platform["history"][0]["created"]) == (None, None)


def test_a_registry_elsewhere_that_deletes_no_tags(image: Image, tmp_path: Path) -> None:
    with docker_registry(tmp_path) as docker:
        docker.push_blob("box", sha256(b"{}"), b"{}")
        config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": sha256(b"{}"), "size": 2}
        manifest = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": []}).encode()
        docker.push_manifest("box", "1", manifest, IMAGE)
        home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
        command = [program("ipfsreg"), "rm", "box:1", "--yes", "--registry", docker.host]
        assert "does not delete tags" in refusal(fork_server.run(command, cwd=tmp_path, env=home, timeout=60), 4)
