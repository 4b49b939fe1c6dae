"""Iterators of bytes to consumers, and consumers as iterators: every order in which both sides can act."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from ipfsreg.flow.streams import WAITING_MAX, ConsumerGone, Pieces, PiecesBody, Valve, write_pieces


class Broken(Exception):
    """What an iterator or a producer of these tests fails with."""


@implementer(IConsumer)
class Consumer:
    """Does with its producer at each write what it was told beforehand: ``pause``, ``flutter``, ``stop`` or nothing."""

    def __init__(self, *reactions: str) -> None:
        self.reactions = list(reactions)
        self.pieces: list[bytes] = []
        self.producer: IPushProducer | None = None
        self.paused = False
        self.stopped = False

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:  # type: ignore[override]
        assert streaming
        assert self.producer is None
        self.producer = producer
        self.react()

    def unregisterProducer(self) -> None:
        assert self.producer is not None
        self.producer = None

    def write(self, data: bytes) -> None:
        assert self.producer is not None
        assert not self.stopped
        self.pieces.append(data)
        self.react()

    def react(self) -> None:
        reaction = self.reactions.pop(0) if self.reactions else ""
        if reaction in {"pause", "flutter"}:
            self.pause()
        if reaction == "flutter":
            self.resume()
        if reaction == "stop":
            self.stop()

    def pause(self) -> None:
        assert self.producer is not None
        self.paused = True
        self.producer.pauseProducing()

    def resume(self) -> None:
        assert self.producer is not None
        self.paused = False
        self.producer.resumeProducing()

    def stop(self) -> None:
        assert self.producer is not None
        self.stopped = True
        self.producer.stopProducing()


@dataclass
class Source:
    """An iterator that gives a piece for each byte of ``script``, waits, fails, or is slow to close."""

    script: list[str]
    asked: int = 0
    given: list[bytes] = field(default_factory=list)
    waits: "Deferred[None] | None" = None
    begun: bool = False
    closed: bool = False
    slow_to_close: bool = False
    stubborn: bool = False

    async def wait(self) -> None:
        self.waits = Deferred()
        try:
            await self.waits
        except CancelledError:
            if not self.stubborn:
                raise
        finally:
            self.waits = None

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        self.begun = True
        try:
            for step in self.script:
                self.asked += 1
                if step == "wait":
                    await self.wait()
                elif step == "fail":
                    raise Broken
                piece = b"%d" % len(self.given)
                self.given.append(piece)
                yield piece
        finally:
            try:
                if self.slow_to_close:
                    await self.wait()
            finally:
                self.closed = True


def outcome_of(done: "Deferred[None]") -> list[object]:
    outcomes: list[object] = []
    done.addBoth(lambda result: outcomes.append(result.value if isinstance(result, Failure) else result))
    return outcomes


STEPS = st.lists(st.sampled_from(["give", "give", "wait", "fail"]), max_size=8)
REACTIONS = st.lists(st.sampled_from(["", "", "pause", "flutter", "stop"]), max_size=10)


class Writing(RuleBasedStateMachine):
    """`write_pieces` between any iterator and any consumer."""

    @initialize(steps=STEPS, reactions=REACTIONS, slow=st.booleans(), stubborn=st.booleans())
    def begin(self, steps: list[str], reactions: list[str], slow: bool, stubborn: bool) -> None:
        self.source = Source(steps, slow_to_close=slow, stubborn=stubborn)
        self.consumer = Consumer(*reactions)
        self.cancelled = False
        self.done = Deferred.fromCoroutine(write_pieces(self.consumer, self.source.pieces()))
        self.outcome = outcome_of(self.done)

    def runs(self) -> bool:
        return hasattr(self, "outcome") and not self.outcome

    @precondition(lambda self: self.runs() and self.source.waits is not None)
    @rule()
    def the_iterator_goes_on(self) -> None:
        assert self.source.waits is not None
        self.source.waits.callback(None)

    @precondition(runs)
    @rule()
    def the_consumer_pauses(self) -> None:
        self.consumer.pause()

    @precondition(lambda self: self.runs() and not self.consumer.stopped)
    @rule()
    def the_consumer_resumes(self) -> None:
        self.consumer.resume()

    @precondition(lambda self: self.runs() and not self.consumer.stopped)
    @rule()
    def the_consumer_stops(self) -> None:
        self.consumer.stop()

    @precondition(lambda self: self.runs() and not self.source.stubborn)
    @rule()
    def somebody_cancels(self) -> None:
        self.cancelled = True
        self.done.cancel()

    @rule()
    def nothing_happens(self) -> None:
        """It may be over already."""

    @invariant()
    def holds(self) -> None:
        if not hasattr(self, "outcome"):
            return
        source, consumer = self.source, self.consumer
        # In order, nothing twice; what was given and not written was under way when the consumer stopped.
        assert consumer.pieces == source.given[: len(consumer.pieces)]
        assert len(source.given) - len(consumer.pieces) <= (consumer.stopped or self.cancelled)
        if not self.outcome:
            # It waits for the consumer or for the iterator, and for nothing else.
            assert consumer.producer is not None
            assert source.waits is not None or consumer.paused
            return
        # It is over: the iterator is closed, the consumer without a producer.
        assert consumer.producer is None
        assert source.closed or not source.begun
        (result,) = self.outcome
        if result is None:
            assert consumer.pieces == source.given
            assert "fail" not in source.script
            assert len(source.given) == len(source.script)
        else:
            assert isinstance(result, (ConsumerGone, Broken, CancelledError))
            assert not isinstance(result, ConsumerGone) or consumer.stopped
            assert not isinstance(result, CancelledError) or self.cancelled
            assert not isinstance(result, Broken) or "fail" in source.script

    def teardown(self) -> None:
        """Whatever happened before: if both sides go on, it ends."""
        for _ in range(100):
            if not self.runs():
                return
            if self.source.waits is not None:
                self.source.waits.callback(None)
            elif not self.consumer.stopped:
                self.consumer.resume()
        raise AssertionError("it does not end")


test_writing = Writing.TestCase


def test_a_paused_consumer_is_not_asked_for_ahead() -> None:
    """No more is read than was asked for, so a slow client costs no memory."""
    source, consumer = Source(["give"] * 5), Consumer("pause", "pause", "pause")
    outcome = outcome_of(Deferred.fromCoroutine(write_pieces(consumer, source.pieces())))
    assert source.asked == 0
    for asked in (1, 2):
        consumer.resume()
        assert source.asked == asked
    consumer.resume()
    assert (source.asked, outcome) == (5, [None])


def test_a_consumer_that_is_gone_before_the_first_piece() -> None:
    """As a transport does that lost its connection."""
    source = Source(["give"])
    outcome = outcome_of(Deferred.fromCoroutine(write_pieces(Consumer("stop"), source.pieces())))
    assert isinstance(outcome[0], ConsumerGone)
    assert not source.begun


def test_many_pieces_need_no_deep_stack() -> None:
    """Neither where all are there at once, nor where the consumer pauses and resumes within each write."""
    for reactions in ([], ["flutter"] * 20_000):
        source, consumer = Source(["give"] * 10_000), Consumer(*reactions)
        assert outcome_of(Deferred.fromCoroutine(write_pieces(consumer, source.pieces()))) == [None]
        assert len(consumer.pieces) == 10_000


def test_an_iterator_that_stops_its_own_consumer() -> None:
    consumer = Consumer()
    closed: list[bool] = []

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            consumer.stop()
            await Deferred()
            yield b"never"
        finally:
            closed.append(True)

    outcome = outcome_of(Deferred.fromCoroutine(write_pieces(consumer, pieces())))
    assert isinstance(outcome[0], ConsumerGone)
    assert closed == [True]


def test_a_failure_that_comes_of_stopping_is_not_told() -> None:
    """A request that is cancelled may fail as it likes: the consumer was gone first."""
    consumer = Consumer()

    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            await Deferred()
        except CancelledError:
            raise Broken from None
        yield b"never"

    outcome = outcome_of(Deferred.fromCoroutine(write_pieces(consumer, pieces())))
    consumer.stop()
    assert isinstance(outcome[0], ConsumerGone)


def test_a_failure_while_closing_is_told() -> None:
    async def pieces() -> AsyncGenerator[bytes, None]:
        try:
            yield b"piece"
        finally:
            raise Broken

    for consumer in (Consumer(), Consumer("", "stop")):
        outcome = outcome_of(Deferred.fromCoroutine(write_pieces(consumer, pieces())))
        assert isinstance(outcome[0], Broken)
        assert consumer.producer is None


@pytest.mark.parametrize("result", [None, b"piece"])
def test_an_iterator_in_an_iterator_may_wait_for_anything(result: bytes | None) -> None:
    waits: Deferred[bytes | None] = Deferred()

    async def inner() -> AsyncGenerator[bytes, None]:
        yield (await waits) or b"piece"

    async def outer() -> AsyncGenerator[bytes, None]:
        async for piece in inner():
            yield piece

    consumer = Consumer()
    outcome = outcome_of(Deferred.fromCoroutine(write_pieces(consumer, outer())))
    waits.callback(result)
    assert (outcome, consumer.pieces) == ([None], [b"piece"])


def test_a_body_never_answers_after_it_was_stopped() -> None:
    source = Source(["give", "wait"])
    body, consumer = PiecesBody(source.pieces(), 2), Consumer()
    consumer.producer = body
    outcome = outcome_of(body.startProducing(consumer))
    consumer.stop()
    assert (source.closed, outcome, body.length) == (True, [], 2)


def test_a_body_answers_when_all_is_written() -> None:
    for script, wanted in ((["give", "give"], type(None)), (["give", "fail"], Broken)):
        body, consumer = PiecesBody(Source(script).pieces(), None), Consumer()
        consumer.producer = body
        (result,) = outcome_of(body.startProducing(consumer))
        assert isinstance(result, wanted)


@implementer(IPushProducer)
class Producer:
    """Notes what its consumer wants."""

    def __init__(self, on_resume: Callable[[], None] | None = None) -> None:
        self.paused = False
        self.stopped = False
        self._on_resume = on_resume

    def pauseProducing(self) -> None:
        assert not self.paused
        self.paused = True

    def resumeProducing(self) -> None:
        assert self.paused
        self.paused = False
        if self._on_resume is not None:
            self._on_resume()

    def stopProducing(self) -> None:
        self.stopped = True


SIZES = st.integers(1, WAITING_MAX)


@given(st.lists(st.one_of(SIZES, st.just("read")), max_size=30), st.sampled_from(["end", "fail"]), st.booleans())
def test_a_consumer_to_iterate_over(actions: list[int | str], end: str, late: bool) -> None:
    """What was written comes in order; the producer is paused while more than `WAITING_MAX` bytes wait."""
    pieces, producer = Pieces(), Producer()
    pieces.registerProducer(producer, True)
    written, come = 0, bytearray()
    reading: list[list[object]] = []

    def ask() -> None:
        async def one() -> bytes:
            return await anext(pieces)

        reading.append(outcome_of(Deferred.fromCoroutine(one())))  # type: ignore[arg-type]

    def collect() -> None:
        while reading and reading[0]:
            (result,) = reading.pop(0)
            assert isinstance(result, bytes)
            assert result
            come.extend(result)

    for action in actions:
        if action == "read":
            if not reading:
                ask()
        elif not producer.paused:
            assert isinstance(action, int)
            pieces.write(bytes([written % 256]) * action)
            written += action
        collect()
        assert producer.paused == (written - len(come) > WAITING_MAX)
        assert not reading or written == len(come)
    if late:
        pieces.unregisterProducer()
    pieces.end(Failure(Broken()) if end == "fail" else None)
    for _ in range(3):  # it stays at its end
        if not reading:
            ask()
        if len(come) < written:
            collect()
            continue
        ((result,),) = reading
        assert isinstance(result, Broken if end == "fail" else StopAsyncIteration)
        reading.clear()
    assert len(come) == written


def test_a_producer_that_writes_when_it_is_resumed() -> None:
    """The pieces stay in order, and none is lost."""
    left = [bytes([number]) * WAITING_MAX for number in range(1, 5)]

    def write() -> None:
        while left and not producer.paused:
            pieces.write(left.pop(0))

    pieces, producer = Pieces(), Producer(write)
    pieces.registerProducer(producer, True)
    pieces.write(b"\0")
    write()
    pieces.end()

    async def read() -> list[bytes]:
        return [piece async for piece in pieces]

    (result,) = outcome_of(Deferred.fromCoroutine(read()))  # type: ignore[arg-type]
    assert isinstance(result, list)
    assert b"".join(result) == b"\0" + b"".join(bytes([number]) * WAITING_MAX for number in range(1, 5))


def test_a_read_that_is_cancelled_loses_nothing() -> None:
    pieces = Pieces()

    async def one() -> bytes:
        return await anext(pieces)

    first = Deferred.fromCoroutine(one())
    first.cancel()
    assert isinstance(outcome_of(first)[0], CancelledError)  # type: ignore[arg-type]
    pieces.write(b"piece")
    assert outcome_of(Deferred.fromCoroutine(one())) == [b"piece"]  # type: ignore[arg-type]


def test_stopping_is_passed_on() -> None:
    pieces, producer = Pieces(), Producer()
    pieces.stop()  # nobody is there yet
    pieces.registerProducer(producer, True)
    pieces.stop()
    assert producer.stopped


def test_only_push_producers() -> None:
    with pytest.raises(AssertionError):
        Pieces().registerProducer(Producer(), False)


def test_a_valve_that_is_stopped_twice() -> None:
    valve, consumer = Valve(), Consumer()
    consumer.producer = valve
    source = Source(["wait"])
    outcome = outcome_of(Deferred.fromCoroutine(valve.write(consumer, source.pieces())))
    valve.stopProducing()
    valve.stopProducing()
    valve.resumeProducing()
    assert isinstance(outcome[0], ConsumerGone)
