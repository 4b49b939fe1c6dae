"""The wheel: built, installed into a clean environment, and run from there.

The environment sees the packages that the tests run with, but for ipfsreg, so that nothing has to be fetched.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterable
from email import message_from_bytes
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

from tests.daemon_process import free_port, program
from tests.docs.notified import run_until_ready
from tests.marks import full

CHECKOUT = Path(__file__).parents[2]
PAGES = CHECKOUT / "ipfsreg" / "web" / "pages"
PARTS = ("setup.py", "pyproject.toml", "README.md", "LICENSE", "ipfsreg", "twisted", "etc")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that has to succeed; answers what it said."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    ended = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the checkout."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        if (CHECKOUT / part).is_dir():
            shutil.copytree(
                CHECKOUT / part, source / part, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache")
            )
        else:
            shutil.copy(CHECKOUT / part, source / part)
    run(sys.executable, "-m", "build", "--wheel", "--quiet", *_isolation(), source, cwd=source)
    (built,) = (source / "dist").iterdir()
    return built


def _isolation() -> list[str]:
    # With what it needs at hand, nothing has to be fetched for the build.
    wanted = re.search(r'requires = \["setuptools>=(\d+)"\]', (CHECKOUT / "pyproject.toml").read_text())
    assert wanted is not None
    try:
        version = int(distribution("setuptools").version.partition(".")[0])
    except ModuleNotFoundError:
        return []
    return ["--no-isolation"] if version >= int(wanted[1]) else []


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel in it."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, with_pip=False, symlinks=True)
    python = directory / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index"),
        *("--disable-pip-version-check", wheel),
        cwd=directory,
    )
    (packages,) = (directory / "lib").glob("python*/site-packages")
    # A path in here is searched, but the .pth files there, one of which leads to the checkout, are not obeyed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return directory


def version_of(wheel: Path) -> str:
    return wheel.name.split("-")[1]


@full
def test_the_wheel_has_what_belongs_into_it(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    version = version_of(wheel)
    assert wheel.name == f"ipfsreg-{version}-py3-none-any.whl"
    data = f"ipfsreg-{version}.data/data"
    assert {
        "ipfsreg/__init__.py",
        "ipfsreg/py.typed",
        "twisted/plugins/ipfsreg_plugin.py",
        f"{data}/etc/ipfsreg/ipfsreg.ini",
        f"{data}/lib/systemd/system/ipfsreg.service",
        f"{data}/share/man/man1/ipfsreg.1",
    } <= names
    modules = {str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "ipfsreg").rglob("*.py")}
    assert {name for name in names if name.startswith("ipfsreg/") and name.endswith(".py")} == modules
    of_pages = {path for folder in ("templates", "static") for path in (PAGES / folder).iterdir()}
    assert {str(path.relative_to(CHECKOUT)) for path in of_pages} <= names
    assert {name.partition("/")[0] for name in names} == {
        "ipfsreg",
        "twisted",
        f"ipfsreg-{version}.data",
        f"ipfsreg-{version}.dist-info",
    }
    assert [name for name in names if name.startswith("twisted/")] == ["twisted/plugins/ipfsreg_plugin.py"]
    assert any(name.endswith("/LICENSE") for name in names)


@full
def test_the_data_files_are_installed(environment: Path) -> None:
    for installed, source in (
        ("etc/ipfsreg/ipfsreg.ini", "etc/ipfsreg.ini"),
        ("lib/systemd/system/ipfsreg.service", "etc/systemd/ipfsreg.service"),
        ("share/man/man1/ipfsreg.1", "etc/man/ipfsreg.1"),
    ):
        assert (environment / installed).read_bytes() == (CHECKOUT / source).read_bytes()


@full
def test_twistd_knows_the_plugin(environment: Path, tmp_path: Path) -> None:
    python = environment / "bin" / "python"
    said = run(python, program("twistd"), "--help", cwd=tmp_path)
    assert re.search(r"^ +ipfsreg +A container registry whose storage is IPFS\.$", said, re.MULTILINE)
    said = run(python, program("twistd"), "ipfsreg", "--help", cwd=tmp_path)
    assert "--config=" in said


@full
def test_the_command_runs(environment: Path, wheel: Path, tmp_path: Path) -> None:
    command = environment / "bin" / "ipfsreg"
    assert run(command, "--version", cwd=tmp_path) == f"ipfsreg {version_of(wheel)}\n"
    assert run(command, "check", cwd=tmp_path) == "OK: no configuration file, the defaults run\n"
    configuration = environment / "etc" / "ipfsreg" / "ipfsreg.ini"
    assert run(command, "check", "--config", configuration, cwd=tmp_path) == f"OK: {configuration}\n"
    where = "import ipfsreg; print(ipfsreg.__file__)"
    assert Path(run(environment / "bin" / "python", "-c", where, cwd=tmp_path).strip()).is_relative_to(environment)


@full
def test_the_daemon_runs(environment: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "ipfsreg.ini"
    listen = f"tcp:{free_port()}:interface=127.0.0.1"
    configuration.write_text(f"[registry]\nlisten = {listen}\n[local]\npath = {tmp_path}/store\n")
    python = str(environment / "bin" / "python")
    command = [python, program("twistd"), "-n", "--pidfile=", "ipfsreg", "--config", str(configuration)]
    assert run_until_ready(command, tmp_path) == ["READY=1", "STOPPING=1"]


def imported_by(path: Path) -> set[str]:
    """The top-level packages, with one more level for namespaces, that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
            found.add(node.module)
    return {name.partition(".")[0] for name in found} - sys.stdlib_module_names


def normal(name: str) -> str:
    """A distribution's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required(requirements: Iterable[str], extra: str = "") -> set[str]:
    """The distributions that requirements name: those of an extra, or those of none."""
    found = set()
    for requirement in requirements:
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[([a-z,]+)\])?", requirement)
        marker = re.search(r"extra == ['\"]([^'\"]+)", requirement)
        assert match is not None
        if (marker[1] if marker else "") == extra:
            found.add(normal(match[1]))
            for wanted in (match[2] or "").split(","):
                if wanted:
                    found |= required(distribution(match[1]).requires or (), wanted)
    return found


def test_what_is_imported_is_declared(wheel: Path) -> None:
    """A package that is there only because another one needs it may be gone with that one's next version."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = message_from_bytes(archive.read(name))
    requirements = metadata.get_all("Requires-Dist", [])
    # Twisted's interfaces are zope's. What traces is loaded where it is asked for, and is an extra.
    declared = required(requirements) | required(requirements, "tracing") | {"zope-interface"}
    imported = set().union(*(imported_by(path) for path in (CHECKOUT / "ipfsreg").rglob("*.py"))) - {"ipfsreg"}
    providers = packages_distributions()
    assert {name for name in imported if not {normal(provider) for provider in providers[name]} & declared} == set()
