"""A document of layers as files: a table and a figure."""

from __future__ import annotations

from manifold_probe.report.layers import Layers, read_layers
from manifold_probe.report.outputs import Outputs

__all__ = ["LayersOutputs", "read_layers"]


def LayersOutputs(
    table: str | None = None,
    figures: str | None = None,
    style: str = "paper",
    width: str | None = None,
    figures_option: str = "--figures",
) -> Outputs:
    """The outputs of layers."""
    return Outputs(table=table, figures=figures, style=style, width=width, figures_option=figures_option, kind=Layers)
