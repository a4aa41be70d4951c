"""What may change under a run's name, and what may not.

A run's name is pinned to the settings that decide its rows. Three things may grow, because what is
there stays as it is: the number of iterations, the suites, and the longest context as long as no
stored solution reached it.
"""

from __future__ import annotations

from collections.abc import Callable

from pipelines.config import RunConfig
from pipelines.config.flatten import changed_settings


def refused_changes(stored: RunConfig, given: RunConfig, cut_at: Callable[[int], int]) -> list[str]:
    """The changes that the run's name does not allow, each as `setting: old -> new`.

    Args:
        stored: the configuration that the name is pinned to.
        given: the one of this start.
        cut_at: number of stored samples of the run that a context of this length cut or kept out.
    """
    changes = changed_settings(stored.pinned(), given.pinned())
    old, new = stored.growing(), given.growing()
    if new.num_iterations < old.num_iterations:
        changes.append(f"num_iterations: {old.num_iterations} -> {new.num_iterations} (may grow)")
    elif new.num_iterations > old.num_iterations and _last_draws_differ(stored):
        changes.append(
            f"num_iterations: {old.num_iterations} -> {new.num_iterations} (cannot grow: the last "
            f"policy drew evaluation.final_train_samples = {stored.evaluation.final_train_samples} "
            "solutions per training problem, which another iteration would need as an E-step of "
            f"sampling.num_samples_per_problem = {stored.sampling.num_samples_per_problem})"
        )
    for name, suite in old.suites.items():
        if name not in new.suites:
            changes.append(f"evaluation.suites: {name} is missing (suites may be added)")
        else:
            changes += changed_settings(suite, new.suites[name], f"evaluation.suites.{name}.")
    if new.max_model_len != old.max_model_len:
        line = f"model.max_model_len: {old.max_model_len} -> {new.max_model_len}"
        if new.max_model_len < old.max_model_len:
            changes.append(f"{line} (may grow)")
        else:
            num_cut = cut_at(old.max_model_len)
            if num_cut:
                changes.append(f"{line} (cannot grow: {num_cut:,} stored solutions reached it)")
    return changes


def _last_draws_differ(config: RunConfig) -> bool:
    final = config.evaluation.final_train_samples
    return final not in (0, config.sampling.num_samples_per_problem)
