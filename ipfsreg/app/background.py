"""What a daemon does by itself, again and again, while it serves its clients."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from twisted.application.service import MultiService
from twisted.logger import Logger

from ipfsreg.bucket.errors import BucketError
from ipfsreg.bucket.opened import LOOK_SECONDS, Repeated
from ipfsreg.config.sections import Config
from ipfsreg.flow.clock import TimeOfDay
from ipfsreg.flow.periodic import Periodic
from ipfsreg.flow.progress import Progress
from ipfsreg.flow.repeating import repeating
from ipfsreg.registry.repository.tag_times import WRITE_SECONDS

from .parts import Parts
from .state_directory import AHEAD_SECONDS, StateDirectory

EXPIRE_UPLOADS_SECONDS = 600.0
CIDS_SECONDS = 60.0
SEEN_SECONDS = 60.0
COMPLETE_SECONDS = 1.0
LEARN_SECONDS = 1.0
TELL_SECONDS = 60.0
AWAY_SECONDS = 7 * 86400.0
"""A daemon that did not run for longer does not know that the clock is right."""

WRONG_TIME_SECONDS = 23 * 3600.0
"""For how long nobody is believed who has set the clock ahead, since tags that are deleted are gone."""


async def note_seen(state: StateDirectory) -> None:
    """Note that this daemon serves clients now, and until the next time."""
    state.note_daemon(min(2 * SEEN_SECONDS, AHEAD_SECONDS))


class PeriodicJobs(MultiService):
    """The service that does all of it."""

    _log = Logger()

    def __init__(self, config: Config, parts: Parts, reactor: Any) -> None:
        super().__init__()
        self._config = config
        self._parts = parts
        self._reactor = reactor

    def startService(self) -> None:
        """Begin. What is not done here, though the configuration does not say so, is said in the log."""
        for job in self._jobs():
            Periodic(self._reactor, job.what, job.seconds, job.work, job.first, (BucketError,)).setServiceParent(self)
        super().startService()

    def _jobs(self) -> Iterator[Repeated]:
        registry, pin = self._parts.registry, self._config.pin
        yield Repeated("note that the daemon runs", SEEN_SECONDS, partial(note_seen, self._parts.state))
        yield Repeated("expire upload sessions", EXPIRE_UPLOADS_SECONDS, registry.uploads.expire)
        yield Repeated("bring the index of CIDs up to date", CIDS_SECONDS, self._refresh, 0.0)
        if not self._parts.backend.bucket.shared:
            yield Repeated("have long lists in the index", LEARN_SECONDS, registry.cid_refresh.learn)
        if self._parts.backend.ipfs.late_dags:
            yield Repeated("compute the CIDs of what was pushed", COMPLETE_SECONDS, registry.complete_dags, 0.0)
        yield from self._parts.backend.repeated
        interval = self._gc_interval()
        if interval is not None:
            alone = self._parts.backend.exclusion is not None and "interval" not in self._config.gc.model_fields_set
            yield Repeated("collect garbage", interval, self._collect_alone if alone else self._collect)
        if registry.tag_times is not None:
            yield Repeated("note when tags were pulled and pushed", WRITE_SECONDS, registry.tag_times.write)
        yield from self._retention()
        interval = self._scrub_interval()
        if interval is not None:
            yield Repeated("scrub", interval, self._scrub)
        remote_pins = self._parts.backend.ipfs.remote_pins
        if pin.service is not None and remote_pins is not None:
            work = partial(remote_pins.keep_copy, pin.service)
            yield Repeated("keep a copy at the pinning service", pin.interval, work)

    def _retention(self) -> Iterator[Repeated]:
        registry, backend = self._parts.registry, self._parts.backend
        interval = self._config.retention.interval
        if interval is None or not registry.limits.retention.rules.rules or backend.read_only is not None:
            return
        retention = registry.tag_retention
        if backend.bucket.shared and retention.needs_pulls:
            self._log.warn("[retention] rules: what is pulled through other daemons does not count as pulled here.")
        seen = self._parts.state.last_seen()
        away = max(0.0, registry.now() - seen - AWAY_SECONDS) if seen else 0.0
        yield Repeated("apply [retention]", interval, partial(self._retain, TimeOfDay(away)))

    async def _retain(self, time_of_day: TimeOfDay) -> None:
        registry = self._parts.registry
        now = registry.now()  # before the look at the clock, which may be set at any moment
        ahead = time_of_day.ahead(WRONG_TIME_SECONDS)
        if not ahead:
            await registry.tag_retention.run(now)
            return
        self._log.warn(
            "[retention] is not applied today: the clock was set ahead by {days:.1f} days, or so it seems.",
            days=ahead / 86400,
        )

    def _gc_interval(self) -> float | None:
        # The collector knows what this daemon's clients rely on, and not what those of others do.
        backend, gc = self._parts.backend, self._config.gc
        if backend.read_only is not None:
            return None
        if backend.bucket.shared and "interval" not in gc.model_fields_set:
            if backend.exclusion is not None:
                self._log.info(
                    "Garbage is collected while no other daemon uses {bucket}, or with [gc] interval always.",
                    bucket=backend.bucket.name,
                )
                return gc.interval
            self._log.info(
                "Other daemons may use {bucket}, so garbage is not collected by itself: run `ipfsreg gc` while "
                "nobody pushes, or set [gc] interval where this is the only daemon.",
                bucket=backend.bucket.name,
            )
            return None
        return gc.interval

    def _scrub_interval(self) -> float | None:
        backend, scrub = self._parts.backend, self._config.scrub
        if backend.read_only is not None:
            self._log.info("Garbage is collected, and content scrubbed, where it is published and not here.")
            return None
        if backend.not_read_needlessly is not None and "interval" not in scrub.model_fields_set:
            self._log.info(
                "Stored content is not scrubbed unless [scrub] interval is set: {why}.",
                why=backend.not_read_needlessly,
            )
            return None
        return scrub.interval

    async def _refresh(self) -> None:
        refresh = self._parts.registry.cid_refresh
        with self._telling("Bringing the index of CIDs up to date", lambda: refresh.progress):
            await refresh.run_if_needed()

    def _telling(self, what: str, progress: Callable[[], Progress | None]) -> AbstractContextManager[None]:
        """Log now and then how far something is that takes long."""

        def tell() -> None:
            self._log.info("{what}. {progress}.", what=what, progress=progress() or "It waits")

        return repeating(tell, TELL_SECONDS, self._reactor)

    async def _scrub(self) -> None:
        await self._parts.registry.scrubber.run()

    async def _collect_alone(self) -> None:
        """Collect while no other daemon uses the bucket, and only until one comes."""
        from ipfsreg.registry.upkeep.collector import Interrupted  # not loaded before it is used

        exclusion = self._parts.backend.exclusion
        assert exclusion is not None
        if not await exclusion.begin(self._config.gc.grace):
            self._log.info("No garbage is collected now: another daemon uses the bucket, or did a short while ago.")
            return
        look = Periodic(
            self._reactor, "look for other daemons", LOOK_SECONDS, exclusion.look, LOOK_SECONDS, (BucketError,)
        )
        look.startService()
        try:
            await self._collect(lambda: exclusion.holds)
        except Interrupted:
            self._log.info("The collection of garbage ended early: another daemon came to use the bucket.")
        finally:
            look.stopService()
        # Cancelled, a removal may still be under way: then it is the end of the bucket that lets others in.
        await exclusion.end()

    async def _collect(self, goes_on: Callable[[], bool] = lambda: True) -> None:
        collector = self._parts.registry.collector
        with self._telling("Collecting garbage", lambda: collector.progress):
            collection = await collector.run(goes_on=goes_on)
        if collection.contents or collection.manifests or collection.blob_links:
            self._log.info(
                "Collected {manifests} manifests and {contents} contents: {freed} bytes freed.",
                manifests=collection.manifests,
                contents=collection.contents,
                freed=collection.freed,
            )
