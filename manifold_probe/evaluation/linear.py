"""Linear probes: the accuracy of a linear classifier on frozen features, with all or a few of the labels.

Two recipes. "lbfgs" is quick: features standardised by the bank, logistic regression with an L2 penalty, solved to
convergence. scikit-learn's C is 0.01 for every model, which was best among five decades for EfficientNet features of
Fashion-MNIST, with 5,000 and with 500 labels. "sgd" follows the papers: 100 epochs, batch 256, learning rate 30,
divided by 10 at epochs 60 and 80, momentum 0.9, no weight decay, weights drawn with deviation 0.01, bias 0. The best
learning rate depends on the scale of the features. We therefore divide rows by the bank's mean length, so that the
recipe suits any model. Fixed features also mean no augmentation, which the published figures had.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from manifold_probe.engine.inputs import check_seed
from manifold_probe.errors import InputError
from manifold_probe.evaluation.inputs import as_bank, as_classes, as_labels, as_number, known_labels

RECIPES = ("lbfgs", "sgd")
INVERSE_PENALTY = 0.01  # scikit-learn's C
EPOCHS, BATCH, RATE, MOMENTUM, STEPS = 100, 256, 30.0, 0.9, (60, 80)


def linear_predict(bank: Any, labels: Any, queries: Any, recipe: str = "lbfgs", seed: int = 0) -> np.ndarray:
    """The label (q,) that a linear classifier fitted on the bank gives each query.

    Parameters
    ----------
    bank : array-like, shape (m, d)
    labels : array-like, shape (m,)
    queries : array-like, shape (q, d)
    recipe : "lbfgs" or "sgd"
    seed : int
        Of the sgd recipe's weights and batches; "lbfgs" draws nothing.

    Raises
    ------
    InputError
        If shapes or values cannot be used, there is one class only, or the recipe is not known.

    References
    ----------
    He et al. 2020, Momentum Contrast, sec. 4.1, for the sgd recipe, which CoSS follows.

    Examples
    --------
    >>> import numpy as np
    >>> bank = np.array([[0.0, 1], [0.2, 1], [1, 0], [1, 0.2]])
    >>> linear_predict(bank, ["up", "up", "right", "right"], [[0.1, 0.9], [0.9, 0.1]]).tolist()
    ['up', 'right']
    """
    bank, queries = as_bank(bank, queries)
    has_label, labels = known_labels(labels, len(bank))
    bank = bank[has_label]
    names, codes = as_classes(labels, len(bank))
    if recipe not in RECIPES:
        raise InputError(f"recipe {recipe!r} is not known; give {' or '.join(map(repr, RECIPES))}")
    seed = check_seed(seed)
    largest = float(np.abs(bank).max()) or 1.0
    if not 1e-100 < largest < 1e100:  # squares would overflow or underflow
        bank, queries = bank / largest, queries / largest
    fit = _lbfgs if recipe == "lbfgs" else _sgd
    return names[fit(bank, codes, queries, len(names), seed)]


def labelled_rows(labels: Any, share: float, seed: int = 0) -> np.ndarray:
    """Sorted row numbers of a stratified share of the labels: at least one row per class; smaller shares are subsets.

    Parameters
    ----------
    labels : array-like, shape (m,)
    share : float, above 0 and at most 1
    seed : int

    Examples
    --------
    >>> labelled_rows(["a"] * 30 + ["b"] * 2, 0.1).shape
    (4,)
    """
    if not 0 < as_number(share, "share of labels", "give a number above 0 and at most 1") <= 1:
        raise InputError(f"share of labels is {share}; give a number above 0 and at most 1")
    codes = np.unique(as_labels(labels), return_inverse=True)[1]
    shuffled = np.random.default_rng(check_seed(seed)).permutation(len(codes))
    by_class = shuffled[np.argsort(codes[shuffled], kind="stable")]
    starts = np.searchsorted(codes[by_class], np.arange(codes.max() + 1))
    rank_in_class = np.arange(len(codes)) - starts[codes[by_class]]
    wanted = np.maximum(1, np.rint(share * np.bincount(codes)))
    return np.sort(by_class[rank_in_class < wanted[codes[by_class]]])


def _lbfgs(bank: np.ndarray, codes: np.ndarray, queries: np.ndarray, classes: int, seed: int) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(bank)
    with threadpool_limits(1):  # small products: more threads took twenty times as long
        model = LogisticRegression(C=INVERSE_PENALTY, max_iter=1000).fit(scaler.transform(bank), codes)
        return model.predict(scaler.transform(queries))


def _sgd(bank: np.ndarray, codes: np.ndarray, queries: np.ndarray, classes: int, seed: int) -> np.ndarray:
    import torch

    length = float(np.linalg.norm(bank.astype(np.float64), axis=1).mean()) or 1.0
    train, test = (torch.from_numpy((rows / length).astype(np.float32)) for rows in (bank, queries))
    labels = torch.from_numpy(codes)
    draw = torch.Generator().manual_seed(seed)
    weight = (0.01 * torch.randn(classes, train.shape[1], generator=draw)).requires_grad_()
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.SGD([weight, bias], lr=RATE, momentum=MOMENTUM, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, STEPS, gamma=0.1)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(train), generator=draw).split(BATCH):
            loss = torch.nn.functional.cross_entropy(train[batch] @ weight.T + bias, labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    with torch.no_grad():
        return (test @ weight.T + bias).argmax(1).numpy()
