"""Packaging of ipfsreg: the library, the twistd plugin, the `ipfsreg` command and the data files."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent

setup(
    name="ipfsreg",
    version="0.1.0",
    description="A container registry whose storage is IPFS, as a Twisted daemon",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=[*find_packages(include=["ipfsreg", "ipfsreg.*"]), "twisted.plugins"],
    package_data={"ipfsreg": ["py.typed"]},
    data_files=[
        ("etc/ipfsreg", ["etc/ipfsreg.ini"]),
        ("lib/systemd/system", ["etc/systemd/ipfsreg.service"]),
    ],
    install_requires=[
        "cachetools>=5.3",
        "cbor2>=5.6",
        "click>=8.1",
        "durationpy>=0.9",
        "h11>=0.14",
        "httptools>=0.6.3",
        "klein>=24.8",
        "mmh3>=5",
        "platformdirs>=4",
        "protobuf>=6.31.1",
        "py-multibase>=1.0.3",
        "pydantic>=2.7",
        "pynacl>=1.5",
        "service-identity>=24.1",
        "treq>=24.9",
        "twisted[tls]>=24.11",
        "typing-extensions>=4.8",
        "werkzeug>=3.0",
        "wsproto>=1.2",
    ],
    extras_require={
        "bench": ["mfusepy>=3", "psutil>=5.9", "tabulate>=0.9"],
        "test": [
            "build",
            "cryptography>=41",
            "h11>=0.14",
            "hypothesis>=6.100",
            "import-linter>=2.17",
            "mypy>=1.11",
            "mypy-zope>=1.0.7",
            "pymongo>=4.6,<4.11",
            "pytest>=8",
            "psutil>=5.9",
            "pytest-timeout>=2.3",
            "pytest-twisted>=1.14",
            "pytest-xdist>=3.5",
            "pyyaml>=6",
            "ruff>=0.6",
            "types-cachetools",
            "tabulate>=0.9",
            "types-protobuf",
            "types-psutil",
            "types-pyyaml",
            "types-tabulate",
            "wsproto>=1.2",
        ],
    },
    entry_points={"console_scripts": ["ipfsreg = ipfsreg.cli:run"]},
    zip_safe=False,
)
