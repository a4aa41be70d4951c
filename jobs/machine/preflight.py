"""Find a run's mistakes before anything is started or written.

`restem run` reads the problems once, for these checks and for its first stage. `restem plan` refuses
what a run would refuse, as far as that is known without a download or an engine, and on the machines
that answer from here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.machine.accelerators import plan_accelerators, require_accelerators
from jobs.machine.places import require_own_folder, require_writable
from jobs.machine.sessions import require_clusters
from pipelines.checkpoints.base_model import (
    base_model_at_hand,
    resolve_base_model,
    with_model_content,
)
from pipelines.checkpoints.policy import policy_id_of
from pipelines.config import RunConfig, SourceConfig
from pipelines.config.problems import names_a_file
from pipelines.config.suites import (
    rewards_by_suite,
    suite_sources,
    suites_of,
    verifiers_by_split,
)
from pipelines.datasets.contents import with_contents
from pipelines.datasets.locations import expanded
from pipelines.errors import InputError
from pipelines.lake.books import Books
from pipelines.lake.location import Location
from pipelines.lake.reader import LakeReader
from pipelines.lake.stored_run import pinned_config
from pipelines.lake.tables import refuse_another_version
from pipelines.placement.model_memory import RowLengths
from pipelines.rewards.resolve import resolve_reward
from pipelines.runs.prompt_lengths import (
    check_max_tokens,
    check_prompt_lengths,
    training_row_lengths,
)
from pipelines.runs.reuse import samples_to_take
from pipelines.runs.reward_trial import try_rewards
from pipelines.runs.steps import steps_of
from pipelines.runtime.version import code_version
from pipelines.scoring.majority_vote import voting
from pipelines.stages.few_shot import require_template
from pipelines.stages.ingest import (
    SourceRows,
    check_human_solutions,
    check_problems,
    read_sources,
    refuse_duplicates,
    sources_of,
)
from pipelines.tuning.token_counts import token_counts_of

if TYPE_CHECKING:
    import pyarrow as pa

Say = Callable[[str], None]


def pinned_to_contents(config: RunConfig, *, ask_hub: bool = False) -> RunConfig:
    """The configuration with what its sources and its base model hold, which the run is pinned to.

    Args:
        config: the run's.
        ask_hub: whether to ask the hub for the commit of the base model, if the run is new.

    Raises:
        LakeError: another version of restem made the run of this name, or the lake cannot be read.
    """
    pinned = pinned_config(LakeReader(Location.of(config.lake)), config.name)
    return with_model_content(with_contents(config, pinned), pinned, ask_hub=ask_hub)


def preflight(
    config: RunConfig,
    stages: Collection[str],
    sources: SourceRows | None,
    start_ray: Callable[[], None],
    say: Say,
) -> None:
    """Require that everything the configuration names can be used.

    These are rewards, templates, environment variables in locations, clusters, the base model, which
    is downloaded or converted, the problems, with their prompts' lengths and the rewards on some of
    their references, and the GPUs or processors that are to sample and train.

    Args:
        config: the run's.
        stages: names of the stages to come.
        sources: the problems' rows; None if they are in the lake, and were checked before.
        start_ray: connects to Ray; called only if the configuration names a cluster.
        say: called with one line per warning.

    Raises:
        RestEMError: one of them cannot be used.
    """
    _check_settings(config)
    for source in config.problems.sources:
        expanded(source.location, "problems.sources.location")
    for name, source in suite_sources(config):
        expanded(source.location, f"evaluation.suites ({name}).source.location")
    for prompt in (config.prompt, *(suite.prompt for suite in suites_of(config))):
        expanded(prompt.exemplars_folder or "", "prompt.exemplars_folder")
    require_clusters(config)
    checkpoint, lengths = resolve_base_model(config.model), None
    if sources is not None:
        rows, count = sources.read(), token_counts_of(checkpoint)
        check_problems(config.problems, rows)
        check_human_solutions(config, rows)
        check_prompt_lengths(config, rows, count, say)
        try_rewards(config, rows)
        lengths = training_row_lengths(config, rows, count)
    require_accelerators(config, stages, checkpoint, lengths, start_ray, say)


@dataclass(frozen=True)
class PlanChecks:
    """What `restem plan` found, one line per thing."""

    checks: list[str]
    """What was checked, and what was not."""
    machines: list[str]
    """The machines that are seen, and what a run would place on them."""


def check_plan(config: RunConfig, say: Say) -> PlanChecks:
    """Refuse what a run would refuse.

    Args:
        config: the run's, see `pinned_to_contents`.
        say: called with one line per warning.

    Raises:
        RestEMError: the run would be refused.
    """
    require_writable(config)
    require_own_folder(config)
    location = Location.of(config.lake)
    books = Books(location, config, code_version())
    refuse_another_version(location)
    books.refuse_another_config()
    _check_settings(config)
    checkpoint = base_model_at_hand(config.model)
    seals = books.seals()
    if (0, "ingest") in seals:
        lines = [f"checked: run {config.name} has these settings, and its problems are in the lake"]
        lengths = None
    else:
        lines, lengths = _check_problems(config, checkpoint, say)
    pending = {
        step.stage.name
        for step in steps_of(config)
        if step.key not in seals or not set(step.stage.covers) <= set(seals[step.key].covers)
    }
    return PlanChecks(lines, plan_accelerators(config, pending, checkpoint, lengths, say))


def _check_problems(
    config: RunConfig, checkpoint: Path | None, say: Say
) -> tuple[list[str], RowLengths | None]:
    """What was checked of the problems, and the training rows' lengths, as far as they are known."""
    at_hand = [(suite, source) for suite, source in sources_of(config) if _is_at_hand(source)]
    away = [source.location for _, source in sources_of(config) if not _is_at_hand(source)]
    rows = read_sources(config, at_hand)
    if not away:
        check_problems(config.problems, rows)
        check_human_solutions(config, rows)
    elif config.problems.duplicates == "refuse":
        refuse_duplicates(rows)
    lines, lengths = [], None
    if rows.num_rows:
        num_tried = try_rewards(config, rows)
        lines.append(f"checked: {rows.num_rows:,} problems, rewards on {num_tried} references")
        if checkpoint is not None:
            count = token_counts_of(checkpoint)
            longest = check_prompt_lengths(config, rows, count, say)
            limit = config.model.max_model_len
            lines.append(f"checked: prompts have at most {longest:,} of {limit:,} tokens")
            lengths = None if away else training_row_lengths(config, rows, count)
            lines += _to_take(config, rows, checkpoint)
    lines += [
        f"not checked: the problems of {place}, which are not on this machine"
        for place in dict.fromkeys(away)
    ]
    if checkpoint is None:
        lines.append(
            f"not checked: {config.model.base_model} and the prompts' lengths; it is not on this "
            "machine yet"
        )
    return lines, lengths


def _to_take(config: RunConfig, rows: pa.Table, checkpoint: Path) -> list[str]:
    """One line per run of the lake whose samples of the base model would be taken."""
    reader = LakeReader(Location.of(config.lake))
    if not config.lake.reuse:
        return []
    questions = {str(question) for question in rows["question"].to_pylist()}
    found = samples_to_take(config, questions, policy_id_of(checkpoint), reader)
    return [
        f"would take {number:,} samples of the base model from run {run} (--no-reuse draws them anew)"
        for run, number in found.items()
    ]


def _check_settings(config: RunConfig) -> None:
    check_max_tokens(config)
    further = chain.from_iterable(verifiers_by_split(config).values())
    for reward in (config.reward, *rewards_by_suite(config).values(), *further):
        resolve_reward(reward)
    if config.curate.majority_vote:
        voting(config.reward)
    for prompt in (config.prompt, *(suite.prompt for suite in suites_of(config))):
        require_template(prompt)


def _is_at_hand(source: SourceConfig) -> bool:
    """Whether a source can be read without a network; true of a local file that is missing."""
    if source.kind in ("generator", "reasoning_gym"):
        return True
    try:
        place = expanded(source.location, "problems.sources.location")
    except InputError:
        return False
    if "://" in place:
        return False
    return names_a_file(source.kind, place) or Path(place).expanduser().exists()
