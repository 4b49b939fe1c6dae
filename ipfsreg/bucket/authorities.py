"""Whom to trust where a server speaks https and no public authority has signed its certificate."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from ipfsreg.config.small_file import CONFIG_MAX, read_small_file


@lru_cache(maxsize=8)
def load_authorities(file: Path) -> Any:
    """The certificates of a PEM file, as `IOpenSSLTrustRoot`: they alone are trusted then. Names are checked as ever.

    A file is read once. It blocks, so it is first called where a configuration is read.

    :raises ValueError: where the file has none, with one line.
    """
    # Not loaded where no such file is named.
    from twisted.internet.ssl import Certificate, trustRootFromCertificates

    try:
        content = read_small_file(file, CONFIG_MAX)
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    found = [begin + each.partition(end)[0] + end for each in content.split(begin)[1:]]
    try:
        certificates = [Certificate.loadPEM(each) for each in found]
    except Exception:  # pyOpenSSL's, which has no base of its own
        certificates = []
    if not certificates:
        raise ValueError(f"{file} has no certificate in PEM form that can be read")
    return trustRootFromCertificates(certificates)


def check_authorities(file: Path | None) -> Path | None:
    """For a section's option: refuse a file that cannot be used."""
    if file is not None:
        load_authorities(file)
    return file
