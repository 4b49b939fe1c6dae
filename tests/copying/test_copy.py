"""`ipfsreg copy` as users run it: real registries, this daemon, a configuration without one, layouts and CARs."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import fork_server
from tests.clients.images import (
    INDEX_TYPE,
    MANIFEST_TYPE,
    descriptor,
    layout_blobs,
    make_image,
    random_layer,
    sha256,
    write_layout,
)
from tests.clients.programs import require_program, run
from tests.daemon_process import DaemonProcess, program
from tests.full import some

from .collection import Collection, Http, docker_registry, make_collection, olareg


def environment(home: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}


def copied(home: Path, *words: str | Path, status: int = 0) -> dict[str, Any]:
    """What a copy says as JSON."""
    command = [program("ipfsreg"), "copy", *map(str, words), "--json"]
    done = fork_server.run(command, cwd=home, env=environment(home), timeout=60)
    assert done.returncode == status, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def refusal(home: Path, *words: str | Path, status: int) -> str:
    """The one line of a copy that could not begin."""
    done = fork_server.run([program("ipfsreg"), "copy", *map(str, words)], cwd=home, env=environment(home), timeout=60)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    return line.removeprefix("ipfsreg: ")


@pytest.fixture(scope="module")
def collection() -> Collection:
    return make_collection()


@pytest.fixture(scope="module")
def docker(tmp_path_factory: pytest.TempPathFactory, collection: Collection) -> Iterator[Http]:
    """Docker's registry with the collection in it."""
    with docker_registry(tmp_path_factory.mktemp("docker")) as started:
        started.push(collection)
        yield started


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, collection: Collection) -> Iterator[DaemonProcess]:
    """This registry with the collection in it."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as started:
        Http(started.port).push(collection)
        yield started


@pytest.fixture
def other(tmp_path: Path) -> DaemonProcess:
    """A directory with a configuration, where no daemon runs unless a test starts it."""
    directory = tmp_path / "other"
    directory.mkdir()
    return DaemonProcess(directory)


def test_from_dockers_registry_to_this_one_and_nothing_twice(
    docker: Http, other: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    with other:
        first = copied(tmp_path, docker.host, other.url)
        Http(other.port).check(collection)
        assert (first["failed"], first["failures"], first["missing"]) == (0, [], 0)
        assert (first["repositories"], first["images"], first["images_there"]) == (3, 5, 0)
        assert first["mounted"] >= 1  # the layer that two repositories have
        again = copied(tmp_path, docker.host, other.url)
        assert (again["images_there"], again["manifests"], again["blobs"], again["bytes"]) == (5, 0, 0, 0)


def test_a_repository_that_a_push_had_only_begun_is_no_failure(tmp_path: Path) -> None:
    with docker_registry(tmp_path / "docker") as docker:
        docker.push_blob("begun", sha256(b"{}"), b"{}")
        assert json.loads(docker.ask("GET", "/v2/_catalog")[1])["repositories"] == ["begun"]
        found = copied(tmp_path, docker.host, tmp_path / "layout")
        assert (found["repositories"], found["images"], found["failed"]) == (1, 0, 0)
        assert copied(tmp_path, docker.host, tmp_path / "layout", "begun", status=1)["failed"] == 1


def test_from_this_registry_to_dockers(daemon: DaemonProcess, tmp_path: Path, collection: Collection) -> None:
    with docker_registry(tmp_path / "docker") as to:
        copied(tmp_path, daemon.url, to.host)
        to.check(collection)
        assert copied(tmp_path, daemon.url, to.host)["manifests"] == 0


def test_through_olareg(daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path, collection: Collection) -> None:
    with olareg(tmp_path / "olareg") as between, other:
        copied(tmp_path, daemon.url, between.host)
        between.check(collection)
        assert "name those to copy" in refusal(tmp_path, between.host, other.url, status=3)
        copied(tmp_path, between.host, other.url, "team/app", "team/tools", "zoo")
        Http(other.port).check(collection)


def test_configurations_with_a_daemon_and_without(
    daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    """Neither needs a port: a daemon is reached by its socket, and where none runs the command does it alone."""
    copied(tmp_path, daemon.config_file, other.config_file)
    with other:
        Http(other.port).check(collection)
        again = copied(tmp_path, daemon.config_file, other.config_file)
        assert (again["images_there"], again["blobs"]) == (5, 0)


def test_access_control_does_not_keep_the_administrator_out(
    daemon: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    directory = tmp_path / "guarded"
    directory.mkdir()
    (directory / "htpasswd").write_text("")
    config = {"auth": {"htpasswd": str(directory / "htpasswd")}, "access": {"rules": "allow nobody pull none"}}
    with DaemonProcess(directory, config) as guarded:
        copied(tmp_path, daemon.config_file, guarded.config_file)
        told = refusal(tmp_path, guarded.url, tmp_path / "layout" / "new", status=4)
        assert "docker login" in told
        with docker_registry(tmp_path / "docker") as to:
            copied(tmp_path, guarded.config_file, to.host)
            to.check(collection)


def test_a_layout_and_a_car_hold_all_of_it(
    daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    layout, car, second = tmp_path / "layout", tmp_path / "all.car", tmp_path / "second.car"
    copied(tmp_path, daemon.url, layout)
    layout_blobs(layout)
    assert copied(tmp_path, daemon.url, layout)["blobs"] == 0
    copied(tmp_path, layout, car)
    copied(tmp_path, daemon.url, f"car:{second}", "team/*")
    copied(tmp_path, daemon.url, second)  # what was missing is added
    assert sorted(each.name for each in tmp_path.iterdir() if each.name.startswith(".")) == []
    with other:
        copied(tmp_path, car, other.url)
        Http(other.port).check(collection)
    with olareg(tmp_path / "olareg") as to:
        copied(tmp_path, second, to.host)
        to.check(collection)


def test_a_blob_that_the_destination_lost_comes_again(
    daemon: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    layout = tmp_path / "layout"
    copied(tmp_path, daemon.url, layout)
    digest = max(collection.blobs["zoo"])
    lost = layout / "blobs" / digest.replace(":", "/")
    content = lost.read_bytes()
    lost.unlink()
    again = copied(tmp_path, daemon.url, layout)
    assert (again["images_there"], again["manifests"], again["blobs"], lost.read_bytes()) == (4, 0, 1, content)


def test_other_programs_read_the_layout(daemon: DaemonProcess, tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    copied(tmp_path, daemon.url, tmp_path / "layout", "team/tools")
    found = json.loads(run(skopeo, "inspect", f"oci:{tmp_path / 'layout'}:team/tools:v1", env=environment(tmp_path)))
    assert len(found["Layers"]) == 1


def test_a_layout_of_another_program(other: DaemonProcess, tmp_path: Path) -> None:
    """Its images have tags alone: the repository is called as the directory."""
    image = make_image([random_layer("a", 5000)])
    write_layout(tmp_path / "busybox", {"1.36": image})
    copied(tmp_path, tmp_path / "busybox", other.config_file)
    with other:
        assert Http(other.port).ask("GET", "/v2/busybox/manifests/1.36")[1] == image.manifest


@pytest.mark.parametrize(
    ("words", "tags"),
    some(
        3,
        [
            (["team/tools"], {"team/tools:v1"}),
            (["team/*"], {"team/app:1", "team/app:1.0", "team/app:latest", "team/tools:v1"}),
            (["team/app:1", "zoo"], {"team/app:1", "zoo:none"}),
            (["--tag", "1*", "--tag", "v*"], {"team/app:1", "team/app:1.0", "team/tools:v1"}),
            (["team/app:l*"], {"team/app:latest"}),
        ],
    ),
)
def test_what_is_selected(daemon: DaemonProcess, tmp_path: Path, words: list[str], tags: set[str]) -> None:
    copied(tmp_path, daemon.url, tmp_path / "layout", *words)
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    names = [each["annotations"]["org.opencontainers.image.ref.name"] for each in index["manifests"]]
    assert {name for name in names if "@" not in name} == tags


def test_a_tag_that_is_named_and_not_there_is_a_failure(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A mistyped tag must not look like a copy that is done."""
    found = copied(tmp_path, daemon.url, tmp_path / "layout", "team/app:mistyped", status=1)
    assert (found["images"], found["failed"]) == (0, 1)
    (failure,) = found["failures"]
    assert failure["name"] == "team/app:mistyped"
    assert "no such tag" in failure["error"]


@pytest.mark.parametrize(
    ("arguments", "name"),
    some(1, [(["nowhere/*"], "nowhere/*"), (["team/*", "typo/app"], "typo/app"), (["--tag", "nothing*"], "nothing*")]),
)
def test_what_is_selected_and_matches_nothing_is_a_failure(
    daemon: DaemonProcess, tmp_path: Path, arguments: list[str], name: str
) -> None:
    found = copied(tmp_path, daemon.url, tmp_path / "layout", *arguments, status=1)
    assert [each["name"] for each in found["failures"]] == [name]
    assert "no such" in found["failures"][0]["error"]


def test_a_dry_run_moves_nothing(daemon: DaemonProcess, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "docker") as to:
        found = copied(tmp_path, daemon.url, to.host, "--dry-run")
        assert (found["dry_run"], found["images"], found["images_there"]) == (True, 5, 0)
        assert found["bytes"] > 300_000
        assert json.loads(to.ask("GET", "/v2/_catalog")[1])["repositories"] == []


def test_a_dry_run_makes_nothing(daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path) -> None:
    for new in (tmp_path / "layout", tmp_path / "some.car", other.config_file):
        found = copied(tmp_path, daemon.url, new, "--dry-run")
        assert (found["images"], found["images_there"], found["manifests"] >= 9) == (5, 0, True)
    assert not (tmp_path / "layout").exists()
    assert not (tmp_path / "some.car").exists()
    assert not other.path.exists()
    for there in (tmp_path / "layout", tmp_path / "some.car", other.config_file):
        copied(tmp_path, daemon.url, there, "team/app")
        found = copied(tmp_path, daemon.url, there, "--dry-run")
        assert (found["images"], found["images_there"]) == (5, 3)


def tags_of(registry: Http, repository: str) -> list[str]:
    status, content, _ = registry.ask("GET", f"/v2/{repository}/tags/list")
    return list(json.loads(content)["tags"] or ()) if status == 200 else []


def test_a_killed_copy_goes_on(daemon: DaemonProcess, tmp_path: Path) -> None:
    """What was there is not moved again, and nothing at the destination is in pieces at any time."""
    source = Http(daemon.port)
    many = Collection()
    for number in range(24):
        layer = random_layer(f"layer{number}", 400_000)
        many.add_image("large", make_image([layer], comment=str(number)), f"t{number}")
    source.push(many)
    with docker_registry(tmp_path / "docker") as to:
        command = [program("ipfsreg"), "copy", daemon.url, to.host, "large", "--jobs", "1"]
        process = subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.DEVNULL)
        while not tags_of(to, "large"):
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        there = tags_of(to, "large")
        again = copied(tmp_path, daemon.url, to.host, "large")
        assert again["images"] == 24
        assert again["images_there"] >= len(there)
        assert again["blobs"] <= 2 * (24 - len(there))
        assert again["blobs"] + again["blobs_there"] == 2 * 24  # those of images that are there are looked for too
        to.check(many)


def test_wrong_bytes_are_refused(daemon: DaemonProcess, tmp_path: Path) -> None:
    """A registry whose disk is damaged: the image fails, with its name, and the rest is copied."""
    good, bad = (make_image([random_layer(f"layer of {name}", 200_000)]) for name in ("good", "bad"))
    damaged = Collection()
    damaged.add_image("some", good, "good")
    damaged.add_image("some", bad, "bad")
    with docker_registry(tmp_path / "docker") as docker:
        docker.push(damaged)
        layer = next(digest for digest, content in bad.blobs.items() if len(content) > 100_000)
        (file,) = (tmp_path / "docker").rglob(f"{layer.removeprefix('sha256:')}/data")
        file.write_bytes(bytes(200) + file.read_bytes()[200:])
        found = copied(tmp_path, docker.host, daemon.url, status=1)
        (failure,) = found["failures"]
        assert failure["name"] == "some:bad"
        assert layer in failure["error"]
        to = Http(daemon.port)
        assert to.ask("GET", "/v2/some/manifests/good")[0] == 200
        assert to.ask("GET", "/v2/some/manifests/bad")[0] == 404
        assert to.ask("GET", f"/v2/some/blobs/{layer}")[0] == 404
        layout = tmp_path / "layout"
        assert copied(tmp_path, docker.host, layout, status=1)["failed"] == 1
        assert layer not in layout_blobs(layout)
        assert "some:bad" in subprocess_error(tmp_path, docker.host, layout)


def subprocess_error(home: Path, *words: str | Path) -> str:
    done: subprocess.CompletedProcess[str] = fork_server.run(
        [program("ipfsreg"), "copy", *map(str, words)], cwd=home, env=environment(home), timeout=60
    )
    assert done.returncode == 1
    assert "1 image could not be copied" in done.stdout
    return done.stderr


def test_what_is_wrong_is_one_line(daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "no.car").write_bytes(b"nothing of that kind")
    host = "127.0.0.1:1"
    assert "cannot be reached" in refusal(tmp_path, host, other.config_file, status=5)
    assert "has other files in it" in refusal(tmp_path, daemon.url, tmp_path / "full", status=1)
    assert "no OCI image layout" in refusal(tmp_path, tmp_path / "full", daemon.url, status=1)
    assert "no.car" in refusal(tmp_path, tmp_path / "no.car", daemon.url, status=1)
    assert "none.ini" in refusal(tmp_path, tmp_path / "none.ini", daemon.url, status=2)
    assert "are the same" in refusal(tmp_path, daemon.url, f"{daemon.url}/", status=2)
    assert "repository name must be" in refusal(tmp_path, daemon.url, other.config_file, "Upper", status=2)
    assert "docker login" in refusal(tmp_path, "https://a:b@registry.example", daemon.url, status=2)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"
    found = copied(tmp_path, daemon.url, tmp_path / "layout", "none/such", status=1)
    assert found["failures"][0]["name"] == "none/such"


@pytest.mark.parametrize(
    "text",
    some(2, ["127.0.0.1:1/team/app:1", "docker://registry.example/app", "registry.example/team/app", "localhost/app"]),
)
def test_an_image_in_the_place_of_a_registry(tmp_path: Path, text: str) -> None:
    """As `skopeo copy` and `crane cp` have it: no directory of that name is made."""
    for words in ((text, "layout"), ("127.0.0.1:1", text)):
        assert "name the registry alone" in refusal(tmp_path, *words, status=2)
    assert list(tmp_path.iterdir()) == []
    assert "no such directory" in refusal(tmp_path, "nothing", "layout", status=1)


@pytest.mark.parametrize("name", some(2, ["dir.of.mine/layout", "./a.b/c", "../up.d/c", "/ABSOLUTE/x.y"]))
def test_names_of_directories(daemon: DaemonProcess, tmp_path: Path, name: str) -> None:
    (tmp_path / "home" / "dir.of.mine").mkdir(parents=True)
    name = name.replace("/ABSOLUTE", str(tmp_path))
    assert copied(tmp_path / "home", daemon.url, name, "zoo")["images"] == 1
    assert (tmp_path / "home" / name / "index.json").exists()


@pytest.mark.parametrize(
    ("what", "kind"),
    some(
        5,
        [
            *(("oci-layout", kind) for kind in ("pipe", "link", "directory")),
            *(("index.json", kind) for kind in ("pipe", "link", "file", "directory")),
            *(("blobs/sha256", kind) for kind in ("pipe", "link", "link to nothing", "file")),
            ("blobs", "link"),
        ],
    ),
)
def test_a_layout_to_copy_to_that_is_a_trap(daemon: DaemonProcess, tmp_path: Path, what: str, kind: str) -> None:
    """One line at once, and nothing is written or removed outside the layout."""
    layout, outside = tmp_path / "layout", tmp_path / "outside"
    write_layout(layout, {"1": make_image([random_layer("a", 5000)])})
    (layout / "blobs" / "sha512").mkdir()
    outside.mkdir()
    (outside / f".x-{'0' * 16}").write_text("like a draft")
    trap = layout / what
    shutil.rmtree(trap) if trap.is_dir() else trap.unlink()
    match kind:
        case "pipe":
            os.mkfifo(trap)
        case "link":
            trap.symlink_to(outside)
        case "link to nothing":
            trap.symlink_to(tmp_path / "nothing")
        case "file":
            trap.write_text("not JSON")
        case _:
            trap.mkdir()
    assert str(trap) in refusal(tmp_path, daemon.url, layout, status=1).replace(": index.json", "/index.json")
    assert [path.name for path in outside.iterdir()] == [f".x-{'0' * 16}"]
    assert not (tmp_path / "nothing").exists()


def test_an_index_whose_parts_are_not_all_there(other: DaemonProcess, tmp_path: Path) -> None:
    layout = tmp_path / "sparse"
    image = make_image([random_layer("a", 5000)])
    write_layout(layout, {"1": image})
    gone = make_image([random_layer("b", 5000)])
    listed = [descriptor(MANIFEST_TYPE, each.manifest) for each in (image, gone)]
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": listed}).encode()
    (layout / "blobs" / "sha256" / sha256(index).removeprefix("sha256:")).write_bytes(index)
    named = descriptor(INDEX_TYPE, index, annotations={"org.opencontainers.image.ref.name": "all"})
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    found = copied(tmp_path, layout, other.config_file)
    assert (found["missing"], found["failed"]) == (1, 0)
    with other:
        assert Http(other.port).ask("GET", "/v2/sparse/manifests/all")[1] == index


def test_a_published_image_goes_to_a_registry_that_takes_no_ipfs_urls(
    other: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    """Docker's takes no layers with URLs but those of http. The image is copied, and its view can be made anew."""
    with docker_registry(tmp_path / "docker") as to, other:
        source = Http(other.port)
        source.push(collection)
        view = json.loads(other.command("publish", "team/tools:v1", "--json").stdout)["view"]
        found = copied(tmp_path, other.url, to.host)
        assert (found["failed"], found["views_refused"]) == (0, 1)
        to.check(collection)
        again = copied(tmp_path, other.url, to.host)
        assert (again["failed"], again["views_refused"], again["blobs"]) == (0, 1, 0)
        content = source.ask("GET", f"/v2/team/tools/manifests/{view}")[1]
        source.push_manifest("team/tools", "view", content, MANIFEST_TYPE)
        found = copied(tmp_path, other.url, to.host, "team/tools", status=1)
        (failure,) = found["failures"]
        assert failure["name"] == "team/tools:view"
        assert "takes no manifest whose layers have URLs" in failure["error"]
        for digest in (each["digest"] for each in json.loads(content)["layers"]):
            assert to.ask("GET", f"/v2/team/tools/blobs/{digest}")[0] == 200
        words = [program("ipfsreg"), "copy", other.url, to.host, "team/tools:v1"]
        said = fork_server.run(words, cwd=tmp_path, env=environment(tmp_path), timeout=60)
        assert "Without 1 IPFS-enabled view:" in said.stdout


@pytest.mark.parametrize(
    ("words", "there"),
    some(
        3,
        [
            (["team/tools:v1=tools:stable"], {"tools:stable"}),
            (["team/tools:v1=tools"], {"tools:v1"}),
            (["team/app=app", "zoo"], {"app:1", "app:1.0", "app:latest", "zoo:none"}),
            (["team/tools:v1=a:1", "team/tools:v1=a:2", "team/tools=b"], {"a:1", "a:2", "b:v1"}),
            (["team/t*", "--to-prefix", "from/old/"], {"from/old/team/tools:v1"}),
            (["--to-prefix", "x", "--tag", "v1"], {"x/team/tools:v1"}),
        ],
    ),
)
def test_under_other_names(
    daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path, words: list[str], there: set[str]
) -> None:
    found = copied(tmp_path, daemon.url, other.config_file, *words)
    assert found["failed"] == 0
    with other:
        to = Http(other.port)
        repositories = json.loads(to.ask("GET", "/v2/_catalog")[1])["repositories"]
        assert {f"{name}:{tag}" for name in repositories for tag in tags_of(to, name)} == there


def test_one_image_under_two_names_moves_each_blob_once(
    daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path
) -> None:
    found = copied(
        tmp_path, daemon.url, other.config_file, "team/tools:v1=a:1", "team/tools:v1=b:1", "team/tools:v1=a:2"
    )
    assert (found["repositories"], found["images"], found["manifests"]) == (1, 3, 3)
    assert (found["blobs"], found["mounted"], found["blobs_there"]) == (2, 2, 0)


def test_by_a_digest(daemon: DaemonProcess, other: DaemonProcess, tmp_path: Path, collection: Collection) -> None:
    index, _ = collection.tags["team/app", "latest"]
    name = f"team/app@{sha256(index)}"
    with other:
        to = Http(other.port)
        found = copied(tmp_path, daemon.url, other.url, name)
        assert (found["images"], found["failed"], tags_of(to, "team/app")) == (1, 0, [])
        assert to.ask("GET", f"/v2/team/app/manifests/{sha256(index)}")[:2] == (200, index)
        copied(tmp_path, daemon.url, other.url, f"{name}=new:pinned", "zoo")
        assert (tags_of(to, "new"), tags_of(to, "zoo")) == (["pinned"], ["none"])
        assert to.ask("GET", "/v2/new/manifests/pinned")[:2] == (200, index)
        assert len(to.referrers("new", sha256(index))) == 1
        gone = f"team/app@sha256:{'0' * 64}"
        assert [each["name"] for each in copied(tmp_path, daemon.url, other.url, gone, status=1)["failures"]] == [gone]


def test_a_whole_repository_under_another_name_has_its_referrers(
    daemon: DaemonProcess, tmp_path: Path, collection: Collection
) -> None:
    """Also where a tag lists them, and in the registry that the images are in already."""
    with docker_registry(tmp_path / "docker") as to:
        copied(tmp_path, daemon.url, to.host, "team/app=mine")
        found = copied(tmp_path, to.host, to.host, "mine=yours")
        assert (found["mounted"] > 1, found["blobs"], found["bytes"]) == (True, 0, 0)
        for name in ("mine", "yours"):
            for (repository, subject), contents in collection.referrers.items():
                assert repository == "team/app"
                assert sorted(to.referrers(name, subject)) == sorted(map(sha256, contents))


@pytest.mark.parametrize(
    ("words", "line"),
    some(
        3,
        [
            (["team/*=other"], "a pattern has no one name"),
            (["team/app=other:1"], "many tags cannot become one"),
            (["team/app="], "repository name must be"),
            (["=other"], "repository name must be"),
            (["team/app:1=other:"], "tag"),
            (["--to-prefix", "Upper"], "repository name must be"),
        ],
    ),
)
def test_what_cannot_be_renamed(daemon: DaemonProcess, tmp_path: Path, words: list[str], line: str) -> None:
    assert line in refusal(tmp_path, daemon.url, tmp_path / "layout", *words, status=2)
