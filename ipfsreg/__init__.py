"""ipfsreg: a container registry whose storage is IPFS, as a Twisted daemon."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("ipfsreg")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
