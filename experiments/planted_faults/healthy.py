"""Healthy pairs by family, for which a diagnosis must not raise an alarm, and pairs with one known fault.

A family is a function of a number that returns a pair; the number draws its settings and its rows. ``truth`` is empty
for a healthy pair. ``allowed`` are names that are no false alarm: causes that the rule of visibility finds in the
unchanged student (norms too similar, mean too long), and "too few effective dimensions" where the rank of a PCA image
is so low that it is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import bases
import faults
import numpy as np
import visible

DOMAINS = ("fashion", "text", "digits")
# trained students and other trainings, as (domain, array): tuning, reporting
STUDENTS = {
    "tuning": [("fashion", "conv-mse"), ("digits", "coss"), ("text", "words")],
    "reporting": [("fashion", "conv-coss"), ("digits", "mse"), ("fashion", "ridge"), ("text", "few")],
}
TRAININGS = {
    "tuning": [("fashion", "lite0"), ("digits", "another")],
    "reporting": [("fashion", "lite1"), ("digits", "another")],
}


@dataclass(frozen=True)
class Pair:
    """A teacher and a student whose truth is known."""

    family: str
    setting: str
    teacher: np.ndarray
    student: np.ndarray
    labels: np.ndarray
    truth: frozenset[str] = frozenset()
    allowed: frozenset[str] = frozenset()


def pair(family: str, number: int, half: str, rows: int = bases.ROWS) -> Pair:
    """The pair of a family with that number."""
    rng = np.random.default_rng([number, list(FAMILIES).index(family), 3])
    setting, teacher, student, labels, truth, allowed = FAMILIES[family](number, half, rows, rng)
    causes = bases.own_causes(teacher, student)
    if family == "cosine student":
        truth, causes = {name for name in causes if name == "norm_loss"}, {*causes, "norm_loss"}
    return Pair(family, setting, teacher, student, labels, frozenset(truth), frozenset({*allowed, *causes}))


def drawn(domain: str, key: str, number: int, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of a domain's teacher, of another of its arrays, and their labels."""
    whole = bases.everything(domain)
    chosen = np.random.default_rng([number, 2]).permutation(len(whole["labels"]))[:rows]
    return tuple(
        array[chosen].astype(np.float64) if array.ndim == 2 else array[chosen]
        for array in (whole["teacher"], whole[key], whole["labels"])
    )


def mapped(number: int, rows: int) -> tuple[str, np.ndarray, np.ndarray]:
    """A domain, rows of its teacher, and their labels."""
    domain = DOMAINS[number // 2 % len(DOMAINS)]
    teacher, _, labels = drawn(domain, "teacher", number, rows)
    return domain, teacher, labels


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length one."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def linear_image(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """The teacher through a linear map whose singular values lie between .7 and 1.4, to as many or fewer dimensions."""
    domain, teacher, labels = mapped(number, rows)
    d = teacher.shape[1]
    matrix = faults.rotation(d, rng) * np.exp(rng.uniform(np.log(0.7), np.log(1.4), d)) @ faults.rotation(d, rng)
    return f"{domain}", teacher, rng.uniform(0.1, 10) * teacher @ matrix, labels, (), ()


def copy(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """The teacher permuted, scaled, rotated, rounded to float16, or rotated where both have rows of length one."""
    domain, teacher, labels = mapped(number, rows)
    kind = ("permuted", "rotated", "scaled", "float16", "unit length")[number // 2 % 5]
    student = {
        "permuted": lambda: teacher[:, rng.permutation(teacher.shape[1])],
        "rotated": lambda: teacher @ faults.rotation(teacher.shape[1], rng),
        "scaled": lambda: teacher * rng.choice([1e-3, 0.3, 7.0, 1e3]),
        "float16": lambda: teacher.astype(np.float16).astype(np.float64),
        "unit length": lambda: unit(teacher) @ faults.rotation(teacher.shape[1], rng),
    }[kind]()
    teacher = unit(teacher) if kind == "unit length" else teacher
    return f"{domain}, {kind}", teacher, student, labels, (), ()


def small_noise(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """The teacher, rotated or not, with noise of .5 to 2% of its spread."""
    domain, teacher, labels = mapped(number, rows)
    size = rng.uniform(0.005, 0.02)
    student = teacher + size * faults.spread(teacher) / np.sqrt(teacher.shape[1]) * rng.normal(size=teacher.shape)
    if rng.random() < 0.5:
        student = student @ faults.rotation(teacher.shape[1], rng)
    return f"{domain}, {size:.3f}", teacher, student, labels, (), ()


def pca_image(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """The teacher's scores on the principal components that hold 95 to 99.5% of its variance."""
    domain, teacher, labels = mapped(number, rows)
    _, scores, axes = faults.components(teacher)
    share = np.cumsum(scores.var(0)) / scores.var(0).sum()
    rank = int(np.searchsorted(share, rng.uniform(0.95, 0.995)) + 1)
    student = teacher @ axes[:rank].T  # about the origin, so that directions stay
    before, after = visible.state(teacher, teacher), visible.state(teacher, student)
    allowed = faults.DIMENSIONS if visible.visible(before, after)["visible"] else ()
    return f"{domain}, rank {rank}", teacher, student, labels, (), allowed


def projection(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """A random Gaussian projection of the teacher to twice its dimensions."""
    domain, teacher, labels = mapped(number, rows)
    student = teacher @ rng.normal(size=(teacher.shape[1], 2 * teacher.shape[1])) / np.sqrt(2 * teacher.shape[1])
    return f"{domain}", teacher, student, labels, (), ()


def another_training(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """Another network of the same task: Lite0 or Lite1 for Lite2, another seed of the digits' teacher."""
    domain, key = TRAININGS[half][number // 2 % len(TRAININGS[half])]
    teacher, student, labels = drawn(domain, key, number, rows)
    return f"{domain}, {key}", teacher, student, labels, (), ()


def trained_student(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """A student of CoSS or MSE, on rows that it did not see."""
    domain, key = STUDENTS[half][number // 2 % len(STUDENTS[half])]
    teacher, student, labels = drawn(domain, key, number, rows)
    return f"{domain}, {key}", teacher, student, labels, (), ()


def rotated_student(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """A trained student, rotated and with noise of 2% of its spread."""
    setting, teacher, student, labels, truth, allowed = trained_student(number, half, rows, rng)
    noise = faults.MASK_NOISE * faults.spread(student) / np.sqrt(student.shape[1]) * rng.normal(size=student.shape)
    return setting, teacher, student @ faults.rotation(student.shape[1], rng) + noise, labels, truth, allowed


def cosine_student(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """A student of the cosine loss, unchanged or at unit length, where norm_loss is the right name.

    Unchanged its norms vary less than the teacher's (.6 to .8 of the spread) but more than the rule's .4: then
    norm_loss is allowed and "healthy" is right too.
    """
    domain = ("digits", "fashion")[number // 2 % 2]
    key = "cosine" if domain == "digits" else "conv-cosine"
    teacher, student, labels = drawn(domain, key, number, rows)
    if number // 4 % 2 == 0:
        return f"{domain}, unit", teacher, unit(student), labels, (), ()
    return f"{domain}", teacher, student, labels, (), ()


def random_relu(number: int, half: str, rows: int, rng: np.random.Generator) -> tuple:
    """A random layer of ReLUs, twice as wide: nonlinear_warp is the right name."""
    domain, teacher, labels = mapped(number, rows)
    d = teacher.shape[1]
    inputs = (teacher - teacher.mean(0)) / faults.spread(teacher)
    weights, bias = rng.normal(size=(d, 2 * d)), 0.3 * rng.normal(size=2 * d)
    return f"{domain}", teacher, np.maximum(inputs @ weights + bias, 0), labels, ("nonlinear_warp",), ()


FAMILIES: dict[str, Callable] = {
    "linear image": linear_image,
    "copy": copy,
    "small noise": small_noise,
    "PCA image": pca_image,
    "projection": projection,
    "another training": another_training,
    "student of CoSS or MSE": trained_student,
    "rotated student": rotated_student,
    "cosine student": cosine_student,
    "random ReLU": random_relu,
}
ILL = ("cosine student", "random ReLU")  # not among the healthy


def families() -> Iterator[str]:
    """The names, healthy ones first."""
    return iter(FAMILIES)
