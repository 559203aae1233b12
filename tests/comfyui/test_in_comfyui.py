"""The node pack inside ComfyUI itself, where `COMFYUI` names a checkout of it with its packages installed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.comfyui_stand_in import PACK, load_pack

COMFYUI = Path(os.environ.get("COMFYUI", "")) / "main.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (os.environ.get("COMFYUI") and COMFYUI.is_file()), reason="COMFYUI names no checkout"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """ComfyUI on loopback with the pack among its custom nodes."""
    base = tmp_path_factory.mktemp("comfyui")
    (base / "custom_nodes").mkdir()
    (base / "custom_nodes" / "twinset").symlink_to(PACK)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(COMFYUI), "--cpu", "--port", str(port), "--base-directory", str(base)]
    with subprocess.Popen(command, cwd=COMFYUI.parent) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/system_stats", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
        process.terminate()


def asked(url: str, order: Any = None) -> Any:
    body = None if order is None else json.dumps(order).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def test_every_node_is_known_to_comfyui(address: str) -> None:
    known = asked(f"{address}/object_info")
    for name in load_pack().NODE_CLASS_MAPPINGS:
        assert known[name]["category"] == "Twinset"


@pytest.mark.parametrize("workflow", sorted(path.name for path in (PACK / "api_workflows").glob("*.json")))
def test_the_workflows_pass_comfyuis_own_checks(address: str, workflow: str) -> None:
    """What a workflow lacks here is its pictures alone: ComfyUI knows every node, input and value."""
    order = json.loads((PACK / "api_workflows" / workflow).read_text())
    answer = asked(f"{address}/prompt", {"prompt": order})
    errors = {
        fault["extra_info"]["input_name"] for node in answer.get("node_errors", {}).values() for fault in node["errors"]
    }
    assert "prompt_id" in answer or errors <= {"image"}, answer
