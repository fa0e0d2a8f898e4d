"""The teacher's vectors for every training row: read from stored features, or computed by the teacher during training.

Stored features (a file, or a folder of `probe extract`) hold the plain view, and the views that `--views N` added. They
are joined to the data by id, or by position with ``--positional``. A teacher given as a model is extracted once for the
plain view; with augmentation it also runs during training, on the same pixels as the student.
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

from manifold_probe.distillation.config import Config
from manifold_probe.errors import InputError
from manifold_probe.extraction.agree import is_store
from manifold_probe.extraction.data import Data
from manifold_probe.extraction.items import Unreadable
from manifold_probe.extraction.recipe import named_recipe
from manifold_probe.extraction.store import Store
from manifold_probe.extraction.verify import read_rows
from manifold_probe.models.source import is_source
from manifold_probe.spaces.checks import bad, check_finite
from manifold_probe.spaces.columns import clean_column
from manifold_probe.spaces.contents import ID_NAMES, LABEL_NAMES
from manifold_probe.spaces.read import open_contents, read, read_column, split_key
from manifold_probe.spaces.space import Space

CHECKED_ROWS = 64  # rows whose content is compared with the content that the store was made from


@dataclass
class Targets:
    """The teacher's vectors: ``plain`` (n, d) in the data's row order, and any view of some rows.

    ``path`` is the path of the plain features; ``labels`` are those stored with them, in the data's order; ``views`` is
    the number of stored views, 0 for none, None if the teacher computes views on demand. ``pairing`` states how the
    rows were joined to the data, {"by": "id" or "position", "verified": bool}.
    """

    path: str
    plain: Tensor
    labels: np.ndarray | None
    views: int | None
    view: Callable[[np.ndarray, int], Tensor]
    pairing: dict[str, Any]

    @property
    def width(self) -> int:
        """Dimensions of the teacher."""
        return int(self.plain.shape[1])

    def batch(self, rows: np.ndarray, view: int) -> Tensor:
        """The teacher's rows (B, d) in a view; 0 is plain."""
        return self.plain[torch.from_numpy(rows)].float() if view == 0 else self.view(rows, view)


def only_logits(path: str) -> bool:
    """Whether a teacher path names logits, or a file that holds nothing else."""
    if is_source(path) or os.path.isdir(path):
        return False
    file, key = split_key(path)
    return key == "logits" or (key is None and set(open_contents(file).entries) <= {"logits", *ID_NAMES, *LABEL_NAMES})


def stored_targets(config: Config, data: Data, needs: str) -> Targets:
    """Targets from a feature file or folder.

    Raises
    ------
    InputError
        Features where logits are needed or the reverse, rows without a teacher row or without ids, NaN, other content
        under the same ids, or augmentation that the store does not hold.
    """
    path, augment = config.teacher, config.augment
    file, key = split_key(path)
    name = path if key is not None or needs != "logits" else f"{path}::logits"
    if needs == "features" and key == "logits":
        raise InputError(f"{path}: holds logits, and the method needs features; give {file} or {file}::features")
    try:
        space = read(name)
    except InputError as error:
        if name == path:
            raise
        fix = "save the teacher's logits under that key, or choose a method on features such as coss"
        raise InputError(f"{path}: the method needs logits, and there is no key 'logits'; {fix}") from error
    if config.teacher_ids is not None:
        ids, _ = read_column(config.teacher_ids, ID_NAMES, "ids")
        space = space.with_ids(clean_column(ids, "ids", space.name, space.n))
    rows, verified = joined(space, data, config.positional)
    views = 0
    if is_store(file):
        if not config.positional:
            check_content(file, data)
        plan = Store(file).manifest()["plan"]
        views = plan["views"]["count"]
        if augment != "plain":
            check_views(file, plan, augment, config.seed)
    elif augment != "plain":
        raise InputError(
            f"--augment: {augment}: {file} holds features of the plain view only, which are wrong for an augmented "
            "image; give the teacher as a model, or a folder of probe extract --views N"
        )
    labels = None if space.labels is None else space.labels[rows]
    view_tensors = (
        {view: in_order(read(f"{file}::{key or 'features'}@{view}"), rows) for view in range(1, views + 1)}
        if (augment != "plain")
        else {}
    )

    def stored_view(rows: np.ndarray, view: int) -> Tensor:
        return view_tensors[view][torch.from_numpy(rows)].float()

    pairing: dict[str, Any] = {"by": "position" if config.positional else "id", "verified": verified}
    if config.positional and space.ids is not None and not verified:
        pairing["other_ids"] = int((space.ids.astype(str) != data.ids.astype(str)).sum())
    return Targets(name, in_order(space, rows), labels, views if augment != "plain" else 0, stored_view, pairing)


def in_order(space: Space, rows: np.ndarray) -> Tensor:
    """The space's rows as one float32 tensor.

    Raises
    ------
    InputError
        Where one of them holds NaN or Inf, or a value that float32 cannot hold.
    """
    tensor = torch.empty(len(rows), space.d)
    for start in range(0, len(rows), 8192):
        tensor[start : start + 8192] = torch.from_numpy(space.take(rows[start : start + 8192]))
    if not torch.isfinite(tensor).all():
        for start, block in space.blocks():
            check_finite(block, start, space)
        raise bad(space.name, "holds values beyond 3.4e38, the largest float32; scale the teacher's features down")
    return tensor


def constant_kind(plain: Tensor) -> str | None:
    """ "all zero" or "all equal" if the rows (n, d) are, up to the rounding of float32; otherwise None.

    >>> constant_kind(torch.ones(3, 2)), constant_kind(torch.eye(3))
    ('all equal', None)
    """
    spread, largest = (plain.amax(0) - plain.amin(0)).max(), plain.abs().max()
    if spread > 4 * torch.finfo(torch.float32).eps * largest:
        return None
    return "all equal" if largest > 0 else "all zero"


def joined(space: Space, data: Data, positional: bool = False) -> tuple[np.ndarray, bool]:
    """The row in the space for every row of the data, and whether ids on both sides confirm the pairing.

    Raises
    ------
    InputError
        If ids are missing, not unique or do not cover the data; by position, if the numbers of rows differ.
    """
    if positional:
        if space.n != data.n:
            raise bad(
                space.name,
                f"has {space.n:,} rows and {data.source} has {data.n:,}, so they cannot be paired by position; give "
                "both the same rows, or ids and no --positional",
            )
        return np.arange(data.n), space.ids is not None and space.ids.astype(str).tolist() == data.ids.tolist()
    if space.ids is None and space.n != data.n:
        raise bad(
            space.name,
            f"has {space.n:,} rows and no ids, {data.source} has {data.n:,} rows, so the rows cannot be paired; save "
            "ids in it, or give --teacher-ids FILE",
        )
    if space.ids is None:
        raise bad(
            space.name,
            "has no ids, so its rows cannot be paired with the items of the data; save ids in it, give --teacher-ids "
            "FILE, or --positional if its rows are in the order of the data",
        )
    ids = space.ids.astype(str).tolist()
    row_of = {id: row for row, id in enumerate(ids)}
    if len(row_of) < space.n:
        twice = next(id for row, id in enumerate(ids) if row_of[id] != row)
        raise bad(space.name, f"has {space.n - len(row_of):,} duplicate ids, such as {twice!r}; make every id unique")
    missing = [id for id in data.ids.tolist() if id not in row_of]
    if missing:
        named = ", ".join(shortened(id) for id in missing[:3])
        if len(missing) < data.n:
            fix = "extract the teacher from the same data"
        else:
            present = ", ".join(shortened(id) for id in ids[:3])
            fix = (
                f"its ids are {present}: write the ids the same way, or give --positional if its rows are in the "
                "order of the data"
            )
        raise bad(
            space.name, f"has no row for {len(missing):,} of the {data.n:,} ids of {data.source} ({named}); {fix}"
        )
    return np.array([row_of[id] for id in data.ids.tolist()]), True


def shortened(id: str, most: int = 32) -> str:
    """An id of at most ``most`` characters, for a message.

    >>> shortened("x" * 40, most=8)
    'xxxxx...'
    """
    return id if len(id) <= most else id[: most - 3] + "..."


def check_content(folder: str, data: Data) -> None:
    """Compare the content of some rows with the content that a store was made from.

    Raises
    ------
    InputError
        If an id has other content.
    """
    table = read_rows(Store(folder))
    digests = dict(zip(table["id"], table["content"], strict=True))
    for row in range(0, data.n, max(1, data.n // CHECKED_ROWS)):
        try:
            digest = data.read(row).digest
        except Unreadable as error:
            raise InputError(f"{data.source}: {error}; fix it or leave it out of the data") from error
        if digests.get(str(data.ids[row]), digest) != digest:
            raise InputError(
                f"{folder}: was made from other content than {data.source} has for the id {data.ids[row]}; extract the "
                "teacher from the same data"
            )


def check_views(folder: str, plan: dict[str, Any], augment: str, seed: int) -> None:
    """Check that a store holds the views that training will use.

    Raises
    ------
    InputError
        No views, another recipe or another seed: student and teacher would see different pixels.
    """
    views = plan["views"]
    if not views["count"]:
        raise InputError(f"--augment: {folder} holds only the plain view; extract it again with --views N")
    if views["recipe"] != named_recipe(augment).record():
        raise InputError(
            f"--augment: {folder} holds views of another recipe than {augment}; give the recipe it was extracted with"
        )
    if views["seed"] != seed:
        raise InputError(
            f"--seed: {folder} holds the views of seed {views['seed']}, the run has {seed}: student and teacher would "
            f"see different pixels; give --seed {views['seed']} or extract again"
        )


def live_targets(path: Path | str, data: Data, view: Callable[[np.ndarray, int], Tensor]) -> Targets:
    """Targets from a model: its plain features, extracted to ``path``, and ``view``, which computes any other view."""
    space = read(str(path))
    rows, verified = joined(space, data)
    labels = None if space.labels is None else space.labels[rows]
    return Targets(str(path), in_order(space, rows), labels, None, view, {"by": "id", "verified": verified})
