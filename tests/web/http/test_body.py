"""A body's states: what is possible in each, and what its consumer sees."""

from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from zope.interface import implementer

from ipfsreg.flow.streams import ConsumerGone
from ipfsreg.web.http.body import OVER, TRANSITIONS, Body, BodyEvent, BodyState, BodyTooLong, ClientGone


class BodySource:
    """Notes what the body asks for."""

    def __init__(self) -> None:
        self.changes = 0
        self.continued = 0

    def body_changed(self) -> None:
        self.changes += 1

    def send_continue(self) -> None:
        self.continued += 1


class Free:
    """Memory for everybody."""

    def grow(self, length: int) -> None:
        return None


@implementer(IConsumer)
class Consumer:
    def __init__(self) -> None:
        self.content = b""
        self.producer: Any = None

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.content += data


def outcome(done: "Deferred[None]") -> object:
    """How a copy ended: None, an exception, or the Deferred where it has not."""
    results: list[object] = []
    done.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results[0] if results else done


def test_each_state_says_what_can_happen_in_it() -> None:
    assert TRANSITIONS.keys() == set(BodyState)
    reached = {BodyState.HELD} | {after for each in TRANSITIONS.values() for after in each.values()}
    assert reached == set(BodyState)
    for state in OVER:
        assert set(TRANSITIONS[state].values()) == {state}
    for state in set(BodyState) - set(OVER):
        assert TRANSITIONS[state][BodyEvent.LOST] is BodyState.BROKEN
        assert TRANSITIONS[state][BodyEvent.UNWANTED] is BodyState.DISCARDED


def test_a_body_is_held_until_somebody_asks() -> None:
    source, consumer = BodySource(), Consumer()
    body = Body(source, 5)
    assert body.state is BodyState.HELD
    done = body.copy_to(consumer)
    assert body.state is BodyState.FLOWING
    body.take([b"he"])
    consumer.producer.pauseProducing()
    assert body.state is BodyState.FULL
    consumer.producer.resumeProducing()
    body.take([b"llo"])
    body.all_came()
    assert (outcome(done), consumer.content, body.state, consumer.producer) == (None, b"hello", BodyState.ENDED, None)


def test_a_body_of_nothing_has_ended() -> None:
    source, consumer = BodySource(), Consumer()
    assert outcome(Body(source, 0, expects_continue=True).copy_to(consumer)) is None
    assert (source.continued, source.changes) == (0, 0)


def test_a_client_is_told_once_to_go_on() -> None:
    source = BodySource()
    body = Body(source, None, expects_continue=True)
    assert not body.can_be_drained(1000)
    body.copy_to(Consumer())
    assert source.continued == 1


def test_a_consumer_may_stop_at_any_time() -> None:
    consumer = Consumer()
    body = Body(BodySource(), 5)
    done = body.copy_to(consumer)
    consumer.producer.stopProducing()
    assert isinstance(outcome(done), ConsumerGone)
    assert body.state is BodyState.DISCARDED
    body.take([b"hello"])
    body.all_came()
    assert (consumer.content, body.state) == (b"", BodyState.ENDED)


def test_what_is_lost_is_told_once_and_for_all() -> None:
    body = Body(BodySource(), 5)
    done = body.copy_to(Consumer())
    body.lost(ClientGone("gone"))
    assert isinstance(outcome(done), ClientGone)
    assert isinstance(outcome(body.copy_to(Consumer())), ClientGone)
    assert not body.can_be_drained(1000)
    body.discard()
    assert body.state is BodyState.BROKEN


@pytest_twisted.ensureDeferred
async def test_a_body_that_is_too_long_is_refused_before_it_is_there() -> None:
    with pytest.raises(BodyTooLong):
        await Body(BodySource(), 1001).read(1000, Free())
    body = Body(BodySource(), None)
    reading = Deferred.fromCoroutine(body.read(1000, Free()))
    body.take([b"x" * 600])
    body.take([b"x" * 401])
    with pytest.raises(BodyTooLong):
        await reading
    assert body.state is BodyState.DISCARDED


class Slow:
    """Memory that comes later."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []

    def grow(self, length: int) -> "Deferred[None]":
        self.waiting.append(Deferred())
        return self.waiting[-1]


@pytest_twisted.ensureDeferred
async def test_a_body_waits_for_memory() -> None:
    memory, body = Slow(), Body(BodySource(), 10)
    reading = Deferred.fromCoroutine(body.read(1000, memory))
    body.take([b"hello"])
    assert body.state is BodyState.FULL
    memory.waiting[0].callback(None)
    assert body.state is BodyState.FLOWING
    body.take([b"world"])
    body.all_came()
    memory.waiting[1].callback(None)
    assert await reading == b"helloworld"


@given(st.lists(st.sampled_from(list(BodyEvent)), max_size=12))
def test_no_order_of_events_leads_out_of_the_table(events: list[BodyEvent]) -> None:
    """What the connection and a consumer may do in any order, since neither knows of the other."""
    consumer, body = Consumer(), Body(BodySource(), None)
    done = None
    for event in events:
        if event is BodyEvent.ASKED and body.state is not BodyState.DISCARDED:
            done = done or body.copy_to(consumer)
        elif event is BodyEvent.PAUSED and consumer.producer is not None:
            consumer.producer.pauseProducing()
        elif event is BodyEvent.RESUMED and consumer.producer is not None:
            consumer.producer.resumeProducing()
        elif event is BodyEvent.UNWANTED:
            body.discard()
        elif event is BodyEvent.LOST:
            body.lost(ClientGone())
        elif event is BodyEvent.ALL_CAME and body.state is not BodyState.HELD:
            body.all_came()
    if done is not None and body.state is BodyState.ENDED:
        assert not isinstance(outcome(done), Deferred)
