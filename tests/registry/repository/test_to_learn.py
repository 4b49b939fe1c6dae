"""Which repositories the index learns next."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from ipfsreg.bucket.errors import Corrupt
from ipfsreg.flow.throttle import Throttle
from ipfsreg.registry.names import Repository
from ipfsreg.registry.repository.to_learn import EVERY, ToLearn

DAMAGED, WHOLE = Repository("damaged"), Repository("whole")


@pytest_twisted.ensureDeferred
async def test_a_damaged_repository_keeps_no_other_waiting() -> None:
    to_learn = ToLearn()
    for repository in (DAMAGED, WHOLE):
        to_learn.listed(repository, EVERY)
    learned: list[Repository] = []

    async def learn(repository: Repository, throttle: Throttle) -> None:
        if repository == DAMAGED:
            raise Corrupt("repositories/damaged/_tags is a file")
        learned.append(repository)

    with pytest.raises(Corrupt):
        await to_learn.learn(learn, Throttle(reactor))
    await to_learn.learn(learn, Throttle(reactor))
    assert learned == [WHOLE]


@pytest_twisted.ensureDeferred
async def test_a_repository_is_learned_once_for_many_additions() -> None:
    to_learn = ToLearn()
    learned: list[Repository] = []

    async def learn(repository: Repository, throttle: Throttle) -> None:
        learned.append(repository)

    for _ in range(EVERY - 1):
        to_learn.added(WHOLE)
    await to_learn.learn(learn, Throttle(reactor))
    assert learned == []
    to_learn.added(WHOLE)
    to_learn.listed(WHOLE, EVERY)
    await to_learn.learn(learn, Throttle(reactor))
    await to_learn.learn(learn, Throttle(reactor))
    assert learned == [WHOLE]
