"""Makes the workspace of a released version, for the test that later versions read it.

    git archive VERSION | tar -x -C /tmp/released && cd /tmp/released && python make.py /tmp/mimic-VERSION.tar.xz

Run by the code of that version, with this file copied there. What is made is a data set with a published run, an
interrupted one, a filter, an audit, and decisions of which one was taken back.
"""

import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from benchmarks import synthetic
from mimic.workspace.audits import begin_audit
from mimic.workspace.decisions import Decisions, Subject
from mimic.workspace.filters import save_filter
from mimic.workspace.layout import Workspace
from mimic.workspace.queries.connection import Published


def main() -> None:
    place = Path(tempfile.mkdtemp(prefix="mimic-")) / "workspace"
    workspace = Workspace(place)
    run = synthetic.build(workspace, 300, classes=3, pictures=2, shard=100)
    dataset = workspace.dataset(run.dataset)
    begun = synthetic.begin(workspace, dataset, "interrupted", 100)
    (begun.folder / "parts").mkdir()
    shutil.copy(run.part(run.shards[0]), begun.part(begun.shards[0]))
    rule = {"kind": "threshold", "run": run.id, "signal": "mimic", "threshold": 0.0}
    save_filter(workspace, "strict", dataset.name, rule, {"kept": 200, "dropped": 97, "not_scored": 3})
    begin_audit(workspace, "look", Published.of(run, dataset), "mimic", 0.0, (3, 3))
    decisions = Decisions(workspace, dataset)
    for sample in range(4):
        decisions.record("ann", "drop", Subject(sample, f"id-{sample:09}", "class 000", run=run.id))
    decisions.undo("ann")
    with tarfile.open(sys.argv[1], "w:xz") as archive:
        for file in sorted(place.rglob("*")):
            archive.add(file, file.relative_to(place), recursive=False)
    shutil.rmtree(place.parent)


if __name__ == "__main__":
    main()
