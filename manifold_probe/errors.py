"""The one error that means "your input, not our bug", and how to install what is missing."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires

PACKAGE = "manifold_probe"


class InputError(ValueError):
    """Something the caller gave cannot be used.

    The message is one line that names the file, the field and the fix, for example
    ``t.pt: key 'features' holds 3 NaN values (first in row 17); drop those rows or fix the extraction``.
    The command line prints it as it is and exits with code 2.
    """


def to_install(extra: str) -> str:
    """The command that installs what an extra of this package needs, wherever the package itself came from.

    >>> to_install("vision")
    "pip install 'kornia>=0.8'"
    """
    try:
        needed = [each.split(";") for each in requires(PACKAGE) or []]
    except PackageNotFoundError:  # run from a clone that is not installed
        needed = []
    wanted = f"extra == '{extra}'"
    names = sorted(name.strip() for name, *marker in needed if wanted in "".join(marker).replace('"', "'"))
    return "pip install " + (" ".join(f"'{name}'" for name in names) or f"'.[{extra}]' in the clone")
