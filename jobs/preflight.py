"""What can be known to fail is found before anything is started or written.

Problems are not looked at here: `ingest` is the first stage, and reads them before it commits.
"""

from __future__ import annotations

from jobs.sessions import require_clusters
from pipelines.config import RunConfig
from pipelines.embedded_model import resolve_base_model
from pipelines.rewards.resolve import resolve_reward


def preflight(config: RunConfig) -> None:
    """Check what the configuration names: reward, clusters, model.

    Raises:
        RestEMError: one of them cannot be used.
    """
    resolve_reward(config.reward)
    require_clusters(config)
    resolve_base_model(config.model)
