"""A run's log for TensorBoard: one event file in the run's folder, the same bytes each time it is written.

The log holds no clock, so an event's time is its step, in seconds: "relative" then means steps.
"""

from __future__ import annotations

import io
import struct
import tempfile
from pathlib import Path

from manifold_probe.errors import InputError, to_install
from manifold_probe.files import write_whole
from manifold_probe.report.run import Run, read_run

FOLDER, FILE = "tensorboard", "events.out.tfevents.0.manifold_probe"
HEADER, CHECKSUM = "<Q", 4  # a record: its length, a checksum, its bytes, a checksum


def check_tensorboard() -> None:
    """Raise InputError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(f"--tensorboard: needs TensorBoard; {to_install('tensorboard')}") from error


def write_events(folder: str | Path) -> Path:
    """Write the log's numbers into ``folder/tensorboard``, in place of what was there; the path of that folder.

    Scalars are ``loss/total``, ``loss/TERM``, ``rate``, and ``MEASURE/backbone`` and ``MEASURE/head``, by step.

    Raises
    ------
    InputError
        Where TensorBoard is not installed, the folder holds no log, or it cannot be written to.
    """
    check_tensorboard()
    run = read_run(folder)
    content = _events(run)
    out = Path(folder) / FOLDER
    try:
        out.mkdir(exist_ok=True)
        for old in out.glob("*tfevents*"):
            if old.name != FILE:
                old.unlink()
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); choose another place") from error
    write_whole(out / FILE, content)
    return out


def scalars(run: Run) -> list[tuple[str, float, int]]:
    """(tag, value, step) of everything that is defined, in the order of the steps."""
    tags = {"loss": "loss/total", "rate": "rate"}
    named = []
    for row in run.numbers():
        side, measure = row["side"], row["measure"]
        tag = f"{measure}/{side}" if side else tags.get(measure) or measure.replace("loss:", "loss/", 1)
        named.append((tag, row["value"], row["step"]))
    return [scalar for scalar in named if scalar[1] is not None]


def _events(run: Run) -> bytes:
    from torch.utils.tensorboard import SummaryWriter

    with tempfile.TemporaryDirectory() as scratch:
        with SummaryWriter(scratch) as writer:
            for tag, value, step in scalars(run):
                writer.add_scalar(tag, value, step, walltime=step, double_precision=True)
        return _without_clock(next(Path(scratch).iterdir()).read_bytes())


def _without_clock(content: bytes) -> bytes:
    """The same records, the first one without the time at which it was written."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.record_writer import RecordWriter

    (length,) = struct.unpack_from(HEADER, content)
    start = struct.calcsize(HEADER) + CHECKSUM
    first = Event.FromString(content[start : start + length])
    first.wall_time = 0.0
    out = io.BytesIO()
    RecordWriter(out).write(first.SerializeToString(deterministic=True))
    return out.getvalue() + content[start + length + CHECKSUM :]
