"""Deleting the tags that no rule of ``[retention]`` keeps; the collector then frees what they alone needed."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop

from twisted.logger import Logger

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.flow.gather import batches, gather
from ipfsreg.flow.progress import Progress
from ipfsreg.registry import layout
from ipfsreg.registry.content.storage import Storage
from ipfsreg.registry.digest import Digest, parse_digest
from ipfsreg.registry.errors import DigestInvalid, NameUnknown
from ipfsreg.registry.events.event import EventAction, Origin, Target
from ipfsreg.registry.events.events import Events
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.record import Record, read_record
from ipfsreg.registry.repository.manifests import Manifests
from ipfsreg.registry.repository.tag_times import PushedTag, TagTimes
from ipfsreg.registry.repository.tags import Tags

from .tag_rules import RetentionPolicy, TagRule, rules_for

_AT_ONCE = 50
_OF_ANOTHER = re.compile(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})(\.[A-Za-z0-9_.-]+)?")
_ORIGIN = Origin(user="retention")

_Rank = tuple[float, Tag]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a tag is kept, and why, in words."""

    repository: Repository
    tag: Tag
    kept: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """A tag as it was found. ``pushed`` is None where its manifest's record is not whole."""

    tag: Tag
    digest: Digest
    pushed: float | None

    @property
    def references(self) -> tuple[str, str]:
        """What it is pulled by."""
        return self.tag, str(self.digest)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What one run measures tags by: the time, and for each rule with ``newest`` the least rank that is kept."""

    now: float
    newest: dict[TagRule, _Rank]


@dataclass
class RetentionRun:
    """What a run did, or with a dry run would have done."""

    tags: int = 0
    deleted: int = 0
    repositories: int = 0


class TagRetention:
    """Applies rules to the tags of all repositories, or of one.

    ``bucket`` of ``storage`` is read for what each tag points to. ``times`` is None where nobody notes them.
    """

    _log = Logger()

    def __init__(
        self,
        policy: RetentionPolicy,
        storage: Storage,
        manifests: Manifests,
        tags: Tags,
        times: TagTimes | None,
        events: Events,
    ) -> None:
        self._policy = policy
        self._storage = storage
        self._manifests = manifests
        self._tags = tags
        self._times = times
        self._events = events

    @property
    def needs_pulls(self) -> bool:
        """Whether it counts when a tag was pulled."""
        return self._policy.rules.need_pulls

    async def verdicts(self, repository: Repository, now: float) -> AsyncIterator[Sequence[tuple[Verdict, _Seen]]]:
        """What is to become of each tag that a rule is about, some at a time.

        ``now`` is seconds since 1970, and the same for the whole run: the clock may be set ahead in the middle of it.
        """
        rules = self._policy.rules.of(repository)
        if not rules:
            return
        try:
            tags = [tag async for some in self._tags.pages(repository) for tag in some]
        except NameUnknown:
            return
        bounds = _Bounds(now, await self._newest(repository, rules, tags, now))
        throttle = self._storage.throttle()
        for some in batches(tags, _AT_ONCE):
            part = [tag for tag in some if rules_for(rules, tag)]
            await throttle.step(_AT_ONCE)
            looked = await self._look(repository, part, now)
            references = [each for seen in looked for each in seen.references]
            pulled = {} if self._times is None else await self._times.last_pulls(repository, references)

            async def judge(seen: _Seen, pulled: Mapping[str, float] = pulled) -> tuple[Verdict, _Seen]:
                about = rules_for(rules, seen.tag)
                last = max((pulled[each] for each in seen.references if each in pulled), default=None)
                kept, reason = await self._judge(repository, about, seen, bounds, last)
                return Verdict(repository, seen.tag, kept, reason), seen

            yield await gather(judge, looked)

    async def all_verdicts(self, now: float, only: Repository | None = None) -> AsyncIterator[Sequence[Verdict]]:
        """As `verdicts`, of one repository or all; then come those of its tags that no rule is about, which stay."""
        throttle = self._storage.throttle()
        async for repository in self._repositories(only):
            async for judged in self.verdicts(repository, now):
                yield [verdict for verdict, _ in judged]
            rules = self._policy.rules.of(repository)
            try:
                async for page in self._tags.pages(repository):
                    for some in batches(page, _AT_ONCE):
                        others = [tag for tag in some if not rules_for(rules, tag)]
                        yield [Verdict(repository, tag, True, "no rule is about it") for tag in others]
                        await throttle.step(len(some))
            except NameUnknown:  # it was deleted meanwhile
                pass

    async def run(self, now: float, only: Repository | None = None, progress: Progress | None = None) -> RetentionRun:
        """Delete what is not kept. ``now`` is as for `verdicts`."""
        found, progress = RetentionRun(), progress or Progress()
        progress.begin("Looking at tags")
        async for repository in self._repositories(only):
            if only is None and not self._policy.rules.of(repository):
                continue
            found.repositories += 1
            async for some in self.verdicts(repository, now):
                for verdict, seen in some:
                    found.tags += 1
                    progress.done += 1
                    if not verdict.kept and await self._delete(repository, seen, now):
                        found.deleted += 1
                        self._log.info(
                            "Retention deleted {repository}:{tag}: {reason}.",
                            repository=repository,
                            tag=verdict.tag,
                            reason=verdict.reason,
                        )
        return found

    async def _repositories(self, only: Repository | None) -> AsyncIterator[Repository]:
        if only is not None:
            yield only
            return
        async for repository in layout.repositories_with_manifests(self._storage.bucket):
            yield repository

    async def _newest(
        self, repository: Repository, rules: tuple[TagRule, ...], tags: Sequence[Tag], now: float
    ) -> dict[TagRule, _Rank]:
        """Of each rule with ``newest`` the least rank that is among them."""
        heaps: dict[TagRule, list[_Rank]] = {rule: [] for rule in rules if rule.newest is not None}
        throttle = self._storage.throttle()
        for some in batches(tags if heaps else (), _AT_ONCE):
            part = [tag for tag in some if heaps.keys() & {*rules_for(rules, tag)}]
            await throttle.step(_AT_ONCE)
            for seen in await self._look(repository, part, now):
                for rule in rules_for(rules, seen.tag):
                    if rule.newest is None:
                        continue
                    if len(heaps[rule]) < rule.newest:
                        heappush(heaps[rule], _rank(seen))
                    else:
                        heappushpop(heaps[rule], _rank(seen))
        return {rule: heap[0] for rule, heap in heaps.items() if heap}

    async def _look(self, repository: Repository, tags: Sequence[Tag], now: float) -> list[_Seen]:
        """Those of some tags that are there and whole."""
        # What others push to a bucket is not noted here.
        noted = self._times is not None and not self._storage.bucket.shared
        pushes = await self._times.last_pushes(repository, tags) if noted and self._times is not None else {}

        async def look(tag: Tag) -> _Seen | None:
            try:
                digest = await self._tags.get(repository, tag)
                record = None if digest is None else await read_record(self._storage.bucket, repository, digest)
            except Corrupt:
                return None  # damage is for `verify`
            if digest is None:
                return None
            pushed = None if record is None else _pushed(pushes.get(tag), digest, record)
            # A time that lies ahead was noted by a wrong clock, and counts as now.
            return _Seen(tag, digest, None if pushed is None else min(pushed, now))

        return [seen for seen in await gather(look, tags) if seen is not None]

    async def _judge(
        self,
        repository: Repository,
        rules: Sequence[TagRule],
        seen: _Seen,
        bounds: _Bounds,
        pulled: float | None,
    ) -> tuple[bool, str]:
        tag = seen.tag
        for rule in rules:
            if rule.everything:
                return True, f"kept by the rule {rule.text!r}"
        if self._policy.immutable.protects(repository, tag):
            return True, "it is immutable"
        subject = await self._subject_of(repository, tag)
        if subject is not None:
            return True, f"it belongs to {subject}, which is there"
        for rule in rules:
            reason = await self._kept_by(repository, rule, seen, bounds, pulled)
            if reason is not None:
                return True, reason
        return False, f"nothing keeps it in {' or '.join(repr(rule.text) for rule in rules)}"

    async def _kept_by(
        self, repository: Repository, rule: TagRule, seen: _Seen, bounds: _Bounds, pulled: float | None
    ) -> str | None:
        newest = bounds.newest.get(rule)
        if rule.newest is not None and newest is not None and _rank(seen) >= newest:
            return "it is the newest" if rule.newest == 1 else f"it is one of the {rule.newest} newest"
        if rule.pushed is not None and (seen.pushed is None or bounds.now - seen.pushed < rule.pushed):
            return "it was pushed lately"
        if rule.pulled is not None and self._was_pulled(bounds.now - rule.pulled, pulled):
            return "it was pulled lately, or may have been"
        if rule.referred and await self._storage.bucket.list(layout.referrers(repository, seen.digest)):
            return "something refers to it"
        return None

    def _was_pulled(self, since: float, pulled: float | None) -> bool:
        if self._times is None or self._times.since > since:
            return True  # nobody knows
        return pulled is not None and pulled >= since

    async def _subject_of(self, repository: Repository, tag: Tag) -> Digest | None:
        """The manifest that a tag is about, as those of cosign and of the referrers tag schema, where it is there."""
        match = _OF_ANOTHER.fullmatch(tag)
        if match is None:
            return None
        try:
            digest = parse_digest(match[1].replace("-", ":", 1))
            return digest if await read_record(self._storage.bucket, repository, digest) is not None else None
        except (DigestInvalid, Corrupt):
            return None

    async def _delete(self, repository: Repository, seen: _Seen, now: float) -> bool:
        async def is_as_seen() -> bool:
            return [seen] == await self._look(repository, [seen.tag], now)

        if not await self._manifests.delete_tag_if(repository, seen.tag, seen.digest, is_as_seen):
            return False  # it was pushed again meanwhile
        await self._events.changed(EventAction.DELETE, Target(repository, tag=seen.tag), _ORIGIN)
        if self._times is not None:
            await self._times.forget(repository, [seen.tag])
        return True


def _pushed(noted: PushedTag | None, digest: Digest, record: Record) -> float:
    """When a tag was pushed: a manifest has one time for all of its tags, and gets another one when it loses a tag."""
    return noted.at if noted is not None and noted.digest == str(digest) else record.released


def _rank(seen: _Seen) -> _Rank:
    return (float("inf") if seen.pushed is None else seen.pushed, seen.tag)
