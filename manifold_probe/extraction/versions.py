"""Which versions of the libraries features were made with: recorded, warned about, never refused."""

from __future__ import annotations

import importlib.metadata
import platform

LIBRARIES = ("manifold_probe", "torch", "numpy", "pillow", "kornia", "transformers", "sentence-transformers", "timm")


def versions() -> dict[str, str]:
    """Python's version and that of every library that features may depend on and that is installed."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def other_versions(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Every library that is in both and differs, the two versions side by side.

    >>> other_versions({"torch": "2.10.0", "timm": "1.0"}, {"torch": "2.13.0"})
    ['torch 2.10.0 and 2.13.0']
    """
    return [f"{name} {one[name]} and {other[name]}" for name in one if name in other and one[name] != other[name]]
