"""Tags that cannot be moved or deleted once they are there: ``[retention] immutable``."""

from collections.abc import Sequence
from dataclasses import dataclass

from ipfsreg.config.patterns import Pattern
from ipfsreg.registry.errors import Denied
from ipfsreg.registry.names import Repository, Tag


@dataclass(frozen=True, slots=True)
class ImmutableTags:
    """Pairs of patterns, of repositories and of tags in them."""

    patterns: tuple[tuple[Pattern, Pattern], ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "ImmutableTags":
        """From texts such as ``team/*:v*``.

        :raises ValueError: where one has no colon, or a pattern is none.
        """
        patterns = []
        for text in texts:
            repositories, colon, tags = text.rpartition(":")
            if not colon:
                raise ValueError(f"{text[:99]!r} has no colon between its repositories and its tags, as team/*:v* has")
            try:
                patterns.append((Pattern(repositories), Pattern(tags)))
            except ValueError as error:
                raise ValueError(f"{text[:99]!r}: {error}") from None
        return cls(tuple(patterns))

    def protects(self, repository: Repository, tag: Tag) -> bool:
        """Whether a tag stays where it points to."""
        return any(names.matches(repository) and tags.matches(tag) for names, tags in self.patterns)

    def check(self, repository: Repository, tag: Tag, what: str) -> None:
        """Refuse to change a tag that is there; ``what`` is what was to be done, as in ``moved``.

        :raises Denied: where it is one of these.
        """
        if self.protects(repository, tag):
            raise Denied(f"the tag {tag} of {repository} is immutable, and cannot be {what}", {"tag": tag})
