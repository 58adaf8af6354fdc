"""The one error that every command may raise for what its user can put right."""


class UserError(Exception):
    """A user's mistake or a missing thing. The command line prints it as one line and exits 2.

    The text says what is wrong with its value, and what to do.
    """
