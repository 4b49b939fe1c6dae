"""ipfsreg: a container registry whose storage is IPFS, as a Twisted daemon."""

__version__: str


def __getattr__(name: str) -> str:
    """The version, which is looked for when somebody asks: that takes as long as all else that `--help` does."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ipfsreg")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "0+unknown"
