"""Who is a member of an encrypted bucket: the records that count, by the chain of signatures from the founder."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .documents import DocumentError, Member, Role, Signed, parse_member

Records = Mapping[bytes, Signed]
"""The members' records that are signed by somebody, by public key."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The members, by public key, and who signed each one's record.

    ``problems`` are lines about what counts for nothing.
    """

    founder: bytes
    members: Mapping[bytes, Member]
    signers: Mapping[bytes, bytes]
    problems: tuple[str, ...] = field(default=())

    def is_owner(self, public: bytes) -> bool:
        """Whether a signature of that key makes members."""
        member = self.members.get(public)
        return public == self.founder or (member is not None and member.role is Role.OWNER)

    def may_have_written(self, author: bytes, generation: int) -> bool:
        """Whether the author's signature counts in a file of a generation."""
        member = self.members.get(author)
        return member is not None and member.may_have_written(generation)

    def present(self) -> list[Member]:
        """Those who were not removed."""
        return [member for member in self.members.values() if member.is_member]

    def owners(self) -> list[bytes]:
        """The keys of all owners, the founder's among them."""
        return sorted({self.founder} | {each for each in self.members if self.is_owner(each)})

    def stands_above(self, public: bytes, below: bytes) -> bool:
        """Whether an owner's membership hangs on the signature of another one, himself included."""
        at = below
        for _ in range(len(self.members) + 1):
            if at == public:
                return True
            if at == self.founder or at not in self.signers:
                return False
            at = self.signers[at]
        return False


def resolve(founder: bytes, records: Records) -> Roster:
    """The roster that the founder vouches for: he signs owners, and owners sign members.

    A record that says less of its signer than that he is an owner takes all away that he signed: whoever removes an
    owner has signed anew what was that one's. The founder is an owner whatever the records say.
    """
    by_signer: dict[bytes, list[bytes]] = {}
    for public, signed in records.items():
        by_signer.setdefault(signed.signer, []).append(public)
    members: dict[bytes, Member] = {}
    problems: list[str] = []
    waiting, seen = [founder], {founder}
    while waiting:
        signer = waiting.pop()
        for public in by_signer.get(signer, ()):
            try:
                member = parse_member(public, records[public])
            except DocumentError as error:
                problems.append(str(error))
                continue
            if public == founder and member.role is not Role.OWNER:
                problems.append(f"the record of the founder {founder.hex()} says that he is no owner")
                continue
            members[public] = member
            if member.role is Role.OWNER and public not in seen:
                seen.add(public)
                waiting.append(public)
    problems += [
        f"the record of {public.hex()} is signed by {signed.signer.hex()}, who is no owner: it counts for nothing"
        for public, signed in records.items()
        if signed.signer not in seen
    ]
    signers = {public: records[public].signer for public in members}
    return Roster(founder, members, signers, tuple(problems))
