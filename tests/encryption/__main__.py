"""``python -m tests.encryption DIRECTORY [OPTION]…`` fuzzes the decoder with atheris.

The directory keeps the corpus; options are libFuzzer's, such as ``-runs=1000000`` or ``-max_total_time=3600``.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ipfsreg.encryption"]):
    from .fuzz import corpus, once

directory = Path(sys.argv[1])
directory.mkdir(exist_ok=True)
for number, data in enumerate(corpus()):
    (directory / f"first-{number}").write_bytes(data)
atheris.Setup(sys.argv, once)
atheris.Fuzz()
