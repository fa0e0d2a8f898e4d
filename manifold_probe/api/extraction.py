"""``extract``: a model and data, turned into features on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manifold_probe.api.arguments import Notify, Number, OnProgress, PerChannel, model_options
from manifold_probe.parts import silent
from manifold_probe.spaces.space import Space

if TYPE_CHECKING:
    from manifold_probe.extraction.work import Request


@dataclass(frozen=True)
class Extraction:
    """A finished folder of features.

    ``shapes`` gives the shape of every array by key: ``{"features": (n, d)}``, or an array for each layer or view.
    ``left_out`` counts the items that could not be read, with ``skip_bad``.
    """

    folder: Path
    model: str
    data: str
    rows: int
    shapes: dict[str, tuple[int, ...]]
    left_out: int = 0

    def space(self, key: str | None = None) -> Space:
        """The features as a `Space`; ``key`` where there are several arrays.

        Raises
        ------
        InputError
            For an unknown key, a missing key among several, or a damaged folder.
        """
        from manifold_probe.spaces.read import read

        return read(str(self.folder) if key is None else f"{self.folder}::{key}")

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        shapes = {key: list(shape) for key, shape in self.shapes.items()}
        return {**vars(self), "folder": str(self.folder), "shapes": shapes}

    def summary(self) -> str:
        """One line about the model, the data and the arrays, and how many items were left out."""
        arrays = ", ".join(f"{key} {' x '.join(f'{size:,}' for size in shape)}" for key, shape in self.shapes.items())
        without = f"; {self.left_out:,} could not be read" if self.left_out else ""
        return f"{self.model} on {self.data}: {arrays} in {self.folder}{without}"


def extract(
    model: str | Path,
    data: str | Path,
    out: str | Path,
    *,
    weights: str | Path | None = None,
    size: Number | None = None,
    mean: PerChannel | None = None,
    std: PerChannel | None = None,
    layers: Sequence[str] = (),
    pool: str | None = None,
    batch_size: int | None = None,
    dtype: str = "float16",
    ids: str | None = None,
    labels: str | None = None,
    skip_bad: bool = False,
    views: int = 0,
    recipe: str = "crop-mirror-jitter",
    seed: int = 0,
    apply: str | Path | None = None,
    notify: Notify | None = None,
    progress: OnProgress | None = None,
) -> Extraction:
    """Turn a model and data into a folder of features, once.

    An extraction that is stopped at any moment goes on when it is called again with the same arguments; a finished one
    is not done again.

    Parameters
    ----------
    model : str
        "timm:NAME", "hf:NAME", "st:NAME", "python:package.module:callable?key=value", or a run of `distill`.
    data : path
        A folder of images, a table with a column "path" or "text", .npz or idx arrays, or lines of text.
    out : path
        The folder of the features; made if missing.
    weights : path, optional
        A state dict to load into the model.
    size, mean, std : number, or for mean and std one number a channel; optional
        Side of the input images in pixels; what is subtracted from pixels in 0..1, and what then divides them. By
        default the model's.
    layers : sequence of str
        Submodules, by name or glob, in place of the output.
    pool : str, optional
        "cls", "last", "mean", "tokens", "flat" or "projection": how tokens or maps become one vector.
    batch_size : int, optional
        Inputs at a time; by default by device.
    dtype : str
        "float16" or "float32": how features are stored.
    ids, labels : str, optional
        The column or array that holds them.
    skip_bad : bool
        Leave out what cannot be read, and count it.
    views, recipe, seed : int, str, int
        Augmented views of every image in addition to the plain one, how they differ, and their seed.
    apply : path, optional
        Store features after this affine map, which ``Diagnosis.save_repair`` wrote.
    notify : callable, optional
        Called with one sentence about each thing worth knowing.
    progress : callable, optional
        Called as ``progress(stage, done, total)``.

    Returns
    -------
    Extraction

    Raises
    ------
    InputError
        For what cannot be used; the folder stays as it was, or can be resumed.

    Examples
    --------
    >>> features = extract("timm:resnet18", "images/", "features/")  # doctest: +SKIP
    >>> overlap = compare(features.folder, "other/").measures["overlap@10"].value  # doctest: +SKIP
    """
    from manifold_probe.extraction import run

    options: dict[str, Any] = {"size": size, "mean": mean, "std": std, "pool": pool, "batch_size": batch_size}
    options |= {"weights": weights, "layers": layers, "dtype": dtype, "ids": ids, "labels": labels, "apply": apply}
    request = request_of(model, data, **options, skip_bad=skip_bad, views=views, recipe=recipe, seed=seed)
    store = run.extract(request, out, tell=notify or silent, progress=progress)
    manifest = store.manifest()
    shapes = {key: tuple(shape) for key, shape in manifest["shapes"].items()}
    return Extraction(store.folder, str(model), str(data), manifest["rows"], shapes, manifest["quarantined"])


def request_of(
    model: str | Path,
    data: str | Path,
    *,
    size: Number | None,
    mean: PerChannel | None,
    std: PerChannel | None,
    pool: str | None,
    batch_size: int | None,
    layers: Sequence[str] = (),
    **options: Any,
) -> Request:
    """The arguments of `extract` as the request of an extraction, which holds text."""
    from manifold_probe.extraction.work import Request

    texts: dict[str, Any] = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    return Request(
        str(model), str(data), layers=tuple(layers), **model_options(size, mean, std, pool, batch_size), **texts
    )
