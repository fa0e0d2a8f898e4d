"""The cache of features of models on data, which comparisons use."""

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
    """The folder of the features for a request: from the cache, resumed, or extracted.

    Its name in ``folder`` is a hash of the plan, including weights and preprocessing, and of the data's content. So the
    same request finds it again, but not a request with another model, the same file with other weights, or other data
    under the same names.
    """
    processes, parts = Processes.join(), Parts(progress, SHARES)
    with processes.together():
        work = prepared(request, processes.local)
        content = content_digest(work.data.ids.tolist(), work.digests(range(work.data.n), parts["checking"]))
    key = {**work.plan, "batch_size": request.batch_size, "content": content}
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", request.model).strip("-.")[-40:].strip("-.")
    path = Path(folder) / f"{name}-{digest}"
    run(work, Store(path), processes, tell=tell, progress=parts["extracting"])
    return path
