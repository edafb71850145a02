"""Mistakes that a user can mend."""


class UserError(ValueError):
    """One clear sentence that says what to change; the command prints it without a stack trace."""
