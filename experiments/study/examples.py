"""Where measures disagree: the diagnosis of the students that analyse.py names, results/examples/NAME.txt.

python experiments/study/examples.py          trains the students again and diagnoses each run: minutes
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import chain

import data
from population import population
from run import settings_of

import manifold_probe as mp


def main() -> None:
    os.chdir(data.HERE)
    answers = json.loads((data.RESULTS / "answers.json").read_text())
    students = {student.name: student for student in chain(*population())}
    (data.RESULTS / "examples").mkdir(exist_ok=True)
    for example in answers["disagreements"]["fashion"]:
        for name in (example["a"], example["b"]):
            out = data.RESULTS / "examples" / f"{name}.txt"
            if not out.exists():
                folder = data.RUNS / f"example-{name}"
                mp.distill(folder, **settings_of(students[name]))
                out.write_text(mp.diagnose(folder).summary() + "\n")
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
