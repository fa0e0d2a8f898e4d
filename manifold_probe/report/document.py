"""The JSON document of a comparison: the one form in which a result is kept, saved and shown.

One student gives a `ComparisonDocument`, several a `ComparisonsDocument` with the paired differences of every two. A
comparison that was diagnosed has one key more, ``diagnosis`` (`report.diagnosis.document.Findings`). Nothing in a
document is NaN or infinite: what is undefined is null, with a note. The records below say what a document holds;
`typed.mismatch` checks a file by them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from manifold_probe.errors import InputError
from manifold_probe.measures.results import Measured, Measurement
from manifold_probe.report.typed import Name, NotNegative, Positive, Record, mismatch, names, plain
from manifold_probe.spaces.labels import plain_labels
from manifold_probe.spaces.pairing import Pair

ONE = "manifold-probe/comparison/1"
SEVERAL = "manifold-probe/comparisons/1"
FAMILY = "manifold-probe/"
AGAIN = "write the file again with --json"


class Input(Record):
    """Features that were read; ``method`` is how a student that is a run of our trainer was trained."""

    name: str
    path: str | None
    sha256: str | None
    shape: list[int]
    dtype: str
    key: str | None
    columns_left: list[str] | None = None
    method: str | None = None


class Inputs(Record):
    """Both sides; ``student_head`` in a diagnosis that was given the head's features too."""

    teacher: Input
    student: Input
    student_head: Input | None = None


class Pairing(Record):
    """How the rows were paired, and which they are."""

    by: str
    rows: int
    coverage: float
    verified: bool
    label_conflicts: int | None = None
    labels_recoded: bool | None = None
    unlabelled: int | None = None
    copies_left_out: int | None = None
    rows_sha256: str | None = None


class Settings(Record):
    """What was asked for; ``classes`` is "labels" or "k-means"."""

    k: Positive
    queries: int | None
    seed: int | None
    classes: str | None


class Declared(Record):
    """The declaration of a measure that is not built in."""

    title: str
    group: str
    gloss: str
    higher_is_better: bool | None


class Reading(Record):
    """One measure; ``value`` None means undefined, and ``note`` says why."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    chance: float | None
    class_chance: float | None
    reference: float | None
    n: int | None
    metric: str | None
    note: str | None
    quantiles: dict[str, float | None] | None = None
    declared: Declared | None = None


class OverlapByK(Record):
    """Overlap for other k, a list a column."""

    columns: ClassVar = ("k", "cosine", "euclidean", "chance", "reference")
    k: list[Positive]
    cosine: list[float | None]
    chance: list[float | None]
    euclidean: list[float | None] | None
    reference: list[float | None] | None


class Spectra(Record):
    """The eigenvalues of both covariances."""

    teacher: list[NotNegative]
    student: list[NotNegative]


class OfClass(Record):
    """What one class keeps: overlap with its interval, and the other measures that have a value a class."""

    others: ClassVar = float | None
    class_: Name
    n: int
    overlap: float | None
    low: float | None
    high: float | None


Five = tuple[NotNegative, NotNegative, NotNegative, NotNegative, NotNegative]


class RankQuantiles(Record):
    """Where neighbours of one space stand among those of the other: five quantiles for every place up to k."""

    k: int
    n: Positive
    quantiles: list[float]
    teacher_neighbours_in_student: list[Five]
    student_neighbours_in_teacher: list[Five]


class WorstRow(Record):
    """A row that keeps few neighbours, with those it has in each space."""

    row: int
    id: Name | None
    label: Name | None
    overlap: float
    teacher_neighbours: list[Name]
    student_neighbours: list[Name]


class Maps(Record):
    """Rows of both spaces in the plane; ``neighbours`` are those of each, kept, lost and gained."""

    columns: ClassVar = ("class", "overlap", "teacher", "student", "rows")
    classes: list[Name]
    class_: list[int]
    overlap: list[float]
    teacher: list[tuple[float, float]]
    student: list[tuple[float, float]]
    rows: list[int] | None
    neighbours: dict[str, list[list[int]]] | None

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A row of a class that is not listed, too."""
        if not all(0 <= code < len(thing["classes"]) for code in thing["class"]):
            return "'details.maps.class' names a class that 'details.maps.classes' lacks"
        return super().inconsistent(thing)


class Interval(Record):
    """A value with its interval."""

    value: float | None
    low: float | None
    high: float | None


class PairedDifference(Interval):
    """A measure of student ``a`` less that of student ``b``."""

    measure: str
    a: str
    b: str


class BeforeAndAfter(Record):
    """A value of the untrained and of the trained student."""

    untrained: float | None
    trained: float | None


class Gain(BeforeAndAfter):
    """What training won over the untrained student, on the rows that it was measured on."""

    measure: str
    rows: int
    held_out: bool
    difference: Interval
    better: bool | None
    cka: BeforeAndAfter


class Training(Record):
    """Of a student that is a run of our trainer."""

    rows: int | None
    trained_rows: int | None
    side: str
    verified: bool
    gain: Gain | None


class Details(Record):
    """What figures and tables are drawn from."""

    overlap_by_k: OverlapByK | None
    spectra: Spectra | None
    per_class: list[OfClass] | None
    per_dimension: dict[str, list[float | None] | None] | None
    rank_quantiles: RankQuantiles | None
    worst_rows: list[WorstRow] | None
    maps: Maps | None
    training: Training | None


class Alarm(Record):
    """Something in the data that would mislead a reader."""

    code: str
    message: str


class ComparisonDocument(Record):
    """One student; ``diagnosis`` is checked apart, as its account must add up to this document's measures."""

    schema: str
    inputs: Inputs
    pairing: Pairing
    settings: Settings
    measures: dict[str, Reading]
    details: Details
    alarms: list[Alarm]
    provenance: dict[str, Any]


class ComparisonsDocument(Record):
    """Several students of one teacher; each of ``students`` is a `ComparisonDocument`, checked under its name."""

    schema: str
    students: dict[str, Any]
    differences: list[PairedDifference]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """No student at all."""
        return None if thing["students"] else "'students' is empty"


def comparison_document(
    pair: Pair, measurement: Measurement, inputs: dict[str, Any], settings: dict[str, Any], provenance: dict[str, Any]
) -> dict[str, Any]:
    """The document of one student."""
    document = {
        "schema": ONE,
        "inputs": inputs,
        "pairing": pairing_of(pair),
        "settings": {**settings, "classes": measurement.class_source},
        "measures": {key: reading_of(measure) for key, measure in measurement.measures.items()},
        "details": measurement.details,
        "alarms": [Alarm(code=alarm.code, message=alarm.message) for alarm in measurement.alarms],
        "provenance": provenance,
    }
    return plain(document)


def pairing_of(pair: Pair) -> Pairing:
    """How the rows were paired, and which they are."""
    return Pairing(
        by=pair.by,
        rows=pair.teacher.n,
        coverage=pair.coverage,
        verified=pair.verified,
        label_conflicts=pair.label_conflicts,
        labels_recoded=pair.recoded,
        unlabelled=pair.unlabelled,
        copies_left_out=pair.copies_left_out or None,
        rows_sha256=rows_digest(pair),
    )


def reading_of(measure: Measured) -> Reading:
    """A measured number as the document holds it."""
    return Reading(**{name: getattr(measure, name) for name in names(Reading)})


def left_out(pair: Pair) -> dict[str, int]:
    """How many identical copies under one id were left out, where any were."""
    return {"copies_left_out": pair.copies_left_out} if pair.copies_left_out else {}


def rows_digest(pair: Pair) -> str:
    """Which rows were paired, in their order: of the ids, or of the count where there are none, and of the labels."""
    labels = None if pair.labels is None else plain_labels(np.asarray(pair.labels))
    digest = hashlib.sha256(str(pair.teacher.n).encode())
    for column in (None if pair.ids is None else np.asarray(pair.ids).tolist(), labels):
        digest.update(json.dumps(column).encode())
    return digest.hexdigest()


def comparisons_document(
    students: Mapping[str, dict[str, Any]], measurements: Mapping[str, Measurement]
) -> dict[str, Any]:
    """The document of several students, with the paired difference of every measure for every two of them."""
    differences = []
    for a, b in combinations(measurements, 2):
        of_b = measurements[b].measures
        for key, measure in measurements[a].measures.items():
            if key in of_b:
                gap = measure.estimate.minus(of_b[key].estimate)
                row = {"measure": key, "a": a, "b": b, "value": gap.value, "low": gap.low, "high": gap.high}
                differences.append(row)
    return plain({"schema": SEVERAL, "students": dict(students), "differences": differences})


def readings(document: dict[str, Any]) -> dict[str, Reading]:
    """The measures of one student's document as records."""
    return {key: Reading.from_json(measure) for key, measure in document["measures"].items()}


def students_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{name: comparison document}, for one student as for several.

    >>> list(students_of({"schema": ONE, "inputs": {"student": {"name": "s"}}}))
    ['s']
    """
    if document["schema"] == SEVERAL:
        return document["students"]
    return {document["inputs"]["student"]["name"]: document}


def to_json(document: dict[str, Any]) -> str:
    """One line of strict JSON."""
    return json.dumps(document, allow_nan=False, separators=(", ", ": "))


def read_document(path: str | Path) -> dict[str, Any]:
    """A saved comparison, checked.

    Raises
    ------
    InputError
        When the file is not a result that this version reads.
    """
    document = read_json(path)
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema == ONE:
        _check_one(document, str(path))
    elif schema == SEVERAL:
        if wrong := mismatch(document, ComparisonsDocument):
            raise InputError(f"{path}: {wrong}; {AGAIN}")
        for name, student in document["students"].items():
            _check_one(student, f"{path}: student {name!r}")
    elif isinstance(schema, str) and schema.startswith(FAMILY):
        fix = "compare again with this version, or use the one that wrote the file"
        if schema.startswith("manifold-probe/diagnosis"):
            fix = "that is a diagnosis; give what probe compare --json wrote"
        raise InputError(f"{path}: schema is {schema!r}, which this version does not read ({ONE!r}); {fix}")
    else:
        raise InputError(f"{path}: schema is {schema!r}, not {ONE!r} or {SEVERAL!r}; give a saved comparison")
    return document


def read_json(path: str | Path) -> Any:
    """What a JSON file holds, strictly.

    Raises
    ------
    InputError
        When the file cannot be read, is no JSON, or holds NaN or infinity.
    """
    try:
        return json.loads(Path(path).read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give a saved comparison") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON ({error}); give a file written by --json or save()") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}")


def _check_one(document: Any, where: str) -> None:
    from manifold_probe.report.diagnosis.document import problem_within

    if not isinstance(document, dict) or document.get("schema") != ONE:
        raise InputError(f"{where}: not a comparison of schema {ONE!r}; {AGAIN}")
    if wrong := mismatch(document, ComparisonDocument) or problem_within(document):
        raise InputError(f"{where}: {wrong}; {AGAIN}")
