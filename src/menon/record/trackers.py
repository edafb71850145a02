"""Copies a run's numbers to TensorBoard, Weights & Biases, MLflow and trackio. `metrics.jsonl` stays the
authoritative record, and a failing tracker does not stop a run."""

import importlib.util
import io
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

from menon.errors import UserError, pip_install
from menon.record import disk
from menon.record.layout import Layout
from menon.settings import setting

Tracker = Literal["tensorboard", "wandb", "both", "mlflow", "trackio"]
Numbers = Mapping[str, Any]
LEFT_OUT = ("time/other", "refl/per_pattern/")
"""Beginnings of the names that only metrics.jsonl has: dozens of curves that explain nothing at a glance."""


class Mirror(Protocol):
    def write(self, step: int, numbers: Numbers) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Writes RUN/tensorboard. It is rebuilt from the record whenever a session begins, so that no step is in
    it twice."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], lines: Sequence[tuple[int, Numbers]]
    ) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        disk.remove(folder / "tensorboard")
        self.writer = SummaryWriter(str(folder / "tensorboard"))
        for step, numbers in lines:
            self.write(step, numbers)

    def write(self, step: int, numbers: Numbers) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class WandB:
    """One run of Weights & Biases for all sessions of a folder, below RUN/wandb; offline where no key is
    known.

    The service continues after the last step that it has; an offline record is rebuilt like TensorBoard's.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], lines: Sequence[tuple[int, Numbers]]
    ) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or ("online" if wandb.api.api_key else "offline")
        if mode == "offline":
            for left in disk.own_folder(folder / "wandb").glob("offline-run-*"):
                disk.remove(left)
        self.run = wandb.init(
            project=str(setting(settings, "wandb_project", "menon")),
            name=folder.resolve().name,
            id=run_id(folder),
            dir=folder,
            config=dict(settings),
            resume="allow",
            mode=mode,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.first = self.run.step
        for step, numbers in lines:
            self.write(step, numbers)

    def write(self, step: int, numbers: Numbers) -> None:
        if step >= self.first:
            self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        self.run.finish()


class MLflow:
    """One run of an MLflow experiment, in the database RUN/mlflow.db, or where MLFLOW_TRACKING_URI points.

    It is rebuilt from the record whenever a session begins: the run of an earlier session of the same folder
    is deleted there, so that no step is in it twice.
    """

    TAG = "menon.run"

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], lines: Sequence[tuple[int, Numbers]]
    ) -> None:
        from mlflow import MlflowClient

        uri = os.environ.get("MLFLOW_TRACKING_URI")
        own = disk.own_folder(folder) / "mlflow.db"
        if own.is_symlink():
            raise disk.foreign(own)
        self.client = MlflowClient(tracking_uri=uri or f"sqlite:///{own.resolve()}")
        name, project = folder.resolve().name, str(setting(settings, "wandb_project", "menon"))
        known = self.client.get_experiment_by_name(project)
        where = {} if uri else {"artifact_location": (folder.resolve() / "mlflow").as_uri()}
        experiment = self.client.create_experiment(project, **where) if known is None else known.experiment_id
        for old in self.client.search_runs([experiment], f"tags.`{self.TAG}` = '{run_id(folder)}'"):
            self.client.delete_run(old.info.run_id)
        tags = {self.TAG: run_id(folder)}
        self.run = self.client.create_run(experiment, run_name=name, tags=tags).info.run_id
        for key in ("recipe", "model", "seed", "steps"):
            if (value := setting(settings, key)) is not None:
                self.client.log_param(self.run, key, value)
        for step, numbers in lines:
            self.write(step, numbers)

    def write(self, step: int, numbers: Numbers) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        found = [Metric(NOT_IN_MLFLOW.sub("_", name), value, now, step) for name, value in numbers.items()]
        for begin in range(0, len(found), MOST_OF_MLFLOW):
            self.client.log_batch(self.run, metrics=found[begin : begin + MOST_OF_MLFLOW])

    def close(self) -> None:
        self.client.set_terminated(self.run)


NOT_IN_MLFLOW = re.compile(r"[^\w\-. :/]")
"""Characters that a name of MLflow cannot have."""
MOST_OF_MLFLOW = 1000
"""Most numbers that MLflow takes at once."""


class Trackio:
    """One run of a trackio project, in trackio's own folder (TRACKIO_DIR), or where TRACKIO_SPACE_ID or
    TRACKIO_SERVER_URL point. A local one is rebuilt from the record whenever a session begins; elsewhere the
    steps of a session are added."""

    def __init__(
        self, folder: Path, settings: Mapping[str, Any], lines: Sequence[tuple[int, Numbers]]
    ) -> None:
        import trackio

        name = f"{folder.resolve().name}-{run_id(folder)[:6]}"
        project = str(setting(settings, "wandb_project", "menon"))
        local = not (os.environ.get("TRACKIO_SPACE_ID") or os.environ.get("TRACKIO_SERVER_URL"))
        with redirect_stdout(io.StringIO()), suppress(ValueError):  # there is no such project yet
            for old in [one for one in trackio.Api().runs(project) if local and one.name == name]:
                old.delete()
        with redirect_stdout(io.StringIO()):
            self.run = trackio.init(
                project,
                name=name,
                config=dict(settings),
                resume="allow",
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )
        for step, numbers in lines if local else ():
            self.write(step, numbers)

    def write(self, step: int, numbers: Numbers) -> None:
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        import trackio

        with redirect_stdout(io.StringIO()), suppress(RuntimeError):  # another run of the process has begun
            trackio.finish()


MIRRORS: dict[str, Callable[..., Mirror]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
    "mlflow": MLflow,
    "trackio": Trackio,
}
BOTH = ("tensorboard", "wandb")
"""The trackers of tracker=both."""
EXTRA = {"mlflow": "mlflow", "trackio": "trackio"}
"""Tracker -> the extra that brings its package, where it is not `trackers`."""


def trackers_of(tracker: Tracker) -> tuple[str, ...]:
    """The trackers that a setting names."""
    return BOTH if tracker == "both" else (tracker,)


def check(tracker: Tracker) -> None:
    """UserError if the package of a tracker is not installed; called before a run begins."""
    for name in trackers_of(tracker):
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # only a folder of that name, not the package
            raise UserError(
                f"tracker={tracker} needs the package {name}; install it by "
                f"{pip_install(EXTRA.get(name, 'trackers'))}, "
                "or leave it out"
            )


def run_id(folder: Path) -> str:
    """The tracker's id of a run: the same for every session of a folder, and a different one for another run
    in the same place."""
    import hashlib

    return hashlib.blake2b(Layout(folder).about.read_bytes(), digest_size=8).hexdigest()


class Tracked:
    """A tracker that may fail: after the first failure the user is notified and the tracker is no longer
    used."""

    def __init__(self, tracker: str, told: Callable[[str], None]) -> None:
        self.tracker, self.told = tracker, told
        self.mirror: Mirror | None = None

    def start(self, folder: Path, settings: Mapping[str, Any], lines: Sequence[tuple[int, Numbers]]) -> None:
        """`lines`: step and numbers of all that is recorded so far, in order."""

        def make() -> None:
            self.mirror = MIRRORS[self.tracker](
                folder, settings, [(step, mirrored(numbers)) for step, numbers in lines]
            )

        self._try(make)

    def write(self, step: int, numbers: Numbers) -> None:
        if (mirror := self.mirror) is not None:
            self._try(lambda: mirror.write(step, mirrored(numbers)))

    def close(self) -> None:
        if (mirror := self.mirror) is not None:
            self._try(mirror.close)
        self.mirror = None

    def _try(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:
            self.mirror = None
            why = " ".join(str(error).split())[:200] or type(error).__name__
            self.told(
                f"{self.tracker} failed ({why}) and is left out from here on; everything is in metrics.jsonl"
            )


def mirrored(numbers: Numbers) -> dict[str, float]:
    """The numbers that a tracker gets: the finite ones, without the step and those of `LEFT_OUT`."""
    return {
        k: float(v)
        for k, v in numbers.items()
        if isinstance(v, int | float) and k != "step" and abs(v) < float("inf") and not k.startswith(LEFT_OUT)
    }
