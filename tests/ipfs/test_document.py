"""The commands of docs/ipfs.md, run as they stand there."""

from pathlib import Path

from tests.clients.programs import client_environment, require_program, run
from tests.daemon_process import DaemonProcess, program
from tests.docs.documents import block, blocks
from tests.web.served import MANIFEST_TYPE, digest_of, image

from .kubo import Kubo
from .test_kubo import LAYER, ask

DOCUMENT = "docs/ipfs.md"


def test_its_commands(tmp_path: Path) -> None:
    require_program("curl")
    with DaemonProcess(tmp_path) as daemon:
        node = Kubo(tmp_path, "http://127.0.0.1:1")  # no router at all, until the commands name one
        for data in (b"{}", LAYER):
            ask(daemon, "POST", f"/v2/busybox/blobs/uploads/?digest={digest_of(data)}", data)
        manifest = image(layers=[LAYER])
        ask(daemon, "PUT", "/v2/busybox/manifests/latest", manifest, Content_Type=MANIFEST_TYPE)
        env = client_environment(tmp_path / "home") | {"IPFS_PATH": node.environment["IPFS_PATH"]}
        programs = [str(Path(each).parent) for each in (program("ipfsreg"), node.program)]
        env["PATH"] = ":".join([*programs, env["PATH"]])

        def do(text: str) -> str:
            said = run("sh", "-euc", text.replace("http://127.0.0.1:5000", daemon.url), env=env, cwd=tmp_path)
            # On standard error, for who did not say `--config`.
            return "".join(line for line in said.splitlines(True) if not line.startswith("ipfsreg: this is about "))

        cid, *more = do(block(DOCUMENT, "CIDs")).splitlines()
        assert more[0].split()[:2] == [cid, digest_of(manifest)]
        assert more[2].split()[1:] == [digest_of(LAYER), str(len(LAYER))]
        assert f"X-Ipfs-Cid: {cid}" in more
        (published,) = do(block(DOCUMENT, "Publishing")).splitlines()
        assert ask(daemon, "GET", f"/v2/ipfs/{published}/manifests/latest")
        root, imported = do(block(DOCUMENT, "Exporting and importing")).splitlines()
        assert imported == f"copy:1 {digest_of(manifest)}"
        bring, _, _ = block(DOCUMENT, "Exporting and importing", "console").splitlines()
        assert do(bring.removeprefix("$ ")) == f"Pinned root\t{root}\tsuccess\n"
        do(block(DOCUMENT, "Kubo"))
        with node:
            shown = block(DOCUMENT, "Kubo", "console").removeprefix("$ ")
            assert do(shown).encode() == manifest


def test_there_are_no_others() -> None:
    shown = [each.heading for each in blocks("sh") if each.document == DOCUMENT]
    assert sorted(shown) == ["CIDs", "Exporting and importing", "Kubo", "Publishing"]
