"""Every loss again, in float64 and plain loops, from the formulas alone; lists of lists in, a number out."""

from __future__ import annotations

import math


def dot(u, v):
    return math.fsum(a * b for a, b in zip(u, v, strict=True))


def length(u):
    return math.sqrt(dot(u, u))


def unit(u):
    size = length(u)
    return [a / size for a in u] if size > 1e-12 else [0.0 for _ in u]


def cosine(u, v):
    return dot(unit(u), unit(v))


def columns(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def mean(values):
    values = list(values)
    return math.fsum(values) / len(values)


def softmax(logits):
    top = max(logits)
    powers = [math.exp(a - top) for a in logits]
    return [a / math.fsum(powers) for a in powers]


def divergence(p, q):
    return math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a)


def cosine_loss(student, teacher):
    return mean(1 - cosine(s, t) for s, t in zip(student, teacher, strict=True))


def space_similarity_loss(student, teacher):
    return cosine_loss(columns(student), columns(teacher))


def coss_loss(student, teacher, space_weight=1.0, scale=1.0):
    return scale * (cosine_loss(student, teacher) + space_weight * space_similarity_loss(student, teacher))


def mse_loss(student, teacher):
    return mean((a - b) ** 2 for s, t in zip(student, teacher, strict=True) for a, b in zip(s, t, strict=True))


def joint(rows, temperature):
    n = len(rows)
    conditional = [[0.0] * n for _ in rows]
    for i in range(n):
        others = [j for j in range(n) if j != i]
        probabilities = softmax([cosine(rows[i], rows[j]) / temperature for j in others])
        for j, p in zip(others, probabilities, strict=True):
            conditional[i][j] = p
    return [conditional[i][j] / (2 * n) + conditional[j][i] / (2 * n) for i in range(n) for j in range(n)]


def neighbour_embedding_loss(head, teacher, temperatures=tuple(k / 100 for k in range(1, 11))):
    if isinstance(head[0][0], list):
        return mean(neighbour_embedding_loss(h, t, temperatures) for h, t in zip(head, teacher, strict=True))
    return mean(divergence(joint(teacher, tau), joint(head, tau)) for tau in temperatures)


def token_set_loss(student, head):
    return cosine_loss(*([[a for row in image for a in row] for image in images] for images in (student, head)))


def ckd_loss(student, teacher, temperature=1.0, negatives="student"):
    losses = []
    for i, anchor in enumerate(teacher):
        others = anchor if negatives == "student" else student[i]
        keys = [cosine(anchor if j == i else others, student[j]) / temperature for j in range(len(student))]
        losses.append(-math.log(softmax(keys)[i]))
    return mean(losses)


def seed_loss(student, teacher, queue, student_temperature=0.2, teacher_temperature=0.01):
    losses = []
    for s, t in zip(student, teacher, strict=True):
        keys = [unit(t), *queue]
        target = softmax([cosine(t, key) / teacher_temperature for key in keys])
        guess = softmax([cosine(s, key) / student_temperature for key in keys])
        losses.append(-math.fsum(p * math.log(q) for p, q in zip(target, guess, strict=True)))
    return mean(losses)


def compress_loss(student, teacher, student_queue, teacher_queue, temperature=0.04):
    def near(row, queue):
        return softmax([cosine(row, key) / temperature for key in queue])

    pairs = zip(student, teacher, strict=True)
    return mean(divergence(near(t, teacher_queue), near(s, student_queue)) for s, t in pairs)


def smooth_l1(x):
    return x * x / 2 if abs(x) < 1 else abs(x) - 0.5


def difference(u, v):
    return [a - b for a, b in zip(u, v, strict=True)]


def rkd_distance_loss(student, teacher):
    def relative(rows):
        n = len(rows)
        # Equal rows count as 1e-6 apart, so that they enter the mean over d > 0, as in the released code.
        d = [[max(length(difference(x, y)), 1e-6) for y in rows] for x in rows]
        off = [d[i][j] for i in range(n) for j in range(n) if i != j]
        return [[0.0 if i == j else d[i][j] / mean(off) for j in range(n)] for i in range(n)]

    return mean(
        smooth_l1(a - b)
        for s, t in zip(relative(student), relative(teacher), strict=True)
        for a, b in zip(s, t, strict=True)
    )


def rkd_angle_loss(student, teacher):
    def angles(rows):
        return [cosine(difference(y, x), difference(z, x)) for x in rows for y in rows for z in rows]

    return mean(smooth_l1(a - b) for a, b in zip(angles(student), angles(teacher), strict=True))


def rkd_loss(student, teacher, distance_weight=25, angle_weight=50):
    return distance_weight * rkd_distance_loss(student, teacher) + angle_weight * rkd_angle_loss(student, teacher)


def sp_loss(student, teacher):
    gram_s, gram_t = ([unit([dot(x, y) for y in rows]) for x in rows] for rows in (student, teacher))
    return (
        math.fsum(dot(difference(s, t), difference(s, t)) for s, t in zip(gram_s, gram_t, strict=True))
        / len(student) ** 2
    )


def pkt_loss(student, teacher, eps=1e-7):
    def probabilities(rows):
        rows = [[a / (length(row) + eps) for a in row] for row in rows]
        kernel = [[(dot(x, y) + 1) / 2 for y in rows] for x in rows]
        return [k / math.fsum(row) for row in kernel for k in row]

    pairs = zip(probabilities(teacher), probabilities(student), strict=True)
    return mean(p * math.log((p + eps) / (q + eps)) for p, q in pairs)


def softened(logits, temperature):
    return [softmax([a / temperature for a in row]) for row in logits]


def kd_loss(student, teacher, temperature=4.0):
    pairs = zip(softened(teacher, temperature), softened(student, temperature), strict=True)
    return temperature**2 * mean(divergence(p, q) for p, q in pairs)


def dkd_loss(student, teacher, labels, alpha=1.0, beta=8.0, temperature=4.0):
    total = []
    for s, t, y in zip(student, teacher, labels, strict=True):
        (q,), (p,) = softened([s], temperature), softened([t], temperature)
        rest_s, rest_t = ([row[:y] + row[y + 1 :]] for row in (s, t))
        target = divergence([p[y], 1 - p[y]], [q[y], 1 - q[y]])
        rest = divergence(softened(rest_t, temperature)[0], softened(rest_s, temperature)[0])
        total.append(alpha * target + beta * rest)
    return temperature**2 * mean(total)


def dist_loss(student, teacher, beta=1.0, gamma=1.0, temperature=1.0):
    def pearson(u, v):
        u, v = [a - mean(u) for a in u], [b - mean(v) for b in v]
        return dot(u, v) / (length(u) * length(v) + 1e-8)

    q, p = softened(student, temperature), softened(teacher, temperature)
    inter = mean(1 - pearson(u, v) for u, v in zip(q, p, strict=True))
    intra = mean(1 - pearson(u, v) for u, v in zip(columns(q), columns(p), strict=True))
    return temperature**2 * (beta * inter + gamma * intra)
