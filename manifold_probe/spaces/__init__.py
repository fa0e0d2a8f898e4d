"""Spaces: feature files read in blocks, and the pairing of their rows."""

from manifold_probe.spaces.affine import Map
from manifold_probe.spaces.checks import check_finite
from manifold_probe.spaces.pairing import Pair, pair
from manifold_probe.spaces.read import as_space, inspect, read, read_column, sha256
from manifold_probe.spaces.space import Source, Space

__all__ = [
    "Map",
    "Pair",
    "Source",
    "Space",
    "as_space",
    "check_finite",
    "inspect",
    "pair",
    "read",
    "read_column",
    "sha256",
]
