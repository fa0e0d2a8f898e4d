"""How a student moves with its linear image, inside its classes and between them.

The linear image E is the teacher's linear prediction of the student S. The slope of the student on it, inside a class,

    <S - mean, E - mean> / <E - mean, E - mean>

is 1 with any noise, less where a class is contracted, and 0 where its rows are unrelated to the teacher's.
"""

from __future__ import annotations

import numpy as np


def slopes(student: np.ndarray, image: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, float, float]:
    """The student's slopes on its linear image: (inside each class, inside all classes, between the means).

    1 for a linear image with any noise; cross-fitting changes it a little, in a healthy twin too.
    """
    products, image_power = [], []
    between = np.zeros(2)
    centre, image_centre = student.mean(0), image.mean(0)
    for code in np.unique(codes):
        members, image_members = student[codes == code], image[codes == code]
        inner = image_members - image_members.mean(0)
        products.append(float(((members - members.mean(0)) * inner).sum()))
        image_power.append(max(float(np.square(inner).sum()), 1e-30))
        step = image_members.mean(0) - image_centre
        between += len(members) * np.array([((members.mean(0) - centre) * step).sum(), np.square(step).sum()])
    by_class, inside = np.array(products) / np.array(image_power), sum(products) / sum(image_power)
    return by_class, inside, float(between[0] / max(between[1], 1e-30))


def slope_errors(student: np.ndarray, image: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Standard errors of the classes' slopes, from the scatter of single rows."""
    errors = []
    for code in np.unique(codes):
        members, image_members = (x[codes == code] - x[codes == code].mean(0) for x in (student, image))
        products, image_power = (members * image_members).sum(1), np.square(image_members).sum(1)
        slope = products.sum() / max(float(image_power.sum()), 1e-30)
        errors.append(np.sqrt(np.square(products - slope * image_power).sum()) / max(float(image_power.sum()), 1e-30))
    return np.array(errors)


def within_over_between(x: np.ndarray, codes: np.ndarray) -> float:
    """Variance inside classes over variance between their means."""
    within = between = 0.0
    for code in np.unique(codes):
        members = x[codes == code]
        within += float(np.square(members - members.mean(0)).sum())
        between += len(members) * float(np.square(members.mean(0) - x.mean(0)).sum())
    return within / max(between, 1e-30)
