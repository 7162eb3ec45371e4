"""What every benchmark does with its table: print it, write results/NAME.csv, and keep its section of docs/results.md.

docs/results.md is generated: a benchmark replaces its own section and leaves the others as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Results

Generated: each section by the command named in it, which also writes the table in `results/`.
"""


@dataclass(frozen=True)
class Section:
    """A section of docs/results.md.

    Attributes:
        name: its key; lower-case letters, digits and underscores.
        title: its heading.
        command: what makes it.
        body: Markdown.
    """

    name: str
    title: str
    command: str
    body: str

    def __str__(self) -> str:
        marks = f"<!-- {self.name}: begin -->", f"<!-- {self.name}: end -->"
        return f"{marks[0]}\n## {self.title}\n`{self.command}`\n\n{self.body.strip()}\n{marks[1]}\n"


def write_csv(name: str, table: pd.DataFrame, root: Path = ROOT) -> Path:
    """Writes results/NAME.csv, floats to six significant digits, and returns its path."""
    path = root / "results" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    return path


def write_section(section: Section, root: Path = ROOT) -> Path:
    """Puts a section into docs/results.md, in place of its earlier self or at the end, and returns the file's path."""
    path = root / "docs" / "results.md"
    path.parent.mkdir(exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else HEAD
    earlier = re.compile(rf"<!-- {section.name}: begin -->\n.*?<!-- {section.name}: end -->\n", re.DOTALL)
    replaced, times = earlier.subn(lambda _: str(section), text)
    path.write_text(replaced if times else f"{text.rstrip()}\n\n{section}", encoding="utf-8")
    return path


def markdown(table: pd.DataFrame, decimals: int = 3) -> str:
    """A table in Markdown: floats with so many decimals, other numbers with thousands' commas, NaN as a dash."""
    rows = [[_cell(value, decimals) for value in row] for row in table.itertuples(index=False)]
    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]
    lines = [list(map(str, table.columns)), ["--:" if each else "---" for each in numeric], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object, decimals: int) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, float):
        return f"{value:,.{decimals}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
