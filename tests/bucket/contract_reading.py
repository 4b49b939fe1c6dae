"""The part of the contract that is about large files: see `contract`."""

import os

import pytest
import pytest_twisted
from twisted.internet.defer import gatherResults
from twisted.internet.interfaces import IPushProducer

from ipfsreg.bucket.errors import NotFound, TooLarge
from ipfsreg.flow.streams import ConsumerGone

from .helpers import pause, read
from .storage import Collecting, Storage, read_into

HELD_BACK_MAX = 1024 * 1024
"""How much may still come to a consumer that asked for a pause: what was under way."""


class LargeFiles:
    """`put_file` and reading in ranges."""

    CONTENT = os.urandom(3 * 1024 * 1024 + 12345)

    @pytest_twisted.ensureDeferred
    async def test_put_file(self, storage: Storage) -> None:
        source = storage.spooled(self.CONTENT)
        await storage.bucket.put_file("blobs/x", source)
        assert not source.exists()
        assert (await storage.bucket.stat("blobs/x")).size in {len(self.CONTENT), None}
        assert await read(storage.bucket, "blobs/x") == self.CONTENT
        await storage.bucket.put_file("blobs/x", storage.spooled(b""))
        assert await read(storage.bucket, "blobs/x") == b""

    @pytest_twisted.ensureDeferred
    async def test_ranges(self, storage: Storage) -> None:
        bucket, size = storage.bucket, len(self.CONTENT)
        await bucket.put_file("f", storage.spooled(self.CONTENT))
        reader = await bucket.open("f")
        for offset, length in [(0, 1), (0, size), (size - 1, 1), (1, 70_000), (262_143, 2), (1_000_000, 0), (size, 0)]:
            consumer = Collecting()
            await read_into(reader, consumer, offset, length)
            assert consumer.content == self.CONTENT[offset : offset + length]
            assert (consumer.registered, consumer.producer) == (1, None)
        consumers = [Collecting() for _ in range(4)]
        await gatherResults([read_into(reader, each, 1000 * at, 500_000) for at, each in enumerate(consumers)])
        for at, each in enumerate(consumers):
            assert each.content == self.CONTENT[1000 * at : 1000 * at + 500_000]
        reader.close()
        reader.close()

    @pytest_twisted.ensureDeferred
    async def test_back_pressure(self, storage: Storage) -> None:
        await storage.bucket.put_file("f", storage.spooled(self.CONTENT))
        reader = await storage.bucket.open("f")
        consumer = Collecting(lambda producer: producer.pauseProducing())
        done = read_into(reader, consumer, 0, len(self.CONTENT))
        while not done.called:
            await pause(0.01)
            held = len(consumer.content)
            await pause(0.02)
            assert len(consumer.content) - held <= HELD_BACK_MAX
            assert not done.called or len(consumer.content) == len(self.CONTENT)
            if consumer.producer is not None:
                consumer.producer.resumeProducing()
        await done
        reader.close()
        assert consumer.content == self.CONTENT
        assert len(consumer.pieces) > 1

    @pytest_twisted.ensureDeferred
    async def test_a_consumer_that_pauses_at_once(self, storage: Storage) -> None:
        await storage.bucket.put("f", b"content")

        class Hesitant(Collecting):
            def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:  # type: ignore[override]
                super().registerProducer(producer, streaming)
                producer.pauseProducing()

        reader = await storage.bucket.open("f")
        consumer = Hesitant()
        done = read_into(reader, consumer, 0, 7)
        await pause(0.05)
        assert (consumer.content, done.called) == (b"", False)
        assert consumer.producer is not None
        consumer.producer.resumeProducing()
        await done
        assert consumer.content == b"content"
        reader.close()

    @pytest_twisted.ensureDeferred
    async def test_a_consumer_that_stops(self, storage: Storage) -> None:
        await storage.bucket.put_file("f", storage.spooled(self.CONTENT))
        reader = await storage.bucket.open("f")
        within = Collecting(lambda producer: producer.stopProducing())
        with pytest.raises(ConsumerGone):
            await read_into(reader, within, 0, len(self.CONTENT))
        assert within.producer is None
        assert len(within.pieces) == 1

        between = Collecting(lambda producer: producer.pauseProducing())
        done = read_into(reader, between, 0, len(self.CONTENT))
        while not between.pieces:
            await pause(0.005)
        await pause(0.05)
        assert between.producer is not None
        between.producer.stopProducing()
        came = len(between.content)
        with pytest.raises(ConsumerGone):
            await done
        await pause(0.02)
        assert (len(between.content), between.producer) == (came, None)
        # The file can still be read.
        again = Collecting()
        await read_into(reader, again, 5, 100)
        assert again.content == self.CONTENT[5:105]
        reader.close()

    @pytest_twisted.ensureDeferred
    async def test_what_was_opened_stays_readable(self, storage: Storage) -> None:
        bucket = storage.bucket
        for change in ("replace", "remove", "move"):
            await bucket.put_file("d/f", storage.spooled(self.CONTENT))
            reader = await bucket.open("d/f")
            if change == "replace":
                await bucket.put("d/f", b"other")
            elif change == "remove":
                await bucket.remove("d/f")
            else:
                await bucket.move("d/f", "e")
            consumer = Collecting()
            await read_into(reader, consumer, 0, len(self.CONTENT))
            reader.close()
            assert consumer.content == self.CONTENT

    @pytest_twisted.ensureDeferred
    async def test_the_longest_file(self, storage: Storage) -> None:
        if storage.file_limit is None:
            pytest.skip("the storage has no limit that a test can reach")
        source = storage.spooled(b"x" * (storage.file_limit + 1))
        with pytest.raises(TooLarge):
            await storage.bucket.put_file("f", source)
        assert source.exists()
        with pytest.raises(NotFound):
            await storage.bucket.stat("f")
        await storage.bucket.put_file("f", storage.spooled(b"x" * storage.file_limit))
        assert (await storage.bucket.stat("f")).size in {storage.file_limit, None}
