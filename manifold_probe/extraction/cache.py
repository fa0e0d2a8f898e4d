"""Features of a model on data, extracted where they are not there yet: the store that a comparison keeps."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path

from manifold_probe.extraction.data import open_data
from manifold_probe.extraction.run import Progress, Request, Tell, extract

FOLDER = "probe-features"


def features_of(request: Request, *, tell: Tell, progress: Progress | None = None, folder: str = FOLDER) -> Path:
    """The folder of the features that a request asks for: found finished, resumed, or made.

    It lies in ``folder`` under a name that follows from the request and from what the data lists, so that the same
    request finds it again, and another one never does.
    """
    data = open_data(request.data, ids=request.ids, labels=request.labels)
    asked = {**asdict(request), "data": data.listing}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", request.model).strip("-.")[-40:].strip("-.")
    place = Path(folder) / f"{name}-{digest}"
    extract(request, place, tell=tell, progress=progress)
    return place
