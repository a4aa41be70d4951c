"""Every method runs to its end on the quickstart's problems, and trains on what its paper says.

Everything is real but the policy: solutions are written by a function, and the M-step hands on a
policy without weights.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from pipelines.config import RunConfig
from pipelines.config.load import METHODS, load_config
from pipelines.datasets.story_problems import story_problems
from pipelines.errors import ConfigError, InputError
from pipelines.lake.lake import open_lake
from pipelines.lake.location import Location
from pipelines.lake.query_results import Row
from pipelines.lake.reader import LakeReader
from pipelines.rest_em import rest_em
from pipelines.runs.check_context import ExpectationGate
from pipelines.runs.reuse import samples_to_take
from pipelines.runs.steps import steps_of
from pipelines.runtime.progress import SilentProgress
from pipelines.sampling.chunk_drawer import DrawnChunk
from pipelines.sampling.chunks import requests_of, sample_rows
from pipelines.sampling.sampler import Request
from pipelines.sampling.scripted_sampler import ScriptedSampler
from pipelines.stage import (
    ArrowStage,
    FileWriter,
    Snapshot,
    StageContext,
)
from pipelines.stages.binding import Stages
from pipelines.stages.ingest import check_human_solutions, read_sources
from pipelines.stages.policy import policy_of
from schemas import POLICIES
from tests.doubles import FakeEngines, QuietListener

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "configs" / "quickstart.yaml"
SIZES = {"num_train": 12, "num_validation": 3, "num_test": 4, "max_number": 7}
ITERATIONS = {"iml": 3, "raft": 2, "rest": 2}
"""Those that a method needs to show what it does; of the others, one is enough."""
NAMES = sorted(path.stem for path in METHODS.glob("*.yaml"))


def config_of(method: str, folder: Path, **changes: Any) -> RunConfig:
    """The quickstart with a method's settings, on fewer problems."""
    loaded = load_config(QUICKSTART, method=method)
    tree = loaded.model_dump(mode="json")
    tree["problems"]["sources"][0]["options"] = SIZES
    tree |= {
        "output": str(folder),
        "lake": {"uri": str(folder / "lake")},
        "mlflow": {"enabled": False},
    }
    if loaded.sampling.num_samples_per_problem > 1:
        tree["sampling"]["num_samples_per_problem"] = 4
    if loaded.sampling.problems_per_iteration:
        tree["sampling"]["problems_per_iteration"] = 6
    tree["num_iterations"] = ITERATIONS.get(method, 1)
    if loaded.evaluation.every > 1:
        tree["evaluation"]["every"] = tree["num_iterations"]
    for name, value in changes.items():
        section, _, field = name.partition("__")
        tree[section] = {**tree[section], field: value} if field else value
    return RunConfig.model_validate(tree)


@cache
def solutions() -> dict[str, str]:
    """Question -> its human solution."""
    return {row["question"]: row["solution"] for row in story_problems(seed=0, **SIZES)}


def written(request: Request, index: int) -> str:
    """A right solution, now and then; always after a hint, but for one problem in three."""
    question = request.text.rpartition("Question: ")[2].removesuffix("\nAnswer:")
    question, is_hinted, _ = question.partition(" (Hint:")
    chance = random.Random(f"{request.seed + index}")
    right = solutions()[question]
    if is_hinted:
        is_right = int(hashlib.sha256(question.encode()).hexdigest(), 16) % 3 != 0
    else:
        is_right = chance.random() < 0.5
    ways = [right, right.replace("=", " = "), right.replace(";", ", then")]
    return chance.choice(ways) if is_right else f"0+1={chance.choice([97, 98])}"


def draw_here(
    chunks: list[pa.Table], _: Any, policy_id: str, writer: FileWriter, *further: Any
) -> Iterator[DrawnChunk]:
    """In the place of `draw_chunks`: a function writes the solutions, in this process."""
    for chunk in chunks:
        drawn = ScriptedSampler(written).draw(requests_of(chunk))
        file = writer.write(sample_rows(policy_id, chunk, drawn))
        yield DrawnChunk(
            file=file,
            killed_prompt=None,
            num_tokens=sum(one.num_tokens for group in drawn for one in group),
            num_prompt_tokens=1,
            dtype="float32",
            engine="scripted",
            engine_start_seconds=0.0,
            began=0.0,
            ended=1.0,
        )


@dataclass(frozen=True)
class ScriptedStages(Stages):
    """The run's stages with an M-step that hands on a policy without weights."""

    def base_policy(self) -> ArrowStage:
        made = super().base_policy()
        return replace(made, function=lambda _: policy_row("base", None))

    def improve(self) -> ArrowStage:
        def make(
            _: StageContext, training_set: Snapshot, prompts: Snapshot, policies: Snapshot
        ) -> pa.Table:
            names = training_set.arrow(["sample_id"]).sort_by("sample_id").to_pylist()
            digest = hashlib.sha256(f"{training_set.iteration}{names}".encode()).hexdigest()
            return policy_row(digest[:16], policy_of(policies).policy_id)

        return replace(super().improve(), function=make)


def policy_row(policy_id: str, start: str | None) -> pa.Table:
    row = {
        "policy_id": policy_id,
        "checkpoint_uri": policy_id,
        "started_from": start,
        "training_set_version": None,
        "epoch": 1 if start else 0,
        "num_epochs": 1 if start else 0,
        "validation_reward": None,
        "history": "[]",
        "created_at": datetime.now(UTC),
    }
    return pa.Table.from_pylist([row], POLICIES.arrow_schema(partition_columns=False))


def run(config: RunConfig, spark: SparkSession) -> QuietListener:
    """Run the loop, or go on with it."""
    listener = QuietListener()
    engines = FakeEngines(lambda: spark, lambda: None)
    with (
        pytest.MonkeyPatch.context() as patch,
        open_lake(config, engines, ExpectationGate(config), listener, SilentProgress()) as lake,
    ):
        patch.setattr("pipelines.stages.generate.draw_chunks", draw_here)
        rest_em(lake, ScriptedStages(config), config.num_iterations)
    return listener


@dataclass(frozen=True)
class OneRun:
    """The rows of one run of a lake."""

    reader: LakeReader
    run: str

    def rows(self, query: str) -> list[Row]:
        return self.reader.rows(query, self.run)


Lakes = dict[str, tuple[RunConfig, OneRun]]


@pytest.fixture(scope="module")
def lakes(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    """Every method's run, from its start to its end."""
    made, folder = {}, tmp_path_factory.mktemp("methods")
    for method in NAMES:
        config = config_of(method, folder)
        run(config, spark)
        made[method] = config, OneRun(LakeReader(Location.of(config.lake)), config.name)
    return made


slow = [pytest.mark.slow, pytest.mark.timeout(900)]


def trained(lakes: Lakes, method: str) -> list[Row]:
    return lakes[method][1].rows("SELECT * FROM training_set ORDER BY iteration, sample_id")


def verdicts(lakes: Lakes, method: str, decoding: str = "sample") -> list[Row]:
    return lakes[method][1].rows(
        f"SELECT * FROM sample_verdicts WHERE purpose = 'train' AND decoding = '{decoding}'"
    )


@pytest.mark.parametrize("method", NAMES)
def test_a_method_is_the_file_of_its_name(method: str) -> None:
    config = load_config(QUICKSTART, method=method)
    assert config.method == method
    assert config.name == f"quickstart-{method}"
    steps = steps_of(config)
    assert steps[-1].key == (config.num_iterations, "evaluate")
    assert [s.iteration for s in steps if s.stage.name == "improve"] == [
        *range(1, config.num_iterations + 1)
    ]


def test_rest_draws_for_every_second_m_step() -> None:
    steps = steps_of(load_config(QUICKSTART, method="rest"))
    read = {s.iteration: s.inputs[0].iteration for s in steps if s.stage.name == "select"}
    assert read == {1: 0, 2: 0, 3: 2, 4: 2}


def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--method must be one of iml, .*; did you mean 'star'"):
        load_config(QUICKSTART, method="starr")


def test_set_has_precedence_over_the_method() -> None:
    config = load_config(QUICKSTART, overrides=("curate.cutoff=3",), method="star")
    assert (config.curate.cutoff, config.sampling.temperature) == (3, 0.0)


@pytest.mark.parametrize("method", ["sft", "rft", "rest"])
def test_a_set_without_human_solutions_is_refused(method: str, tmp_path: Path) -> None:
    tree = config_of(method, tmp_path).model_dump(mode="json")
    tree["problems"]["sources"][0]["solution_field"] = None
    config = RunConfig.model_validate(tree)
    with pytest.raises(InputError, match="no training problem has a human solution"):
        check_human_solutions(config, read_sources(config))


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"evaluation__every": 3}, "must divide num_iterations"),
        ({"curate__later_thresholds": [0.5]}, "must have 0 values"),
        ({"sampling__m_steps": 2, "curate__later_thresholds": [-0.5]}, "must rise"),
        ({"sampling__rationalize": True, "prompt__hint": " Psst."}, "must contain {reference}"),
        ({"sampling__rationalize": True, "reward": {"function": "unit_tests"}}, "no answer"),
        ({"curate__human_solutions": "only", "sampling__rationalize": True}, "nothing is drawn"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, Any], rule: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rule):
        config_of("rest_em", tmp_path, **changes)


class TestRuns:
    """What the methods' runs left in their lakes."""

    pytestmark = slow

    @pytest.mark.parametrize("method", NAMES)
    def test_every_step_is_sealed_and_is_not_made_again(
        self, lakes: Lakes, spark: SparkSession, method: str
    ) -> None:
        config, reader = lakes[method]
        sealed = reader.rows("SELECT iteration, stage, version FROM stages")
        assert {(row["iteration"], row["stage"]) for row in sealed} == {
            step.key for step in steps_of(config)
        }
        listener = run(config, spark)
        assert len(listener.repeated) == len(sealed)
        (ids,) = reader.rows("SELECT count(*) AS n, count(DISTINCT sample_id) AS ids FROM samples")
        (asked,) = reader.rows("SELECT sum(num_samples) AS n FROM prompts")
        assert ids["n"] == ids["ids"] == asked["n"]
        assert not reader.rows("SELECT * FROM checks WHERE severity = 'critical' AND NOT passed")

    @pytest.mark.parametrize("method", sorted({*NAMES} - {"sft"}))
    def test_the_lineage_of_a_training_row_is_whole(self, lakes: Lakes, method: str) -> None:
        rows = lakes[method][1].rows("SELECT * FROM training_rows WHERE origin <> 'human'")
        assert rows
        for row in rows:
            assert row["verdict"] is not None
            assert row["selection_rule"] == "kept"
            assert row["checkpoint_uri"] == row["policy_id"]

    def test_runs_that_start_from_one_base_model_draw_its_samples_once(self, lakes: Lakes) -> None:
        reader = lakes["rest_em"][1].reader
        drawn = reader.rows(
            "SELECT sample_id, count(*) AS n, count(DISTINCT solution) AS texts, "
            "sum(CASE WHEN taken_from IS NULL THEN 1 ELSE 0 END) AS drawn FROM samples "
            "WHERE iteration = 0 GROUP BY sample_id"
        )
        assert {row["drawn"] for row in drawn} == {1}
        assert {row["texts"] for row in drawn} == {1}
        assert max(row["n"] for row in drawn) == len(NAMES)
        verdicts = reader.rows(
            "SELECT r.sample_id, count(DISTINCT r.reward) AS rewards FROM rewards r "
            "WHERE r.verifier <> 'majority_vote' GROUP BY r.sample_id"
        )
        assert {row["rewards"] for row in verdicts} == {1}
        measures = [
            json.loads(row["measures"])
            for row in reader.rows("SELECT measures FROM stages WHERE stage = 'score'")
        ]
        assert sum(found.get("verdicts_taken", 0) for found in measures) > 0

    @pytest.mark.parametrize("method", ["rwr", "rest_em"])
    def test_a_plan_says_how_many_samples_would_be_taken(self, lakes: Lakes, method: str) -> None:
        config, made = lakes[method]
        (drawn,) = made.rows("SELECT count(*) AS n FROM samples WHERE iteration = 0")
        again = config.model_copy(update={"name": "again"})
        found = samples_to_take(again, set(solutions()), "base", made.reader)
        assert sum(found.values()) == drawn["n"]
        other = again.model_copy(update={"seed": 5})
        assert samples_to_take(other, set(solutions()), "base", made.reader) == {}

    def test_sft_trains_on_one_human_solution_a_problem_and_draws_nothing(
        self, lakes: Lakes
    ) -> None:
        rows = trained(lakes, "sft")
        assert {row["origin"] for row in rows} == {"human"}
        assert len(rows) == len({row["problem_id"] for row in rows}) == SIZES["num_train"]
        assert {row["solution"] for row in rows} <= set(solutions().values())
        assert {row["stop_string"] for row in rows} == {"\n"}
        config, reader = lakes["sft"]
        asked = reader.rows("SELECT DISTINCT iteration FROM prompts WHERE purpose = 'train'")
        assert [row["iteration"] for row in asked] == [config.num_iterations]  # the train-test gap

    def test_rest_improves_twice_on_the_samples_of_one_e_step(self, lakes: Lakes) -> None:
        rows = trained(lakes, "rest")
        drawn = [row for row in rows if row["origin"] == "drawn"]
        assert {(row["iteration"], row["drawn_in"]) for row in drawn} == {(1, 0), (2, 0)}
        first, second = ({r["sample_id"] for r in drawn if r["iteration"] == i} for i in (1, 2))
        assert second <= first
        human = Counter(row["iteration"] for row in rows if row["origin"] == "human")
        assert human == dict.fromkeys((1, 2), SIZES["num_train"])
        policies = lakes["rest"][1].rows("SELECT * FROM policies ORDER BY iteration")
        starts = [policy["started_from"] for policy in policies[1:]]
        assert starts == [policy["policy_id"] for policy in policies[:-1]]

    def test_star_asks_unsolved_problems_with_a_hint_and_trains_without_it(
        self, lakes: Lakes
    ) -> None:
        plain, hinted = verdicts(lakes, "star"), verdicts(lakes, "star", "hinted")
        by_problem = {(row["iteration"], row["problem_id"]): row["reward"] for row in plain}
        last = lakes["star"][0].num_iterations
        assert {(row["iteration"], row["problem_id"]) for row in hinted} == {
            key for key, reward in by_problem.items() if not reward and key[0] < last
        }
        rows = trained(lakes, "star")
        by_origin = Counter(row["origin"] for row in rows)
        assert by_origin["drawn"] == sum(r > 0 for (i, _), r in by_problem.items() if i < last)
        assert 0 < by_origin["hinted"] == sum(row["reward"] > 0 for row in hinted) < len(hinted)
        assert not any("Hint" in row["prompt"] for row in rows)
        texts = {
            (row["iteration"], row["problem_id"]): row["text"]
            for row in lakes["star"][1].rows("SELECT * FROM prompts WHERE decoding = 'sample'")
        }
        assert all(row["prompt"] == texts[row["drawn_in"], row["problem_id"]] for row in rows)
        hints = lakes["star"][1].rows(
            "SELECT text, reference, question FROM prompts WHERE decoding = 'hinted'"
        )
        for row in hints:
            hint = f" (Hint: the answer is {row['reference']}.)\nAnswer:"
            assert row["text"].endswith(row["question"] + hint)

    def test_rft_keeps_one_solution_for_each_list_of_equations(self, lakes: Lakes) -> None:
        rows = [row for row in trained(lakes, "rft") if row["origin"] == "drawn"]
        paths = [
            (row["problem_id"], row["solution"].replace(" = ", "=").replace(", then", ";"))
            for row in rows
        ]
        assert len(paths) == len(set(paths)) > 0
        correct = {
            row["problem_id"]
            for row in verdicts(lakes, "rft")
            if row["reward"] > 0 and row["iteration"] == 0
        }
        assert {row["problem_id"] for row in rows} == correct
        assert lakes["rft"][0].num_iterations == 1

    @pytest.mark.parametrize("method", ["iml", "raft"])
    def test_a_mini_batch_of_problems_is_asked_and_all_come_up_in_an_epoch(
        self, lakes: Lakes, method: str
    ) -> None:
        config, reader = lakes[method]
        asked = reader.rows(
            "SELECT DISTINCT iteration, problem_id FROM prompts WHERE purpose = 'train' "
            f"AND iteration < {config.num_iterations}"
        )
        batches = [
            {row["problem_id"] for row in asked if row["iteration"] == i}
            for i in range(config.num_iterations)
        ]
        assert [len(batch) for batch in batches] == [6] * config.num_iterations
        assert len(batches[0] | batches[1]) == SIZES["num_train"]
        assert batches[2:] != batches[:1]
        evaluated = reader.rows("SELECT DISTINCT iteration FROM evaluations ORDER BY iteration")
        assert [row["iteration"] for row in evaluated] == [
            *range(0, config.num_iterations + 1, config.evaluation.every)
        ]

    def test_raft_keeps_the_best_of_each_problem_that_has_one(self, lakes: Lakes) -> None:
        best: dict[tuple[int, str], float] = {}
        for row in verdicts(lakes, "raft"):
            key = row["iteration"], row["problem_id"]
            best[key] = max(best.get(key, 0.0), row["reward"])
        last = lakes["raft"][0].num_iterations
        rows = trained(lakes, "raft")
        assert {(row["drawn_in"], row["problem_id"]): row["reward"] for row in rows} == {
            key: reward for key, reward in best.items() if reward > 0 and key[0] < last
        }
        assert len(rows) == len({(row["drawn_in"], row["problem_id"]) for row in rows})

    def test_rwr_trains_on_all_samples_that_end_weighted_by_their_reward(
        self, lakes: Lakes
    ) -> None:
        config, _ = lakes["rwr"]
        drawn = {
            row["sample_id"]: row["reward"]
            for row in verdicts(lakes, "rwr")
            if row["iteration"] < config.num_iterations and row["finish_reason"] == "stop"
        }
        weights = {row["sample_id"]: row["weight"] for row in trained(lakes, "rwr")}
        assert weights.keys() == drawn.keys()
        ratio = {drawn[name]: weight for name, weight in weights.items()}
        assert ratio[1.0] / ratio[0.0] == pytest.approx(148.413159)  # exp(1 / 0.2)

    def test_self_consistency_trains_on_all_samples_with_the_majority_answer(
        self, lakes: Lakes
    ) -> None:
        config, reader = lakes["self_consistency"]
        drawn = [row for row in verdicts(lakes, "self_consistency") if row["iteration"] == 0]
        assert {row["verifier"] for row in drawn} == {"majority_vote"}
        chosen = set()
        for problem in {row["problem_id"] for row in drawn}:
            answers = [
                (row["sample_id"], row["solution"].rpartition("=")[2].strip())
                for row in drawn
                if row["problem_id"] == problem
            ]
            votes = Counter(answer for _, answer in answers)
            winner = min(votes, key=lambda answer: (-votes[answer], answer))
            chosen |= {name for name, answer in answers if answer == winner}
        assert {row["sample_id"] for row in trained(lakes, "self_consistency")} == chosen
        tested = reader.rows("SELECT DISTINCT verifier FROM evaluations WHERE suite = 'test'")
        assert [row["verifier"] for row in tested] == [config.reward.function]

    def test_the_pinned_settings_of_two_methods_differ(self, lakes: Lakes) -> None:
        pins = {json.dumps(config.pinned(), sort_keys=True) for config, _ in lakes.values()}
        assert len(pins) == len(NAMES)
