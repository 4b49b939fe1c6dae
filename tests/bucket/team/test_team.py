"""A team: who is a member by whose signature, what a removal does, and a storage that lies."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import ensureDeferred
from twisted.logger import LogEvent, formatEvent

from ipfsreg.bucket.errors import BucketError, Corrupt, Refused, SetupError, Unavailable
from ipfsreg.bucket.team.changes import NotAllowed
from ipfsreg.bucket.team.view import RolledBack
from ipfsreg.encryption.documents import (
    BucketDocument,
    GenerationKeys,
    Member,
    Role,
    encode,
    encode_bucket,
    encode_keys,
    encode_member,
    keys_path,
    member_path,
)
from tests.full import examples

from .memory import Killed, MemoryBucket
from .people import AtOnce, Person

OWNER, WRITER, READER = Role.OWNER, Role.WRITER, Role.READER


class Place:
    """``anna`` founded the bucket; the others are somebody."""

    def __init__(self, directory: Path) -> None:
        self.storage = MemoryBucket()
        workers = AtOnce()
        self.anna, self.bert, self.carl, self.dora, self.eve = (
            Person(name, self.storage, directory, workers) for name in ("anna", "bert", "carl", "dora", "eve")
        )

    @property
    def bucket_id(self) -> bytes:
        return self.anna.team.view.bucket.bucket_id

    def record(self, signer: Person, member: Member) -> None:
        """Let somebody sign a record, whether he may or not."""
        self.storage.files[member_path(member.public)] = encode_member(signer.key, self.bucket_id, member)


@pytest_twisted.async_fixture()
async def place(tmp_path: Path) -> Place:
    place = Place(tmp_path)
    await place.anna.team.open()
    return place


@pytest_twisted.ensureDeferred
async def test_the_first_key_founds_and_a_stranger_is_told_what_to_do(place: Place) -> None:
    anna, bert = place.anna, place.bert
    assert anna.writes
    with pytest.raises(SetupError, match=f"`ipfsreg team add {bert.public.hex()}`"):
        await bert.team.open()
    with pytest.raises(Unavailable):
        bert.team.current()
    await anna.adds(bert, READER)
    assert bert.reads(anna)
    assert not bert.writes
    assert bert.team.current().name_key == anna.team.current().name_key
    await anna.adds(bert, WRITER)
    assert bert.writes
    assert anna.believes(bert)


@pytest_twisted.ensureDeferred
async def test_a_plain_bucket_is_not_founded(place: Place) -> None:
    place.storage.files = {"layout-version": b"1\n"}
    with pytest.raises(SetupError, match="ipfsreg encrypt"):
        await place.bert.team.open()
    assert set(place.storage.files) == {"layout-version"}
    place.storage.files = {}
    place.bert.owner = place.anna.public
    with pytest.raises(SetupError, match="is empty"):
        await place.bert.begin().open()
    assert not place.storage.files


@pytest_twisted.ensureDeferred
async def test_only_owners_change_the_team(place: Place) -> None:
    anna, bert, carl = place.anna, place.bert, place.carl
    for role in (READER, WRITER):
        await anna.adds(bert, role)
        with pytest.raises(NotAllowed):
            await bert.team.add(carl.public, "carl", READER)
        with pytest.raises(NotAllowed):
            await bert.team.remove(anna.public)
        with pytest.raises(NotAllowed):
            await bert.team.rotate()
    await anna.adds(bert, OWNER)
    await bert.adds(carl, WRITER)
    await anna.team.refresh()
    assert anna.believes(carl)
    with pytest.raises(NotAllowed, match="own record"):
        await bert.team.add(bert.public, "bert", READER)
    with pytest.raises(NotAllowed, match="own record"):
        await bert.team.remove(bert.public)


@pytest_twisted.ensureDeferred
async def test_who_is_removed_reads_and_writes_nothing_new(place: Place) -> None:
    anna, bert, carl = place.anna, place.bert, place.carl
    await anna.adds(bert, WRITER)
    await anna.adds(carl, READER)
    old = anna.team.current().generation
    await anna.team.remove(bert.public)
    new = anna.team.current().generation
    assert new > old
    for _ in range(2):  # also after a restart
        await bert.team.refresh()
        assert not bert.writes
        assert new not in bert.team.current().content_keys
        assert old in bert.team.current().content_keys
        bert.begin()
    await carl.team.refresh()
    assert carl.reads(anna)
    for person in (anna, carl):
        keyring = person.team.current()
        assert not keyring.may_have_written(bert.public, new)
        assert keyring.may_have_written(bert.public, old)  # what he wrote before
    # Once all content was signed anew, nothing that he signs counts, whatever generation he says.
    await anna.team.settle(new)
    await carl.team.refresh()
    assert not any(person.team.current().may_have_written(bert.public, old) for person in (anna, carl))
    assert anna.believes(anna)
    # Added by mistake, removed, and added again.
    await anna.adds(bert, WRITER)
    assert bert.writes
    assert bert.reads(anna)


@pytest_twisted.ensureDeferred
async def test_a_writer_who_becomes_a_reader_writes_no_more(place: Place) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, WRITER)
    old = anna.team.current().generation
    await anna.adds(bert, READER)
    assert not bert.writes
    assert bert.reads(anna)
    assert anna.team.current().generation > old
    assert not anna.believes(bert)
    assert anna.team.current().may_have_written(bert.public, old)


@pytest_twisted.ensureDeferred
async def test_a_rotation_is_taken_up_by_a_daemon_that_runs(place: Place) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, WRITER)
    generation = await anna.team.rotate()
    assert bert.team.current().generation < generation
    await bert.team.refresh()
    assert bert.team.current().generation == generation
    assert bert.writes
    # Whoever comes later reads what is old.
    await anna.adds(place.carl, READER)
    assert place.carl.team.current().content_keys == anna.team.current().content_keys


FORGERS = {
    "a reader": lambda place: place.carl,
    "a writer": lambda place: place.dora,
    "a removed owner": lambda place: place.bert,
    "a stranger": lambda place: place.eve,
}


@pytest.mark.parametrize("forger", FORGERS)
@pytest_twisted.ensureDeferred
async def test_what_others_than_owners_sign_counts_for_nothing(
    forger: str, place: Place, clean_log: list[LogEvent]
) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, OWNER)
    await anna.adds(place.carl, READER)
    await anna.adds(place.dora, WRITER)
    await anna.team.remove(bert.public)
    before, kept = anna.team.current(), dict(place.storage.files)
    false: Person = FORGERS[forger](place)
    mallory = place.eve.public
    # A new member, signed by one who may not; said to be of a time when he might.
    place.record(false, Member(mallory, "mallory", OWNER, 1, None, (1, None)))
    await anna.team.refresh()
    assert not anna.believes(place.eve)
    assert mallory not in anna.team.view.roster.members
    assert any("counts for nothing" in problem for problem in anna.team.view.problems)
    place.storage.files = dict(kept)
    # Himself, with more than he has.
    place.record(false, Member(false.public, "false", OWNER, 1, None, (1, None), 99))
    await anna.team.refresh()
    assert not anna.team.view.roster.is_owner(false.public)
    assert not anna.believes(false)
    place.storage.files = dict(kept)
    # A generation whose keys he knows.
    forged = GenerationKeys(before.generation + 5, bytes(32), before.name_key)
    place.storage.files[keys_path(forged.generation, anna.public)] = encode_keys(
        false.key, place.bucket_id, anna.public, forged
    )
    await anna.team.refresh()
    assert anna.team.current().generation == before.generation
    assert forged.generation not in anna.team.current().content_keys
    place.storage.files = dict(kept)
    # The whole bucket.
    place.storage.files["encryption/bucket"] = encode_bucket(
        false.key, BucketDocument(place.bucket_id, false.public, 99)
    )
    with pytest.raises(Refused, match=r"\[encryption\] owner"):
        await anna.team.refresh()
    assert anna.team.current().content_keys == before.content_keys


@pytest_twisted.ensureDeferred
async def test_documents_count_only_at_their_place_of_their_bucket(place: Place) -> None:
    anna, bert, storage = place.anna, place.bert, place.storage
    await anna.adds(bert, WRITER)
    theirs = encode_member(anna.key, bytes(32), Member(place.eve.public, "eve", OWNER, 1, None, (1, None)))
    storage.files[member_path(place.eve.public)] = theirs
    await anna.team.refresh()
    assert not anna.believes(place.eve)
    storage.files[member_path(place.eve.public)] = storage.files[member_path(bert.public)]
    await anna.team.refresh()
    assert not anna.believes(place.eve)
    # Keys that were sealed to another one, or are of another generation.
    storage.files[keys_path(7, bert.public)] = storage.files[keys_path(1, bert.public)]
    await bert.team.refresh()
    assert bert.team.current().generation == 1


@pytest_twisted.ensureDeferred
async def test_a_storage_does_not_fill_the_log(place: Place, log: list[LogEvent]) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, WRITER)
    await anna.team.remove(bert.public)
    for turn in range(3):
        for number in range(1000):
            place.storage.files[f"encryption/members/{turn}\n{number}"] = b""
        del log[:]
        await bert.team.refresh()
        lines = [formatEvent(event) or "" for event in log]
        assert len(lines) <= 7
        assert not any("\n" in line for line in lines)
        assert any("this daemon's member was removed" in line for line in lines) == (turn == 0)
        assert any("more documents do not count" in line for line in lines)
        for path in [path for path in place.storage.files if "\n" in path]:
            del place.storage.files[path]


@pytest.mark.parametrize("generations", [1, 2])
@pytest_twisted.ensureDeferred
async def test_a_member_s_own_damaged_keys_are_named_with_the_remedy(generations: int, place: Place) -> None:
    anna, bert, storage = place.anna, place.bert, place.storage
    await anna.adds(bert, WRITER)
    for _ in range(generations - 1):
        await anna.team.rotate()
        await bert.team.refresh()
    path = keys_path(anna.team.current().generation, bert.public)
    storage.files[path] = storage.files[path][:-1]
    await bert.team.refresh()  # a daemon that runs has them
    assert bert.writes
    bert.begin()
    with pytest.raises(Corrupt, match=f"{path} is not as it was signed: .*team add {bert.public.hex()} --role"):
        await bert.team.open()
    await anna.adds(bert, WRITER)
    await bert.team.open()
    assert bert.writes


@pytest.mark.parametrize("what", ["the bucket", "a record", "a record that is gone", "the newest keys", "all"])
@pytest_twisted.ensureDeferred
async def test_an_older_state_than_was_seen_is_refused(what: str, place: Place) -> None:
    anna, bert, storage = place.anna, place.bert, place.storage
    await anna.adds(bert, OWNER)
    await anna.adds(place.carl, WRITER)
    old = dict(storage.files)
    await bert.team.remove(anna.public)
    await bert.adds(place.carl, READER)
    await place.carl.team.refresh()
    new = dict(storage.files)
    record = member_path(place.carl.public)
    if what == "the bucket":
        storage.files["encryption/bucket"] = old["encryption/bucket"]
    elif what == "a record":
        storage.files[record] = old[record]
    elif what == "a record that is gone":
        del storage.files[member_path(anna.public)]
    elif what == "the newest keys":
        # Nobody tells of the generation either.
        await bert.team.rotate()
        await place.carl.team.refresh()
        storage.files = dict(new)
    else:
        storage.files = old
    for person in (bert, place.carl):
        generation = person.team.current().generation
        with pytest.raises(RolledBack, match="older team than it has given before"):
            await person.team.refresh()
        assert person.team.current().generation == generation  # what was known stays in use
        with pytest.raises(RolledBack):
            await person.begin().open()
        if what in {"all", "the newest keys"}:
            person.seen.unlink()  # as the line says: then it is believed
            await person.begin().open()


@pytest_twisted.ensureDeferred
async def test_an_owner_is_pinned_or_configured(place: Place) -> None:
    anna, bert, eve = place.anna, place.bert, place.eve
    await anna.adds(bert, WRITER)
    bert.owner = eve.public
    with pytest.raises(SetupError, match="ask that owner"):
        await bert.begin().open()
    bert.owner = anna.public
    await bert.begin().open()
    bert.owner = None
    # Somebody puts a bucket of his own in its place.
    place.storage.files = {}
    eve.seen.unlink(missing_ok=True)
    await eve.begin().open()
    await eve.team.add(bert.public, "bert", WRITER)
    with pytest.raises(Corrupt, match="another bucket"):
        await bert.begin().open()


@pytest_twisted.ensureDeferred
async def test_two_owners_add_at_once(place: Place) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, OWNER)
    # Both have read the team before either writes.
    theirs = dict(place.storage.files)
    await anna.team.add(place.carl.public, "carl", READER)
    of_anna, place.storage.files = place.storage.files, theirs
    await bert.team.add(place.dora.public, "dora", WRITER)
    place.storage.files = {**of_anna, **place.storage.files}
    for person in (anna, bert, place.carl, place.dora):
        await person.team.refresh()
        assert {each.name for each in person.team.view.roster.present()} >= {"carl", "dora"}
    assert place.dora.reads(place.anna)
    assert place.dora.writes
    # The same one, with different roles: the last one counts, and both daemons say the same.
    await anna.team.add(place.eve.public, "eve", READER)
    await bert.team.add(place.eve.public, "eve", WRITER)
    for person in (anna, bert):
        await person.team.refresh()
        assert person.believes(place.eve)


@pytest_twisted.ensureDeferred
async def test_two_owners_rotate_or_remove_at_once(place: Place) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, OWNER)
    await anna.adds(place.carl, WRITER)
    await anna.adds(place.dora, WRITER)
    theirs = dict(place.storage.files)
    await anna.team.remove(place.carl.public)
    of_anna, place.storage.files = place.storage.files, theirs
    await bert.team.remove(place.dora.public)
    # Each one's new generation has a key for whom the other one removed.
    removed = {member_path(place.carl.public): of_anna[member_path(place.carl.public)]}
    place.storage.files = {**of_anna, **place.storage.files, **removed}
    for _ in range(2):
        for person in (anna, bert):
            await person.team.refresh()
    assert anna.team.current().generation == bert.team.current().generation
    for person in (place.carl, place.dora):
        await person.team.refresh()
        assert not person.writes
        assert not person.reads(anna)


@pytest_twisted.ensureDeferred
async def test_the_founder_is_removed_by_whom_he_made_an_owner(place: Place) -> None:
    anna, bert, carl, dora = place.anna, place.bert, place.carl, place.dora
    await anna.adds(bert, OWNER)
    await anna.adds(dora, OWNER)
    await anna.adds(carl, WRITER)
    await bert.team.remove(anna.public)
    assert bert.team.view.roster.founder == bert.public
    for person in (bert, carl, dora):
        await person.team.refresh()
        assert person.writes
        assert not person.believes(anna)
    await anna.team.refresh()
    assert not anna.writes
    assert not anna.team.is_owner
    # What he signs now counts for nothing, though he founded it; one who comes new sees it so, too.
    place.record(anna, Member(place.eve.public, "eve", OWNER, 1, None, (1, None)))
    await dora.team.refresh()
    assert not dora.believes(place.eve)
    await dora.team.remove(carl.public)
    await bert.team.refresh()
    assert not bert.believes(carl)


@pytest_twisted.ensureDeferred
async def test_a_founder_who_was_removed_does_not_come_back_by_himself(place: Place) -> None:
    anna, bert = place.anna, place.bert
    await anna.adds(bert, OWNER)
    await bert.team.remove(anna.public)
    view, generation = bert.team.view, bert.team.view.newest + 1
    keys = GenerationKeys(generation, bytes(32), anna.team.current().name_key)
    files = place.storage.files
    for person in (anna, bert):
        record = view.roster.members[person.public]
        place.record(anna, replace(record, role=OWNER, until=None, writes=(1, None), counter=record.counter + 9))
        path = keys_path(generation, person.public)
        files[path] = encode_keys(anna.key, place.bucket_id, person.public, keys)
    files["encryption/bucket"] = encode_bucket(anna.key, BucketDocument(place.bucket_id, anna.public, 99))
    with pytest.raises(BucketError, match="does not any more"):
        await bert.team.refresh()
    assert bert.team.current().generation < generation
    # Whatever the configuration says: it may still name who founded the bucket.
    for owner in (None, anna.public, bert.public):
        bert.owner = owner
        with pytest.raises(SetupError, match=f"does not any more.*remove {bert.seen}"):
            await bert.begin().open()


@pytest_twisted.ensureDeferred
async def test_who_was_removed_is_not_told_of_a_roll_back_when_another_one_comes_back(place: Place) -> None:
    anna, bert, carl = place.anna, place.bert, place.carl
    await anna.adds(bert, READER)
    await anna.adds(carl, WRITER)
    await anna.team.remove(bert.public)
    await anna.team.remove(carl.public)
    await bert.team.refresh()
    await anna.adds(carl, WRITER)
    await bert.team.refresh()
    await bert.begin().open()
    assert not bert.reads(anna)
    await anna.adds(bert, READER)
    assert bert.reads(anna)


@pytest_twisted.ensureDeferred
async def test_all_keys_are_lost_but_the_recovery_key(place: Place) -> None:
    anna, bert, paper = place.anna, place.bert, place.carl
    await anna.adds(bert, WRITER)
    await anna.team.add(paper.public, "recovery key", OWNER)
    await paper.team.open()
    assert paper.reads(anna)
    await paper.adds(place.dora, OWNER)
    await paper.team.remove(anna.public)
    await place.dora.team.refresh()
    await place.dora.team.remove(bert.public)
    assert place.dora.writes
    assert not place.dora.believes(bert)


ACTIONS: dict[str, Callable[[Place], object]] = {
    "add": lambda place: place.bert.team.add(place.eve.public, "eve", WRITER),
    "demote": lambda place: place.bert.team.add(place.carl.public, "carl", READER),
    "remove": lambda place: place.bert.team.remove(place.carl.public),
    "remove an owner": lambda place: place.bert.team.remove(place.dora.public),
    "remove the founder": lambda place: place.bert.team.remove(place.anna.public),
    "rotate": lambda place: place.bert.team.rotate(),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest_twisted.ensureDeferred
async def test_killed_at_any_moment_the_team_works_and_the_change_can_be_made_again(
    action: str, tmp_path: Path, clean_log: list[LogEvent]
) -> None:
    for moment in range(40):
        (directory := tmp_path / str(moment)).mkdir()
        place = Place(directory)
        anna, bert, carl, dora = place.anna, place.bert, place.carl, place.dora
        await anna.team.open()
        await anna.adds(bert, OWNER)
        await anna.adds(dora, OWNER)
        await dora.adds(carl, WRITER)
        try:
            with place.storage.killed_before_change(moment):
                await ACTIONS[action](place)  # type: ignore[misc]
            ended = True
        except Killed:
            ended = False
        # Whoever starts now has a team that works.
        for person in (bert, dora, carl):
            await person.begin().open()
        for person in (bert, dora, carl):
            await person.team.refresh()
        assert bert.writes
        assert dora.team.current().generation == bert.team.current().generation or action == "remove an owner"
        if not ended:
            await bert.team.refresh()
            try:
                await ACTIONS[action](place)  # type: ignore[misc]
            except NotAllowed:  # it was made, but for what was healed
                assert "remove" in action
        for person in (bert, dora, carl):
            await person.team.refresh()
        if action == "remove":
            assert not carl.reads(bert)
        if action == "remove an owner":
            assert not dora.reads(bert)
            assert bert.believes(carl)  # whom the removed one had added
        if action == "remove the founder":
            assert carl.believes(bert)
            assert not bert.believes(anna)
        if ended:
            break
    else:
        pytest.fail("the change has no end")


@settings(max_examples=examples(20, 60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_hostile_bytes_in_every_document(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    async def run() -> None:
        place = Place(tmp_path_factory.mktemp("team"))
        await place.anna.team.open()
        await place.anna.adds(place.bert, WRITER)
        before = place.bert.team.current()
        path = data.draw(st.sampled_from(sorted(place.storage.files)))
        content = place.storage.files[path]
        place.storage.files[path] = data.draw(
            st.one_of(
                st.binary(max_size=300),
                st.binary(min_size=1, max_size=50).map(content.__add__),
                st.integers(0, len(content) - 1).map(lambda at: content[:at]),
                st.integers(0, 8 * len(content) - 1).map(lambda bit: _flipped(content, bit)),
                st.just(bytes(5000)),
            )
        )
        for person in (place.anna, place.bert):
            await one_line_at_most(person.team.refresh())
        assert place.bert.team.current().content_keys == before.content_keys
        # One who comes new believes nothing of it either.
        place.bert.seen.unlink()
        if await one_line_at_most(place.bert.begin().open()):
            assert place.bert.team.current().content_keys == before.content_keys

    results: list[object] = []
    ensureDeferred(run()).addBoth(results.append)
    assert results == [None]


async def one_line_at_most(work: Awaitable[object]) -> bool:
    """Whether something succeeds. Where it fails, it says so in one line."""
    try:
        await work
    except (BucketError, SetupError) as error:
        return "\n" in str(error)  # which the caller takes for a success, and looks at
    return True


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"name": "x" * 65, "role": "owner", "since": 1, "writes": None, "until": None, "counter": 1},
        {"name": "a\nb", "role": "owner", "since": 1, "writes": None, "until": None, "counter": 1},
        {"name": "a", "role": "king", "since": 1, "writes": None, "until": None, "counter": 1},
        {"name": "a", "role": ["owner"], "since": 1, "writes": None, "until": None, "counter": 1},
        {"name": "a", "role": "owner", "since": True, "writes": None, "until": None, "counter": 1},
        {"name": "a", "role": "owner", "since": 1, "writes": [1], "until": None, "counter": 1},
        {"name": "a", "role": "owner", "since": 1, "writes": [0, 2**40], "until": None, "counter": 1},
        {"name": "a", "role": "owner", "since": 1, "writes": None, "until": "2", "counter": 1},
        {"name": "a", "role": "owner", "since": 1, "writes": None, "until": None, "counter": 1.5},
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_an_owner_signs_has_to_be_in_the_format(
    payload: dict[str, object], place: Place, clean_log: list[LogEvent]
) -> None:
    path = member_path(place.eve.public)
    place.storage.files[path] = encode(place.anna.key, place.bucket_id, path, payload)
    await place.anna.team.refresh()
    assert place.eve.public not in place.anna.team.view.roster.members
    assert [event for event in clean_log if "not in the format" in formatEvent(event)]
