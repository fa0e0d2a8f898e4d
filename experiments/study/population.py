"""Which students are trained: every one is a `Student`, a configuration of the trainer with a seed.

rate     every method at every learning rate, on few samples; the best on held-out rows is used from then on
grid     every method, network and width, three seeds
length   every method on images, much shorter and longer
fault    students that something is wrong with, untrained ones, and ones that had labels and no teacher
claim    the papers' claims: more seeds, more samples, each paper's optimiser as well
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import data
import numpy as np

EPOCHS = 20  # as measured: at 2, 5, 10 and 20 of them
SHARES = {"10%": 2, "25%": 5, "50%": 10, "100%": 20}
SHORT, USUAL, LONG = 12_800, 25_600, 61_440  # samples that a student sees
CHOOSING = 100  # the seed of the runs that choose a learning rate
RATES = (1e-3, 3e-3, 1e-2)
SIZE = {"fashion": 28, "composite": data.SIDE}  # pixels
BATCH = {"fashion": 128, "composite": 64, "text": 128}
USUAL_NETWORK = {"fashion": "conv4", "composite": "resnet8", "text": "bag"}  # on which rates are chosen

LOGITS: dict[str, Any] = {"target": "logits", "head": "linear"}
METHODS: dict[str, dict[str, Any]] = {
    "coss": {"method": "coss", "options": {"space_weight": 1.0}},
    "cosine": {"method": "cosine"},
    "mse": {"method": "mse"},
    "tintem": {"method": "tintem"},
    "ckd": {"method": "ckd", "head": "linear"},
    "seed": {"method": "seed", "options": {"queue_size": 2048}},
    "compress": {"method": "compress", "options": {"queue_size": 2048}},
    "rkd": {"method": "rkd"},
    "sp": {"method": "sp"},
    "pkt": {"method": "pkt"},
    # on logits, with labels
    "kd": {"method": "kd", **LOGITS},
    "dkd": {"method": "dkd", "options": {"warmup": 1}, **LOGITS},
    "dist": {"method": "dist", **LOGITS},
    "ckd logits": {"method": "ckd", "options": {"weight": 10.0, "temperature": 1.0}, **LOGITS},
    # on labels alone
    "untrained": {"method": "kd", "options": {"weight": 0.0}, "head": "linear"},
    "from scratch": {"method": "kd", "options": {"weight": 0.0}, "head": "linear"},
    # of the claims
    "coss 0": {"method": "coss", "options": {"space_weight": 0.0}},
    "coss 0.5": {"method": "coss", "options": {"space_weight": 0.5}},
    "coss 0 neighbours": {"method": "coss", "options": {"space_weight": 0.0}, "neighbour_batches": True},
    "coss neighbours": {"method": "coss", "options": {"space_weight": 1.0}, "neighbour_batches": True},
    "tintem orthogonal": {"method": "tintem", "head": "orthogonal"},
    "tintem pca": {"method": "tintem", "head": "pca"},
    "tintem tokens": {"method": "tintem", "target": "tokens", "pool": "tokens"},
    **{
        f"ckd logits tau {tau:g}": {"method": "ckd", "options": {"weight": 10.0, "temperature": tau}, **LOGITS}
        for tau in (0.25, 4.0)
    },
}
RATE_OF = {  # methods that take another's learning rate
    "coss 0.5": "coss", "coss neighbours": "coss", "coss 0": "cosine", "coss 0 neighbours": "cosine",
    "tintem orthogonal": "tintem", "tintem pca": "tintem", "tintem tokens": "tintem",
    "ckd logits tau 0.25": "ckd logits", "ckd logits tau 4": "ckd logits",
}  # fmt: skip
FEATURES = tuple(METHODS)[:10]  # what learns from features
PAPER: dict[str, dict[str, Any]] = {  # how each paper optimises; batches and lengths are ours
    "coss": {"optimiser": "sgd", "rate": 0.03, "weight_decay": 1e-4, "schedule": "hold-cosine",
             "options": {"scale": 1 / 0.07 / 0.1}},
    "tintem": {"optimiser": "adamw", "rate": 5e-4, "weight_decay": 0.05, "warmup_epochs": EPOCHS * 5 / 300,
               "warmup_rate": 1e-6, "final_rate": 1e-5},
    "ckd": {"optimiser": "sgd", "rate": 0.05, "weight_decay": 5e-4},
}  # fmt: skip
PAPER |= dict.fromkeys(("kd", "dkd", "dist"), PAPER["ckd"])
NETWORKS = {"conv4": (0.5, 1.0, 2.0), "resnet8": (0.5, 0.75, 1.0)}


@dataclass(frozen=True)
class Student:
    """A student of the study. ``method`` is a key of `METHODS`.

    ``rate`` None is the method's best on held-out rows; ``optimiser`` "paper" takes rate and schedule of its paper.
    ``rows`` names a choice of training rows, ``deployed`` the pixels' mean and standard deviation and their size where
    the student is used, if they are wrong; of texts the last is a number of words.
    """

    part: str
    setting: str
    method: str
    network: str
    width: float
    seed: int
    samples: int = USUAL
    batch: int = 0
    rate: float | None = None
    optimiser: str = "adamw"
    fault: str = ""
    rows: str = ""
    deployed: tuple[float, float, int] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "batch", self.batch or BATCH[self.setting])

    @property
    def name(self) -> str:
        """A name for its files."""
        facts = (self.part, self.setting, self.method, self.network, f"{self.width:g}", self.optimiser, self.fault)
        numbers = (self.samples, self.batch, "best" if self.rate is None else f"{self.rate:g}", self.seed)
        return "-".join(str(fact) for fact in (*facts, *numbers) if fact != "").replace(" ", "_").replace("/", "_")

    @property
    def source(self) -> str:
        """The network as a model source."""
        signed = "&signed=true" if self.network.endswith("-signed") else ""
        return f"python:students:{self.network.removesuffix('-signed')}?width={self.width:g}&seed={self.seed}{signed}"

    @property
    def settings(self) -> dict[str, Any]:
        """What its method asks of the trainer; "target" is the teacher's output to learn from."""
        return METHODS[self.method]

    @property
    def supervised_only(self) -> bool:
        """Whether it sees no teacher."""
        return self.settings.get("options", {}).get("weight") == 0.0

    @property
    def classifies(self) -> bool:
        """Whether its head gives logits."""
        return self.settings.get("target") == "logits" or self.supervised_only


def rate_runs(student: Student) -> list[Student]:
    """The runs that choose the learning rate of a student's method, one a rate."""
    if student.rate is not None or student.optimiser == "paper":
        return []
    network = USUAL_NETWORK[student.setting] + "-signed" * student.network.endswith("-signed")
    method = RATE_OF.get(student.method, student.method)
    return [Student("rate", student.setting, method, network, 1.0, CHOOSING, SHORT, rate=rate) for rate in RATES]


def fashion_grid(seed: int) -> Iterator[Student]:
    for network, widths in NETWORKS.items():
        for width in widths:
            yield from (Student("grid", "fashion", method, network, width, seed) for method in FEATURES)


def lengths() -> Iterator[Student]:
    for samples in (5_120, LONG):
        yield from (Student("length", "fashion", method, "conv4", 1.0, 0, samples) for method in FEATURES)


def faulty() -> Iterator[Student]:
    for method in ("coss", "cosine", "mse", "tintem", "pkt"):
        wrongs: dict[str, dict[str, Any]] = {
            "half the classes": {"rows": "classes"},
            "few images": {"rows": "few"},
            "tiny batches": {"batch": 8, "samples": 5_120},
            "deployed without normalisation": {"deployed": (0.0, 1.0, 28)},
            "deployed inverted": {"deployed": (0.5, -0.5, 28)},
            "deployed at another size": {"deployed": (0.5, 0.5, 20)},
        }
        for fault, wrong in wrongs.items():
            yield Student("fault", "fashion", method, "conv4", 1.0, 0, fault=fault, **wrong)
    for network, widths in NETWORKS.items():
        for width in widths:
            yield Student("fault", "fashion", "untrained", network, width, 0, BATCH["fashion"], rate=0.0)
            yield Student("fault", "fashion", "from scratch", network, width, 0)


def composites(seed: int) -> Iterator[Student]:
    for method in ("kd", "dkd", "dist", "ckd logits", "coss", "mse", "pkt", "rkd"):
        for width in NETWORKS["resnet8"]:
            yield Student("grid", "composite", method, "resnet8", width, seed)
    yield Student("fault", "composite", "from scratch", "resnet8", 1.0, seed)


def texts(seed: int) -> Iterator[Student]:
    for network in ("bag", "convolution1d", "transformer"):
        for method in FEATURES:
            yield Student("grid", "text", method, network, 1.0, seed)
        if seed == 0:
            yield Student("fault", "text", "untrained", network, 1.0, seed, BATCH["text"], rate=0.0)
            yield Student("fault", "text", "coss", network, 1.0, seed, fault="three words", deployed=(0.0, 0.0, 3))


def claims(seed: int) -> Iterator[Student]:
    for optimiser in ("adamw", "paper"):
        for method in ("coss", "coss 0", "coss 0.5", "coss neighbours", "coss 0 neighbours", "tintem"):
            yield Student("claim", "fashion", method, "conv4", 1.0, seed, LONG, optimiser=optimiser)
        for method in ("tintem", "tintem tokens", "tintem orthogonal", "tintem pca", "coss", "coss 0"):
            if optimiser == "adamw" or method.startswith("tintem"):
                yield Student("claim", "fashion", method, "conv4-signed", 1.0, seed, LONG, optimiser=optimiser)


def ckd_claims(seed: int) -> Iterator[Student]:
    def composite(method: str, **more: Any) -> Student:
        return Student("claim", "composite", method, "resnet8", 1.0, seed, LONG, **more)

    batches, methods = [64], ["ckd logits"]
    if seed < 3:
        batches, methods = [16, 64, 256], ["ckd logits tau 0.25", "ckd logits", "ckd logits tau 4"]
    for optimiser in ("adamw", "paper"):
        rate = {"adamw": None, "paper": PAPER["ckd"]["rate"]}[optimiser]
        for batch in batches:
            for method in (*methods, "kd", "dkd", "dist"):
                yield composite(method, optimiser=optimiser, batch=batch)
            yield composite("from scratch", optimiser=optimiser, batch=batch, rate=rate)


def population() -> Iterator[Iterator[Student]]:
    """All students but the trials of rates (`rate_runs`), the most important first."""
    yield fashion_grid(0)
    yield from (texts(0), composites(0), faulty())
    yield from (fashion_grid(1), texts(1), composites(1), lengths())
    for seed in range(6):
        yield claims(seed)
    yield from (fashion_grid(2), texts(2), composites(2))
    yield from (ckd_claims(seed) for seed in range(6))


def rows_of(student: Student, held_out: np.ndarray) -> np.ndarray:
    """The row numbers of the training part that a student's choice of rows has; held-out rows are never among them."""
    labels = data.inputs(student.setting, "train")["labels"]
    free = np.setdiff1d(np.arange(len(labels)), held_out)
    return free[labels[free] < 5] if student.rows == "classes" else free[:600]
