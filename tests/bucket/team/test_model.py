"""A team that its owners change in any order: what each one may is always what was said last."""

from collections.abc import Coroutine
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from ipfsreg.bucket.errors import SetupError, Unavailable
from ipfsreg.bucket.team.changes import NotAllowed
from ipfsreg.encryption.documents import WRITING, Role
from tests.full import examples

from .memory import Killed, MemoryBucket
from .people import AtOnce, Person

NAMES = ("anna", "bert", "carl", "dora")
people = st.sampled_from(NAMES)
numbers = st.integers(0, 11)
UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
"""What fails is short enough as it is, and to make it shorter takes minutes."""
roles = st.sampled_from([Role.READER, Role.WRITER, Role.OWNER])


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Do what waits for nothing."""
    results: list[Any] = []
    ensureDeferred(work).addBoth(results.append)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


class TeamModel(RuleBasedStateMachine):
    """``roles`` is what was said last."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = TemporaryDirectory()
        self.storage = MemoryBucket()
        workers = AtOnce()
        self.people = {name: Person(name, self.storage, Path(self.directory.name), workers) for name in NAMES}
        self.roles = dict.fromkeys(NAMES, Role.REMOVED)
        done(self.people["anna"].team.open())
        self.roles["anna"] = Role.OWNER
        self.generation = 1

    def teardown(self) -> None:
        self.directory.cleanup()

    def change(self, by: str, whom: str, role: Role, killed_at: int | None) -> None:
        """One sets the role of another, or is killed while he does, and then does so again."""
        owner, other = self.people[by], self.people[whom]

        def work() -> None:
            if role is Role.REMOVED:
                done(owner.team.remove(other.public))
            else:
                done(owner.team.add(other.public, whom, role))

        removed = self.roles[whom] is Role.REMOVED
        if killed_at is not None:
            try:
                with self.storage.killed_before_change(killed_at):
                    work()
            except (Killed, NotAllowed):
                owner.begin()
                done(owner.team.open())
            removed = removed or role is Role.REMOVED
        try:
            work()
        except NotAllowed:
            if not (role is Role.REMOVED and removed):
                raise
        self.roles[whom] = role

    def pair(self, by: int, whom: int) -> tuple[str, str]:
        """An owner and another one, by numbers."""
        owners = [name for name in NAMES if self.roles[name] is Role.OWNER]
        owner = owners[by % len(owners)]
        others = [name for name in NAMES if name != owner]
        return owner, others[whom % len(others)]

    @rule(by=numbers, whom=numbers, role=roles, killed_at=st.one_of(st.none(), st.integers(0, 12)))
    def add(self, by: int, whom: int, role: Role, killed_at: int | None) -> None:
        self.change(*self.pair(by, whom), role, killed_at)

    @rule(by=numbers, whom=numbers, killed_at=st.one_of(st.none(), st.integers(0, 12)))
    def remove(self, by: int, whom: int, killed_at: int | None) -> None:
        self.change(*self.pair(by, whom), Role.REMOVED, killed_at)

    @rule(by=people)
    def rotate(self, by: str) -> None:
        if self.roles[by] is Role.OWNER:
            done(self.people[by].team.rotate())

    @rule(by=people)
    def settle(self, by: str) -> None:
        if self.roles[by] is Role.OWNER:
            owner = self.people[by].team
            done(owner.refresh())
            done(owner.settle(owner.current().generation))

    @rule(who=people)
    def start_anew(self, who: str) -> None:
        self.people[who].begin()

    @invariant()
    def everybody_may_what_was_said_last(self) -> None:
        for _ in range(2):
            for person in self.people.values():
                try:
                    done(person.team.open())
                    done(person.team.refresh())
                except SetupError:
                    if self.roles[person.name] is not Role.REMOVED:
                        raise
        present = [person for person in self.people.values() if self.roles[person.name] is not Role.REMOVED]
        (generation,) = {person.team.current().generation for person in present}
        assert generation >= self.generation
        self.generation = generation
        for person in present:
            keyring = person.team.current()
            assert keyring.can_write == (self.roles[person.name] in WRITING)
            assert person.team.is_owner == (self.roles[person.name] is Role.OWNER)
            for other in self.people.values():
                writes = keyring.may_have_written(other.public, generation)
                assert writes == (self.roles[other.name] in WRITING), other.name
        (keys,) = {tuple(sorted(person.team.current().content_keys.items())) for person in present}
        for person in self.people.values():
            if self.roles[person.name] is Role.REMOVED:
                try:
                    keyring = person.team.current()
                except Unavailable:
                    continue  # he never was a member
                assert generation not in keyring.content_keys
                assert not keyring.can_write
        assert len(keys) >= 1


def test_a_team_that_changes() -> None:
    run_state_machine_as_test(
        TeamModel,
        settings=settings(max_examples=examples(6, 15), stateful_step_count=10, deadline=None, phases=UNSHRUNK),
    )
