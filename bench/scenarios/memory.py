"""The most memory above idle while large transfers run at the same time."""

from ..figures import Aim, Figure
from ..lab import Lab
from ..memory import PeakMemory, idle_bytes, peak_resident_bytes
from ..registries import running
from ..scale import AT_ONCE
from ..transfer import download, upload

_REPOSITORY = "bench/memory"


def measure(lab: Lab) -> list[Figure]:
    """Pushes, then pulls, each against a daemon started afresh; one registry at a time, to spare the disk."""
    size = lab.scale.memory_layer
    lab.need(size * AT_ONCE + lab.payload.size)
    what = f"{AT_ONCE} x {lab.scale.size(size)}"
    aim = Aim(value=64.0)
    into = Figure(f"memory above idle, {what} in", "MiB", higher_is_better=False, aim=aim)
    out = Figure(f"memory above idle, {what} out", "MiB", higher_is_better=False, aim=aim)
    most_in = Figure(f"most resident memory ever, {what} in", "MiB", higher_is_better=False)
    most_out = Figure(f"most resident memory ever, {what} out", "MiB", higher_is_better=False)
    into.note = out.note = (
        "PSS of all its processes, sampled every 20 ms, less the same after start; the line below it is the "
        "kernel's own peak (VmHWM), idle included"
    )
    for _ in range(lab.scale.memory_rounds):
        for registry in lab.registries:
            layers = [lab.payload.layer(size) for _ in range(AT_ONCE)]
            lab.settle()
            with lab.home() as home:
                with running(registry, home) as daemon:
                    idle = idle_bytes(daemon)
                    with PeakMemory(daemon) as watched:
                        took = upload(daemon.port, _REPOSITORY, layers, lab.payload.path)
                    above = max(0, watched.peak - idle) / 2**20
                    into.add(registry.name, above)
                    most_in.add(registry.name, peak_resident_bytes(daemon) / 2**20)
                    lab.say(f"{into.name}: {registry.name}, {above:.1f} MiB, {took.seconds:.1f} s")
                lab.settle()
                with running(registry, home) as daemon:
                    idle = idle_bytes(daemon)
                    with PeakMemory(daemon) as watched:
                        took = download(daemon.port, _REPOSITORY, layers)
                    above = max(0, watched.peak - idle) / 2**20
                    out.add(registry.name, above)
                    most_out.add(registry.name, peak_resident_bytes(daemon) / 2**20)
                    lab.say(f"{out.name}: {registry.name}, {above:.1f} MiB, {took.seconds:.1f} s")
    return [into, most_in, out, most_out]
