"""Why a student diverges from its teacher: an account of the whole loss, and causes that are proposed and proved.

The account (`accounting`) says where all of the loss went. The lab (`lab`) makes the experiments, the search (`search`)
asks every cause (`causes`, one file each) until nothing more is proved.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manifold_probe.diagnosis.cause import Cause, Damage, LeftOut, Proved, Repair, Signs
    from manifold_probe.diagnosis.causes import CAUSES
    from manifold_probe.diagnosis.lab import Evidence, Lab, Trial

__all__ = ["CAUSES", "Cause", "Damage", "Evidence", "Lab", "LeftOut", "Proved", "Repair", "Signs", "Trial"]
_HOME = {"CAUSES": "causes", "Evidence": "lab", "Lab": "lab", "Trial": "lab"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME.get(name, 'cause')}"), name)
