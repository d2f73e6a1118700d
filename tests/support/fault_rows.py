"""The fault matrix: what goes wrong, and what then must happen. docs/faults.md shows these rows."""

from __future__ import annotations

from dataclasses import dataclass

FIRST, LAST = "quickstart-000001.safetensors", "quickstart.safetensors"
EPOCH = (FIRST,)
BOTH = (FIRST, LAST)
ON, ANEW, DONE = "continues after epoch 1", "starts again", "nothing: it is done"
REFUSED = "refused: `save_every_n_steps`"
STALL = "guard.stalled={times: 2, least_seconds: 2}"


@dataclass(frozen=True)
class Row:
    """One fault of a run of 12 steps in 2 epochs. ``at`` is its step, ``within`` the seconds until the run has ended.

    ``leave`` is what another program leaves of the disk, in bytes, once step 7 is there.
    """

    fault: str
    when: str
    practice: str
    seen: str  # the code of the stop, of the cause, or of the warning
    exit: int
    state: str = "failed"
    kept: tuple[str, ...] = EPOCH
    at: int | None = None
    within: float | None = None
    sets: tuple[str, ...] = ()
    pace: float = 0.2
    leave: int | None = None
    states: int | None = None  # state folders that are there at the end
    says: str = ""
    resumed: str = ON  # what ``launch --resume`` does then, the fault gone

    @property
    def steps_saved(self) -> bool:
        """Whether files of single steps are asked for, which a run that may be resumed cannot have."""
        return any("save_every_n_steps" in text for text in self.sets)

    @property
    def line(self) -> str:
        """As the table shows it."""
        within = f"{self.within:g} s" if self.within else "at the end"
        kept = ", ".join(f"`{name}`" for name in self.kept) or "nothing was there"
        states = f", {self.states} state" if self.states else ""
        return (
            f"| {self.fault} | {self.when} | `{self.seen}` | {within} | {self.exit} | {kept}{states} | {self.resumed} |"
        )


ROWS = (
    Row(
        "loss and weights become NaN",
        "step 8",
        "nan@8",
        "loss.nan",
        9,
        at=8,
        within=5,
        says=f"the last good one is {FIRST}",
    ),
    Row("loss and weights become NaN", "step 2", "nan@2", "loss.nan", 9, kept=(), at=2, within=5, resumed=ANEW),
    Row("the loss becomes infinite", "step 8", "inf@8", "loss.infinite", 9, at=8, within=5),
    Row(
        "NaN, with `guard: {nan: ignore}`",
        "step 8",
        "nan@8",
        "loss.nan",
        10,
        sets=("guard.nan=ignore",),
        says=f"{LAST} contains NaN",
    ),
    Row(
        "the weights are NaN, the loss looks well",
        "the first save",
        "nan-weights",
        "weights.nan",
        9,
        kept=(),
        at=6,
        within=5,
        resumed=ANEW,
    ),
    Row(
        "the weights never moved",
        "every save",
        "zero-weights",
        "weights.zero",
        10,
        kept=(),
        resumed=ANEW,
        says="all its up weights are zero",
    ),
    Row(
        "the loss grows a thousandfold",
        "step 120 of 300 an epoch",
        "diverge@120",
        "loss.diverged",
        9,
        kept=("quickstart-step00000100.safetensors",),
        at=120,
        within=10,
        pace=0.03,
        sets=("datasets.0.repeats=100", "args.save_every_n_steps=100", "guard.diverged={factor: 10, steps: 20}"),
        resumed=REFUSED,
    ),
    Row(
        f"the trainer hangs, with `{STALL.replace('=', ': ', 1)}`",
        "step 8",
        "hang@8",
        "progress.stalled",
        9,
        at=8,
        within=9,
        sets=(STALL,),
    ),
    Row(
        "loading is silent for longer than a step may be",
        "before the steps",
        "silent=4",
        "",
        0,
        "succeeded",
        BOTH,
        sets=(STALL,),
        resumed=DONE,
    ),
    Row(
        "loading never ends",
        "before the steps",
        "silent=60",
        "progress.stalled",
        9,
        kept=(),
        sets=("guard.stalled={times: 2, least_seconds: 0.5}",),
        resumed=ANEW,
        says="no progress",
    ),
    Row(
        "the GPU's memory is full", "step 8", "oom@8", "memory.vram", 8, at=8, within=5, says="the GPU's memory is full"
    ),
    Row("this machine's memory is full", "step 8", "ram@8", "memory.host", 8, at=8, within=5, says="memory is full"),
    Row(
        "/dev/shm is too small",
        "step 8",
        "shm@8",
        "memory.shared",
        8,
        at=8,
        within=5,
        says="args.max_data_loader_n_workers",
    ),
    Row("killed from outside", "step 8", "kill@8", "killed", 8, at=8, within=5, says="signal 9"),
    Row("an exception", "step 8", "crash@8", "", 8, at=8, within=5, says="Traceback"),
    Row("killed in the middle of the last save", "the last save", "half-file", "killed", 8, says="is cut"),
    Row("the last file is cut", "the last save", "truncate", "", 10, says="is cut"),
    Row("the trainer ends without its last file", "the last save", "no-file", "", 10, says="was not written"),
    Row(
        "the disk fills up", "step 7", "", "disk.full", 9, leave=500_000, pace=1.2, says=f"the last good one is {FIRST}"
    ),
    Row(
        "the disk is full, with `guard: {disk: ignore}`",
        "step 7",
        "",
        "disk.full",
        8,
        leave=0,
        pace=1.2,
        sets=("guard.disk=ignore",),
        says="the disk is full",
    ),
    Row(
        "the disk fills up, with `guard: {disk: prune_states}`",
        "step 7",
        "",
        "disk.full",
        0,
        "succeeded",
        BOTH,
        leave=(1 << 20) + 20_000,
        pace=1.6,
        states=1,
        sets=("guard.disk=prune_states", "args.save_state=true", "args.save_every_n_steps=5"),
        resumed=DONE,
    ),
)

HEAD = """| fault | when | seen as | ended within | exit code | kept | `launch --resume` then |
|---|---|---|---|---|---|---|"""


def table() -> str:
    """As docs/faults.md has it."""
    return "\n".join((HEAD, *(row.line for row in ROWS))) + "\n"
