"""The official OCI distribution conformance programs: the newest, and the suite of tests that there was before it."""

from pathlib import Path
from xml.etree import ElementTree

import yaml

from tests.daemon_process import DaemonProcess

from . import programs
from .programs import client_environment, needed, require_program, run

# Off by default in version 1.1, though the specification has each of them.
OPTIONAL_GROUPS = {
    "OCI_API_MANIFESTS_TAG_PARAM": "true",
    "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    "OCI_API_BLOBS_DIGEST_HEADER": "true",
    "OCI_API_MANIFESTS_DIGEST_HEADER": "true",
}
# Manifests whose members were never pushed: a registry may take or refuse them.
DISABLED = {"Sparse Manifests"}

# What the older suite cannot do beside what it does: it is for registries that nothing can be pushed to, that do not
# look for a blob in other repositories, or that cannot be told from those that do.
SKIPPED_BY_THE_OLDER = {
    "Get tag name from environment",
    "Populate registry with test tags (no push)",
    "Cross-mounting of nonexistent blob should yield session id",
    "Cross-mounting without from, and automatic content discovery disabled should return a 202",
}

TOOLS = f"{programs.TOOLS / 'bin'}"
conformance_is_there = needed("conformance", TOOLS)


def test_every_group_passes(daemon: DaemonProcess, tmp_path: Path) -> None:
    check_conformance(daemon.host, tmp_path)


def test_the_older_suite_passes(daemon: DaemonProcess, tmp_path: Path) -> None:
    """It has what the newest has not: bad names and tags are 404 to readers, and tags are left when none is left."""
    env = client_environment(tmp_path / "home") | {
        "OCI_ROOT_URL": daemon.url,
        "OCI_NAMESPACE": "conformance/older",
        "OCI_CROSSMOUNT_NAMESPACE": "conformance/other",
        "OCI_AUTOMATIC_CROSSMOUNT": "1",
        "OCI_REPORT_DIR": str(tmp_path),
        **dict.fromkeys(("OCI_TEST_PULL", "OCI_TEST_PUSH"), "1"),
        **dict.fromkeys(("OCI_TEST_CONTENT_DISCOVERY", "OCI_TEST_CONTENT_MANAGEMENT"), "1"),
    }
    run(require_program("conformance-1.1", TOOLS), env=env, cwd=tmp_path)
    cases = list(ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase"))
    assert len(cases) >= 79
    not_passed = {case.attrib["name"]: case.attrib["status"] for case in cases if case.attrib["status"] != "passed"}
    assert set(not_passed.values()) == {"skipped"}
    for name in not_passed:
        assert any(name.endswith(each) for each in SKIPPED_BY_THE_OLDER), name


def check_conformance(host: str, directory: Path, deadline: float = 90.0) -> None:
    """Fail unless the registry at a host passes.

    :param directory: an empty one, for the program's report.
    """
    env = client_environment(directory / "home") | {
        "OCI_REGISTRY": host,
        "OCI_TLS": "disabled",
        "OCI_VERSION": "1.1",
        "OCI_RESULTS_DIR": str(directory / "results"),
        **OPTIONAL_GROUPS,
    }
    # It exits with an error if any check failed.
    run(require_program("conformance", TOOLS), env=env, cwd=directory, deadline=deadline)

    results = yaml.safe_load((directory / "results" / "results.yaml").read_text())
    groups: dict[str, str] = results["apis"] | results["data"]
    assert len(groups) >= 52
    assert {name for name, status in groups.items() if status != "Pass"} == DISABLED

    suites = ElementTree.parse(directory / "results" / "junit.xml").getroot()
    assert int(suites.attrib["tests"]) >= 900
    not_passed = [case.attrib["name"] for case in suites.iter("testcase") if case.attrib["status"] != "passed"]
    assert not_passed == []
