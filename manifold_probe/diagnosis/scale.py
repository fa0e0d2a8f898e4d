"""Dimensions, or directions, at the wrong scale."""

from __future__ import annotations

import numpy as np

from manifold_probe.diagnosis.case import Evidence, Finding, Repair, View, confidence_of
from manifold_probe.diagnosis.faithfulness import gain, surest_gain
from manifold_probe.diagnosis.rank import participation, spectrum

STEPS = 300
FEWER = 0.7  # of the teacher's participation ratio
UNEVEN = 1.3  # deviation of the log weights: a random projection has up to 1.2


def rescaled_directions(view: View) -> Finding | None:
    """A student of few large directions from which any linear map brings the teacher back.

    A linear image of other directions at other scales is sound: the ladder shows what a map makes of it.
    """
    ranks = [participation(spectrum(x[view.keep])) for x in (view.student, view.teacher)]
    if ranks[0] > FEWER * ranks[1]:
        return None
    mended = view.judge(view.recovered)
    moved = surest_gain(view.now, mended)
    few = ranks[0] < 0.45 * ranks[1]
    if moved.value < (max(0.04, 0.5 * moved.before) if few else max(0.18, 0.3 * moved.before)) or moved.z < 4:
        return None
    return Finding(
        "dimension_rescaling",
        [Evidence("participation ratio of the spectrum", ranks[0], ranks[1])],
        Repair("any linear map", "overlap@10", moved),
        view.case.with_student(view.recovered),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(min(moved.z, 4.5)),
        z=moved.z,
        or_=["dimensional_collapse"],
    )


def dimension_rescaling(view: View) -> Finding | None:
    """Weights of the student's dimensions, fitted to the teacher's products on one half, that mend the other."""
    keep = view.keep
    repaired, spreads = weighted(view, view.student)
    after = view.judge(repaired)
    moved = surest_gain(view.now, after, keep)
    linear = view.judge(view.recovered)
    best = max(linear.mean(), linear.mean("euclidean"), after.mean(), after.mean("euclidean"))
    reach = best - min(view.now.mean(), view.now.mean("euclidean"))
    shape = after.cka - view.now.cka
    if moved.z < 4 or moved.value < max(0.04, 0.1 * view.gap) or moved.value < 0.45 * reach:
        return None
    if np.log(np.maximum(spreads[0][spreads[0] > 0], 1e-12)).std() < UNEVEN:
        return None
    ratio = np.log(np.maximum(spreads[0], 1e-12) / np.maximum(np.median(spreads[0]), 1e-12))
    healthy = gain(view.twin_now, view.judge(weighted(view, view.twin)[0]), moved.metric)
    return Finding(
        "dimension_rescaling",
        [
            Evidence(
                "spread of the fitted log weights",
                float(np.std(ratio[spreads[0] > 0])) if (spreads[0] > 0).any() else 0.0,
                None,
            ),
            Evidence("debiased_linear_cka gained", shape, 0.0),
        ],
        Repair("dimensions weighted", "overlap@10", moved, healthy.value),
        view.case.with_student(repaired),
        share=min(1.0, moved.value / view.gap),
        confidence=confidence_of(moved.z),
        z=moved.z,
        where={"dimensions": np.argsort(-np.abs(ratio))[:20]},
    )


def weighted(view: View, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The rows with their dimensions weighted, each half as the other says, and the weights of both."""
    out, found = np.empty_like(x), []
    for side in (False, True):
        learn, read = view.keep & (view.fold != side), view.fold == side
        weights = gram_weights(x[learn], view.teacher[learn])
        out[read] = x[read] * np.sqrt(weights)
        found.append(weights)
    return out, found


def gram_weights(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """w >= 0 that minimise |K_T - sum_j w_j s_j s_j'|^2 over the centred products, up to one scale."""
    own = (student - student.mean(0)).astype(np.float64)
    theirs = (teacher - teacher.mean(0)).astype(np.float64)
    scale = own.std(0)
    good = scale > 1e-9 * scale.max()
    own = own[:, good] / scale[good]
    products = np.square(own.T @ own)
    target = np.square(own.T @ theirs).sum(1)
    found = np.full(len(products), target.sum() / max(float(products.sum()), 1e-300))
    for _ in range(STEPS):  # multiplicative steps: everything is non-negative, so w stays so, and the error falls
        found *= target / np.maximum(products @ found, 1e-300)
    weights = np.zeros(student.shape[1])
    weights[good] = np.maximum(found, 0.01 * np.median(found[found > 0]) if (found > 0).any() else 1.0)
    weights[good] /= np.square(scale[good])
    return weights / max(float(weights.mean()), 1e-300)
