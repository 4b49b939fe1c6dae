"""How the C library keeps the memory of the pieces in which bodies come."""

_LARGEST_PIECE = 4 * 1024 * 1024


def keep_freed_pieces() -> None:
    """Have the memory of a freed piece be there for the next one.

    glibc would give it back to the system each time, and pay for every page of it anew: a tenth of what a layer costs
    on its way in. It learns from the largest block that it has freed (``M_MMAP_THRESHOLD`` in mallopt(3)): shorter ones
    come from its heap from then on, of which it keeps twice that length. Elsewhere this does nothing.
    """
    bytearray(_LARGEST_PIECE)
