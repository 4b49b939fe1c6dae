"""The rules of ``[retention]``: which tags are kept, and until when.

One rule a line: patterns of repositories, patterns of tags, and what keeps a tag. A tag is kept where one of the rules
that are about it keeps it, in whatever order they stand, and where no rule is about it::

    team/app       v*               all
    team/**        pr-*             pushed 7d
    **             !v*,!pr-*        newest 10, pulled 30d, referred

Patterns are separated by commas, and are those of `Pattern`; with ``!`` before it, one says what is not meant. A rule
keeps a tag where one of its conditions holds:

``all``          always
``newest N``     it is one of the N that were pushed last, of those in its repository that the rule is about
``pushed TIME``  it was pushed within that time
``pulled TIME``  its manifest was pulled by the tag or by digest within that time, or may have been
``referred``     something refers to its manifest, such as a signature
"""

from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from ipfsreg.config.kinds import LATER, Positive
from ipfsreg.config.patterns import Pattern
from ipfsreg.registry.names import Repository, Tag
from ipfsreg.registry.repository.immutable import ImmutableTags

RULES_MAX = 200
"""Each tag may be compared with all of them."""

NEWEST_MAX = 100_000

_TIME: TypeAdapter[float] = TypeAdapter(Positive, config=LATER)


@dataclass(frozen=True, slots=True)
class Patterns:
    """What one of the first patterns matches, or anything where there are none, and none of the others."""

    wanted: tuple[Pattern, ...]
    unwanted: tuple[Pattern, ...]

    @classmethod
    def parse(cls, text: str) -> "Patterns":
        """Read patterns that are separated by commas. :raises ValueError: where one is none."""
        words = text.split(",")
        wanted = tuple(Pattern(word) for word in words if not word.startswith("!"))
        return cls(wanted, tuple(Pattern(word[1:]) for word in words if word.startswith("!")))

    def match(self, name: str) -> bool:
        """Whether a name is meant."""
        if self.wanted and not any(pattern.matches(name) for pattern in self.wanted):
            return False
        return not any(pattern.matches(name) for pattern in self.unwanted)


@dataclass(frozen=True, slots=True)
class TagRule:
    """One line; ``text`` is as it was written. Times are in seconds; None is a condition that it does not have."""

    text: str
    repositories: "Patterns"
    tags: "Patterns"
    everything: bool = False
    newest: int | None = None
    pushed: float | None = None
    pulled: float | None = None
    referred: bool = False

    def is_about(self, repository: Repository) -> bool:
        """Whether it may be about tags of a repository."""
        return self.repositories.match(repository)


@dataclass(frozen=True, slots=True)
class TagRules:
    """All of them."""

    rules: tuple[TagRule, ...] = ()

    @property
    def need_pulls(self) -> bool:
        """Whether it counts when a tag was pulled."""
        return any(rule.pulled is not None for rule in self.rules)

    def of(self, repository: Repository) -> tuple[TagRule, ...]:
        """Those that may be about tags of a repository."""
        return tuple(rule for rule in self.rules if rule.is_about(repository))


def rules_for(rules: tuple[TagRule, ...], tag: Tag) -> tuple[TagRule, ...]:
    """Those of a repository's rules that are about a tag."""
    return tuple(rule for rule in rules if rule.tags.match(tag))


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What ``[retention]`` says. ``notes_pulls`` says whether it is noted when tags are pulled."""

    rules: TagRules = field(default_factory=TagRules)
    immutable: ImmutableTags = field(default_factory=ImmutableTags)
    notes_pulls: bool = False

    @property
    def notes_times(self) -> bool:
        """Whether it is noted when tags were pushed, and maybe pulled."""
        return self.notes_pulls or bool(self.rules.rules)


def parse_tag_rules(text: str) -> TagRules:
    """Read the lines. What follows ``#`` is a comment.

    :raises ValueError: with the line that cannot be read, and why.
    """
    rules: list[TagRule] = []
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(rules) == RULES_MAX:
            raise ValueError(f"there are more than {RULES_MAX} rules")
        try:
            rules.append(_parse(words))
        except ValueError as error:
            raise ValueError(f"{' '.join(words)[:200]!r}: {error}") from None
    return TagRules(tuple(rules))


def _parse(words: list[str]) -> TagRule:
    if len(words) < 3:
        raise ValueError("a rule is repositories, tags, and what keeps a tag, as in team/* pr-* pushed 7d")
    repositories, tags = map(Patterns.parse, words[:2])
    kept: dict[str, object] = {}
    for condition in " ".join(words[2:]).split(","):
        name, value = _condition(condition.split())
        if name in kept:
            raise ValueError(f"{condition.strip()}: said twice")
        kept[name] = value
    return TagRule(" ".join(words), repositories, tags, **kept)  # type: ignore[arg-type]


def _condition(words: list[str]) -> tuple[str, object]:
    match words:
        case ["all"]:
            return "everything", True
        case ["referred"]:
            return "referred", True
        case ["newest", number] if number.isascii() and number.isdecimal() and len(number) < 10:
            if not 1 <= int(number) <= NEWEST_MAX:
                raise ValueError(f"newest has a number from 1 to {NEWEST_MAX}")
            return "newest", int(number)
        case ["pushed" | "pulled" as name, time]:
            try:
                return name, _TIME.validate_python(time)
            except ValidationError as error:
                raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
    raise ValueError(f"{' '.join(words)[:99]!r} is none of: all, newest N, pushed TIME, pulled TIME, referred")
