"""What a configuration says of retention."""

from ipfsreg.config.errors import ConfigError
from ipfsreg.config.sections import Config
from ipfsreg.registry.repository.immutable import ImmutableTags
from ipfsreg.registry.upkeep.tag_rules import RetentionPolicy, parse_tag_rules


def retention_policy(config: Config) -> RetentionPolicy:
    """The rules of ``[retention]``.

    :raises ConfigError: with one line, where they cannot be read.
    """
    options, option = config.retention, "rules"
    try:
        rules = parse_tag_rules(options.rules or "")
        option = "immutable"
        immutable = ImmutableTags.parse(options.immutable)
    except ValueError as error:
        raise ConfigError(f"{config.name}: [retention] {option}: {error}") from None
    return RetentionPolicy(rules, immutable, options.pulls or rules.need_pulls)
