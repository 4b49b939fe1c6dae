"""The tool that kills registries runs, and finds nothing lost."""

import re
import subprocess
import sys
from pathlib import Path

from tests.clients.programs import thorough

CHECKOUT = Path(__file__).resolve().parents[2]


@thorough
def test_two_kills(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.reliability", "--kills", "2", "--registry", "ipfsreg", "--no-disks"]
    done = subprocess.run(
        [*command, "--dir", str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"kills: acknowledged [1-9]\d*, .*kills 2, .*verify finds it whole 1", done.stdout)
    assert "lost" not in done.stdout
    assert list(tmp_path.iterdir()) == []
