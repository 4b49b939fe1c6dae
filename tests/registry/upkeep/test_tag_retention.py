"""``[retention]``: rules by the command and by the daemon, tags that are immutable, and when tags were pulled."""

import hashlib
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipfsreg.registry.repository.immutable import ImmutableTags
from ipfsreg.registry.upkeep.tag_rules import parse_tag_rules
from tests.daemon_process import Answer, DaemonProcess
from tests.full import some

DAY = 86400.0
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def manifest(number: int, subject: str | None = None) -> bytes:
    config = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []}
    if subject is not None:
        document["subject"] = {"mediaType": MANIFEST, "digest": subject, "size": 1}
    return json.dumps(document | {"annotations": {"number": str(number)}}).encode()


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push(daemon: DaemonProcess, repository: str, tag: str, number: int, subject: str | None = None) -> Answer:
    daemon.ask("POST", f"/v2/{repository}/blobs/uploads/?digest={digest(b'{}')}", b"{}")
    content = manifest(number, subject)
    return daemon.ask("PUT", f"/v2/{repository}/manifests/{tag}", content, {"Content-Type": MANIFEST})


def age(daemon: DaemonProcess, repository: str, number: int, seconds: float, subject: str | None = None) -> None:
    """Have a manifest be pushed so long ago; the daemon does not run."""
    (record,) = (daemon.path / "bucket" / "repositories" / repository / "_manifests").rglob(
        digest(manifest(number, subject)).partition(":")[2]
    )
    document = json.loads(record.read_text())
    then = time.time() - seconds
    record.write_text(json.dumps(document | {"released": then}))
    with closing(sqlite3.connect(daemon.path / "pulls.sqlite")) as file, file:
        file.execute("UPDATE pushes SET at = ? WHERE digest = ?", (then, digest(manifest(number, subject))))


def tags(daemon: DaemonProcess, repository: str) -> list[str]:
    found: list[str] = json.loads(daemon.ask("GET", f"/v2/{repository}/tags/list").content)["tags"]
    return found


def verdicts(daemon: DaemonProcess, *arguments: str) -> dict[str, tuple[bool, str]]:
    done = daemon.command("retention", "--dry-run", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return {
        f"{each['repository']}:{each['tag']}": (each["kept"], each["reason"])
        for each in json.loads(done.stdout)["verdicts"]
    }


RULES = """
    team/app    v*         all
    team/**     pr-*       pushed 7d
    **          nightly-*  newest 2, referred
"""


@pytest.fixture
def daemon(tmp_path: Path) -> DaemonProcess:
    """With images of several ages, not running."""
    made = DaemonProcess(tmp_path, {"retention": {"rules": RULES}})
    with made:
        for number, (repository, tag) in enumerate(
            [("team/app", "v1"), ("team/app", "pr-1"), ("team/app", "pr-2"), ("team/app", "other"), ("box", "pr-1")]
        ):
            assert push(made, repository, tag, number).status == 201
        for number in range(4):
            assert push(made, "box", f"nightly-{number}", 10 + number).status == 201
        assert push(made, "box", "signature", 20, digest(manifest(10))).status == 201
    for number in (0, 1, 3):
        age(made, "team/app", number, 8 * DAY)
    age(made, "box", 4, 8 * DAY)
    for number in range(4):
        age(made, "box", 10 + number, (9 - number) * DAY)
    return made


EXPECTED = {
    "team/app:v1": (True, "kept by the rule 'team/app v* all'"),
    "team/app:pr-1": (False, "nothing keeps it in 'team/** pr-* pushed 7d'"),
    "team/app:pr-2": (True, "it was pushed lately"),
    "box:nightly-0": (True, "something refers to it"),
    "box:nightly-1": (False, "nothing keeps it in '** nightly-* newest 2, referred'"),
    "box:nightly-2": (True, "it is one of the 2 newest"),
    "box:nightly-3": (True, "it is one of the 2 newest"),
    **dict.fromkeys(("team/app:other", "box:pr-1", "box:signature"), (True, "no rule is about it")),
}


@pytest.mark.parametrize("running", [False, True], ids=["alone", "by the daemon"])
def test_a_dry_run_says_why_and_a_run_does_what_it_said(daemon: DaemonProcess, running: bool) -> None:
    if running:
        daemon.start()
    assert verdicts(daemon) == EXPECTED
    assert verdicts(daemon, "team/app") == {name: each for name, each in EXPECTED.items() if name.startswith("team")}
    dry = daemon.command("retention", "--dry-run")
    assert len(dry.stdout.splitlines()) == len(EXPECTED)
    assert "box:signature\tkeep\tno rule is about it\n" in dry.stdout
    assert dry.stderr.endswith("Of 10 tags 2 would be deleted.\n")
    done = daemon.command("retention", "--json")
    assert json.loads(done.stdout) | {"storage": ""} == {
        "storage": "", "dry_run": False, "tags": 7, "deleted": 2, "repositories": 2
    }  # fmt: skip
    if not running:
        daemon.start()
    assert tags(daemon, "team/app") == ["other", "pr-2", "v1"]
    assert tags(daemon, "box") == ["nightly-0", "nightly-2", "nightly-3", "pr-1", "signature"]
    daemon.stop()
    daemon.check_log()


def test_a_repository_that_no_rule_is_about(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"rules": "box * newest 1"}}) as daemon:
        assert push(daemon, "other", "1", 1).status == 201
        for arguments in ((), ("other",)):
            assert verdicts(daemon, *arguments) == {"other:1": (True, "no rule is about it")}
        assert json.loads(daemon.command("retention", "--json").stdout)["tags"] == 0


def test_a_tag_that_any_rule_keeps_is_kept(tmp_path: Path) -> None:
    """As on Harbor and zot, in whatever order the rules stand; what is not meant is said with an exclamation mark."""
    rules = "\n".join(["** * pushed 1d", "box v* all", "box !v*,!x1 newest 1", "!box,!other/* * newest 9"])
    with DaemonProcess(tmp_path, {"retention": {"rules": rules}}) as daemon:
        for number, tag in enumerate(("v1", "x1", "y1", "y2")):
            assert push(daemon, "box", tag, number).status == 201
        for repository in ("other/app", "third"):
            assert push(daemon, repository, "1", 7).status == 201
    for number in range(4):
        age(daemon, "box", number, (9 - number) * DAY)
    for repository in ("other/app", "third"):
        age(daemon, repository, 7, 2 * DAY)
    assert verdicts(daemon) == {
        "box:v1": (True, "kept by the rule 'box v* all'"),
        "box:x1": (False, "nothing keeps it in '** * pushed 1d'"),
        "box:y1": (False, "nothing keeps it in '** * pushed 1d' or 'box !v*,!x1 newest 1'"),
        "box:y2": (True, "it is the newest"),
        "other/app:1": (False, "nothing keeps it in '** * pushed 1d'"),
        "third:1": (True, "it is one of the 9 newest"),
    }


def test_each_tag_has_its_own_time(tmp_path: Path) -> None:
    """A manifest has one for all its tags, and another one when it loses one: no tag becomes newer by that."""
    with DaemonProcess(tmp_path, {"retention": {"rules": "box v* newest 2\nbox x* pushed 7d"}}) as daemon:
        for number in (1, 2, 3):
            assert push(daemon, "box", f"v{number}", number).status == 201
        assert push(daemon, "box", "x1", 1).status == 201
        assert push(daemon, "box", "stable", 1).status == 201
    for number in (1, 2, 3):
        age(daemon, "box", number, (10 - number) * DAY)
    with daemon:
        assert push(daemon, "box", "stable", 3).status == 201  # 1 loses a tag, and 3 is pushed anew
        assert push(daemon, "box", "x2", 1).status == 201  # an old one under a new tag
        expected = {"box:v1": False, "box:v2": True, "box:v3": True, "box:x1": False, "box:x2": True}
        expected["box:stable"] = True  # no rule is about it
        assert {name: kept for name, (kept, _) in verdicts(daemon).items()} == expected
        assert push(daemon, "box", "v1", 1).status == 201
        assert [name for name, (kept, _) in verdicts(daemon).items() if not kept] == ["box:v2", "box:x1"]
        daemon.kill()
    (daemon.path / "pulls.sqlite").unlink()  # it can be lost: then the manifests' times count, as they did before
    with daemon:
        assert verdicts(daemon)["box:x1"][0]


def test_the_daemon_applies_them_by_itself(tmp_path: Path) -> None:
    options = {"retention": {"rules": "box * pushed 1s", "interval": "500ms"}}
    with DaemonProcess(tmp_path, options) as daemon:
        assert push(daemon, "box", "old", 1).status == 201
        until = time.monotonic() + 30
        while tags(daemon, "box"):
            assert time.monotonic() < until, daemon.log
            time.sleep(0.1)
        assert "Retention deleted box:old" in daemon.log


def test_a_tag_of_another_manifest_goes_with_it(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"rules": "box sha256-* pushed 1d"}}) as daemon:
        push(daemon, "box", "1", 1)
        there = digest(manifest(1)).replace(":", "-") + ".sig"
        gone = digest(b"gone").replace(":", "-") + ".sig"
        for number, tag in enumerate((there, gone)):
            assert push(daemon, "box", tag, 50 + number).status == 201
    for number in (50, 51):
        age(daemon, "box", number, 2 * DAY)
    found = verdicts(daemon)
    assert found[f"box:{there}"] == (True, f"it belongs to {digest(manifest(1))}, which is there")
    assert not found[f"box:{gone}"][0]


def test_what_was_pulled_is_kept_and_known_after_a_restart(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"rules": "box * pulled 30d"}}) as daemon:
        push(daemon, "box", "pulled", 1)
        push(daemon, "box", "idle", 2)
        push(daemon, "box", "pinned", 3)
        assert daemon.ask("GET", f"/v2/box/manifests/{digest(manifest(3))}").status == 200
        assert daemon.ask("GET", "/v2/box/manifests/pulled").status == 200
        assert verdicts(daemon)["box:idle"] == (True, "it was pulled lately, or may have been")  # nobody knows yet
    for number in (1, 2, 3):
        age(daemon, "box", number, 99 * DAY)
    with closing(sqlite3.connect(daemon.path / "pulls.sqlite")) as file, file:
        file.execute("UPDATE since SET at = ?", (time.time() - 31 * DAY,))
    with daemon:
        assert {name: kept for name, (kept, _) in verdicts(daemon).items()} == {
            "box:pulled": True,
            "box:idle": False,
            "box:pinned": True,
        }
    with closing(sqlite3.connect(daemon.path / "pulls.sqlite")) as file, file:
        file.execute("UPDATE pulls SET at = ?", (time.time() - 30 * DAY - 60,))
    assert not verdicts(daemon)["box:pulled"][0]
    (daemon.path / "pulls.sqlite").write_bytes(b"garbage" * 1000)
    assert all(kept for kept, _ in verdicts(daemon).values())


def test_immutable_tags_are_neither_moved_nor_deleted(tmp_path: Path) -> None:
    options = {"retention": {"immutable": "team/*:v*", "rules": "** * pushed 1ms"}}
    with DaemonProcess(tmp_path, options) as daemon:
        assert push(daemon, "team/app", "v1", 1).status == 201
        assert push(daemon, "team/app", "v1", 1).status == 201
        status, _, body = push(daemon, "team/app", "v1", 2)
        (error,) = json.loads(body)["errors"]
        assert (status, error["code"]) == (403, "DENIED")
        assert error["message"].startswith("the tag v1 of team/app is immutable, and cannot be moved from sha256:")
        assert daemon.ask("HEAD", f"/v2/team/app/manifests/{digest(manifest(2))}").status == 404  # nothing was stored
        for reference in ("v1", digest(manifest(1))):
            status, _, body = daemon.ask("DELETE", f"/v2/team/app/manifests/{reference}")
            assert (status, json.loads(body)["errors"][0]["code"]) == (403, "DENIED")
        assert push(daemon, "team/app", "latest", 2).status == 201
        assert push(daemon, "team/app", "latest", 3).status == 201
        assert push(daemon, "other", "v1", 1).status == push(daemon, "other", "v1", 2).status == 201
        assert verdicts(daemon)["team/app:v1"] == (True, "it is immutable")
        assert tags(daemon, "team/app") == ["latest", "v1"]


def test_of_two_pushes_of_an_immutable_tag_at_once_one_wins(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"immutable": "**:v*"}}) as daemon, ThreadPoolExecutor(8) as threads:
        for round_ in range(5):
            numbers = range(100 * round_, 100 * round_ + 8)
            pushed = partial(push, daemon, "box", f"v{round_}")
            answers = [each.status for each in threads.map(pushed, numbers)]
            assert sorted(answers) == [201] + 7 * [403]
            winner = next(number for number, status in zip(numbers, answers, strict=True) if status == 201)
            assert daemon.ask("GET", f"/v2/box/manifests/v{round_}").content == manifest(winner)


@pytest.mark.parametrize(
    ("option", "text", "said"),
    some(
        3,
        [
            ("rules", "team/app v*", "a rule is repositories, tags, and what keeps a tag"),
            ("rules", "a b newest", "'newest' is none of"),
            ("rules", "a b newest 0", "newest has a number from 1"),
            ("rules", "a b pushed soon", "a time is a number"),
            ("rules", "a b pushed 1d, pushed 2d", "said twice"),
            ("rules", "a ! all", "a pattern has 1 to"),
            ("rules", "a b all of it", "is none of"),
            ("immutable", "v1", "has no colon"),
            ("immutable", "team/*:", "a pattern has 1 to"),
        ],
    ),
)
def test_each_mistake_is_one_line(tmp_path: Path, option: str, text: str, said: str) -> None:
    done = DaemonProcess(tmp_path, {"retention": {option: text}}).command("check")
    assert done.returncode == 2
    assert f"[retention] {option}" in done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_repository_that_there_is_not(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, {"retention": {"rules": "** * all"}}) as daemon:
        for arguments in (["nosuch"], ["nosuch", "--dry-run"]):
            done = daemon.command("retention", *arguments)
            assert (done.returncode, done.stdout) == (3, "")
            assert done.stderr.startswith("ipfsreg: there is no repository nosuch (")


def test_without_rules_the_command_says_so(tmp_path: Path) -> None:
    done = DaemonProcess(tmp_path).command("retention", "--dry-run")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "there are no rules" in done.stderr


@given(st.text(max_size=300))
def test_any_text_is_rules_or_says_why_not(text: str) -> None:
    for parse in (parse_tag_rules, lambda given: ImmutableTags.parse(given.splitlines())):
        with suppress(ValueError):
            parse(text)
