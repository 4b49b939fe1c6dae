"""The first state of a bucket that was never there."""

from ipfsreg.bucket.errors import Unavailable
from ipfsreg.bucket.kubo.errors import RETRY_AFTER, Missing
from ipfsreg.bucket.kubo.node.node import Node
from ipfsreg.ipfs.cid import DAG_PB, cid_of, parse_cid
from ipfsreg.ipfs.unixfs import encode_directory

from .draft import StateDraft
from .notes import Notes
from .pins import Pins
from .shown_folder import ShownFolder
from .states import MARK, NOBODY_HELPS, BucketState, Overtaken, mark_of


async def make_first_state(node: Node, pins: Pins, notes: Notes, shown_folder: ShownFolder) -> BucketState:
    """Pin it, made of what the folder shows, or of nothing. Of several daemons each makes the same state, number 0.

    :raises Unavailable: where this daemon knows that the bucket was there. :raises Overtaken: where another daemon has
        begun the bucket with another state.
    """
    known = notes.root
    if known is not None:
        if await node.is_pinned(known):  # of an earlier version, which put no mark into it
            return BucketState(0, known)
        raise Unavailable(
            f"the node has no pin of {known}, the state of the bucket that this daemon knows, nor of a later "
            f"one; is it another node? To begin anew, remove {notes.file.path}",
            NOBODY_HELPS,
        )
    empty = encode_directory([])
    shown = await shown_folder.cid()
    top = cid_of(DAG_PB, empty)
    await node.put_blocks([(top, empty)])
    draft = StateDraft(node.directories, top if shown is None else parse_cid(shown))
    await draft.link(MARK, mark_of(pins.bucket, 0))
    cid, blocks = await draft.blocks()
    root = str(cid)
    await node.put_blocks(blocks)
    if node.cluster:
        await node.pin(root)
        return BucketState(0, root)
    await pins.note(root)
    # While a node walks what it pins, it looks on its network for what is missing, and pins nothing else. So the
    # first block is pinned without a look at what is below it, and we look.
    await node.put_blocks(blocks[-1:], pin=True)
    await node.put_blocks(blocks)
    if not await node.is_whole(root):
        await pins.unpin(root)
        raise Missing(f"the node has lost a part of {root}", RETRY_AFTER)
    if any(state.root != root for state in await pins.states()):
        await pins.unpin(root)
        raise Overtaken("another daemon has begun the bucket", RETRY_AFTER)
    return BucketState(0, root)
