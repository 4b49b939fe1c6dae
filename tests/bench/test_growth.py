"""The bench of growth: a store made directly in the layout is a registry, and what is measured of it has a slope."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted

from bench.growth import curves, measure
from bench.growth.stored import REFERRED, SHAPES, SUBJECT, Store, some_of
from ipfsreg.registry.digest import digest_of, parse_digest
from ipfsreg.registry.names import Repository, Tag
from tests.clients.programs import thorough
from tests.registry.place import Place

CHECKOUT = Path(__file__).resolve().parents[2]
WITHIN = 120


@pytest.mark.parametrize("shape", SHAPES)
@pytest_twisted.ensureDeferred
async def test_what_is_made_is_a_whole_registry(tmp_path: Path, shape: str) -> None:
    Store(tmp_path).fill(shape, 30)
    place = await Place(tmp_path).start()
    try:
        report = await place.registry.verifier.verify()
        assert (report.damaged, report.missing, report.unreadable, report.mended, report.strays) == ([], [], [], [], {})
        assert report.contents == 1 + 2 * (30 + 1 + 3)
        for each in some_of(shape, 30):
            found = await place.registry.manifests.resolve(Repository(each.repository), Tag(each.tag))
            assert found == parse_digest(each.digest)
        descriptors, _ = await place.registry.referrers.list(Repository(REFERRED), digest_of(SUBJECT))
        assert len(descriptors) == 3
        collection = await place.registry.collector.run(grace=0, untagged=1e9)
        assert (collection.manifests, collection.blob_links, collection.contents) == (0, 0, 0)
    finally:
        await place.stop()


@thorough
def test_a_run(tmp_path: Path) -> None:
    document = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench.growth", "--size", "20", "--shape", "one", "--json", str(document)],
        cwd=CHECKOUT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(document.read_text())["one"]
    assert set(figures) == set(measure.ALL)
    assert "| delete " in done.stdout
    assert [each.name for each in tmp_path.iterdir()] == ["figures.json"]


def test_exponents() -> None:
    assert curves.exponent({10: 3.0, 100: 3.0, 1000: 3.0}) == pytest.approx(0)
    assert curves.exponent({10: 3.0, 100: 30.0, 1000: 300.0}) == pytest.approx(1)
    assert curves.exponent({10: 1.0, 100: 100.0}) == pytest.approx(2)
    assert curves.exponent({10: 1.0}) is None


@thorough
def test_a_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the extra `bench` is not installed")
    runs = {"before, one": {"delete": {10: 1.0, 100: 10.0}}, "one": {"delete": {10: 1.0, 100: 1.0}}}
    curves.plot(runs, measure.ALL, ["delete"], tmp_path / "growth.svg")
    assert (tmp_path / "growth.svg").read_text().startswith("<?xml")
