"""From the start of the process to the first 200 of GET /v2/, on an empty directory."""

from ..figures import Aim, Figure
from ..lab import Lab
from ..memory import idle_bytes
from ..registries import running


def measure(lab: Lab) -> list[Figure]:
    """Time to ready, and the memory of the daemon when it then does nothing."""
    ready = Figure("start to ready", "s", higher_is_better=False, aim=Aim(value=1.0))
    idle = Figure("memory when idle (PSS)", "MiB", higher_is_better=False)
    for registry in lab.registries:  # the first start compiles, and reads the programs from the disk
        with lab.home() as home, running(registry, home):
            lab.say(f"start: {registry.name}, not counted")
    for number in range(lab.scale.start_rounds):
        for registry in lab.registries:
            with lab.home() as home, running(registry, home) as daemon:
                ready.add(registry.name, daemon.ready_after)
                idle.add(registry.name, idle_bytes(daemon) / 2**20)
                lab.say(f"start: round {number + 1}, {registry.name}, {daemon.ready_after:.3f} s")
    return [ready, idle]
