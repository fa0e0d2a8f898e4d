"""What the teacher says of every training row: from stored features, or from the teacher itself, live.

Stored features (a file, or a folder of `probe extract`) hold the plain view, and the views that `--views N` added; they
are joined to the data by id. A teacher given as a model is extracted once for the plain view; where training is
augmented it also runs live, on the very pixels that the student sees.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from manifold_probe.errors import InputError
from manifold_probe.extraction.agree import is_store
from manifold_probe.extraction.data import Data
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.recipe import named_recipe
from manifold_probe.extraction.store import Store
from manifold_probe.extraction.verify import read_rows
from manifold_probe.models.source import is_source
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES
from manifold_probe.spaces.read import open_contents, read, split_key
from manifold_probe.spaces.space import Space

CHECKED = 64  # rows whose content is compared with what the store was made of


@dataclass
class Targets:
    """The teacher's vectors: ``plain`` (n, d) in the data's row order, and any view of some rows.

    ``path`` is where the plain features lie; ``labels`` those beside them, in the data's order; ``views`` how many
    stored views there are, 0 for none, None where the teacher is at hand and makes any.
    """

    path: str
    plain: Tensor
    labels: np.ndarray | None
    views: int | None
    view: Callable[[np.ndarray, int], Tensor]

    @property
    def width(self) -> int:
        """Dimensions of the teacher."""
        return int(self.plain.shape[1])

    def batch(self, rows: np.ndarray, view: int) -> Tensor:
        """The teacher's rows (B, d) in a view; 0 is plain."""
        return self.plain[torch.from_numpy(rows)].float() if view == 0 else self.view(rows, view)


def only_logits(path: str) -> bool:
    """Whether a teacher's name, or its file for want of anything else, means logits."""
    if is_source(path) or os.path.isdir(path):
        return False
    file, key = split_key(path)
    return key == "logits" or (key is None and set(open_contents(file).entries) <= {"logits", *ID_NAMES, *LABEL_NAMES})


def stored_targets(path: str, data: Data, needs: str, augment: str, seed: int) -> Targets:
    """Targets from a feature file or folder.

    Raises
    ------
    InputError
        Features where logits are needed or the other way, rows that the teacher lacks, other content under the same
        ids, or augmentation that the store does not hold.
    """
    file, key = split_key(path)
    name = path if key is not None or needs != "logits" else f"{path}::logits"
    if needs == "features" and key == "logits":
        raise InputError(f"{path}: holds logits, and the method needs features; give {file} or {file}::features")
    try:
        space = read(name)
    except InputError as error:
        if name == path:
            raise
        mend = "save the teacher's logits under that key, or choose a method on features such as coss"
        raise InputError(f"{path}: the method needs logits, and there is no key 'logits'; {mend}") from error
    rows = joined(space, data)
    views = 0
    if is_store(file):
        check_content(file, data)
        plan = Store(file).manifest()["plan"]
        views = plan["views"]["count"]
        if augment != "plain":
            check_views(file, plan, augment, seed)
    elif augment != "plain":
        raise InputError(
            f"--augment: {augment}: {file} holds fixed features of the plain view, which are wrong for a changed "
            "image; give the teacher as a model, or a folder of probe extract --views N"
        )
    labels = None if space.labels is None else space.labels[rows]
    kept = (
        {view: in_order(read(f"{file}::{key or 'features'}@{view}"), rows) for view in range(1, views + 1)}
        if (augment != "plain")
        else {}
    )

    def stored_view(rows: np.ndarray, view: int) -> Tensor:
        return kept[view][torch.from_numpy(rows)].float()

    return Targets(name, in_order(space, rows), labels, views if augment != "plain" else 0, stored_view)


def in_order(space: Space, rows: np.ndarray) -> Tensor:
    """The space's rows as one float32 tensor."""
    found = torch.empty(len(rows), space.d)
    for start in range(0, len(rows), 8192):
        found[start : start + 8192] = torch.from_numpy(space.take(rows[start : start + 8192]))
    return found


def joined(space: Space, data: Data) -> np.ndarray:
    """For every row of the data its row in the space.

    Raises
    ------
    InputError
        Where ids are missing or stand twice, or, without ids, the numbers of rows differ.
    """
    if space.ids is None:
        if space.n != data.n:
            raise InputError(
                f"{space.name}: has {space.n:,} rows and no ids, {data.source} has {data.n:,}; save ids beside the "
                "features"
            )
        return np.arange(data.n)
    place = {str(id): row for row, id in enumerate(space.ids.tolist())}
    if len(place) < space.n:
        raise InputError(f"{space.name}: has ids that stand twice; make them unique")
    missing = [id for id in data.ids.tolist() if id not in place]
    if missing:
        raise InputError(
            f"{space.name}: has no row for {len(missing):,} of the {data.n:,} ids of {data.source} "
            f"({', '.join(missing[:3])}); extract the teacher from the same data"
        )
    return np.array([place[id] for id in data.ids.tolist()])


def check_content(folder: str, data: Data) -> None:
    """Compare some rows with what a store was made of.

    Raises
    ------
    InputError
        Where an id stands for other content.
    """
    table = read_rows(Store(folder))
    digests = dict(zip(table["id"], table["content"], strict=True))
    for row in range(0, data.n, max(1, data.n // CHECKED)):
        try:
            found = data.read(row).digest
        except Unreadable as error:
            raise InputError(f"{data.source}: {error}; mend it or leave it out of the data") from error
        if digests.get(str(data.ids[row]), found) != found:
            raise InputError(
                f"{folder}: was made of other content than {data.source} has under the id {data.ids[row]}; extract the "
                "teacher from the same data"
            )


def check_views(folder: str, plan: dict[str, Any], augment: str, seed: int) -> None:
    """Whether a store holds the views that training will show.

    Raises
    ------
    InputError
        No views, another recipe or another seed: the student would see other pixels than the teacher did.
    """
    views = plan["views"]
    if not views["count"]:
        raise InputError(f"--augment: {folder} holds the plain view alone; extract it again with --views N")
    if views["recipe"] != named_recipe(augment).record():
        raise InputError(f"--augment: {folder} holds views of another recipe than {augment}; give the one it has")
    if views["seed"] != seed:
        raise InputError(
            f"--seed: {folder} holds the views of seed {views['seed']}, the run has {seed}: the student would see "
            f"other pixels than the teacher; give --seed {views['seed']} or extract again"
        )


def live_targets(path: Path | str, data: Data, view: Callable[[np.ndarray, int], Tensor]) -> Targets:
    """Targets from a model: its plain features, extracted to ``path``, and any view computed when it is asked for."""
    space = read(str(path))
    rows = joined(space, data)
    return Targets(str(path), in_order(space, rows), None if space.labels is None else space.labels[rows], None, view)
