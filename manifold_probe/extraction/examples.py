"""Training examples: any rows of the data, in any view, as a batch that a model takes.

    examples = Examples(data, preprocessing, recipe, seed)
    batch = examples.batch(rows, view)            # view 0 is plain

A batch is a pure function of rows and view. Pixels are kept in memory, as bytes, where they fit, so that an epoch costs
no decoding; otherwise threads read them again.
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

MEMORY = 2 * 2**30
Read = Callable[[int], Any]


class Examples:
    """Batches of the data for one model.

    Parameters
    ----------
    data : Data
    preprocessing : ImagePreprocessing or TextPreprocessing
        The model's.
    recipe : Recipe
        How views differ.
    seed : int
        Seed of the views.
    device : torch.device
        Where batches go.
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
        self._plain = Kept(self._pixels, data.n)
        self._originals = Kept(self._original, data.n)

    def batch(self, rows: np.ndarray, view: int = 0) -> Any:
        """The rows (B,) as the model takes them: pictures (B, C, size, size), or a dict of a tokenizer's tensors.

        Raises
        ------
        InputError
            Naming what cannot be read.
        """
        if isinstance(self.preprocessing, TextPreprocessing):
            texts = [self._content(row) for row in rows.tolist()]
            return {name: value.to(self.device) for name, value in self.preprocessing.collate(texts).items()}
        if view == 0:
            pixels = torch.stack(self._plain.read(rows.tolist())).to(self.device, non_blocking=True)
            return self.preprocessing.normalise(pixels / 255)
        return self.preprocessing.normalise(self._views(rows.tolist(), view, self.preprocessing.size))

    def keeps(self, view: int) -> bool:
        """Whether the pixels behind a view fit into memory; reads them all where they do."""
        if isinstance(self.preprocessing, TextPreprocessing):
            return False
        return (self._plain if view == 0 else self._originals).fill()

    def _views(self, rows: list[int], view: int, size: int) -> Tensor:
        parameters = [view_parameters(self.seed, str(self.data.ids[row]), view, self.recipe) for row in rows]
        originals = self._originals.read(rows)
        shown = torch.empty(len(rows), 3, size, size, device=self.device)
        for shape in {each.shape for each in originals}:  # pictures of one shape change together
            places = [place for place, each in enumerate(originals) if each.shape == shape]
            images = torch.stack([originals[place] for place in places]).to(self.device) / 255
            shown[places] = apply_views(images, [parameters[place] for place in places], size)
        return shown

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


class Kept:
    """Tensors by row, read once where all of them fit into memory."""

    def __init__(self, read: Callable[[int], Tensor], rows: int) -> None:
        self._read, self._rows = read, rows
        self._kept: list[Tensor] | None = None
        self._fits: bool | None = None

    def read(self, rows: list[int]) -> list[Tensor]:
        """The tensors of some rows; the first call reads them all where they fit."""
        if self.fill() and self._kept is not None:
            return [self._kept[row] for row in rows]
        with ThreadPoolExecutor(workers()) as pool:
            return list(pool.map(self._read, rows))

    def fill(self) -> bool:
        """Whether all of them fit, and are in memory now."""
        if self._fits is None:
            with ThreadPoolExecutor(workers()) as pool:
                sample = list(pool.map(self._read, range(0, self._rows, max(1, self._rows // 16))))
                self._fits = sum(each.nbytes for each in sample) / len(sample) * self._rows <= MEMORY
                if self._fits:
                    self._kept = list(pool.map(self._read, range(self._rows)))
        return self._fits
