"""When the daemon collects garbage by itself on a bucket that others may use."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent

from ipfsreg.app.background import TELL_SECONDS, PeriodicJobs
from ipfsreg.app.configuration import load_config
from ipfsreg.app.parts import Parts
from ipfsreg.flow.progress import Progress
from ipfsreg.registry.upkeep.collector import Collection, Interrupted
from ipfsreg.registry.upkeep.tag_rules import RetentionPolicy, parse_tag_rules


class Exclusive:
    """An `Exclusion`, as far as the test says."""

    def __init__(self, alone: bool) -> None:
        self.holds = alone
        self.calls: list[str] = []

    async def begin(self, quiet: float) -> bool:
        self.calls.append(f"begin {quiet:g}")
        return self.holds

    async def look(self) -> None:
        self.calls.append("look")

    async def end(self) -> None:
        self.calls.append("end")


class Collector:
    """Runs until it is told to go on, and asks then whether it may."""

    def __init__(self) -> None:
        self.running: Deferred[None] | None = None
        self.progress: Progress | None = None

    async def run(self, *, goes_on: Callable[[], bool]) -> Collection:
        self.running = Deferred()
        await self.running
        if not goes_on():
            raise Interrupted("somebody came")
        return Collection(dry_run=False)


def background(
    exclusion: Exclusive | None,
    collector: Collector,
    interval: str | None = None,
    clock: Any = reactor,
    **registry_more: Any,
) -> dict[str, Any]:
    """What a daemon does by itself, by name. It was last seen at 1 second after 1970."""
    config = load_config(None, reactor, {})
    if interval is not None:
        gc = type(config.gc).model_validate({"interval": interval})
        config = type(config)(
            **{name: getattr(config, name) for name in config.__slots__ if name != "gc"},
            gc=gc,
        )
    bucket = SimpleNamespace(shared=True, name="the bucket")
    backend = SimpleNamespace(
        bucket=bucket,
        exclusion=exclusion,
        read_only=None,
        repeated=(),
        not_read_needlessly=None,
        ipfs=SimpleNamespace(remote_pins=None, late_dags=False),
    )
    registry = SimpleNamespace(
        collector=collector,
        uploads=SimpleNamespace(expire=None),
        cid_refresh=SimpleNamespace(run_if_needed=None, learn=None),
        scrubber=SimpleNamespace(run=None),
        tag_times=None,
        limits=SimpleNamespace(retention=RetentionPolicy()),
    )
    vars(registry).update(registry_more)
    state = SimpleNamespace(last_seen=lambda: 1.0)
    parts = cast(Parts, SimpleNamespace(registry=registry, backend=backend, state=state))
    return {each.what: each for each in PeriodicJobs(config, parts, clock)._jobs()}


def said(log: list[LogEvent]) -> str:
    return "\n".join(formatEvent(each) for each in log)


@pytest_twisted.ensureDeferred
async def test_one_daemon_on_one_node_collects_by_default(log: list[LogEvent]) -> None:
    collector, exclusion = Collector(), Exclusive(alone=True)
    job = background(exclusion, collector)["collect garbage"]
    assert job.seconds == 3600.0
    assert "Garbage is collected while no other daemon uses the bucket" in said(log)
    done = Deferred.fromCoroutine(job.work())
    assert exclusion.calls == ["begin 3600"]
    assert collector.running is not None
    collector.running.callback(None)
    await done
    assert exclusion.calls == ["begin 3600", "end"]


@pytest_twisted.ensureDeferred
async def test_no_tag_is_deleted_by_a_clock_that_may_be_wrong(log: list[LogEvent]) -> None:
    """Here since nobody knows what became of the clock while the daemon was away; see `TimeOfDay` for the rest."""
    runs: list[float] = []

    async def run(now: float) -> None:
        runs.append(now)

    async def applied(now: float) -> list[float]:
        retention = SimpleNamespace(needs_pulls=False, run=run)
        limits = SimpleNamespace(retention=RetentionPolicy(parse_tag_rules("** * pushed 7d")))
        more: dict[str, Any] = {"tag_retention": retention, "limits": limits, "now": lambda: now}
        await background(None, Collector(), **more)["apply [retention]"].work()
        return runs

    assert await applied(365 * 86400.0) == []
    assert "[retention] is not applied today: the clock was set ahead by 358.0 days, or so it seems." in said(log)
    assert await applied(6 * 86400.0) == [6 * 86400.0], "one time for the whole run, whatever becomes of the clock"


@pytest_twisted.ensureDeferred
async def test_it_ends_when_another_one_comes(log: list[LogEvent]) -> None:
    collector, exclusion = Collector(), Exclusive(alone=True)
    done = Deferred.fromCoroutine(background(exclusion, collector)["collect garbage"].work())
    exclusion.holds = False
    assert collector.running is not None
    collector.running.callback(None)
    await done
    assert exclusion.calls[-1] == "end"  # and not before the run has ended
    assert "ended early: another daemon came" in formatEvent(log[-1])


@pytest_twisted.ensureDeferred
async def test_not_beside_others(log: list[LogEvent]) -> None:
    collector, exclusion = Collector(), Exclusive(alone=False)
    await background(exclusion, collector)["collect garbage"].work()
    assert collector.running is None
    assert "No garbage is collected now: another daemon uses the bucket" in formatEvent(log[-1])


@pytest_twisted.ensureDeferred
async def test_a_configured_interval_is_for_who_knows_better() -> None:
    collector, exclusion = Collector(), Exclusive(alone=False)
    job = background(exclusion, collector, "2h")["collect garbage"]
    assert job.seconds == 7200.0
    done = Deferred.fromCoroutine(job.work())
    assert exclusion.calls == []
    exclusion.holds = True
    assert collector.running is not None
    collector.running.callback(None)
    done.addErrback(lambda _: None)
    await done
    assert "collect garbage" not in background(exclusion, collector, "never")


def test_a_long_run_says_how_far_it_is(log: list[LogEvent]) -> None:
    collector, clock = Collector(), Clock()
    done = Deferred.fromCoroutine(background(None, collector, "1h", clock)["collect garbage"].work())
    clock.advance(TELL_SECONDS - 1)
    assert "Collecting garbage" not in said(log)
    collector.progress = Progress("Reading manifests of all", 12_000, 100_000)
    clock.advance(1)
    assert formatEvent(log[-1]) == "Collecting garbage. Reading manifests of all: 12,000 of 100,000."
    collector.progress.begin("Looking through repositories")
    clock.advance(TELL_SECONDS)
    assert formatEvent(log[-1]) == "Collecting garbage. Looking through repositories."
    assert collector.running is not None
    collector.running.callback(None)
    assert done.called
    assert not clock.getDelayedCalls()


def test_where_nobody_knows_of_others_nothing_is_collected(log: list[LogEvent]) -> None:
    assert "collect garbage" not in background(None, Collector())
    assert "so garbage is not collected by itself" in said(log)
