"""`probe migrate`: what moving an index to another embedding model changes, and whether a map saves re-embedding."""

from __future__ import annotations

from typing import Annotated

from manifold_probe.cli.options import (
    AllowMissing,
    Debug,
    IgnoreLabels,
    Json,
    KeepFirst,
    Page,
    Positional,
    Seed,
    features,
    labelling,
    measuring,
    output,
    pairing,
)
from manifold_probe.cli.shell import complain, show, write
from manifold_probe.errors import InputError


def migrate(
    old: Annotated[
        str | None,
        features(metavar="INDEX[::NAME]", help="The index now: a file, a folder, or the address of a Qdrant server."),
    ] = None,
    new: Annotated[
        str | None, features(metavar="INDEX[::NAME]", help="The same documents, or a sample, by the new model.")
    ] = None,
    queries: Annotated[
        str,
        measuring(metavar="N|FILE[::KEY]", help="How many documents ask; or vectors of real queries, new model."),
    ] = "2000",
    k: Annotated[int, measuring("--k", help="Results of a search.")] = 10,
    seed: Seed = 0,
    old_ids: Annotated[str | None, pairing(metavar="FILE[::KEY]", help="Ids of the old vectors.")] = None,
    new_ids: Annotated[str | None, pairing(metavar="FILE[::KEY]", help="Ids of the new vectors.")] = None,
    positional: Positional = False,
    allow_missing: AllowMissing = False,
    keep_first: KeepFirst = False,
    labels: Annotated[
        str | None,
        labelling(metavar="FILE[::KEY]", help="Labels of the documents, in the order of the old index or with ids."),
    ] = None,
    ignore_labels: IgnoreLabels = False,
    json: Json = False,
    report: Page = None,
    table: Annotated[
        str | None, output(metavar="FILE", help="Write a table: .csv or .parquet (tidy), .md (to print).")
    ] = None,
    save_map: Annotated[
        str | None,
        output(metavar="FILE.safetensors", help="Write the best map of queries, from the new space to the old."),
    ] = None,
    save_document_map: Annotated[
        str | None,
        output(metavar="FILE.safetensors", help="Write the best map of stored vectors, from the old space to the new."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Move an index to another embedding model: map it, or embed it again?

    How many results change, what a map of the queries or of the stored vectors keeps of the results that embedding
    everything again would give, on how many documents it must be fitted, and which documents lose most.

    \b
    Examples:
      probe migrate --old t.pt --new s.pt
      probe migrate --old t.pt --new s.pt --save-map queries.safetensors --report move.html
    """
    from manifold_probe import api
    from manifold_probe.files import check_map
    from manifold_probe.report.outputs import Outputs
    from manifold_probe.report.progress import Progress

    if old is None or new is None:
        missing, fix = ("--old", "the index now") if old is None else ("--new", "the vectors of the new model")
        raise InputError(f"{missing}: missing; give {fix}, as in --old old.faiss --new new.npz")
    outputs = Outputs(report, table, kind=api.Migration)
    inputs = [old, new, queries, old_ids, new_ids, labels]
    outputs.check(inputs)
    saved = {"queries": (save_map, "--save-map"), "documents": (save_document_map, "--save-document-map")}
    for path, option in saved.values():
        if path is not None:
            check_map(path, option, inputs)
    if save_map is not None and save_map == save_document_map:
        raise InputError(f"--save-document-map: {save_map} is the file of --save-map; choose another file")
    with Progress() as progress:
        result = api.migrate(
            old,
            new,
            queries=queries,
            labels=labels,
            ids=None if old_ids is None and new_ids is None else (old_ids, new_ids),
            k=k,
            seed=seed,
            positional=positional,
            allow_missing=allow_missing,
            keep_first=keep_first,
            ignore_labels=ignore_labels,
            progress=progress,
        )
    if json:
        write(result.to_json() + "\n")
    else:
        show(result.lines)
    for of, (path, _) in saved.items():
        if path is not None:
            result.save_map(path, of)
            complain(f"wrote the map of {of} {path}")
    for line in outputs.write(result):
        complain(line)
