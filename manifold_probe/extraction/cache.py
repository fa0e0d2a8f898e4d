"""Features of a model on data, extracted where they are not there yet: the store that a comparison keeps."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from manifold_probe.extraction.content import content_digest
from manifold_probe.extraction.processes import Processes
from manifold_probe.extraction.resume import Tell
from manifold_probe.extraction.run import SHARES, run
from manifold_probe.extraction.store import Store
from manifold_probe.extraction.work import Request, prepared
from manifold_probe.parts import Parts, Progress

FOLDER = "probe-features"


def features_of(request: Request, *, tell: Tell, progress: Progress | None = None, folder: str = FOLDER) -> Path:
    """The folder of the features that a request asks for: found finished, resumed, or made.

    It lies in ``folder`` under a name that follows from the plan, weights and preprocessing included, and from the
    data's content, so that the same request finds it again, and that of another model, of the same file with other
    weights, or of other data under the same names, never does.
    """
    processes, parts = Processes.join(), Parts(progress, SHARES)
    with processes.together():
        work = prepared(request, processes.local)
        content = content_digest(work.data.ids.tolist(), work.digests(range(work.data.n), parts["checking"]))
    decided = {**work.plan, "batch_size": request.batch_size, "content": content}
    digest = hashlib.sha256(json.dumps(decided, sort_keys=True).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", request.model).strip("-.")[-40:].strip("-.")
    place = Path(folder) / f"{name}-{digest}"
    run(work, Store(place), processes, tell=tell, progress=parts["extracting"])
    return place
