"""Where files live: one small interface (`interface`), its backends, and wrappers around them.

Nothing here knows what a registry or a web request is.
"""
