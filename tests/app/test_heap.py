"""Pieces of a body do not cost their pages anew each time."""

import platform
import subprocess
import sys

import pytest

PIECES = """
import resource
from ipfsreg.app.heap import keep_freed_pieces
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
data = bytearray(1 << 20)
begin = faults()
for _ in range(100):
    pieces = [bytes(data) for _ in range(3)]
    del pieces
print(faults() - begin)
"""


def page_faults(before: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", PIECES.format(before=before)], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_pieces_are_used_again() -> None:
    pages = 3 * 256
    assert page_faults("") > 20 * pages
    assert page_faults("keep_freed_pieces()") < 2 * pages
