"""The official OCI distribution conformance program, with every group of version 1.1 but sparse manifests."""

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

conformance_is_there = needed("conformance", f"{programs.TOOLS / 'bin'}")


def test_every_group_passes(daemon: DaemonProcess, tmp_path: Path) -> None:
    check_conformance(daemon.host, tmp_path)


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
    run(require_program("conformance", f"{programs.TOOLS / 'bin'}"), env=env, cwd=directory, deadline=deadline)

    results = yaml.safe_load((directory / "results" / "results.yaml").read_text())
    groups: dict[str, str] = results["apis"] | results["data"]
    assert len(groups) >= 52
    assert {name for name, status in groups.items() if status != "Pass"} == DISABLED

    suites = ElementTree.parse(directory / "results" / "junit.xml").getroot()
    assert int(suites.attrib["tests"]) >= 900
    not_passed = [case.attrib["name"] for case in suites.iter("testcase") if case.attrib["status"] != "passed"]
    assert not_passed == []
