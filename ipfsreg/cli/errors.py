"""How what a command asked for fails."""


class ControlError(Exception):
    """The registry could not be asked, or could not do it: one line that says why."""
