"""Reading LanceDB (extra ``indexes``): a database is a folder of tables NAME.lance, and a table has columns."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

from manifold_probe.errors import to_install
from manifold_probe.spaces.arrow_file import open_batches
from manifold_probe.spaces.checks import bad, refusing
from manifold_probe.spaces.choose import with_features
from manifold_probe.spaces.contents import Contents

SUFFIX = ".lance"


def is_lancedb(path: str) -> bool:
    """Whether a folder is a LanceDB table, or a database with tables."""
    return path.rstrip("/").endswith(SUFFIX) or any(name.endswith(SUFFIX) for name in os.listdir(path))


def open_lancedb(path: str, key: str | None = None) -> Contents:
    """The columns of a table; the column of vectors is chosen as in a Parquet file.

    ``key`` is a table of the database, or a column of the only table; "db/docs.lance::vector" names both.

    Raises
    ------
    InputError
        If the library is missing, there are several tables and none is named, or the folder is damaged.
    """
    try:
        import lancedb
    except ImportError as error:
        raise bad(path, f"needs lancedb to be read: {to_install('indexes')}") from error
    folder = path.rstrip("/")
    if folder.endswith(SUFFIX):
        database, table = os.path.dirname(folder) or ".", os.path.basename(folder)
    else:
        tables = sorted(name for name in os.listdir(path) if name.endswith(SUFFIX))
        if f"{key}{SUFFIX}" in tables:
            database, table, key = path, f"{key}{SUFFIX}", None
        elif len(tables) == 1:
            database, table = path, tables[0]
        else:
            listed = ", ".join(name.removesuffix(SUFFIX) for name in tables)
            missing = "" if key is None else f"has no table '{key}'; it "
            raise bad(path, f"{missing}holds the tables {listed}; pick one with {os.path.join(path, tables[0])}")
        path = os.path.join(path, table)
    with refusing(path, "a LanceDB table"):
        opened = lancedb.connect(database).open_table(table.removesuffix(SUFFIX))
        contents = open_batches(path, "lancedb", opened.schema, opened.count_rows(), partial(_batches, opened))
    return with_features(contents, key)


def _batches(table: Any, columns: list[str], rows: int) -> Iterator[Any]:
    yield from table.search().select(columns).to_batches(rows)
