"""The command that says whether this machine can do the work."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from mimic.cli.terminal import WorkspaceOption, console
from mimic.workspace.layout import DEFAULT, Workspace

_SIGNS = {"good": "ok", "note": "note", "bad": "BAD"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Findings as JSON, for a machine.")] = False,
    port: Annotated[int, typer.Option(help="Where the app would be served.")] = 8501,
    workspace: WorkspaceOption = DEFAULT,
) -> None:
    """Say what is installed, what computes, whether the workspace can be written, and what to mend; 1 if it must be."""
    from mimic.runs.doctor import examine

    out, found = console(), []
    for finding in examine(Workspace(workspace), port):
        found.append(finding)
        if not as_json:
            out.print(f"{_SIGNS[finding.state]:<5} {finding.what:<16} {finding.words}")
            if finding.advice:
                out.print(f"{'':<22} → {finding.advice}")
    fit = all(finding.state != "bad" for finding in found)
    if as_json:
        print(json.dumps({"fit": fit, "findings": [asdict(finding) for finding in found]}, indent=2))
    if not fit:
        raise typer.Exit(1)
