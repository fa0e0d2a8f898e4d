"""The versions of the libraries that features were made with: recorded, and warned about if they differ."""

from __future__ import annotations

import importlib.metadata
import platform

LIBRARIES = ("manifold_probe", "torch", "numpy", "pillow", "kornia", "transformers", "sentence-transformers", "timm")


def versions() -> dict[str, str]:
    """The versions of Python and of every installed library that features may depend on."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return installed


def other_versions(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Every library that is in both and differs, with both versions.

    >>> other_versions({"torch": "2.10.0", "timm": "1.0"}, {"torch": "2.13.0"})
    ['torch 2.10.0 and 2.13.0']
    """
    return [f"{name} {old[name]} and {new[name]}" for name in old if name in new and old[name] != new[name]]
