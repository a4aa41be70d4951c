"""The policy that a stage is given as an input."""

from __future__ import annotations

from pipelines.checkpoints.policy import PolicyRef
from pipelines.stage import Snapshot


def policy_of(policies: Snapshot) -> PolicyRef:
    """The policy of an iteration's row in `policies`."""
    row = policies.arrow(["policy_id", "checkpoint_uri"]).to_pylist()[0]
    return PolicyRef(row["policy_id"], row["checkpoint_uri"])
