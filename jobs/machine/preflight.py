"""Find a run's mistakes before anything is started or written.

Problems are not read here: `ingest`, the first stage, reads all of them before it commits any.
"""

from __future__ import annotations

from itertools import chain

from jobs.machine.sessions import require_clusters
from pipelines.config import RunConfig
from pipelines.config.suites import (
    rewards_by_suite,
    suite_sources,
    suites_of,
    verifiers_by_split,
)
from pipelines.datasets.locations import expanded
from pipelines.rewards.resolve import resolve_reward
from pipelines.tuning.base_model import resolve_base_model


def preflight(config: RunConfig) -> None:
    """Require that everything the configuration names can be used.

    These are rewards, environment variables in locations, clusters, and the base model, which is
    downloaded or converted.

    Raises:
        RestEMError: one of them cannot be used.
    """
    further = chain.from_iterable(verifiers_by_split(config).values())
    for reward in (config.reward, *rewards_by_suite(config).values(), *further):
        resolve_reward(reward)
    for source in config.problems.sources:
        expanded(source.location, "problems.sources.location")
    for name, source in suite_sources(config):
        expanded(source.location, f"evaluation.suites ({name}).source.location")
    for prompt in (config.prompt, *(suite.prompt for suite in suites_of(config))):
        expanded(prompt.exemplars_folder or "", "prompt.exemplars_folder")
    require_clusters(config)
    resolve_base_model(config.model)
