"""What real servers show of our faults. These fail until they are mended."""

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.utils import getProcessOutputAndValue

from ipfsreg.bucket.errors import BucketError, Unavailable
from ipfsreg.bucket.textile.server.identity import Identity, save_identity
from tests.bucket.running import running
from tests.bucket.textile.backend import LIMIT, Backend
from tests.daemon_process import program

from .backend import as_double, served, unique
from .pushing import Acknowledged, layer, push
from .servers import TextileServer


def identity_file(directory: Path, name: str) -> Path:
    file = directory / name
    save_identity(Identity.generate(), file)
    return file


@pytest_twisted.ensureDeferred
async def test_a_role_on_a_repository_without_referrers(buckd: TextileServer, tmp_path: Path) -> None:
    """`share grant --repository` gives the role, then ends with status 1 and the server's text, and `list` too."""
    mate = Identity.generate().public_key
    identity = identity_file(tmp_path, "one")
    async with served(tmp_path / "a", buckd, thread=unique(), identity_file=identity) as owner:
        assert await push(owner, "team/app", "1", [layer(1_000)], Acknowledged()) == []
        for arguments in (["grant", "--repository", "team/app", mate, "writer"], ["list", "--repository", "team/app"]):
            command = ["share", *arguments, "--config", str(owner.directory / "ipfsreg.ini")]
            output, errors, status = await getProcessOutputAndValue(program("ipfsreg"), command, env=dict(os.environ))
            assert (status, errors) == (0, b"")
            assert f"writer  {mate}\n" in output.decode()


@pytest_twisted.ensureDeferred
async def test_a_daemon_with_a_role_pushes(buckd: TextileServer, tmp_path: Path) -> None:
    """As docs/textile.md has it: to push, a daemon needs `writer` on the whole bucket. The server says: the owner."""
    identities = {name: identity_file(tmp_path, name) for name in ("one", "two")}
    mate = Identity.parse(identities["two"].read_text().strip()).public_key
    thread = unique()
    async with served(tmp_path / "a", buckd, thread=thread, identity_file=identities["one"]) as owner:
        assert await push(owner, "box", "1", [layer(1_000)], Acknowledged()) == []
        command = ["share", "grant", mate, "writer", "--config", str(owner.directory / "ipfsreg.ini")]
        _, _, status = await getProcessOutputAndValue(program("ipfsreg"), command, env=dict(os.environ))
        assert status == 0
        async with served(tmp_path / "b", buckd, thread=thread, identity_file=identities["two"]) as other:
            assert await push(other, "box", "2", [layer(1_000)], Acknowledged()) == []


@pytest_twisted.ensureDeferred
async def test_without_a_role_on_a_private_bucket_nothing_is_absent(buckd: TextileServer, tmp_path: Path) -> None:
    """Now listings of what is there are empty, and files "do not answer"; it should be refused, as on the double."""
    thread = unique()
    one, two = (
        Backend(
            as_double(buckd),
            tmp_path / name,
            identity_file=identity_file(tmp_path, f"{name}.identity"),
            thread=thread,
            encrypted=True,
        )
        for name in ("one", "two")
    )
    async with running(one) as owner:
        await owner.bucket.put("d/f", b"x")
        async with running(two) as mate:
            for attempt in (mate.bucket.list("d"), mate.bucket.stat("d/f"), mate.bucket.get("d/f", LIMIT)):
                with pytest.raises(BucketError, match="no role there") as caught:
                    await attempt
                assert not isinstance(caught.value, Unavailable)
