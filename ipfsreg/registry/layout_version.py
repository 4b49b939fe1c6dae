"""Whether a bucket has the layout that this program knows (docs/layout.md)."""

from ipfsreg.bucket.errors import NotFound, SetupError, Unavailable, Unchangeable
from ipfsreg.bucket.interface import IBucket

from . import layout


async def check_there(bucket: IBucket) -> None:
    """See that a bucket still is what it was at the start.

    :raises Unavailable: where it is not there, or is an empty one.
    """
    try:
        await bucket.get(layout.VERSION_FILE, 64)
    except NotFound:
        raise Unavailable(f"{bucket.name} has no {layout.VERSION_FILE} any more") from None


async def check_layout(bucket: IBucket) -> None:
    """See that the bucket has the layout that this program knows; one that is empty gets it.

    :raises SetupError: where it has another one, or is encrypted and was opened as a plain one.
    :raises Unavailable: likewise, where others share the bucket and may change that.
    """
    try:
        found = (await bucket.get(layout.VERSION_FILE, 64)).decode("ascii", "replace").strip()
    except NotFound:
        await _refuse_encrypted(bucket, "encrypted: it needs [encryption] enabled = yes, and a member's key")
        try:
            await bucket.put(layout.VERSION_FILE, b"%d\n" % layout.VERSION)
        except Unchangeable:
            raise Unavailable(f"{bucket.name}: there is no registry: it has no {layout.VERSION_FILE}", 60) from None
        return
    if found != str(layout.VERSION):
        raise SetupError(
            f"{bucket.name} has layout version {found[:20]}, and this ipfsreg knows version {layout.VERSION} only; "
            "run the ipfsreg that wrote it, or choose another directory or bucket"
        )
    await _refuse_encrypted(
        bucket, "being converted: it needs [encryption] enabled = yes and convert, to the end of that"
    )


async def _refuse_encrypted(bucket: IBucket, what: str) -> None:
    """See that a bucket which was opened as a plain one is not encrypted: nothing plain may be put there."""
    try:
        await bucket.stat(layout.ENCRYPTED)
    except NotFound:
        return
    why = f"{bucket.name} is {what}"
    raise Unavailable(why, 60) if bucket.shared else SetupError(why)
