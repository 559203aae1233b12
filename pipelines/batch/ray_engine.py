"""The same batch on a Ray cluster: every worker has its own pipeline and publishes its items by itself.

Ray gives a task back to another worker when one dies, and may then run it twice; since an item is published in one
step, and a worker first looks whether it is there, it exists once all the same. The folder must be seen by all workers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from twinset.errors import InputError
from twinset.pipelines.batch.ledger import Ledger
from twinset.pipelines.batch.manifest import Item
from twinset.pipelines.batch.run import BatchOutcome, Draw, Gate, State, Told, draw_item, paused


class RayWorker:
    """What runs in one Ray actor.

    Args:
        make: makes the function that draws; called once, where the actor is.
        out: folder of the batch.
        formats: made of every picture.
        gate: called before each item.
    """

    def __init__(self, make: Callable[[], Draw], out: Path, formats: Sequence[str], gate: Gate):
        self.draw, self.ledger, self.formats, self.gate = make(), Ledger(out), formats, gate

    def work(self, item: Item) -> tuple[State | str, float]:
        """Draw an item unless it is there; its state and seconds."""
        started = time.perf_counter()
        state = "kept" if self.ledger.done(item) else draw_item(self.ledger, item, self.draw, self.formats, self.gate)
        return state, time.perf_counter() - started


def run_batch_on_ray(
    items: Sequence[Item],
    out: Path,
    make: Callable[[], Draw],
    formats: Sequence[str] = ("original",),
    *,
    retry: bool = False,
    gate: Gate,
    told: Told = lambda item, state, seconds: None,
    workers: int | None = None,
    resources: dict[str, float] | None = None,
) -> BatchOutcome:
    """Draw what is missing on the cluster that `RAY_ADDRESS` names, or on this machine.

    Args:
        items: all items of the manifest.
        out: folder of the batch, the same on all machines.
        make: makes the function that draws, in each worker.
        formats: made of every picture.
        retry: only items that failed before.
        gate: called before each item, in the workers.
        told: called after every item.
        workers: actors; one per GPU, or one per two cores, when None.
        resources: `num_cpus`, `num_gpus` of each.

    Raises:
        InputError: Ray is not installed, or another process works on the folder.
    """
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError("--engine ray needs the package ray; run: pip install 'twinset[ray]'") from None
    ray.init(ignore_reinit_error=True, log_to_driver=False)
    ledger = Ledger(out)
    with paused(out), ledger.claimed():
        chosen = [item for item in items if not retry or ledger.failure(item.name)]
        found: dict[str, Any] = ray.cluster_resources()
        count = workers or int(found.get("GPU", 0)) or max(1, int(found.get("CPU", 1)) // 2)
        options: dict[str, Any] = {"max_restarts": -1, "max_task_retries": -1} | (resources or {})
        kind: Any = ray.remote(**options)(RayWorker)
        actors = [kind.remote(make, out.absolute(), tuple(formats), gate) for _ in range(min(count, len(chosen) or 1))]
        states = _spread(ray, actors, chosen, told)
        for actor in actors:
            ray.kill(actor)
        failures = {item.name: ledger.failure(item.name) for item in items}
    drawn, kept = states.count("done"), states.count("kept")
    return BatchOutcome(drawn, kept, {name: entry["reason"] for name, entry in failures.items() if entry})


def _spread(ray: Any, actors: list[Any], items: Sequence[Item], told: Told) -> list[str]:
    """Give every actor one item after another; the states of all."""
    waiting, running, states = list(items), {}, []
    idle = list(actors)
    while waiting or running:
        while waiting and idle:
            actor, item = idle.pop(), waiting.pop(0)
            running[actor.work.remote(item)] = (actor, item)
        (ready,), _ = ray.wait(list(running), num_returns=1)
        actor, item = running.pop(ready)
        try:
            state, seconds = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None  # as the same error is told without Ray
        told(item, state, seconds)
        states.append(state)
        idle.append(actor)
    return states
