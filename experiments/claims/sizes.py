"""The size of the study. `--quick` is the size of results/: about an hour on a shared core; else many hours."""

from __future__ import annotations

import sys
from pathlib import Path

QUICK = "--quick" in sys.argv
HERE = Path(__file__).resolve().parent
DATA = HERE / "data" if QUICK else HERE / "data" / "full"
RUNS = HERE / "runs" if QUICK else HERE / "runs" / "full"

# images of Fashion-MNIST that the teacher sees; measured test images, and how many of them are queries
TRAIN, TEST, QUERIES = (20_000, 2_000, 1_000) if QUICK else (24_000, 10_000, 5_000)
# claims 1 and 2: images, a sixth of them held out; passes over the rest
ROWS, EPOCHS = (6_000, 3) if QUICK else (24_000, 8)
# images trained on: rows of the data, share held out, epochs; nearly the same number of steps of 128 for each
SIZES = (
    {1_000: (1_200, 1 / 6, 17), 5_000: (6_000, 1 / 6, 3), 15_000: (15_000, 0.0, 1)}  # 119, 117 and 117
    if QUICK
    else {1_000: (1_200, 1 / 6, 178), 5_000: (6_000, 1 / 6, 32), 20_000: (24_000, 1 / 6, 8)}  # 1246, 1248 and 1248
)
SEEDS, SPLITS = (6, 5) if QUICK else (10, 5)
# claim 3: pictures, a sixth held out; passes of the students and of the teacher
PICTURES, TEST_PICTURES = (6_000, 3_000) if QUICK else (24_000, 10_000)
STUDENT_EPOCHS, TEACHER_EPOCHS = (3, 10) if QUICK else (20, 30)
CKD_SEEDS = 3 if QUICK else 6
