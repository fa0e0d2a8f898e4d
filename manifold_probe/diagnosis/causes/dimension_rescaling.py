"""Dimensions, or directions, at the wrong scale: weights fitted to the teacher's inner products restore neighbours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from manifold_probe.diagnosis.cause import Cause, Proved, Signs
from manifold_probe.diagnosis.lab import Change, Evidence, Lab
from manifold_probe.diagnosis.spectra import participation

ITERATIONS = 150
MIN_LOG_DEVIATION = 1.3  # of the log weights: a random projection has up to 1.2
VERY_UNEVEN_RATIO = 0.05  # of the teacher's participation ratio: another pooling of a sound text model has .07
UNEVEN_RATIO = 0.3  # of the teacher's participation ratio, enough where a linear map restores most
MIN_AFTER_RATIO = 1.75  # overlap after that map over before
MIN_SHARES = {  # of the loss: sound networks' other layers regain .05 to .09, a bottleneck .03
    "weights": 0.1,
    "map": 0.07,
}


def signs(lab: Lab) -> list[Signs]:
    """Uneven fitted weights of the dimensions, or a much steeper spectrum than the teacher's."""
    keep, proposals = lab.keep, []
    weights = gram_weights(lab.student[keep], lab.reference[keep])
    logs = np.log(np.maximum(weights[weights > 0], 1e-12))
    if len(logs) and logs.std() > MIN_LOG_DEVIATION:
        where = {"dimensions": np.argsort(-np.abs(np.log(np.maximum(weights, 1e-12)) - np.median(logs)))[:20]}
        proposals.append(
            Signs([Evidence("deviation of the fitted log weights", float(logs.std()))], where, facts="weights")
        )
    ranks = [participation(values) for values in lab.spectra]
    if ranks[0] < UNEVEN_RATIO * ranks[1]:
        evidence = [Evidence("participation ratio of the spectrum", ranks[0], ranks[1])]
        proposals.append(Signs(evidence, facts="map", confusable=("dimensional_collapse",)))
    return proposals


def undo(lab: Lab, signs: Signs) -> Proved | None:
    """The trial of the fitted weights or, for the spectrum, of a linear map."""
    by_weights = signs.facts == "weights"
    name, change = ("dimensions weighted", weighted) if by_weights else ("any linear map", _map)
    repair = lab.by_halves(change)
    trial = lab.undo(name, repair, linear=True)
    if trial.share < MIN_SHARES[signs.facts]:
        return None
    if not by_weights and not very_uneven(signs) and trial.after < MIN_AFTER_RATIO * trial.before:
        return None
    if by_weights:  # judged by halves; what comes after sees one set of weights
        rows = lab.keep
        return Proved(trial, lab.repaired(weighted(lab.student[rows], lab.reference[rows])(lab.student)))
    return Proved(replace(trial, kind="mapped"), lab.repaired(repair(lab.student)))


def very_uneven(signs: Signs) -> bool:
    """Whether the participation ratio, its first evidence, is enough for a proof."""
    ratio = signs.evidence[0]
    return ratio.expected is not None and ratio.value < VERY_UNEVEN_RATIO * ratio.expected


def weighted(student: np.ndarray, teacher: np.ndarray) -> Change:
    """The student's dimensions with weights fitted to the teacher's inner products."""
    scale = np.sqrt(gram_weights(student, teacher)).astype(np.float32)
    return lambda x: x * scale


def _map(student: np.ndarray, teacher: np.ndarray) -> Change:
    from manifold_probe.diagnosis.linear import fit_ridge

    fitted = fit_ridge(student, teacher)
    return lambda x: fitted(x.astype(np.float64))


def gram_weights(student: np.ndarray, teacher: np.ndarray) -> np.ndarray:
    """w >= 0 that minimise |K_T - sum_j w_j s_j s_j'|^2 over the centred products, up to one scale."""
    centred = (student - student.mean(0)).astype(np.float64)
    target_rows = (teacher - teacher.mean(0)).astype(np.float64)
    scale = centred.std(0)
    good = scale > 1e-9 * scale.max()
    centred = centred[:, good] / scale[good]
    products = np.square(centred.T @ centred).astype(np.float32)
    target = np.square(centred.T @ target_rows).sum(1).astype(np.float32)
    scaled_weights = np.full(len(products), target.sum() / max(float(products.sum()), 1e-30), np.float32)
    for _ in range(ITERATIONS):  # multiplicative steps: everything is non-negative, so w stays so, and the error falls
        scaled_weights *= target / np.maximum(products @ scaled_weights, 1e-30)
    weights = np.zeros(student.shape[1])
    weights[good] = np.maximum(
        scaled_weights, 0.01 * np.median(scaled_weights[scaled_weights > 0]) if (scaled_weights > 0).any() else 1.0
    )
    weights[good] /= np.square(scale[good])
    return weights / max(float(weights.mean()), 1e-300)


CAUSE = Cause(
    "dimension_rescaling",
    "dimensions are scaled unevenly",
    "Map the student linearly (--save-repair) or weigh its dimensions anew, or drop the layer that scales them (a "
    "norm's learned gain).",
    "no gain from weights that were fitted on other rows",
    signs,
    undo,
)
