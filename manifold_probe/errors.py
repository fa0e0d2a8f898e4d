"""The error for input that cannot be used, and the command that installs a missing package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

PACKAGE = "manifold_probe"

MAX_LENGTH = 400  # characters of a message
ELLIPSIS = " ... "


class InputError(ValueError):
    """An input cannot be used.

    The message is one line that names the file, the field and the fix, for example
    ``t.pt: key 'features' holds 3 NaN values (first in row 17); drop those rows or fix the extraction``.
    The command line prints it unchanged and exits with code 2. A message over 400 characters is shortened in the
    middle, because the file is at its beginning and the fix at its end.
    """

    def __str__(self) -> str:
        return shortened(super().__str__())


def shortened(message: str) -> str:
    """One line of at most 400 characters: the beginning, and the end from the last "; " or ": " on (the fix).

    >>> message = shortened("t.csv: has no column 'id', only " + "a, " * 200 + "b; name it with t.csv::COLUMN")
    >>> len(message), message.endswith("; name it with t.csv::COLUMN")
    (400, True)
    """
    message = " ".join(line.strip() for line in message.splitlines())
    if len(message) <= MAX_LENGTH:
        return message
    fix = max(message.rfind("; "), message.rfind(": "))
    end = min(max(len(message) - fix, MAX_LENGTH // 4), 3 * MAX_LENGTH // 4)
    return message[: MAX_LENGTH - len(ELLIPSIS) - end] + ELLIPSIS + message[-end:]


def to_install(extra: str) -> str:
    """The command that installs the requirements of an extra, however this package itself was installed.

    >>> to_install("vision")
    "pip install 'kornia>=0.8'"
    """
    try:
        needed = [requirement.split(";") for requirement in requires(PACKAGE) or []]
    except PackageNotFoundError:  # run from a clone that is not installed
        needed = []
    wanted = f"extra == '{extra}'"
    names = sorted(name.strip() for name, *marker in needed if wanted in "".join(marker).replace('"', "'"))
    return "pip install " + (" ".join(f"'{name}'" for name in names) or f"'.[{extra}]' in the clone")
