"""Built-in students, in plain torch: small networks for distillation, built by name with random weights.

    conv4                                       128 features
    resnet8, resnet20, resnet56                  64    for 32 pixels: as in CRD and DKD
    resnet8x4, resnet32x4                       256    for 32 pixels: as in CRD and DKD
    resnet18                                    512    for 224 pixels: as in torchvision
    vit-ti                                      192    for 224 pixels: DeiT-Ti

Weights come from torch's global generator: set its seed before. As a model source, a student is written
``python:manifold_probe.models.students:make?name=conv4``.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from inspect import signature

from manifold_probe.errors import InputError
from manifold_probe.models.students.conv import conv4
from manifold_probe.models.students.resnet import resnet8, resnet8x4, resnet18, resnet20, resnet32x4, resnet56
from manifold_probe.models.students.student import Student
from manifold_probe.models.students.vit import vit_ti

STUDENTS: dict[str, Callable[..., Student]] = {
    "conv4": conv4,
    "resnet8": resnet8,
    "resnet20": resnet20,
    "resnet56": resnet56,
    "resnet8x4": resnet8x4,
    "resnet32x4": resnet32x4,
    "resnet18": resnet18,
    "vit-ti": vit_ti,
}


def make_student(name: str, classes: int | None = None, **arguments: int | float | bool | str) -> Student:
    """A student by its name.

    Parameters
    ----------
    name : str
        A key of `STUDENTS`; capitals and underscores are accepted.
    classes : int, optional
        Adds a linear classifier ``fc`` on the features.
    **arguments
        ``channels`` of the images (3); for vit-ti also ``size``, ``patch`` and ``tokens``.

    Returns
    -------
    Student
        A torch.nn.Module from images (B, channels, H, W) to features (B, width), or to logits (B, classes).
        ``.features(images)`` is always (B, width), ``.width`` the width, ``.fc`` the classifier or None.

    Raises
    ------
    InputError
        An unknown name (the message suggests the nearest), an unknown argument, or an invalid value.

    Examples
    --------
    >>> import torch
    >>> student = make_student("conv4", classes=10, channels=1)
    >>> images = torch.zeros(2, 1, 28, 28)
    >>> student(images).shape, student.features(images).shape, student.width
    (torch.Size([2, 10]), torch.Size([2, 128]), 128)
    """
    build = STUDENTS.get(name.lower().replace("_", "-"))
    if build is None:
        near = get_close_matches(name.lower(), STUDENTS, 3)
        meant = f"did you mean {' or '.join(near)}? " if near else ""
        raise InputError(f"no student is called {name!r}; {meant}There are {', '.join(STUDENTS)}")
    known = [parameter for parameter in signature(build).parameters if parameter != "classes"]
    for argument in arguments:
        if argument not in known:
            raise InputError(f"student {name} takes no argument {argument!r}; it takes {', '.join(known)} and classes")
    return build(classes, **arguments)


def make(name: str, classes: int | None = None, **arguments: int | float | bool | str) -> Student:
    """`make_student` under the name in model sources and checkpoints.

    >>> from manifold_probe.models.load import load_model
    >>> load_model("python:manifold_probe.models.students:make?name=conv4&channels=1").channels
    1
    """
    return make_student(name, classes, **arguments)
