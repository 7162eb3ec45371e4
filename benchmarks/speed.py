"""What scoring a batch costs, relative to a plain forward with per-sample losses of the same model on the same batch.

    python -m benchmarks.speed [--quick] [--rounds 15] [--cases resnet20,vit-tiny,two-tower] [--busy] [--compile]

Three ratios a method: against the forward as anybody runs it, in float32; against one prepared as our pass prepares its
own (BatchNorm folded, channels last, tokens that nobody reads left out), in the method's precision; and against a plain
one in the method's precision. `--compile` adds the pass by torch.compile, against a forward by torch.compile.
Methods take turns within a round. Error and rank correlation are against forward mode in float64; for our exact pass
also on the same side of every ReLU, see `benchmarks.kinks`. What people use instead stands in the same table, see
`benchmarks.rivals`; what is not installed or does not apply is listed with the reason. Last, 1, 4 and 16 times as many
images are scored. `--busy` is for a machine on which others compute: one thread, and the processor's time instead of
the wall's.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor
from torch.func import jvp

from benchmarks.kinks import on_its_branches
from benchmarks.rivals import HEAVY, RIVALS, Skipped
from benchmarks.speed_cases import CASES, Case
from benchmarks.tables import ROOT, Section, markdown, write_csv, write_section
from benchmarks.timing import Times, interleaved, peak_memory, with_allocator
from mimic import Direction, iter_scores
from mimic.models.calling import Inputs, logits_of, pairs_of
from mimic.scores.differentiate import Differentiator, Method, outputs_for, widened
from mimic.scores.forward_mode import Pushforward, forward_mode
from mimic.scores.precision import agreement

FORWARD, PREPARED, HALF, HALF_PREPARED = (
    "forward",
    "forward, prepared",
    "forward, bf16",
    "forward, bf16, prepared",
)
RIVALS_BATCH = 32
FEW = 2  # samples for what holds or makes hundreds of numbers for each parameter and sample
FULL, HALF_FULL = "full, fp32", "full, bf16"
# Scopes asked for together, the first being every parameter; the second alone has a row of its own.
TOGETHER = {"vit-tiny": ("full", "last:2"), "two-tower": ("full", "image-last")}
COMPILED, FULL_COMPILED = "forward, compiled", "full, fp32, compiled"
# method → what must not be exceeded, relative to the plain forward in float32, by case
REACH: dict[str, Mapping[str, float]] = {
    "last": {"resnet20": 1.03, "vit-tiny": 1.03},
    "image-last": {"two-tower": 1.03},
    "last:2": {"vit-tiny": 1.3},
    FULL: {"resnet20": 2.2, "vit-tiny": 2.8, "two-tower": 3.0},
    HALF_FULL: dict.fromkeys(CASES, 1.1),
    "difference, fp32": dict.fromkeys(CASES, 2.0),
}

# The exact pass's error on the branches it took; the rank correlation of half precision.
EXACT, RANKS = 1e-5, 0.995


@dataclass(frozen=True)
class Entry:
    """A row's call, which gives scores where it computes them, and whether it runs in bf16."""

    call: Callable[[], Tensor | None]
    half: bool = False


def forward(case: Case) -> Callable[[], None]:
    """The forward as anybody runs it."""

    def call() -> None:
        with torch.inference_mode():
            case.function(widened(outputs_for(case.function, case.start, case.inputs)), case.labels)

    return call


def prepared(case: Case) -> Callable[[], None]:
    """The forward with our pass's preparations and nothing to push."""
    push = Pushforward()

    def call() -> None:
        outputs = push.value(lambda _: outputs_for(case.function, case.start, case.inputs), {})
        case.function(widened(outputs), case.labels)

    return call


def forward_compiled(case: Case) -> Callable[[], None]:
    """The forward by torch.compile."""
    program = torch.compile(case.start, dynamic=False)
    read = pairs_of if case.labels is None else logits_of

    def call() -> None:
        arguments = case.inputs if isinstance(case.inputs, tuple) else (case.inputs,)
        with torch.no_grad():
            case.function(widened(read(program(*arguments), len(arguments[0]))), case.labels)

    return call


def ours(case: Case, *scopes: str, method: Method = "auto", compiled: bool = False) -> Callable[[], Tensor]:
    """The first scope's scores by the method that the library would take, the others' beside them."""
    directions = [Direction.between(case.start, case.reference, scope) for scope in scopes]
    differentiate = Differentiator(case.start, directions, case.function, method, compiled=compiled)
    return lambda: -differentiate(case.inputs, case.labels, outputs=False).slopes[0]


def torch_jvp(case: Case) -> Callable[[], Tensor]:
    """Every parameter by torch.func.jvp as it is."""
    direction = Direction.between(case.start, case.reference, "full")
    point = {name: case.start.get_parameter(name).detach() for name in direction.tensors}
    tangent = {name: each / direction.norm for name, each in direction.tensors.items()}

    def losses(state: Mapping[str, Tensor]) -> Tensor:
        return case.function(outputs_for(case.function, case.start, case.inputs, state), case.labels)

    def call() -> Tensor:
        with torch.no_grad(), forward_mode():
            return -jvp(losses, (point,), (tangent,))[1]

    return call


def entries(case: Case, compiled: bool = False) -> dict[str, Entry]:
    """Our methods, the forwards they are measured by, and torch's own forward mode."""
    half = case.to(torch.bfloat16)
    found = {
        FORWARD: Entry(forward(case)),
        HALF: Entry(forward(half), half=True),
        PREPARED: Entry(prepared(case)),
        HALF_PREPARED: Entry(prepared(half), half=True),
        FULL: Entry(ours(case, "full")),
        HALF_FULL: Entry(ours(half, "full"), half=True),
        "difference, fp32": Entry(ours(case, "full", method="difference")),
        "torch.func.jvp": Entry(torch_jvp(case)),
    }
    if case.labels is not None:
        found["last"] = Entry(ours(case, "last"))
    else:
        found["image-last"] = Entry(ours(case, "image-last"))
    if case.blocks:
        found["last:2"] = Entry(ours(case, "last:2"))
    if scopes := TOGETHER.get(case.name):
        found[" and ".join(scopes) + ", together"] = Entry(ours(case, *scopes))
    if compiled:
        found |= {COMPILED: Entry(forward_compiled(case)), FULL_COMPILED: Entry(ours(case, "full", compiled=True))}
    return found


def rivals(case: Case, names: Iterable[str]) -> tuple[dict[str, Entry], dict[str, str]]:
    """What people use instead, each on a copy of the model; and why some are missing."""
    found, missing = {}, {}
    for name in names:
        make = RIVALS[name]
        try:
            entry = Entry(make(replace(case, start=copy.deepcopy(case.start))))
            entry.call()
            found[name] = entry
        except Skipped as reason:
            missing[name] = str(reason)
        except Exception as error:  # somebody else's library on somebody else's model
            missing[name] = f"fails: {type(error).__name__}, {str(error).partition(chr(10))[0][:80]}"
    return found, missing


def table(case: Case, rows: Mapping[str, Entry], times: Times) -> pd.DataFrame:
    """One row a method: time, three ratios, memory, and how right it is."""
    wide = case.to(torch.float64)
    exact = torch_jvp(wide)()
    weights = sum(each.numel() for each in case.start.parameters()) * 4
    lines = []
    for name, entry in rows.items():
        bases = (FORWARD, HALF_PREPARED, HALF) if entry.half else (FORWARD, PREPARED, FORWARD)
        if "compiled" in name:
            bases = (FORWARD, COMPILED, FORWARD)
        eager, ready, same = (times.ratio(name, base) if base in rows else None for base in bases)
        scores = None if name.startswith("forward") else entry.call()
        every = "last" not in name or "together" in name  # else the scores are of fewer parameters
        right = agreement(scores.detach(), exact) if scores is not None and every else None
        along, others = on_its_branches(entry.call, forward(wide), torch_jvp(wide)) if name == FULL else (None, None)
        own = None if along is None else agreement(entry.call(), along).relative_error
        reach = REACH.get(name, {}).get(case.name)
        assert eager is not None
        accurate = (own or 0) <= EXACT and (name != HALF_FULL or right is None or right.spearman >= RANKS)
        lines.append(
            {
                "case": case.name,
                "method": name,
                "ms": times.milliseconds(name),
                "vs eager fp32": eager,
                "vs prepared": ready,
                "vs same precision": same,
                "reach": reach,
                "reached": "" if reach is None else "yes" if eager <= reach and accurate else "no",
                "relative error": right and right.relative_error,
                "same branches": own,
                "others": others,
                "Spearman": right and right.spearman,
                "peak MiB": peak_memory(entry.call) / 2**20,
                "weights MiB": weights / 2**20,
            }
        )
    return pd.DataFrame(lines)


def growth(times: int, clock: str, batch: int = 256) -> dict[str, float]:
    """Seconds and bytes of scoring so many batches of ResNet-20, every parameter."""
    case = CASES["resnet20"]()
    direction = Direction.between(case.start, case.reference, "full")

    def batches() -> Iterator[tuple[Inputs, Tensor | None]]:
        for _ in range(times):
            yield torch.randn(batch, 3, 32, 32), torch.randint(10, (batch,))

    def call() -> None:
        for _ in iter_scores(case.start, batches(), direction):
            pass

    seconds = interleaved({"call": call}, rounds=1, warm_up=0, clock=clock).milliseconds("call") / 1e3
    return {"images": times * batch, "seconds": seconds, "ms an image": 1e3 * seconds / (times * batch)} | {
        "peak MiB": peak_memory(call) / 2**20
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="three rounds, without what people use instead; no files")
    parser.add_argument("--cases", default=",".join(CASES), help="the others' rows stay as they were")
    parser.add_argument("--busy", action="store_true", help="one thread, processor time")
    parser.add_argument("--compile", action="store_true", help="with torch.compile, which takes minutes a model")
    asked = parser.parse_args()
    clock = "processor" if asked.busy else "wall"
    if asked.busy:
        torch.set_num_threads(1)
    for name in asked.cases.split(","):
        measured, missing = measure(name, 3 if asked.quick else asked.rounds, clock, not asked.quick, asked.compile)
        print(measured.to_string(index=False), *missing.items(), sep="\n", flush=True)
        if not asked.quick:
            how = (
                f"{asked.rounds} rounds, {torch.get_num_threads()} threads, {clock} time, load {os.getloadavg()[0]:.1f}"
            )
            measured["how"] = how
            lacking = pd.DataFrame([{"case": name, "method": key, "missing": why} for key, why in missing.items()])
            keep("speed", pd.concat([measured, lacking]), name)
    if not asked.quick:
        keep("speed_growth", pd.DataFrame([growth(times, clock) for times in (1, 4, 16)]), "resnet20")
        report()


def measure(
    name: str, rounds: int, clock: str, others: bool, compiled: bool = False
) -> tuple[pd.DataFrame, dict[str, str]]:
    """A case's table, and why some of what people use instead is not in it."""
    torch.manual_seed(0)
    case = CASES[name]()
    rows = entries(case, compiled)
    times = interleaved({key: each.call for key, each in rows.items()}, rounds, clock=clock)
    ours = table(case, rows, times)
    if not others:
        return ours, {}
    large = sum(each.numel() for each in case.start.parameters()) > 10**6
    tables, missing = [ours], {}
    for samples in (RIVALS_BATCH, FEW):
        some = case.first(samples)
        names = [key for key in RIVALS if (samples == FEW) == (large and key in HEAVY)]
        found, lacking = rivals(some, names)
        found, missing = {FORWARD: Entry(forward(some)), **found}, missing | lacking
        calls = {key: each.call for key, each in found.items()}
        if len(calls) > 1:
            times = interleaved(calls, max(2, rounds // 5), clock=clock, warm_up=0)
            tables.append(table(some, found, times).iloc[1:])
    return pd.concat(tables), missing


def keep(name: str, table: pd.DataFrame, case: str) -> None:
    """Puts a case's rows into results/NAME.csv, in place of its earlier ones."""
    path = ROOT / "results" / f"{name}.csv"
    table = table.assign(case=case)
    if path.exists():
        earlier = pd.read_csv(path)
        table = pd.concat([earlier[earlier["case"] != case], table])
    write_csv(name, table.sort_values("case", key=lambda column: column.map(list(CASES).index), kind="stable"))


def report() -> None:
    """The section of docs/results.md, from the tables in results/."""
    rows = pd.read_csv(ROOT / "results" / "speed.csv")
    known = rows["ms"].notna()
    measured = rows[known].drop(columns="missing", errors="ignore")
    for column in ("relative error", "same branches"):
        measured[column] = measured[column].map(lambda error: "" if error != error else f"{error:.0e}")
    missing = rows[~known].reindex(columns=["case", "method", "missing"])
    how = "\n".join(f"- {case}: {each}" for case, each in measured.groupby("case", sort=False)["how"].first().items())
    body = f"""Relative to a plain inference forward with per-sample losses of the same model on the same batch, in the
same process: medians over rounds in turns. *Prepared*: as in our pass, BatchNorm folded,
channels last, oneDNN's products, and tokens left out that nobody reads; for a compiled row, a compiled forward.
*Reach*: what was aimed at, against the forward in float32, with an error of {EXACT:.0e} for the exact pass and a
Spearman of {RANKS} for half precision. Peak: tensors beyond weights and inputs, at most. *Same branches*: the error
against float64 with every ReLU on the side that our pass took; *others*: samples for which float64 takes another side
somewhere, because an input of a ReLU rounds across 0. There the derivative jumps, and every float32 method has an error
of its own. What people use instead ran on {RIVALS_BATCH} samples at most; {" and ".join(HEAVY)} on {FEW} where a model
has millions of parameters, against a forward of as many. *Together*: two scopes in one pass, which pays the model's
own products once; the sum of the two alone is what two runs cost.

{how}

{markdown(measured.drop(columns="how"), 3)}

Not measured:

{markdown(missing)}

Every parameter of ResNet-20, in batches of 256: time grows with the images, memory does not.

{markdown(pd.read_csv(ROOT / "results" / "speed_growth.csv"), 2)}"""
    write_section(Section("speed", "What a score costs", "python -m benchmarks.speed", body))


if __name__ == "__main__":
    with_allocator("benchmarks.speed")
    main()
