"""All causes of a diagnosis, one file each. To add a cause, write its file and list it here."""

from __future__ import annotations

from manifold_probe.diagnosis.cause import Cause
from manifold_probe.diagnosis.causes import (
    absent_classes,
    class_collapse,
    cluster_merge,
    cluster_tear,
    common_direction,
    dead_dimensions,
    dimension_rescaling,
    dimensional_collapse,
    dominating_dimension,
    hubness,
    noise,
    nonlinear_warp,
    norm_loss,
    offset,
    outliers,
    point_collapse,
    quantisation,
    row_misalignment,
    saturation,
    slice_failure,
    truncated_dimensions,
)

CAUSES: tuple[Cause, ...] = tuple(
    module.CAUSE
    for module in (
        *(dominating_dimension, row_misalignment, outliers, point_collapse, hubness),
        *(common_direction, dimension_rescaling, offset, norm_loss, nonlinear_warp),
        *(cluster_merge, cluster_tear, slice_failure, absent_classes, class_collapse),
        *(dead_dimensions, truncated_dimensions, dimensional_collapse, quantisation, saturation, noise),
    )
)
