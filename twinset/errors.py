"""Errors that every room may raise."""


class InputError(ValueError):
    """The user can fix this: a missing file, a picture without a face, an unknown pose.

    The message says in one line what is wrong, quotes the offending value and names the remedy. The command
    line prints that line and ends with exit code 2; in Python it is an ordinary `ValueError`.
    """


class TooLargeError(InputError):
    """A file has more bytes or pixels than are read."""


class WrongFormatError(InputError):
    """A file is of another format than those that are read, or of several at once."""
