"""The fuzzer of the decoder, for a moment: what it begins with, changed at random. Where atheris is, that as well."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest

from tests.clients.programs import thorough

from .fuzz import corpus, once

ROUNDS = 10_000
CHECKOUT = Path(__file__).parents[2]


def test_what_the_fuzzer_begins_with() -> None:
    for each in corpus():
        once(each)


def test_changed_at_random() -> None:
    random, inputs = Random(12), corpus()
    for _ in range(ROUNDS):
        data = bytearray(random.choice(inputs))
        for _ in range(random.randrange(1, 4)):
            at = random.randrange(len(data) + 1)
            match random.randrange(4):
                case 0 if at < len(data):
                    data[at] ^= 1 << random.randrange(8)
                case 1:
                    del data[at : at + random.choice([1, 2, 16, 104])]
                case 2:
                    data[at:at] = random.randbytes(random.choice([1, 2, 16, 104]))
                case _:
                    other = random.choice(inputs)
                    data[at:] = other[random.randrange(len(other)) :]
        once(bytes(data))


@thorough
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed")
def test_under_atheris(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.encryption", str(tmp_path / "corpus"), "-runs=20000", "-max_total_time=60"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
