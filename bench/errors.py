"""What can go wrong in a measurement that whoever runs it has to be told in one line."""


class BenchError(Exception):
    """The base of the errors that end a measurement with a message and no traceback."""
