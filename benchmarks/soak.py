"""The service at twice what it can draw, on loopback, with clients that misbehave and workers that are killed.

    python -m twinset.benchmarks.soak --minutes 10
    python -m twinset.benchmarks.soak --minutes 0.5 --out /tmp/soak

Asked of it: every job that was accepted has one final state in the end, none is lost, nothing fails with 5xx, and the
service's memory does not grow with the time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.progress import track

from twinset.pipelines.record import machine

ORDER: dict[str, Any] = {"prompt": "short hair, red dress, beach", "steps": 2, "repair": False, "candidates": 1}
BROKEN = b"\x89PNG\r\n\x1a\n" + bytes(100)
ENDED = ("done", "failed", "cancelled")
WARM_UP, CLIENTS, ROOM = 0.25, 4, 40
"""Share of the time in which memory may grow; threads that send; pictures that may wait."""


@dataclass
class Load:
    """Clients of a service.

    Attributes:
        url: of the service.
        rate: requests a second, of all clients together.
        statuses: HTTP status → answers.
        accepted: ids of the jobs that were accepted.
        deleted: those of them that were deleted.
    """

    url: str
    rate: float
    statuses: Counter[int] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, until: float, seed: int) -> None:
        """Send until a time, as one of the clients."""
        rng = random.Random(seed)
        with httpx.Client(base_url=self.url, timeout=60.0) as client:
            while time.monotonic() < until:
                time.sleep(rng.expovariate(self.rate / CLIENTS))
                self.one(client, rng)

    def one(self, client: httpx.Client, rng: random.Random) -> None:
        """Mostly an order; now and then one sent twice, cancelled or deleted, a look, or a broken picture."""
        kind = rng.random()
        if kind < 0.05:
            self._told(client.post("/v1/uploads", files={"file": ("x.png", BROKEN)}))
            return
        if kind < 0.10:
            self._told(client.get("/v1/jobs"))
            return
        headers = {"Idempotency-Key": f"{rng.getrandbits(64):x}"}
        order = ORDER | {"seed": rng.randrange(10**6)}
        job = self._ordered(client.post("/v1/jobs", json=order, headers=headers))
        if job is not None and kind < 0.20:
            again = self._ordered(client.post("/v1/jobs", json=order, headers=headers))
            if again != job:
                raise AssertionError(f"one Idempotency-Key gave {job} and {again}")
        if job is not None and 0.20 <= kind < 0.25:
            self._told(client.post(f"/v1/jobs/{job}/cancel"))
        if job is not None and 0.25 <= kind < 0.28:
            self._told(client.delete(f"/v1/jobs/{job}"))
            with self.lock:
                self.deleted.add(job)

    def _ordered(self, answer: httpx.Response) -> str | None:
        self._told(answer)
        if answer.status_code != 202:
            return None
        with self.lock:
            self.accepted.add(job := answer.json()["id"])
        return job

    def _told(self, answer: httpx.Response) -> None:
        with self.lock:
            self.statuses[answer.status_code] += 1


def capacity(url: str, pictures: int = 20) -> float:
    """Pictures a second, of some that are ordered at once."""
    with httpx.Client(base_url=url, timeout=60.0) as client:
        drawn_selfies(
            client, [client.post("/v1/jobs", json=ORDER | {"seed": 1}).json()["id"]]
        )  # the first one loads things
        began = time.monotonic()
        drawn_selfies(client, [client.post("/v1/jobs", json=ORDER | {"seed": n}).json()["id"] for n in range(pictures)])
    return pictures / (time.monotonic() - began)


def drawn_selfies(client: httpx.Client, jobs: Sequence[str], patience: float = 600.0) -> Counter[str]:
    """Wait until jobs have ended; their states, "lost" of those that are not there, "open" of those still waiting."""
    states: dict[str, str] = dict.fromkeys(jobs, "open")
    until = time.monotonic() + patience
    while "open" in states.values() and time.monotonic() < until:
        for job in [one for one, state in states.items() if state == "open"]:
            answer = client.get(f"/v1/jobs/{job}")
            state = answer.json()["state"] if answer.is_success else "lost"
            states[job] = state if state in (*ENDED, "lost") else "open"
        time.sleep(0.2)
    return Counter(states.values())


@dataclass
class Watch:
    """Memory of processes over the time.

    Attributes:
        process: the service.
        samples: seconds since the beginning, MiB of the service, and MiB of its children together.
    """

    process: psutil.Process
    samples: list[tuple[float, float, float]] = field(default_factory=list)

    def look(self, since: float) -> None:
        """Take a sample."""
        children = 0
        for child in self.process.children(recursive=True):
            try:
                children += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        own = self.process.memory_info().rss
        self.samples.append((time.monotonic() - since, own / 2**20, children / 2**20))

    def told(self) -> dict[str, Any]:
        """Largest values, and the slope of the service's memory after the warm-up, MiB a minute."""
        times, own, children = np.array(self.samples).T
        late = times >= WARM_UP * times[-1]
        slope = 60 * float(np.polyfit(times[late], own[late], 1)[0]) if late.sum() > 2 else None
        return {
            "service_mib": [round(float(own[late][0]), 1), round(float(own[-1]), 1), round(float(own.max()), 1)],
            "workers_mib_most": round(float(children.max()), 1),
            "service_mib_a_minute": None if slope is None else round(slope, 3),
        }


def soak(
    url: str, watch: Watch, minutes: float, strike: Callable[[], None] | None = None, every: float = 90.0
) -> dict[str, Any]:
    """Load a service, look at it, wait for its queue to run dry, and say what became of every job.

    Args:
        url: of the service.
        watch: of its process.
        minutes: of load.
        strike: kills a worker.
        every: seconds between strikes.
    """
    able = capacity(url)
    load, began = Load(url, 2 * able), time.monotonic()
    clients = [threading.Thread(target=load.run, args=(began + 60 * minutes, seed)) for seed in range(CLIENTS)]
    for client in clients:
        client.start()
    kills = 0
    for _ in track(range(max(1, int(60 * minutes))), "soaking", console=Console(stderr=True)):
        time.sleep(1)
        watch.look(began)
        if strike is not None and time.monotonic() - began > every * (kills + 1):
            strike()
            kills += 1
    for client in clients:
        client.join()
    spent = time.monotonic() - began
    with httpx.Client(base_url=url, timeout=60.0) as client:
        states = drawn_selfies(client, sorted(load.accepted - load.deleted))
        left = drawn_selfies(client, sorted(load.deleted))
    watch.look(began)
    return {
        "minutes": round(spent / 60, 2), "pictures_a_second": round(able, 2), "asked_a_second": round(2 * able, 2),
        "answers": {str(status): count for status, count in sorted(load.statuses.items())}, "kills": kills,
        "accepted": len(load.accepted), "states": dict(states), "deleted": dict(left), **watch.told(),
    }  # fmt: skip


def faults(result: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    states, found = result["states"], []
    if states.get("lost", 0) or states.get("open", 0):
        found.append(f"jobs that were accepted are lost or open: {states}")
    if set(result["deleted"]) - {"lost"}:
        found.append(f"deleted jobs are still there: {result['deleted']}")
    if broken := {status: n for status, n in result["answers"].items() if status >= "500"}:
        found.append(f"the service failed: {broken}")
    first, last, _ = result["service_mib"]
    if last > 1.25 * first + 64:
        found.append(f"the service's memory grew from {first} to {last} MiB after the warm-up")
    return found


def soak_page(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    first, last, most = result["service_mib"]
    rows = {
        "minutes of load": result["minutes"],
        "drawn a second before, and asked for a second": f"{result['pictures_a_second']}, {result['asked_a_second']}",
        "answers by status": ", ".join(f"{status}: {n}" for status, n in result["answers"].items()),
        "workers killed": result["kills"],
        "jobs accepted, and their ends": f"{result['accepted']}: {result['states']}",
        "deleted while they waited": sum(result["deleted"].values()),
        "service, MiB after the warm-up, at the end, most": f"{first}, {last}, {most}",
        "service, MiB a minute after the warm-up": result["service_mib_a_minute"],
        "workers, MiB at most": result["workers_mib_most"],
        "not as it should be": "; ".join(result["faults"]) or "nothing",
    }
    told = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return f"Bundled model, 2 steps a picture.\n\n| soak | |\n| --- | --- |\n{told}\n"


def serve_under_load(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    """A service of its own on loopback, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "twinset", "serve", "--open", "--port", str(port), "--root", str(root)]
    with (root / "log").open("wb") as out:
        process = subprocess.Popen([*command, "--room", str(ROOM)], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    for _ in range(240):
        time.sleep(0.5)
        try:
            if httpx.get(f"{url}/ready").status_code == 200:
                return process, url
        except httpx.TransportError:
            continue
    raise RuntimeError(f"the service did not start; see {root / 'log'}")


def strike_worker(process: psutil.Process) -> None:
    """Kill the largest child: the one with the model."""
    children = process.children(recursive=True)
    os.kill(max(children, key=lambda child: child.memory_info().rss).pid, signal.SIGKILL)


def main(arguments: Sequence[str] | None = None) -> None:
    """Soak; write `soak.json` and `.md`; exit with 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    o = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        process, url = serve_under_load(Path(folder))
        try:
            watched = psutil.Process(process.pid)
            result = soak(url, Watch(watched), o.minutes, lambda: strike_worker(watched))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(90)
    result |= {"faults": faults(result), "machine": machine("cpu")}
    o.out.mkdir(parents=True, exist_ok=True)
    (o.out / "soak.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (o.out / "soak.md").write_text(soak_page(result), encoding="utf-8")
    Console().print(soak_page(result), markup=False, soft_wrap=True)
    sys.exit(1 if result["faults"] else 0)


if __name__ == "__main__":
    main()
