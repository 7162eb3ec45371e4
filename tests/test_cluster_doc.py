"""docs/cluster.md: its manifests parse, its scripts too, and its commands have the options that they use."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import typer

from mimic.cli import app
from mimic.runs import manager, on_ray
from mimic.storage import ATTEMPTS

TEXT = (Path(__file__).resolve().parents[1] / "docs/cluster.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def options_of_score() -> set[str]:
    command = typer.main.get_command(app).commands["score"]  # type: ignore[attr-defined]
    return {option for parameter in command.params for option in parameter.opts}


def test_the_manifest_is_a_job_whose_head_holds_the_workspace_and_whose_workers_have_gpus() -> None:
    yaml = pytest.importorskip("yaml")
    (job,) = (yaml.safe_load(block) for block in blocks("yaml"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    (mount,) = head["containers"][0]["volumeMounts"]
    assert mount["name"] == head["volumes"][0]["name"]
    assert mount["mountPath"] in job["spec"]["entrypoint"]
    for group in cluster["workerGroupSpecs"]:
        resources = group["template"]["spec"]["containers"][0]["resources"]
        assert resources["limits"]["nvidia.com/gpu"] == "1"
        threads = re.search(r"--threads (\d+)", job["spec"]["entrypoint"])
        assert threads
        assert int(threads[1]) <= int(resources["limits"]["cpu"])  # or no actor would ever have room


def test_the_script_is_valid_bash() -> None:
    for script in blocks("bash"):
        assert script.startswith("#!/bin/bash\n#SBATCH")
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_commands_use_options_that_there_are() -> None:
    known = options_of_score()
    commands = re.findall(r"mimic score[^\n`]*(?:(?:\\\n|\n    --)[^\n`]*)*", TEXT)
    assert len(commands) >= 5
    for command in commands:
        assert set(re.findall(r"(?<![\w-])--[a-z-]+", command)) <= known, command


def test_the_numbers_said_are_those_of_the_code() -> None:
    assert f"up to {ATTEMPTS} times" in TEXT
    assert f"a shard ends {on_ray.DEATHS} actors, or loses {on_ray.LOSSES} with their nodes" in TEXT
    assert f"{on_ray.IN_A_ROW} actors (or twice their number) end in a row" in TEXT
    assert f"of {manager._LEAST_SHARD} samples at least" in TEXT
    assert f"{manager._MOST_SHARD:,} at most" in TEXT


def processor_seconds() -> dict[int, float]:
    rows = (Path(__file__).resolve().parents[1] / "results/end_to_end_growth.csv").read_text().splitlines()[1:]
    return {int(photos): float(cpu) for photos, _, cpu, _ in (row.split(",") for row in rows)}


def measured() -> float:
    """Processor seconds a photo."""
    return (processor_seconds()[2000] - processor_seconds()[500]) / 1500


def test_the_times_follow_from_the_measured_cost() -> None:
    seconds, cost = processor_seconds(), measured()
    assert f"{seconds[2000]:.1f} processor seconds for 2,000 photos and {seconds[500]:.1f} for 500" in TEXT
    assert f"c = {1000 * cost:.1f} ms" in TEXT
    hours = 12.8e6 * cost / 3600
    assert f"| 12.8 million | {hours:.0f} | {hours / 64:.2f} h | {60 * hours / 1024:.0f} min |" in TEXT
    hours = 1.28e9 * cost / 3600
    assert f"| 1.28 billion | {round(hours, -1):,.0f} | {hours / 64:.0f} h | {hours / 1024:.1f} h |" in TEXT


def test_what_reading_asks_for_follows_from_it_too() -> None:
    cost, size = measured(), 35e3
    few, many = 64 / cost, 1024 / cost
    assert (
        f"64 cores at that rate ask for {few * size / 1e6:.0f} MB and {round(few, -2):,.0f} requests a second" in TEXT
    )
    assert f"1,024 cores\nfor {many * size / 1e9:.1f} GB and {round(many, -3):,.0f}." in TEXT
