"""How the C library keeps the memory of the pieces in which bodies come."""

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_FROM_HEAP = 2 * 1024 * 1024
_KEPT = 8 * 1024 * 1024
_HEAPS = 2


def keep_freed_pieces() -> None:
    """Have the memory of a freed piece be there for the next one, and that of a long document go back to the system.

    glibc would give both back each time, and pay for every page of a piece anew: a tenth of what a layer costs on its
    way in. Left alone it also takes longer blocks from its heap once it has freed one (``M_MMAP_THRESHOLD`` in
    mallopt(3)): then documents of 4 MiB leave holes there that nothing else fits in, and each thread's heap keeps some.
    With another C library this does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _FROM_HEAP)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_ARENA_MAX, _HEAPS)
