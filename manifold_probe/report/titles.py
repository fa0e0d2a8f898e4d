"""What figures and printed tables call the measures: the field's names, short enough for an axis or a column."""

from __future__ import annotations

TITLES = {
    "overlap@K": "overlap@{k}",
    "overlap@K:euclidean": "overlap@{k}, Euclidean",
    "jaccard@K": "Jaccard@{k}",
    "trustworthiness@K": "trustworthiness@{k}",
    "continuity@K": "continuity@{k}",
    "debiased_linear_cka": "debiased linear CKA",
    "linear_cka": "linear CKA",
    "procrustes": "Procrustes",
    "linear_r2": "linear R²",
    "per_dimension_correlation": "per-dimension, raw",
    "per_dimension_correlation:permutation": "per-dimension, permuted",
    "per_dimension_correlation:orthogonal": "per-dimension, rotated",
    "per_dimension_correlation:ridge": "per-dimension, linear map",
    "space_similarity": "space similarity",
    "norm_correlation": "norm correlation",
    "knn_agreement@K": "k-NN agreement@{k}",
    "knn_kappa@K": "k-NN kappa@{k}",
    "knn_accuracy_teacher@K": "k-NN accuracy@{k}, teacher",
    "knn_accuracy_student@K": "k-NN accuracy@{k}, student",
    "rankme_teacher": "RankMe, teacher",
    "rankme_student": "RankMe, student",
    "intrinsic_dimension_teacher": "intrinsic dimension, teacher",
    "intrinsic_dimension_student": "intrinsic dimension, student",
    "hubness_teacher@K": "hubness@{k}, teacher",
    "hubness_student@K": "hubness@{k}, student",
}


def title(key: str, k: int) -> str:
    """The printed name of a measure key; the key itself where it has none.

    >>> title("overlap@10:euclidean", 10), title("linear_r2", 10)
    ('overlap@10, Euclidean', 'linear R²')
    """
    return TITLES.get(key.replace(f"@{k}", "@K"), key).format(k=k)
