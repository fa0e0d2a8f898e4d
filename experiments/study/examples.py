"""Where measures disagree: the diagnosis of the students that analyse.py names, results/examples/NAME.txt.

python experiments/study/examples.py          trains the students again and diagnoses each: minutes
"""

from __future__ import annotations

import json
import os
import shutil
from itertools import chain

import data
from population import population
from run import features_of, held_out, settings_of

import manifold_probe as mp


def main() -> None:
    os.chdir(data.HERE)
    answers = json.loads((data.RESULTS / "answers.json").read_text())
    students = {student.name: student for student in chain(*population())}
    (data.RESULTS / "examples").mkdir(exist_ok=True)
    for example in answers["disagreements"]["fashion"]:
        for side in ("a", "b"):
            name = example[side]
            out = data.RESULTS / "examples" / f"{name}.txt"
            if out.exists():
                continue
            student, folder = students[name], data.RUNS / f"example-{name}"
            mp.distill(folder, **settings_of(student))
            rows, whole = held_out(student.setting), data.inputs(student.setting, "train")
            teacher = data.features(student.setting, "train")[rows]
            features = features_of(student, folder)["held out"]
            diagnosis = mp.diagnose(teacher, features, labels=whole["labels"][rows], ids=whole["ids"][rows])
            out.write_text(diagnosis.summary() + "\n")
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
