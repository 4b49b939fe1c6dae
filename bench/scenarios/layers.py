"""Layers in and out: one large one, then several at once."""

import os
import time
from contextlib import ExitStack

from ..figures import Aim, Figure
from ..lab import Lab
from ..machine import drop_from_cache, sha256_seconds, write_and_sync
from ..payload import Layer
from ..registries import Running, running
from ..scale import AT_ONCE
from ..transfer import download, upload, verify

_REPOSITORY = "bench/layers"
_MB = 1e6


def measure_one(lab: Lab) -> list[Figure]:
    """One large layer, and what the machine itself needs for as many bytes."""
    size = lab.scale.layer
    figures = _measure(lab, lab.scale.size(size) + " layer", size, 1)
    disk = Figure("machine: write to a file", "MB/s", higher_is_better=True)
    durable = Figure("machine: write to a file + fsync", "MB/s", higher_is_better=True)
    sha256 = Figure("machine: SHA-256 on one core", "MB/s", higher_is_better=True)
    for _ in range(lab.scale.transfer_rounds):
        lab.settle(size)
        written = write_and_sync(lab.directory, lab.payload.path, size)
        disk.add("machine", size / written.write / _MB)
        durable.add("machine", size / (written.write + written.fsync) / _MB)
        sha256.add("machine", size / sha256_seconds(size) / _MB)
    into = figures[0]
    into.note = "ipfsreg fsyncs the layer and its directory before 201, docker-registry the layer, olareg nothing"
    floor = durable.median("machine")
    for registry in lab.registries:
        median = into.median(registry.name)
        if floor and median:
            into.note += f"; {registry.name} at {median / floor:.2f} of this disk's write + fsync"
    return [*figures, disk, durable, sha256]


def measure_several(lab: Lab) -> list[Figure]:
    """As many smaller layers as a client sends at once, each on its own connection."""
    size = lab.scale.small_layer
    return _measure(lab, f"{AT_ONCE} x {lab.scale.size(size)} at once,", size, AT_ONCE)


def _measure(lab: Lab, what: str, size: int, at_once: int) -> list[Figure]:
    total = size * at_once
    lab.need(total * (lab.scale.transfer_rounds + 2) * len(lab.registries) + lab.payload.size)
    into = Figure(f"{what} in", "MB/s", higher_is_better=True, aim=Aim(ratio=3.0))
    synced = Figure(f"{what} in, then sync", "MB/s", higher_is_better=True)
    out = Figure(f"{what} out", "MB/s", higher_is_better=True, aim=Aim(ratio=1.0))
    cold = Figure(f"{what} out, not in page cache", "MB/s", higher_is_better=True)
    cpu_in = Figure(f"{what} in: daemon's CPU", "s/GiB", higher_is_better=False)
    cpu_out = Figure(f"{what} out: daemon's CPU", "s/GiB", higher_is_better=False)
    client = Figure(f"{what} in: client's CPU", "s/GiB", higher_is_better=False)

    def push(daemon: Running, layers: list[Layer]) -> None:
        lab.settle(total)
        before = daemon.cpu_seconds()
        took = upload(daemon.port, _REPOSITORY, layers, lab.payload.path)
        used = daemon.cpu_seconds() - before
        started = time.perf_counter()
        os.sync()
        flushed = time.perf_counter() - started
        into.add(daemon.name, total / took.seconds / _MB)
        synced.add(daemon.name, total / (took.seconds + flushed) / _MB)
        cpu_in.add(daemon.name, used / total * 2**30)
        client.add(daemon.name, took.client_cpu / total * 2**30)
        lab.say(f"{what} in: {daemon.name}, {took.seconds:.2f} s, sync {flushed:.2f} s, its CPU {used:.2f} s")

    def pull(daemon: Running, layers: list[Layer], figure: Figure) -> float:
        before = daemon.cpu_seconds()
        took = download(daemon.port, _REPOSITORY, layers)
        used = daemon.cpu_seconds() - before
        figure.add(daemon.name, total / took.seconds / _MB)
        lab.say(f"{figure.name}: {daemon.name}, {took.seconds:.2f} s, its CPU {used:.2f} s")
        return used

    with ExitStack() as stack:
        daemons = [
            stack.enter_context(running(registry, stack.enter_context(lab.home()))) for registry in lab.registries
        ]
        pushed: dict[str, list[list[Layer]]] = {daemon.name: [] for daemon in daemons}
        for daemon in daemons:  # one small layer first: lazy imports, first directories; and one whole check
            small = [lab.payload.layer(1 << 16)]
            upload(daemon.port, _REPOSITORY, small, lab.payload.path)
            download(daemon.port, _REPOSITORY, small)
        for _ in range(lab.scale.transfer_rounds):
            for daemon in daemons:
                layers = [lab.payload.layer(size) for _ in range(at_once)]
                push(daemon, layers)
                pushed[daemon.name].append(layers)
        for daemon in daemons:
            verify(daemon.port, _REPOSITORY, pushed[daemon.name][0][0])
            lab.say(f"{what} out: {daemon.name}, digest of one download is right")
        for number in range(lab.scale.transfer_rounds):
            for daemon in daemons:
                layers = pushed[daemon.name][number]
                download(daemon.port, _REPOSITORY, layers)  # now they are in the page cache
                cpu_out.add(daemon.name, pull(daemon, layers, out) / total * 2**30)
        for number in range(lab.scale.transfer_rounds):
            for daemon in daemons:
                drop_from_cache(daemon.directory)
                lab.settle(total)
                pull(daemon, pushed[daemon.name][number], cold)
    return [into, synced, out, cold, cpu_in, cpu_out, client]
