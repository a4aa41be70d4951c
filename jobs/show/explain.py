"""Print the full lineage of a sample."""

from __future__ import annotations

from rich.console import Console

from jobs.show.console import cell, console, heading, table
from pipelines.lake.query_results import Row
from pipelines.results.lineage import Lineage
from schemas.samples import STOP

NOT_KEPT = {
    "engine_killed": "it has no solution: its prompt kills the engine",
    "reward_not_above_threshold": "its reward is not above the threshold",
    "no_end": "it was cut at the token limit, or its prompt was too long, so it has no end to learn",
    "too_long_to_train": "with its prompt and its end it is longer than model.max_model_len",
    "duplicate_solution": "the problem has an equal solution that was kept",
    "over_cutoff": "the problem already had `cutoff` solutions, by the seeded order",
    "over_balance_limit": "the balance limit (curate.max_rows) left it out",
}
"""Why a sample is not in the training set, by its selection's reason."""


def show_lineage(lineage: Lineage) -> None:
    """Print a sample's lineage, from its problem to the policy trained on it."""
    out = console()
    sample = lineage.sample
    where = f"run {sample['run_id']}, iteration {sample['iteration']}"
    out.print(f"sample {sample['sample_id']} ({where})", style="bold")
    if lineage.other_runs:
        others = ", ".join(lineage.other_runs)
        out.print(f"  in other runs too: {others}; --run NAME shows that one", style="yellow")
    _problem(out, lineage.problem, sample["problem_id"])
    _prompt(out, lineage.prompt)
    heading(out, f"Policy {sample['policy_id']}")
    if lineage.policies and lineage.policies[0]["policy_id"] != sample["policy_id"]:
        out.print("  its checkpoint was lost; trained again, it has other weights:")
    for policy in lineage.policies:
        out.print(f"  {_origin(policy)}")
        out.print(f"    {policy['checkpoint_uri']}", style="dim")
    _solution(out, sample)
    heading(out, "Verdict")
    if not lineage.rewards:
        out.print("  not scored yet")
    _verdicts(out, lineage.rewards)
    if lineage.selected_on:
        out.print("  rescored since its selection, which read:")
        _verdicts(out, lineage.selected_on)
    _selection(out, lineage)
    heading(out, "Stages that made these rows")
    table(out, lineage.stages)


def _problem(out: Console, problem: Row | None, problem_id: str) -> None:
    heading(out, f"Problem {problem_id}")
    if problem is None:
        out.print("  not in the problems table")
        return
    _facts(out, question=problem["question"], reference=problem["reference"])
    _facts(out, split=problem["split"], source=f"{problem['dataset']}, row {problem['source_row']}")


def _prompt(out: Console, prompt: Row | None) -> None:
    heading(out, "Prompt")
    if prompt is None:
        out.print("  not in the prompts table")
        return
    _facts(out, purpose=prompt["purpose"], id=prompt["prompt_id"])
    text: str = prompt["text"]
    question = text.rfind(prompt["question"]) if "question" in prompt else 0
    # From the line on which the question begins; before it stand exemplars and instructions.
    start = text.rfind("\n", 0, max(question, 0)) + 1
    if start:
        first = cell(text[: min(start, 60)])
        out.print(f"  | {first}… ({start:,} characters before the question)", style="dim")
    _quote(out, text[start:])


def _origin(policy: Row) -> str:
    name = f"policy {policy['iteration']}, {policy['policy_id']}"
    if policy["started_from"] is None:
        return f"{name}: the base model"
    reward = policy["validation_reward"]
    return (
        f"{name}: fine-tuned from {policy['started_from']} on training_set version "
        f"{policy['training_set_version']}, epoch {policy['epoch']} of {policy['num_epochs']} kept"
        + (f", D_val reward {reward:.3f}" if reward is not None else "")
    )


def _solution(out: Console, sample: Row) -> None:
    heading(out, f"Solution {sample['index']} of its prompt")
    _facts(
        out,
        drawn=f"{sample['decoding']}, temperature {sample['temperature']:g}, "
        f"top-k {sample['top_k']}, top-p {sample['top_p']:g}, "
        f"at most {sample['max_tokens']} tokens, seed {sample['seed']}",
        ended=f"{_end(sample)} after {sample['num_tokens']} tokens "
        f"(prompt: {sample['num_prompt_tokens']}), "
        f"log-probability {cell(sample['log_probability'])}",
        at=cell(sample["created_at"]),
    )
    _quote(out, sample["solution"])


def _end(sample: Row) -> str:
    if sample["finish_reason"] != STOP:
        return str(sample["finish_reason"])
    end = sample["stop_string"]
    return "end of text" if end is None else f"stop string {end!r}"


def _verdicts(out: Console, rewards: list[Row]) -> None:
    for reward in rewards:
        out.print(
            f"  {reward['verdict']}, reward {reward['reward']:g}: extracted "
            f"{reward['extracted']!r} by {reward['verifier']} version "
            f"{reward['verifier_version']} in {reward['milliseconds']:.1f} ms",
            style="green" if reward["verdict"] == "correct" else "yellow",
        )
        if reward["detail"]:
            out.print(f"    the checker failed: {reward['detail']}")


def _selection(out: Console, lineage: Lineage) -> None:
    heading(out, "Training set")
    chosen, row, trained = lineage.selection, lineage.training_row, lineage.trained
    if chosen is None:
        drawn = lineage.sample["decoding"] == "sample" and lineage.sample["purpose"] == "train"
        out.print("  not curated yet" if drawn else "  not considered: drawn for an evaluation")
        return
    if not chosen["kept"]:
        why = NOT_KEPT.get(chosen["reason"], "")
        out.print(f"  not kept: {chosen['reason']}" + (f" ({why})" if why else ""))
        return
    place = f", place {chosen['rank']} in its problem's order" if chosen["rank"] else ""
    out.print(f"  kept for iteration {chosen['iteration']}{place}", style="green")
    if row is not None:
        out.print(f"  weight {row['weight']:g}, {row['num_tokens']} labelled tokens")
    if trained is not None:
        out.print(f"  trained on it: policy {trained['iteration']}, {trained['policy_id']}")


def _facts(out: Console, **facts: str) -> None:
    for name, value in facts.items():
        out.print(f"  {name}: {value}")


def _quote(out: Console, text: str) -> None:
    for line in text.split("\n"):
        out.print(f"  | {line}", style="cyan")
