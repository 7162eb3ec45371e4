"""Plain lines off a terminal, a bar on one."""

import io

from rich.console import Console

from mimic.runs.progress import Progress
from mimic.runs.terminal import ProgressDisplay, duration


def told(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, markup=False)
    with ProgressDisplay(console) as display:
        for done in (100, 150, 300):
            display(Progress("[red]r", done, 300, resumed=100, unreadable=done // 100))
    return out.getvalue()


def test_plain_lines() -> None:
    lines = told(terminal=False).splitlines()
    assert lines[0] == "run [red]r: 100 of 300 samples are done, going on"
    assert lines[-1].startswith("300 of 300 (100%) · ")
    assert lines[-1].endswith("images/s · 3 unreadable")
    assert "\x1b" not in "".join(lines)
    assert len(lines) == 2


def test_the_rate_is_of_what_is_counted() -> None:
    out = io.StringIO()
    with ProgressDisplay(Console(file=out)) as display:
        for done in (0, 160):
            display(Progress("r", done, 160, 0, 0, "fits"))
    assert out.getvalue().startswith("run r: 160 fits\n160 of 160 (100%) · ")
    assert out.getvalue().endswith(" fits/s\n")


def test_a_bar_is_drawn_over_itself() -> None:
    assert "\x1b[" in told(terminal=True)


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 59.4, 59.6, 3599, 3600, 90061)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "1 h 0 min",
        "25 h 1 min",
    ]
