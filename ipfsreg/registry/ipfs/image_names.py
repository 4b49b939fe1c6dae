"""How an image by its CID is called: ``ipfs/<CID>``."""

import re
from base64 import b32decode

from ipfsreg.ipfs.cid import CID, DAG_PB, RAW, CIDInvalid, decode_cid, parse_cid
from ipfsreg.registry.errors import NameInvalid
from ipfsreg.registry.names import Repository

_MULTIHASH = 34

CID_NAME = r"(?:b[a-z2-7]{48,}|k[a-z0-9]{48,}|f01[a-f0-9]{68,}|ciq[a-z2-7]{52})"
"""What looks like a CID in an image's name: below ``ipfs/`` that is never an ordinary repository."""

_RESERVED = re.compile(f"ipfs/{CID_NAME}")


def check_not_cid(repository: Repository) -> None:
    """Refuse a name that is of an image by its CID, so that nothing is stored where it cannot be pulled from.

    :raises NameInvalid: for such a name.
    """
    if _RESERVED.fullmatch(repository):
        raise NameInvalid("ipfs/ and a CID is the name of what the CID is of: nothing else can be stored there")


def parse_image_name(text: str) -> CID:
    """Read how a CID is written in an image's name, which has no capital letters.

    Beside CIDv1 that is ``ciq…``, the base32 of a CIDv0 as ipdr and image2ipfs write it.

    :raises NameInvalid: where the name is not a CID.
    """
    try:
        if text.startswith("ciq"):
            cid, end = decode_cid(b32decode(text.upper() + "=" * (-len(text) % 8)))
            if end == _MULTIHASH:
                return cid
        cid = parse_cid(text)
    except (CIDInvalid, ValueError):
        raise NameInvalid("ipfs/… is the name of an image by its CID, and this is not a CID", {"name": text}) from None
    if cid.codec not in {RAW, DAG_PB}:
        raise NameInvalid("this CID is of something else than a file or directory", {"name": text})
    return cid
