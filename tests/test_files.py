"""What killed writers left is cleared away; what others are writing, here or on another machine, is not."""

import os
import subprocess
import sys

from mimic import files
from mimic.files import temporary_name, write_json

KILLED = """
import sys
from pathlib import Path
from mimic.files import temporary_name
temporary = temporary_name(Path(sys.argv[1]))
temporary.mkdir()
(temporary / "x").touch()
Path(f"{temporary}.wal").touch()
print(temporary)
"""


def test_a_dead_writer_s_leavings_go_and_a_living_one_s_stay(tmp_path):
    path = tmp_path / "it's [a] run.json"
    run = {"capture_output": True, "text": True, "check": True, "timeout": 60}
    child = subprocess.run([sys.executable, "-c", KILLED, path], **run)
    assert len(list(tmp_path.iterdir())) == 2
    mine = temporary_name(path)
    assert list(tmp_path.iterdir()) == []
    assert child.stdout.strip() != str(mine)
    mine.touch()
    elsewhere = tmp_path / f".{path.name}.another_machine-1-0.tmp"
    elsewhere.touch()
    (tmp_path / ".it's [a] run.json.notes").touch()
    assert temporary_name(path) != mine
    assert len(list(tmp_path.iterdir())) == 3
    os.utime(elsewhere, (0, 0))
    write_json(path, {"a": 1})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        [mine.name, ".it's [a] run.json.notes", path.name]
    )


def test_machines_of_one_name_leave_each_other_s_files_alone(tmp_path, monkeypatch):
    assert files._machine() == files._machine() == files._MACHINE
    child = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a"], capture_output=True, text=True, check=True)
    left = set(tmp_path.iterdir())
    assert child.stdout.strip() in map(str, left)
    name = files._MACHINE.rpartition("_")[0]
    monkeypatch.setattr(files, "_MACHINE", f"{name}_{'0' * 12}")  # a copy of this machine, on the same network folder
    temporary_name(tmp_path / "a")
    assert set(tmp_path.iterdir()) == left
