"""What the JSON documents of results hold, as records; `typed.mismatch` checks a file by them.

A comparison of one student is a `ComparisonDocument`, of several a `ComparisonsDocument` with the paired differences of
every two. A student that was diagnosed has one key more, ``diagnosis`` (`Findings`); a diagnosis alone is a
`DiagnosisDocument`. Its account is a list of parts that add up to the whole loss, to `EXACT`. Further documents are the
`EvaluationDocument`, the `MigrationDocument` and the `LayersDocument`; of a run of our trainer, the lines of its log
(`Loss`, `Measurement`) and the `Manifest`. Nothing in a document is NaN or infinite: what is undefined is null, with a
note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from manifold_probe.measures.catalogue import DEBIASED_CKA, LINEAR_CKA, OVERLAP
from manifold_probe.report.typed import Name, NotNegative, Positive, Record

EXACT = 1e-9
STATUSES = ("proved", "suspected")
VERDICTS = NOT_NEEDED, MAP, RE_EMBED = ("not needed", "map", "re-embed")


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
    """Overlap for other k, a list a column; ``low`` and ``high`` are the interval of ``cosine``."""

    columns: ClassVar = ("k", "cosine", "low", "high", "euclidean", "chance", "reference")
    k: list[Positive]
    cosine: list[float | None]
    chance: list[float | None]
    low: list[float | None] | None
    high: list[float | None] | None
    euclidean: list[float | None] | None
    reference: list[float | None] | None


class Spectra(Record):
    """The eigenvalues of both covariances."""

    teacher: list[NotNegative]
    student: list[NotNegative]


class OfClass(Record):
    """What one class keeps: overlap and agreement with intervals, and the other measures that have a value a class.

    ``low`` and ``high`` are the interval of the overlap.
    """

    others: ClassVar = float | None
    class_: Name
    n: int
    overlap: float | None
    low: float | None
    high: float | None
    agreement_low: float | None = None
    agreement_high: float | None = None


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


class GainOfRun(BeforeAndAfter):
    """What training won over the untrained student."""

    measure: str
    difference: Interval
    better: bool | None
    cka: BeforeAndAfter


class Gain(GainOfRun):
    """The same with the rows that it was measured on."""

    rows: int
    held_out: bool


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


class Part(Record):
    """A part of the whole loss, with its interval and what would win it back."""

    name: str
    share: float
    low: float | None
    high: float | None
    sentence: str


class Evidence(Record):
    """A number that speaks for a cause, and what a sound pair would show."""

    measure: str
    value: float | None
    expected: float | None


class Trial(Record):
    """A cause undone, or inflicted on the teacher: a measure before and after."""

    name: str
    kind: str
    measure: str
    before: float | None
    after: float | None
    low: float | None
    high: float | None
    healthy_gain: float | None
    z: float | None
    n: int | None


# What a cause may concern; what is counted is the first that it names.
CONCERNED = ("rows", "dimensions", "classes", "slices", "sides", "conditions", "orders")


class Where(Record):
    """What a cause concerns: how many, and the first of them; ``ids`` are those of ``rows``."""

    count: int
    rows: list[Name] | None = None
    ids: list[Name] | None = None
    dimensions: list[Name] | None = None
    classes: list[Name] | None = None
    slices: list[Name] | None = None
    sides: list[Name] | None = None
    conditions: list[Name] | None = None
    orders: list[Name] | None = None


class Cause(Record):
    """Why the student diverges, with what speaks for it and what proves it.

    ``status`` is "proved" or "suspected"; ``share`` is one of the whole loss, in the measure of ``repair``.
    """

    name: str
    words: str
    status: str
    share: float | None
    evidence: list[Evidence]
    repair: Trial | None
    where: Where | None
    advice: str
    falsified_by: str
    or_: list[str]


class Benign(Record):
    """A difference that loses nothing."""

    name: str
    words: str
    value: float | None
    note: str


class Corrected(Interval):
    """A measure after a correction, and what it gained."""

    gain: float | None


class Step(Record):
    """A correction of the ladder, each fitted on other rows than it is judged on."""

    repair: str
    measures: dict[str, Corrected]


class NotAssessed(Record):
    """A cause that could not be examined."""

    name: str
    why: str


class HeldOut(Interval):
    """A measure of the held-out rows."""

    n: int | None


class Measured(HeldOut):
    """A measure of the whole pair."""

    chance: float | None
    reference: float | None


class Examined(Record):
    """Which rows were examined, and what was measured in addition to the causes."""

    rows: int
    of: int
    labels: bool


class Findings(Record):
    """What a comparison holds of a diagnosis."""

    verdict: str
    accounting: list[Part]
    accounting_cka: list[Part]
    held_out: dict[str, HeldOut]
    causes: list[Cause]
    benign: list[Benign]
    ladder: list[Step]
    not_assessed: list[NotAssessed]
    examined: Examined


class ComparisonDocument(Record):
    """One student."""

    schema: str
    inputs: Inputs
    pairing: Pairing
    settings: Settings
    measures: dict[str, Reading]
    details: Details
    alarms: list[Alarm]
    provenance: dict[str, Any]
    diagnosis: Findings | None = None

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A diagnosis whose account does not add up to the measures."""
        diagnosis = thing.get("diagnosis")
        return None if diagnosis is None else problem_of_account({**thing, **diagnosis})


class ComparisonsDocument(Record):
    """Several students of one teacher."""

    schema: str
    students: dict[str, ComparisonDocument]
    differences: list[PairedDifference]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """No student at all."""
        return None if thing["students"] else "'students' is empty"


class DiagnosisSettings(Record):
    """What was asked for."""

    k: Positive
    seed: int


class DiagnosisDocument(Findings):
    """A diagnosis alone."""

    schema: str
    measures: dict[str, Measured]
    inputs: Inputs
    pairing: Pairing
    settings: DiagnosisSettings
    provenance: dict[str, Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """Values that contradict each other."""
        return problem_of_account(thing)


def accounts_of(diagnosis: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """{measure key: the parts of its loss} of a diagnosis alone, for overlap and CKA."""
    overlap = OVERLAP.named(diagnosis["settings"]["k"])
    return {overlap: diagnosis["accounting"], DEBIASED_CKA.key: diagnosis["accounting_cka"]}


def problem_of_account(diagnosis: dict[str, Any]) -> str | None:
    """What contradicts itself in a diagnosis: parts of an account that do not add up, shares outside 0 to 1."""
    for field, (key, parts) in zip(("accounting", "accounting_cka"), accounts_of(diagnosis).items(), strict=True):
        if not parts:
            continue
        if min(part["share"] for part in parts) < 0:
            return f"a 'share' in {field!r} is negative"
        value = (diagnosis["measures"].get(key) or {}).get("value")
        if value is None:
            return f"{field!r} has no measure {key!r} to add up to"
        total = sum(part["share"] for part in parts)
        if abs(total - (1 - value)) > EXACT:
            return f"the parts of {field!r} add up to {total:.9f}, not to 1 - {key} = {1 - value:.9f}"
    for cause in diagnosis["causes"]:
        if cause["status"] not in STATUSES:
            return f"a 'status' is {cause['status']!r}, neither 'proved' nor 'suspected'"
        if cause["share"] is not None and not 0 <= cause["share"] <= 1:
            return "a 'share' of a cause is not between 0 and 1"
    return None


class EvaluationSettings(Record):
    """What was asked for; ``bank`` is "train" or "half of the test rows"."""

    k: Positive
    seed: int
    tasks: list[str]
    bank: str
    bank_rows: int
    test_rows: int


class Task(Record):
    """A score of both models; ``by_severity``, of corruptions, is what it is a mean of."""

    teacher: float | None
    student: float | None
    n: int
    note: str | None
    by_severity: dict[str, Any] | None = None
    teacher_low: float | None = None
    teacher_high: float | None = None
    student_low: float | None = None
    student_high: float | None = None


class EvaluationDocument(Record):
    """Scores of both models task by task, and how far their decisions agree.

    ``inputs`` and ``pairing`` are of the rows to "test", to "train" on and "ood", None where there are none.
    """

    schema: str
    inputs: dict[str, Inputs | None]
    pairing: dict[str, Pairing | None]
    settings: EvaluationSettings
    tasks: dict[str, Task]
    fidelity: dict[str, dict[str, float | None]]
    alarms: list[Alarm]
    provenance: dict[str, Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """No test rows; a task without fidelity, or the reverse."""
        if thing["inputs"].get("test") is None:
            return "'inputs.test' is missing"
        alone = next(iter(sorted(thing["tasks"].keys() ^ thing["fidelity"].keys())), None)
        return None if alone is None else f"{alone!r} is not in both 'tasks' and 'fidelity'"


class TaskDifference(Record):
    """The score of student ``a`` minus that of ``b`` on the same rows."""

    a: str
    b: str
    task: str
    value: float | None
    low: float | None
    high: float | None
    n: int


class EvaluationsDocument(Record):
    """Several students on the same rows, and the paired differences of every two."""

    schema: str
    students: dict[str, EvaluationDocument]
    differences: list[TaskDifference]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """No students, or a difference of another one."""
        if not thing["students"]:
            return "'students' is empty"
        others = {row[side] for row in thing["differences"] for side in "ab"} - set(thing["students"])
        return f"'differences' names {min(others)!r}, which is no student" if others else None


class MigrationInputs(Record):
    """Both indexes, and the vectors of real queries where they were given."""

    old: Input
    new: Input
    queries: Input | None


class MigrationSettings(Record):
    """What was asked for; maps were fitted on ``calibration_rows`` documents, and ``searched_rows`` others searched."""

    k: Positive
    queries: int
    seed: int
    calibration_rows: int
    searched_rows: int
    threshold: float


class Churn(HeldOut):
    """The share of each document's k nearest that changes from the old model to the new, over all documents."""

    chance: float | None


class Way(Record):
    """What a way of searching retains of the new index's results, and of the old one's (None where not known).

    ``precision`` is the share of results with the query's label; ``rank`` that of a low-rank map.
    """

    words: str
    retained: Interval
    of_old: Interval | None
    precision: Interval | None
    rank: int | None


class CurvePoint(Interval):
    """What the best map retains when it is fitted on fewer rows, as the mean of ``draws`` random samples."""

    rows: int
    draws: int


class LosingDocument(Record):
    """A document that fewer queries find than in the new index.

    ``times`` queries find it there, of which ``kept`` find it with the best map and ``kept_by_old`` in the old index
    (None where real queries ask); ``lost_by`` are the first of those that do not find it with the map.
    """

    row: int
    id: Name | None
    label: Name | None
    times: int
    kept: int
    kept_by_old: int | None
    lost_by: list[Name]


class MigrationDocument(Record):
    """Moving an index from one embedding model to another; ``best`` is the way by a map that retains most."""

    schema: str
    verdict: str
    sentence: str
    rule: str
    inputs: MigrationInputs
    pairing: Pairing
    settings: MigrationSettings
    churn: Churn
    ways: dict[str, Way]
    best: str
    curve: list[CurvePoint]
    enough: int | None
    losing: list[LosingDocument]
    alarms: list[Alarm]
    provenance: dict[str, Any]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """An unknown verdict, or a best way that is not among the ways."""
        if thing["verdict"] not in VERDICTS:
            return f"'verdict' is {thing['verdict']!r}, none of {', '.join(VERDICTS)}"
        return None if thing["best"] in thing["ways"] else f"'best' is {thing['best']!r}, which is not in 'ways'"


class LayersSide(Record):
    """What was read of one side."""

    name: str


class LayersInputs(Record):
    """Both sides."""

    teacher: LayersSide
    student: LayersSide


class LayersDocument(Record):
    """CKA of every layer of the teacher (rows) with every layer of the student."""

    schema: str
    inputs: LayersInputs
    pairing: Pairing
    n: int
    teacher: list[str]
    student: list[str]
    linear_cka: list[list[float | None]]
    debiased_linear_cka: list[list[float | None]]

    @classmethod
    def inconsistent(cls, thing: dict[str, Any]) -> str | None:
        """A matrix of another shape than the names give."""
        if not (thing["teacher"] and thing["student"]):
            return "a side has no layers"
        for key in (LINEAR_CKA.key, DEBIASED_CKA.key):
            if [len(row) for row in thing[key]] != [len(thing["student"])] * len(thing["teacher"]):
                return f"'{key}' has not a row for every teacher's layer and a number for every student's"
        return None


class RowsMeasured(Record):
    """The rows that a training run measures, and how many of them training sees.

    ``held_out`` and ``seen`` are None where a watch was not given what is trained on.
    """

    rows: int
    held_out: bool | None
    seen: int | None


class TargetsPairing(Record):
    """How the teacher's rows were paired with the data."""

    by: str
    verified: bool


class LogLine(Record):
    """Where in the training a line was written; a watch does not count samples."""

    step: int
    epoch: float | None
    encoded: int | None


class Loss(LogLine):
    """A line of a run's log about the loss."""

    rate: float
    loss: float
    terms: dict[str, float]


class BothSides(Record):
    """The measures at both sides of the head."""

    backbone: dict[str, float | None]
    head: dict[str, float | None]


class Measurement(LogLine):
    """A line of a run's log about the measures."""

    probe: RowsMeasured
    pairing: TargetsPairing | None
    measures: BothSides
    loss: float | None  # of a watch, as what follows
    rank: float | None
    norm: float | None
    warnings: list[str] | None


class TrainingOfRun(RowsMeasured):
    """What training won at both sides of the head."""

    backbone: GainOfRun | None
    head: GainOfRun | None


class Manifest(Record):
    """What a finished run says of itself."""

    schema: str
    teacher: str
    head: bool
    pairing: TargetsPairing | None
    training: TrainingOfRun | None
    tokens: int | None = None
