"""What a training tells while it runs, on a terminal and in a log file."""

from __future__ import annotations

import io
import re

from rich.console import Console

from twinset.training.reports.bar import LogLines, progress_of


def test_a_log_file_gets_a_line_every_half_minute() -> None:
    now, lines = [0.0], list[str]()
    tell = LogLines("jacket", 400, lines.append, lambda: now[0])
    for step in range(0, 401, 10):  # 2 s each
        tell(step / 400, step, {"loss": 0.125, "inside": 1.0})
        now[0] += 20
    assert len(lines) == 20
    assert lines[0] == "jacket: step 20/400, 5%, 2.0 s/step, 12:40 left, loss 0.125  inside 1"
    assert lines[-1].startswith("jacket: step 400/400, 100%, 2.0 s/step, done, loss")


def test_a_resumed_run_tells_its_own_rate() -> None:
    now, lines = [0.0], list[str]()
    tell = LogLines("x", 400, lines.append, lambda: now[0])
    tell(0.5, 200, {})
    now[0] = 40.0
    tell(0.75, 300, {})
    assert lines == ["x: step 300/400, 75%, 2.50 steps/s, 0:40 left, "]


def test_what_is_no_terminal_gets_lines_and_a_narrow_one_keeps_the_time_left() -> None:
    file = io.StringIO()
    with progress_of("jacket", 4, Console(file=file, width=80)) as advance:
        for step in range(5):
            advance(step / 4, step, {"loss": 0.5})
    assert file.getvalue().splitlines()[-1].startswith("jacket: step 4/4, 100%, ")

    screen = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with progress_of("a_jacket_with_a_long_name", 12000, screen) as advance:
        for step in (0, 5000, 6000):
            advance(step / 12000, step, {"loss": 0.123456, "inside": 0.5, "kept": 0.25})
    shown = [line for line in re.split(r"[\r\n]+", screen.file.getvalue()) if "6000/12000" in line]  # type: ignore[attr-defined]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown[-1])
    assert re.search(r"\d:\d\d:\d\d +(-|\d+):..(:..)? +loss 0\.1235", plain)
