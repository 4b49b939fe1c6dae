"""The Klein application, which remembers where recent paths led."""

from typing import Any

from cachetools import LRUCache
from klein import Klein
from werkzeug.routing import Map, MapAdapter, Rule

from .distribution.converters import add_converters

REMEMBERED = 2048
"""How many paths are remembered, none longer than `_LONGEST`: some MiB at most."""

_LONGEST = 512

_Match = tuple[Rule, dict[str, Any]]


class RegistryApp(Klein):
    """Klein with our converters. Clients ask for the same paths again and again: each is taken apart once.

    Measured, finding the route was a fifth of the work for a manifest.
    """

    def __init__(self) -> None:
        super().__init__()
        self._url_map.merge_slashes = False
        add_converters(self._url_map)
        self._remembering = _RememberingMap(self._url_map)

    @property
    def url_map(self) -> Any:
        """What Klein's resource asks for routes. It uses nothing of it but `bind`."""
        return self._remembering


class _RememberingMap:
    def __init__(self, url_map: Map) -> None:
        self._url_map = url_map
        self._matches: LRUCache[tuple[str, str], _Match] = LRUCache(REMEMBERED)

    def bind(self, server_name: str, script_name: str, *, path_info: str, default_method: str, url_scheme: str) -> Any:
        # No rule of ours depends on host, scheme or script name.
        known = self._matches.get((path_info, default_method))
        if known is not None:
            return _Known(known)
        adapter = self._url_map.bind(
            server_name, script_name, path_info=path_info, default_method=default_method, url_scheme=url_scheme
        )
        return _Remembering(adapter, self._matches, (path_info, default_method))


class _Known:
    def __init__(self, match: _Match) -> None:
        self._match = match

    def match(self, *, return_rule: bool) -> _Match:
        assert return_rule
        return self._match


class _Remembering:
    def __init__(self, adapter: MapAdapter, matches: LRUCache[tuple[str, str], _Match], key: tuple[str, str]) -> None:
        self._adapter = adapter
        self._matches = matches
        self._key = key

    def match(self, *, return_rule: bool) -> _Match:
        assert return_rule
        rule, arguments = self._adapter.match(return_rule=True)
        match = (rule, dict(arguments))
        if len(self._key[0]) <= _LONGEST:
            self._matches[self._key] = match
        return match
