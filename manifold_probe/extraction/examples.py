"""Training examples: any rows of the data, in any view, as a batch for a model.

    examples = Examples(data, preprocessing, recipe, seed)
    batch = examples.batch(rows, view)            # view 0 is plain

A batch is a pure function of rows and view. Pixels are cached in memory, as bytes, if all fit, so that they are decoded
once; otherwise threads read them again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifold_probe.errors import InputError
from manifold_probe.extraction.batches import workers
from manifold_probe.extraction.data import Data, Unreadable
from manifold_probe.extraction.recipe import Recipe, view_parameters
from manifold_probe.extraction.views import apply_views
from manifold_probe.models.preprocessing import ImagePreprocessing, TextPreprocessing

CACHE_BYTES = 2 * 2**30


class Examples:
    """Batches of the data for one model.

    Parameters
    ----------
    data : Data
    preprocessing : ImagePreprocessing or TextPreprocessing
        Of the model.
    recipe : Recipe
        Of the views.
    seed : int
        Of the views.
    device : torch.device
        For the batches.
    """

    def __init__(
        self,
        data: Data,
        preprocessing: ImagePreprocessing | TextPreprocessing,
        recipe: Recipe,
        seed: int,
        device: torch.device | None = None,
    ) -> None:
        self.data, self.preprocessing, self.recipe, self.seed = data, preprocessing, recipe, seed
        self.device = device or torch.device("cpu")
        self._plain = Cache(self._pixels, data.n)
        self._originals = Cache(self._original, data.n)

    def batch(self, rows: np.ndarray, view: int = 0) -> Any:
        """The rows (B,) as input of the model: images (B, C, size, size), or a dict of a tokenizer's tensors.

        Raises
        ------
        InputError
            For an item that cannot be read.
        """
        if isinstance(self.preprocessing, TextPreprocessing):
            texts = [self._content(row) for row in rows.tolist()]
            return {name: value.to(self.device) for name, value in self.preprocessing.collate(texts).items()}
        if view == 0:
            pixels = torch.stack(self._plain.read(rows.tolist())).to(self.device, non_blocking=True)
            return self.preprocessing.normalise(pixels / 255)
        return self.preprocessing.normalise(self._views(rows.tolist(), view, self.preprocessing.size))

    def keeps(self, view: int) -> bool:
        """Whether the pixels for a view fit into memory; if so, reads all of them."""
        if isinstance(self.preprocessing, TextPreprocessing):
            return False
        return (self._plain if view == 0 else self._originals).fill()

    def _views(self, rows: list[int], view: int, size: int) -> Tensor:
        parameters = [view_parameters(self.seed, str(self.data.ids[row]), view, self.recipe) for row in rows]
        originals = self._originals.read(rows)
        views = torch.empty(len(rows), 3, size, size, device=self.device)
        for shape in {original.shape for original in originals}:  # images of one shape are processed together
            same = [index for index, original in enumerate(originals) if original.shape == shape]
            images = torch.stack([originals[index] for index in same]).to(self.device) / 255
            views[same] = apply_views(images, [parameters[index] for index in same], size)
        return views

    def _pixels(self, row: int) -> Tensor:
        assert isinstance(self.preprocessing, ImagePreprocessing)
        return self.preprocessing.pixels(self._content(row))

    def _original(self, row: int) -> Tensor:
        return torch.from_numpy(np.array(self._content(row).convert("RGB"))).permute(2, 0, 1).contiguous()

    def _content(self, row: int) -> Any:
        try:
            return self.data.read(row).content
        except Unreadable as error:
            raise InputError(f"{self.data.source}: {error}; fix it or leave it out of the data") from error


class Cache:
    """Tensors by row, read once if all fit into memory."""

    def __init__(self, read: Callable[[int], Tensor], rows: int) -> None:
        self._read, self._rows = read, rows
        self._tensors: list[Tensor] | None = None
        self._fits: bool | None = None

    def read(self, rows: list[int]) -> list[Tensor]:
        """The tensors of some rows; the first call reads all rows if they fit."""
        if self.fill() and self._tensors is not None:
            return [self._tensors[row] for row in rows]
        with ThreadPoolExecutor(workers()) as pool:
            return list(pool.map(self._read, rows))

    def fill(self) -> bool:
        """Whether all tensors fit into memory; if so, they are read now."""
        if self._fits is None:
            with ThreadPoolExecutor(workers()) as pool:
                sample = list(pool.map(self._read, range(0, self._rows, max(1, self._rows // 16))))
                self._fits = sum(tensor.nbytes for tensor in sample) / len(sample) * self._rows <= CACHE_BYTES
                if self._fits:
                    self._tensors = list(pool.map(self._read, range(self._rows)))
        return self._fits
