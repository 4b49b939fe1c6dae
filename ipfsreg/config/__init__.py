"""The configuration: its file, the kinds of its options, endpoints, and the environment."""

import os

# Else pydantic looks through all that is installed for plugins of its own, which takes longer than to load it.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
