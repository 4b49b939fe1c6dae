"""What this daemon has seen of a team's documents, so that a storage cannot give it older ones later."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from ipfsreg.bucket.errors import SetupError, bucket_error
from ipfsreg.config.small_file import read_small_file
from ipfsreg.encryption.documents import parse_member_name
from ipfsreg.flow.durable import remove_drafts, write_durably

_LENGTH_MAX = 4 * 1024**2


@dataclass(frozen=True, slots=True)
class Seen:
    """``counters`` are the highest of each member's record, ``owners`` those of the last roster that was accepted.

    ``state`` is the number of the newest state that was accepted, of a bucket that is followed.
    ``founders`` are those that the bucket had one after the other, ``rewrapped`` is the generation up to which all
    content was brought, ``reencrypted`` the one for which it is to be encrypted anew, and not its keys only.
    ``generation`` is the newest that this member had the key of.
    """

    bucket_id: bytes | None = None
    founders: tuple[bytes, ...] = ()
    bucket_counter: int = 0
    counters: dict[bytes, int] = field(default_factory=dict)
    owners: frozenset[bytes] = frozenset()
    generation: int = 0
    state: int = 0
    rewrapped: int = 0
    reencrypted: int = 0


class SeenFile:
    """One small JSON file in the daemon's directory. Its methods block: they are for threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._last: Seen | None = None
        self._lock = Lock()

    def load(self) -> Seen:
        """What an earlier daemon noted; nothing where there was none.

        :raises SetupError: where the file cannot be read: then nobody knows what was seen.
        """
        if self._last is None:
            try:
                remove_drafts(self.path)
                self._last = _parsed(json.loads(read_small_file(self.path, _LENGTH_MAX)))
            except FileNotFoundError:
                self._last = Seen()
            except OSError as error:
                raise SetupError(f"cannot read {self.path}: {error.strerror}") from None
            except (ValueError, OverflowError, TypeError, KeyError, AttributeError, RecursionError):
                raise SetupError(
                    f"{self.path} is damaged; it says which state of the encrypted bucket was seen last. Remove it if "
                    "the storage is to be trusted as it is now"
                ) from None
        return self._last

    def note(self, change: Callable[[Seen], Seen]) -> None:
        """Change what is noted; durable when it returns. `BucketError` where the disk does not let us."""
        with self._lock:
            seen = change(self.load())
            if seen != self._last:
                self._write(seen)
                self._last = seen

    def _write(self, seen: Seen) -> None:
        document = {
            "bucket": seen.bucket_id.hex() if seen.bucket_id else None,
            "founders": [each.hex() for each in seen.founders],
            "bucket_counter": seen.bucket_counter,
            "members": {public.hex(): counter for public, counter in sorted(seen.counters.items())},
            "owners": sorted(each.hex() for each in seen.owners),
            "generation": seen.generation,
            "state": seen.state,
            "rewrapped": seen.rewrapped,
            "reencrypted": seen.reencrypted,
        }
        try:
            write_durably(self.path, json.dumps(document, indent=1).encode() + b"\n")
        except OSError as error:
            raise bucket_error(error) from None

    def note_reencrypted(self, generation: int) -> None:
        """Note that all content is to be encrypted anew for a generation. `BucketError`."""
        self.note(lambda seen: replace(seen, reencrypted=generation))

    def note_rewrapped(self, generation: int) -> None:
        """Note that all content was brought to a generation. `BucketError`."""
        self.note(lambda seen: replace(seen, rewrapped=generation))


def _parsed(found: dict[str, Any]) -> Seen:
    return Seen(
        _key(found["bucket"]) if found["bucket"] is not None else None,
        tuple(_key(each) for each in found["founders"]),
        int(found["bucket_counter"]),
        {_key(public): int(counter) for public, counter in found["members"].items()},
        frozenset(_key(each) for each in found["owners"]),
        int(found["generation"]),
        int(found["state"]),
        int(found["rewrapped"]),
        int(found["reencrypted"]),
    )


def _key(text: str) -> bytes:
    found = parse_member_name(text)
    if found is None:
        raise ValueError("no key")
    return found
