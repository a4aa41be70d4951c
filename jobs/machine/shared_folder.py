"""Whether all nodes of a Ray cluster see a folder of this machine."""

from __future__ import annotations

import uuid
from pathlib import Path

from pipelines.errors import MachineError, first_line

_SECONDS = 120


def require_shared(folder: Path) -> None:
    """Require that every node that does work sees the lake's folder, and may write to it.

    Tasks write their files where they run: on a node with a folder of its own they would be lost, and
    commits would name files that nobody else can read.

    Args:
        folder: the lake's, on this machine.

    Raises:
        MachineError: a node does not see it.
    """
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    alive = [node for node in ray.nodes() if node["Alive"]]
    if len(alive) < 2:
        return
    probe = folder / f"_probe-{uuid.uuid4().hex}"
    probe.mkdir(parents=True)
    (probe / "driver").write_text("", encoding="utf-8")
    look = ray.remote(num_cpus=0, max_retries=0)(_look)
    asked = {}
    for node in alive:
        if node["Resources"].get("CPU", 0) or node["Resources"].get("GPU", 0):
            where = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
            asked[node["NodeID"]] = look.options(scheduling_strategy=where).remote(
                str(probe), node["NodeID"]
            )
    try:
        found = {node: ray.get(answer, timeout=_SECONDS) for node, answer in asked.items()}
        blind = [
            node["NodeManagerHostname"]
            for node in alive
            if node["NodeID"] in found
            and not (found[node["NodeID"]] and (probe / node["NodeID"]).exists())
        ]
    except RayError as error:
        raise MachineError(
            f"ray.address: a node of the cluster did not answer ({first_line(error)}); look at its "
            "state with `ray status`"
        ) from None
    finally:
        for file in probe.iterdir():
            file.unlink()
        probe.rmdir()
    if blind:
        raise MachineError(
            f"lake.uri: {folder} must be seen by every node of the Ray cluster, "
            f"{', '.join(sorted(set(blind)))} does not see it; use an object store (s3://, gs://, "
            "abfs://), or a folder that all nodes mount"
        )


def _look(probe: str, node: str) -> bool:
    """Whether this node sees the driver's file; if so, it leaves one of its own."""
    folder = Path(probe)
    if not (folder / "driver").exists():
        return False
    try:
        (folder / node).write_text("", encoding="utf-8")
    except OSError:
        return False
    return True
