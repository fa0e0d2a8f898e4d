"""Two models compared layer by layer: debiased and plain CKA of every two layers."""

from __future__ import annotations

from typing import Any

from manifold_probe.api.documents import pairing_of
from manifold_probe.api.provenance import describe_input, provenance_of
from manifold_probe.measures.layer_files import paired_layers
from manifold_probe.measures.layers import layer_matrix
from manifold_probe.parts import Progress
from manifold_probe.report.document import LAYERS
from manifold_probe.report.layers import Layers
from manifold_probe.report.typed import plain

OF_LABELS = ("labels_recoded", "unlabelled")  # in a pairing; layers have no labels


def compare_layers(teacher: str, student: str, *, progress: Progress | None = None, **rules: bool) -> Layers:
    """Every layer of the teacher against every layer of the student, paired by the ``rules`` of `paired_layers`.

    Raises
    ------
    InputError
        Where files, ids or values cannot be used.
    """
    layers = paired_layers(teacher, student, **rules)
    inputs = {}
    for side, spaces in layers.read.items():
        described = describe_input(next(iter(spaces.values())), None)
        shapes = {name: {"shape": [space.n, space.d], "dtype": space.dtype} for name, space in spaces.items()}
        inputs[side] = {**{name: described[name] for name in ("name", "path", "sha256")}, "layers": shapes}
    document: dict[str, Any] = {
        "schema": LAYERS,
        "inputs": inputs,
        "pairing": {name: value for name, value in pairing_of(layers.pair).items() if name not in OF_LABELS},
        **layer_matrix(layers.teacher, layers.student, progress),
        "provenance": provenance_of(0),  # nothing is drawn at random, so any seed is the right one
    }
    return Layers(plain(document))
