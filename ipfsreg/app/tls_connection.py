"""A connection of TLS that gives what it decrypts in larger pieces than it came."""

from OpenSSL import SSL

RECORD_MAX = 16 * 1024
"""The bytes of the longest record (RFC 8446, 5.1)."""

AT_ONCE = 256 * 1024


class TlsConnection(SSL.Connection):
    """Gives the records that have come in one piece, so that a layer is not handled 16 KiB at a time.

    Measured, that is a sixth of all the work for a layer that is pushed through TLS. A short record that comes first
    is given at once, since mostly there is no other one; after it a client cannot cause more work by short ones.
    """

    _is_first = True
    _failure: SSL.Error | None = None

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """See `SSL.Connection`; but it may be up to `AT_ONCE` and a record, where ``bufsiz`` is less."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            try:
                raise failure
            finally:
                del failure  # else it and this frame would hold each other
        try:
            piece = super().recv(bufsiz, flags)
        except SSL.WantReadError:
            self._is_first = True
            raise
        if self._is_first and len(piece) < RECORD_MAX:
            self._is_first = False
            return piece
        pieces, length = [piece], len(piece)
        try:
            while length < AT_ONCE:
                piece = super().recv(bufsiz, flags)
                pieces.append(piece)
                length += len(piece)
        except SSL.Error as error:  # that is for after what came before it; mostly that more has to come
            self._is_first = True
            self._failure = error.with_traceback(None)
        return b"".join(pieces)
