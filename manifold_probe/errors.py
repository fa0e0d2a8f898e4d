"""The one error that means "your input, not our bug"."""


class InputError(ValueError):
    """Something the caller gave cannot be used.

    The message is one line that names the file, the field and the mend, for example
    ``t.pt: key 'features' holds 3 NaN values (first in row 17); drop those rows or fix the extraction``.
    The command line prints it as it is and exits with code 2.
    """
