"""How far a training is: a bar on a terminal, a line every half minute in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

EVERY = 30.0
"""Seconds between lines where there is no terminal."""
Advance = Callable[[float, int, Mapping[str, float]], None]
"""Takes the share that is done, the step, and figures."""


@contextmanager
def progress_of(name: str, steps: int | None, console: Console | None = None, shown: bool = True) -> Iterator[Advance]:
    """A bar with its time left where somebody looks, else lines such as "jacket: step 120/400, 2.1 steps/s, …".

    Args:
        name: of the run.
        steps: of the whole run; None where only its time is known.
        console: standard error's when absent.
        shown: whether anything is.
    """
    console = console or Console(stderr=True)
    if not shown:
        yield lambda done, step, figures: None
    elif console.is_terminal:
        with _bar(name, steps, console) as advance:
            yield advance
    else:
        yield LogLines(name, steps, lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True))


@contextmanager
def _bar(name: str, steps: int | None, console: Console) -> Iterator[Advance]:
    """Figures are cut off before the time left is: with 80 columns there is room for the loss."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[at]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[line]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=1, expand=True) as bar:
        task = bar.add_task(name[:16], total=1.0, at="", line="")

        def advance(done: float, step: int, figures: Mapping[str, float]) -> None:
            room = max(0, console.width - 64)
            line = _figures(figures)[: max(12, room)]
            bar.update(task, completed=min(done, 1.0), at=f"{step}/{steps}" if steps else str(step), line=line)

        yield advance


class LogLines:
    """Prints a line at most every `EVERY` seconds, and at the end.

    Args:
        name: of the run.
        steps: of the whole run.
        write: takes a line.
        clock: seconds.
    """

    def __init__(
        self, name: str, steps: int | None, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ):
        self.name, self.steps, self.write, self.clock = name, steps, write, clock
        self.began: tuple[float, float, int] | None = None  # time, share and step at the first call
        self.last = clock()

    def __call__(self, done: float, step: int, figures: Mapping[str, float]) -> None:
        """Tell how far it is, if it is time to."""
        now = self.clock()
        if self.began is None:
            self.began = (now, done, step)
        if now - self.last < EVERY and done < 1:
            return
        self.last = now
        then, share, first = self.began
        rate = (step - first) / (now - then) if now > then else 0.0
        left = (now - then) * (1 - done) / (done - share) if done > share else None
        at = f"step {step}/{self.steps}" if self.steps else f"step {step}"
        speed = f"{rate:.2f} steps/s" if rate >= 1 or not rate else f"{1 / rate:.1f} s/step"
        ends = "done" if done >= 1 else f"{_clock(left)} left"
        self.write(f"{self.name}: {at}, {done:.0%}, {speed}, {ends}, {_figures(figures)}")


def _figures(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "unknown time"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
