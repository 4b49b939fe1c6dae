"""The variables of the program that this one replaces, so that its users can switch without writing a file."""

from collections.abc import Mapping

VARIABLES = {
    "HUB_HOST": ("textile", "host"),
    "HUB_KEY": ("textile", "key"),
    "HUB_SECRET": ("textile", "secret"),
    "BUCKET_NAME": ("textile", "bucket"),
    "BUCKET_ENCRYPTION": ("textile", "encrypted"),
    "BUCKET_TEMP_DIR": ("textile", "path"),
    "DAEMON_TOKEN": ("space", "token"),
}
"""Which option each of them stands for. An empty one is as good as none, as in the original program."""

ORIGINAL_BUCKET = "ddocker"

_MEANS = (("HUB_KEY", "textile"), ("HUB_HOST", "textile"), ("DAEMON_TOKEN", "space"), ("BUCKET_NAME", "textile"))


def variable_of(section: str, option: str) -> str:
    """The variable that stands for an option."""
    names = [variable for variable, meant in VARIABLES.items() if meant == (section, option)]
    return names[0] if names else "PORT"


def options_from(environment: Mapping[str, str], *, has_file: bool) -> dict[str, dict[str, str]]:
    """The options that the environment gives, by section; a configuration file's own come before them.

    Without a file, a variable of the hub or its bucket also means that the backend is ``textile``, and the token of a
    Space Daemon without those of a hub that it is ``space``. ``PORT`` is the port to listen on. The bucket of a hub is
    then the original program's.
    """
    found: dict[str, dict[str, str]] = {}
    for variable, (section, option) in VARIABLES.items():
        value = environment.get(variable, "").strip()
        if value:
            found.setdefault(section, {})[option] = value
    port = environment.get("PORT", "").strip()
    if port and not has_file:
        found.setdefault("registry", {})["listen"] = f"tcp:{port}:interface=127.0.0.1"
    # So named in the original program where nothing else was said; in a file of ours, what that leaves out is ours.
    if not has_file and any(environment.get(variable, "").strip() for variable in ("HUB_HOST", "HUB_KEY")):
        found.setdefault("textile", {}).setdefault("bucket", ORIGINAL_BUCKET)
    backend = next((meant for variable, meant in _MEANS if environment.get(variable, "").strip()), None)
    if backend is not None and not has_file:
        found.setdefault("registry", {})["backend"] = backend
    return found
