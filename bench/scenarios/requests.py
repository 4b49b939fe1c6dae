"""Small requests on keep-alive connections: how many each second, and how many for a second of the server's CPU."""

from contextlib import ExitStack

from ..figures import Aim, Figure
from ..images import MANIFEST, image_set, push_all
from ..lab import Lab
from ..load import run, run_wrk, wrk_available
from ..registries import OLAREG, running
from ..scale import CONNECTIONS


def measure(lab: Lab) -> list[Figure]:
    """``GET /v2/``, HEAD and GET by tag, GET by digest; the manifests are those of a set of images in turn."""
    images = image_set(lab.scale.images)
    tags = [each.path for each in images]
    digests = [each.path_by_digest for each in images]
    asked = [
        ("GET /v2/", "GET", ["/v2/"]),
        ("manifest HEAD by tag", "HEAD", tags),
        ("manifest GET by tag", "GET", tags),
        ("manifest GET by digest", "GET", digests),
    ]
    rate_aim, cpu_aim = Aim(ratio=4.0), Aim(ratio=1.0, to=OLAREG.name)
    rates = {what: Figure(what, "req/s", higher_is_better=True, aim=rate_aim) for what, _, _ in asked}
    each_cpu = {
        what: Figure(f"{what}, for the daemon's CPU", "req/CPU s", higher_is_better=True, aim=cpu_aim)
        for what, _, _ in asked
    }
    slowest = {
        what: Figure(f"{what} under load, 99th percentile", "ms", higher_is_better=False) for what, _, _ in asked
    }
    wrk = Figure("manifest GET by tag, one image, with wrk", "req/s", higher_is_better=True, aim=rate_aim)
    shares: list[float] = []
    with ExitStack() as stack:
        daemons = [stack.enter_context(running(each, stack.enter_context(lab.home()))) for each in lab.registries]
        for daemon in daemons:
            lab.say(f"requests: pushing {len(images)} images to {daemon.name}")
            push_all(daemon.port, images)
            for _, method, paths in asked:
                run(daemon.port, method, paths, MANIFEST, CONNECTIONS, lab.scale.load_seconds / 5)
        lab.settle()
        for _ in range(lab.scale.load_rounds):
            for what, method, paths in asked:
                for daemon in daemons:
                    before = daemon.cpu_seconds()
                    seen = run(daemon.port, method, paths, MANIFEST, CONNECTIONS, lab.scale.load_seconds)
                    used = daemon.cpu_seconds() - before
                    rates[what].add(daemon.name, seen.per_second)
                    slowest[what].add(daemon.name, seen.latency_p99)
                    if used > 0:  # the kernel counts in hundredths of a second
                        each_cpu[what].add(daemon.name, seen.answers / used)
                    shares.append(seen.generator_share)
                    lab.say(
                        f"{what}: {daemon.name}, {seen.per_second:.0f}/s in {used:.2f} s of its CPU, "
                        f"median {seen.latency_median:.2f} ms, generator at {seen.generator_share:.0%} of a core"
                    )
            if wrk_available():
                for daemon in daemons:
                    wrk.add(daemon.name, run_wrk(daemon.port, tags[0], MANIFEST, CONNECTIONS, lab.scale.load_seconds))
    note = f"{CONNECTIONS} connections, bench/load.py, at most {max(shares):.0%} of one core"
    figures = [*rates.values(), *each_cpu.values(), *slowest.values()]
    for figure in figures:
        figure.note = note
    return [*figures, *([wrk] if wrk.samples else [])]
