"""Models instead of features: every side of a comparison becomes a file or folder of features.

Code that runs models is imported only if there is a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from manifold_probe.errors import InputError
from manifold_probe.models.source import is_source
from manifold_probe.parts import Parts, Progress


def features_of_models(
    sides: Mapping[str, Any], data: Any, options: Mapping[str, Any], tell: Callable[[str], None], progress: Progress
) -> dict[str, Any]:
    """The sides, with every model replaced by the folder of its features on ``data``, extracted or cached.

    Raises
    ------
    InputError
        A model without data, or data or options without a model.
    """
    models = [name for name, side in sides.items() if is_model(side)]
    if data is None:
        if models:
            raise InputError(f"--data: missing; {sides[models[0]]} is a model; give the data for it")
        given = [f"--{name.replace('pooling', 'pool').replace('_', '-')}" for name, value in options.items() if value]
        if given:
            raise InputError(f"{given[0]}: there is nothing to extract; give it only with --data and a model source")
        return dict(sides)
    if not models:
        raise InputError("--data: no side is a model; give a source such as python:module:callable for one of them")
    from manifold_probe.extraction import work
    from manifold_probe.extraction.cache import features_of

    paths, parts = dict(sides), Parts(progress, dict.fromkeys(models, 1))
    for name in models:
        request = work.Request(str(sides[name]), str(data), **options)
        paths[name] = str(features_of(request, tell=tell, progress=parts[name]))
    return paths


def is_model(side: Any) -> bool:
    """Whether a side is a model source."""
    return isinstance(side, str | Path) and is_source(str(side))
