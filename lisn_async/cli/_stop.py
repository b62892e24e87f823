"""Why a command ends, and with which exit status."""

DONE = 0
SOME_FAILED = 1  # a call or some items failed, or may have; data that is not good enough to send
WRONG_USE = 2  # usage, configuration, or a file that cannot be read
INTERRUPTED = 130


class UsageError(Exception):
    """The command was given something it cannot work with; the text says what and what to do."""
