"""The residual, which the teacher does not predict, is spread evenly over all directions and costs neighbours.

No repair removes noise and no damage repeats it, so this cause is suspected at most.
"""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Signs
from manifold_probe.diagnosis.lab import COSINE, Evidence, Lab, mean
from manifold_probe.diagnosis.spectra import MIN_PREDICTED

MIN_EVENNESS = 0.55  # of that of isotropic noise
MIN_LOST = 0.03  # of the overlap


def signs(lab: Lab) -> Signs | None:
    """An isotropic residual without which the student would keep more neighbours."""
    keep = lab.keep
    if lab.explained < MIN_PREDICTED:
        return None
    residual = (lab.residual - lab.residual[keep].mean(0))[keep].astype(np.float64)
    rows, width = residual.shape
    gram = residual @ residual.T if rows < width else residual.T @ residual
    even = float(np.trace(gram) ** 2 / max(float(np.square(gram).sum()), 1e-300)) / width  # participation ratio
    expected = rows / (rows + width)  # of as many rows of isotropic noise (Marchenko and Pastur)
    without = mean(lab.image_now[COSINE])
    lost = without - lab.overlap
    if even < MIN_EVENNESS * expected or lost < MIN_LOST:
        return None
    evidence = [
        Evidence("evenness of the residual over directions", even, expected),
        Evidence(f"{lab.key(COSINE)} without the residual", without),
    ]
    return Signs(evidence, share=float(np.clip(lost / max(lab.loss(COSINE), 1e-3), 0, 1)))


CAUSE = Cause(
    "noise",
    "isotropic loss of information, as by noise",
    "Look for dropout left on, low precision or stochastic preprocessing; average several passes.",
    "two extractions of the same rows that agree",
    signs,
    confusable=("quantisation", "saturation"),
    general=True,
)
