"""Digests by the million: what was put in is there, and nothing else, with its number."""

import hypothesis.strategies as st
from hypothesis import given

from ipfsreg.registry.digest import HEX_LENGTHS, Digest
from ipfsreg.registry.upkeep.compact import Beginnings, Digests, Lengths

ALIKE = st.text("0f", min_size=2, max_size=2)


@st.composite
def digests(draw: st.DrawFn) -> Digest:
    """Many begin with the same digits, as nobody can make real ones do."""
    algorithm = draw(st.sampled_from(sorted(HEX_LENGTHS)))
    begin, end = draw(ALIKE), draw(ALIKE)
    return Digest(algorithm, begin + "a" * (HEX_LENGTHS[algorithm] - 4) + end)


@given(st.lists(digests()), digests())
def test_digests(put: list[Digest], other: Digest) -> None:
    found = Digests()
    for each in put:
        found.add(each)
    found.seal()
    assert list(found) == sorted(set(put))
    assert len(found) == len(set(put))
    for number, each in enumerate(found):
        assert found.number(each) == number
        assert found[number] == each
    assert (other in found) == (other in put)


@given(st.lists(digests()), digests())
def test_beginnings(put: list[Digest], other: Digest) -> None:
    found = Beginnings()
    for each in put:
        found.add(each)
    found.seal()
    numbers = [found.number(each) for each in sorted(put, key=lambda each: each.hex)]
    assert None not in numbers
    assert sorted(set(numbers), key=lambda number: number or 0) == list(range(len(found)))
    assert (other in found) == any(other.hex[:16] == each.hex[:16] for each in put)


def test_beginnings_that_are_put_again_and_again() -> None:
    found = Beginnings()
    for _ in range(3):
        for number in range(3000):
            found.add(Digest("sha256", f"ab{number:062x}"))
            found.add(Digest("sha256", f"ab{number:014x}{'f' * 48}"))
    found.seal()
    assert len(found) == 3000  # those of the first kind all begin as one of the other
    assert Digest("sha256", f"ab{2999:014x}{'0' * 48}") in found
    assert Digest("sha256", f"ab{3000:014x}{'0' * 48}") not in found


@given(st.lists(digests(), unique=True, min_size=1), digests())
def test_lengths(put: list[Digest], other: Digest) -> None:
    table = Digests()
    for each in put:
        table.add(each)
    table.seal()
    lengths = Lengths(table)
    for length, each in enumerate(put[1:]):
        lengths.set(each, length)
    lengths.set(other, 77)
    assert lengths.get(put[0]) == (77 if other == put[0] else None)
    for length, each in enumerate(put[1:]):
        assert lengths.get(each) == (77 if other == each else length)
    assert (lengths.get(other) == 77) == (other in put)
