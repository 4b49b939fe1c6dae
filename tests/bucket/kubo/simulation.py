"""Daemons on a simulated node, and a scheduler that lets everything happen at the worst time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

from twisted.internet.task import Clock, deferLater
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from ipfsreg.bucket.kubo.node import markers
from ipfsreg.bucket.kubo.node.markers import bucket_id
from ipfsreg.bucket.kubo.state import first_state, notes, pins, register, states
from ipfsreg.bucket.kubo.state.states import BucketState
from ipfsreg.ipfs.cid import inline_content

from .history import History
from .simulated_daemon import FOLDER, Daemon, Violation
from .simulated_node import TIMEOUT, Call, Choose, SimulatedNode, parse_cid

CHANGES_PINS = frozenset({"pin/update", "pin/rm", "pin/add", "pin/add, direct", "block/put, pinned"})

STUCK = 4 * TIMEOUT + 20.0
"""Seconds after which a daemon has to be able to change something, whatever went wrong before."""

AT_ONCE = 8.0
"""The same for a daemon that is alone: it waits for nobody, but the node may look for a block that is missing."""


@dataclass
class Faults:
    """What may go wrong. ``late`` is how many seconds a call may be late that was given up, ``skew`` how many the
    daemons' clocks differ. The time of day goes on in steps of ``coarse`` seconds, so that states are numbered alike.
    """

    lose: bool = True
    late: float = 1000.0
    kill: bool = True
    forget: bool = False
    kill_node: bool = True
    collect: bool = True
    skew: float = 0.0
    coarse: float = 0.001


class Simulation:
    """See the module. Every choice is one of ``choose``."""

    def __init__(self, choose: Choose, daemons: int, faults: Faults, *, online: bool = False) -> None:
        self.choose = choose
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.node = SimulatedNode(self.clock, choose, online=online)
        self.history = History()
        self.now = 0
        self.problems: list[str] = []
        self.story: list[str] = []
        self._faults = faults
        self._numbers = 0
        self.buried: list[Any] = []
        self._due: dict[Call, float] = {}
        self.daemons = [Daemon(self, name) for name in range(daemons)]

    def number(self) -> int:
        self._numbers += 1
        return self._numbers

    def tick(self) -> int:
        self.now += 1
        return self.now

    def note(self, text: str) -> None:
        self.story.append(f"{self.now:4} {self.clock.seconds() - 1000:7.2f} s: {text}")

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All daemons, for a block."""

        def watch(event: LogEvent) -> None:
            alive = [daemon.commits for daemon in self.daemons if daemon.alive]
            if "log_failure" in event and event.get("log_source") in alive:
                self.problems.append(formatEvent(event) + event["log_failure"].getTraceback())

        globalLogPublisher.addObserver(watch)  # type: ignore[arg-type]
        try:
            with (
                mock.patch.object(pins, "parse_cid", parse_cid),
                mock.patch.object(markers, "parse_cid", parse_cid),
                mock.patch.object(first_state, "parse_cid", parse_cid),
                mock.patch.object(states, "parse_cid", parse_cid),
                mock.patch.object(register, "POLL", 0.5),
                mock.patch.object(notes, "secrets", SimpleNamespace(token_hex=self._name)),
            ):
                for daemon in self.daemons:
                    daemon.start()
                yield self
        finally:
            globalLogPublisher.removeObserver(watch)  # type: ignore[arg-type]
            for daemon in self.daemons:
                if daemon.alive:
                    daemon.kill()

    def skewed(self) -> float:
        """The time of day, as some daemon has it."""
        skewed = self.clock.seconds() + self._faults.skew * (self.number() * 7 % 5 - 2)
        return skewed - skewed % self._faults.coarse

    def _name(self, length: int) -> str:
        return f"{self.number():0{2 * length}x}"

    # What counts

    def markers(self) -> list[str]:
        prefix = f"ipfsreg {bucket_id(FOLDER)} "
        return sorted(self.marker(cid).removeprefix(prefix) for cid in self.node.direct)

    @staticmethod
    def marker(cid: str) -> str:
        """What a marker says."""
        return (inline_content(parse_cid(cid)) or b"").decode()

    def counting(self) -> BucketState | None:
        """The state that counts: what a daemon that comes now will find."""
        said = [text.split() for text in self.markers() if not text.startswith("daemon ")]
        states = [BucketState(int(number), root) for number, root in said if root in self.node.recursive]
        return max(states or self.node.states(), default=None)

    def check(self, when: str) -> None:
        """Whether what counts is whole, and has what was acknowledged."""
        state = self.counting()
        if state is None:
            if any(write.acknowledged for writes in self.history.writes.values() for write in writes):
                raise Violation(f"{when}: no state is left")
            return
        missing = self.node.below([state.cid])[1]
        if missing is not None:
            raise Violation(f"{when}: {missing} is missing below {state.text}")
        self.check_files(state.root, self.now, when)

    def check_files(self, root: str, since: float, when: str) -> None:
        wrong = self.history.wrong(self.node.files(root), since)
        if wrong is not None:
            raise Violation(f"{when}: in {root} {wrong}")

    # What happens

    def run(self, steps: int) -> None:
        """So many steps, and then peace."""
        # With all faults at once hardly anything gets far enough for one of them to matter.
        mixed = 1 + self.choose(2**6)
        self._likely = {what for what in range(18, 24) if mixed >> (what - 18) & 1}
        self._rarity = (1, 4, 12)[self.choose(3)]
        for _ in range(steps):
            self.tick()
            self._something()
            self._fail_if_wrong()

    def _fail_if_wrong(self) -> None:
        if self.problems:
            raise Violation(self.problems[0])

    def _something(self) -> None:
        what = self.choose(24)
        living = [daemon for daemon in self.daemons if daemon.alive]
        faults = self._faults
        if what > 17 and (what not in self._likely or self.choose(self._rarity)):
            what = 0
        if 10 <= what < 15 and living:
            daemon = living[self.choose(len(living))]
            if daemon.busy < 4:
                daemon.begin(self.choose(Daemon.CHANGES))
        elif what == 15 and self.choose(4) == 3:
            self._wait()
        elif what == 18:
            self.note("time passes")
            self.clock.advance((0.5, 2.0, 0.5 * TIMEOUT, 2.5 * TIMEOUT)[self.choose(4)])
        elif what in {16, 17} and self.node.late:
            self._late(self.choose(len(self.node.late)))
        elif what in {19, 20}:
            calls = [call for call in self.node.calls if what == 19 or call.what in CHANGES_PINS]
            if calls:
                self.lose(calls[self.choose(len(calls))])
        elif what == 21 and faults.collect:
            self.collect()
        elif what == 22 and faults.kill:
            self._kill_or_start()
        elif what == 23 and faults.kill_node and self.choose(3) == 0:
            self._kill_node()
        elif living or what:
            self._go_on()
        else:
            self._kill_or_start()

    def _step(self, call: Call) -> None:
        ended = call.ended
        call.step()
        if call.ended and (ended or call.done is None) and call in self.node.calls:
            self.node.calls.remove(call)
        if not ended:
            self.note(f"{self._owner(call)}: {call}")
        if call.what == "repo/gc":
            self.check("gc")

    def _owner(self, call: Call) -> str:
        return next((f"daemon {daemon.name}" for daemon in self.daemons if daemon.owns(call)), "-")

    def _go_on(self) -> None:
        ready = [call for call in self.node.calls if call.ready]
        if not ready:
            self._wait()
            return
        call, how = ready[self.choose(len(ready))], self.choose(4)
        self._step(call)
        if how != 3:  # all of it, most often
            while call.ready and not call.ended:
                self._step(call)
        if how < 2 and call.ended and call.done is not None:
            self._step(call)

    def _wait(self) -> None:
        later = [call.getTime() for call in self.clock.getDelayedCalls()]
        if later:
            self.clock.advance(max(0.0, min(later) - self.clock.seconds()))

    def _late(self, number: int) -> None:
        call = self.node.late[number]
        due = self._due.setdefault(call, self.clock.seconds() + self._faults.late)
        if self.choose(4) == 3 or self.clock.seconds() > due:
            call.drop()
        elif call.ready:
            call.step()
            self.note(f"late, {self._owner(call)}: {call}")
        if call.ended:
            self.node.late.remove(call)

    def collect(self) -> None:
        """Have garbage collected from now on."""
        self.note("gc")
        self.node.calls.append(Call("repo/gc", self.node.collect(), None))

    def lose(self, call: Call) -> None:
        if call.done is None or not (self._faults.lose if call.ended else self._faults.late):
            return
        self.note(f"{self._owner(call)}: no answer to {call}")
        call.owner.give_up(call)  # type: ignore[attr-defined]

    def _kill_or_start(self) -> None:
        daemon = self.daemons[self.choose(len(self.daemons))]
        if daemon.alive:
            forget = self._faults.forget and self.choose(3) == 0
            self.note(f"daemon {daemon.name} is killed{' with its disk' if forget else ''}")
            daemon.kill(forget=forget)
        else:
            self.note(f"daemon {daemon.name} is started")
            daemon.start()

    def _kill_node(self) -> None:
        self.note("the node is killed")
        for call in self.node.kill():
            if call.done is not None:
                call.owner.give_up(call)  # type: ignore[attr-defined]

    # Peace

    def end(self) -> None:
        """Let everything come to an end, and look whether all is well."""
        while self.node.late:
            self._late(self.choose(len(self.node.late)))
            self._advance_a_little()
        for daemon in self.daemons:
            if not daemon.alive:
                daemon.start()
        self.note("peace")
        alone = len(self.daemons) == 1 and not self._faults.forget
        for daemon in 2 * self.daemons:
            seconds = self.until_stored(daemon)
            if seconds > (AT_ONCE if alone else STUCK):
                raise Violation(f"daemon {daemon.name} could change nothing for {seconds} s")
        self.settle()
        self.daemons.append(Daemon(self, len(self.daemons)))
        self.daemons[-1].start()  # which looks for markers, and reads
        self.settle()
        self.check("at the end")
        pinned, said, counting = self.node.states(), self.markers(), self.counting()
        # What is pinned only after the next change was made, or by who forgets it, stays pinned: but it must not count.
        if len(self.node.recursive) != 1 and not (self._faults.late or self._faults.forget):
            raise Violation(f"{sorted(self.node.recursive)} are pinned at the end; {pinned}")
        if counting is None or pinned[-1].root != counting.root:
            raise Violation(f"{counting} counts at the end, and {pinned} are pinned")
        if len([text for text in said if not text.startswith("daemon ")]) != 1:
            raise Violation(f"at the end there are the markers {said}")

    def _advance_a_little(self) -> None:
        self.clock.advance(0.01)
        self._fail_if_wrong()

    def until_stored(self, daemon: Daemon) -> float:
        """How many seconds it takes until a change of a daemon succeeds."""
        began, stored = self.clock.seconds(), []

        async def store() -> None:
            while not await daemon.store(f"{daemon.name}/{self.number()}"):
                await deferLater(self.clock, 0.1, lambda: None)
            stored.append(self.clock.seconds())

        daemon.spawn(store())
        while not stored and self.clock.seconds() < began + 2 * STUCK:
            self.step()
        return (stored[0] if stored else self.clock.seconds()) - began

    def step(self) -> None:
        """What comes next where nothing goes wrong."""
        self.tick()
        ready = [call for call in self.node.calls if call.ready]
        if ready:
            self._step(ready[0])
        else:
            self._wait()
        self._fail_if_wrong()

    def settle(self) -> None:
        """Let everybody get through, or give up."""
        until = self.clock.seconds() + 10 * STUCK
        while self.clock.seconds() < until and (self.node.calls or any(daemon.busy for daemon in self.daemons)):
            self.step()
