"""The figures of docs/gpu.md: its formulas computed again, and those of the code beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
GIB = 2**30
SHARE, LONGEST, SEQUENCES = 0.9, 572, 256
WIDTH, PREFIX, MOST_ROWS = 576, 700, 64
ROWS_OF_D_VAL = 64
"""pipelines/tuning/greedy.py: ROWS_AT_ONCE, in a module that imports torch."""


@dataclass(frozen=True)
class Model:
    """A row of the table of models."""

    name: str
    parameters: int
    layers: int
    hidden: int
    mlp: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    tied: bool

    @property
    def config(self) -> dict[str, Any]:
        """Its config.json, as far as memory depends on it."""
        return {
            "model_type": "qwen2",
            "hidden_size": self.hidden,
            "intermediate_size": self.mlp,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.key_heads,
            "vocab_size": self.vocabulary,
            "tie_word_embeddings": self.tied,
        }

    def kv_per_token(self) -> int:
        return 2 * self.layers * self.key_heads * self.head_size * 2

    def kv_tokens(self, card: int) -> int:
        overhead = 2.5 * GIB + 14 * SEQUENCES * self.vocabulary
        budget = int(SHARE * card * GIB)
        return int((budget - 2 * self.parameters - overhead) // self.kv_per_token())

    def room(self, card: int) -> int:
        return int(SHARE * card * GIB) - 18 * self.parameters - GIB

    def pass_bytes(self, rows: int) -> int:
        tokens, keys = rows * WIDTH + PREFIX, rows * (WIDTH + PREFIX) + PREFIX
        queries, own = self.heads * self.head_size, self.key_heads * self.head_size
        per_token = 16 * self.hidden + 2 * (5 * self.hidden + 3 * queries + 2 * own + 4 * self.mlp)
        logits = min(rows * WIDTH, 2048) * self.vocabulary * 14
        return self.layers * (tokens * per_token + keys * 4 * queries) + logits

    def rows_per_pass(self, card: int) -> int | None:
        fitting = [n for n in (1, 2, 4, 8, 16, 32, 64) if self.pass_bytes(n) <= self.room(card)]
        return max(fitting, default=None)


SIZES = [field.name for field in fields(Model)][1:-1]
"""Those of a model that are numbers, in the order of the table's columns."""


def table(first: str, second: str) -> list[list[str]]:
    """The rows of the table whose header begins with these two columns."""
    header = re.search(rf"^\| {first} \| {second} .*\n\|[-|]+\|\n((?:\|.*\n)+)", TEXT, re.M)
    assert header is not None, f"docs/gpu.md has no table of {first}, {second}"
    lines = header.group(1).strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


def models() -> dict[str, Model]:
    """The models of the page, by name."""
    found = {}
    for name, *cells, tied in table("model", "parameters"):
        sizes: dict[str, Any] = dict(zip(SIZES, map(number, cells), strict=True))
        found[name] = Model(name=name, tied=tied == "yes", **sizes)
    return found


def model_memory() -> Any:
    """The code that decides what fits."""
    return pytest.importorskip("pipelines.placement.model_memory")


def test_the_parameters_are_those_of_the_sizes() -> None:
    for m in models().values():
        queries, own = m.heads * m.head_size, m.key_heads * m.head_size
        attention = m.hidden * (2 * queries + 2 * own) + queries + 2 * own
        layer = attention + 3 * m.hidden * m.mlp + 2 * m.hidden
        embeddings = m.vocabulary * m.hidden * (1 if m.tied else 2)
        assert m.layers * layer + embeddings + m.hidden == m.parameters, m.name
    assert len(models()) == 3


def test_the_memory_per_model_is_what_the_formulas_give() -> None:
    rows = table("model", "weights, GiB")
    assert [row[0] for row in rows] == list(models())
    for name, weights, kv, sixteen, eighteen in rows:
        m = models()[name]
        assert number(kv) == m.kv_per_token()
        for cell, per_parameter in ((weights, 2), (sixteen, 16), (eighteen, 18)):
            assert cell == f"{per_parameter * m.parameters / GIB:.2f}", (name, per_parameter)


def test_what_fits_is_what_the_formulas_give() -> None:
    rows = table("model", "card, GiB")
    assert len(rows) == 9
    for name, card, tokens, solutions, room, rows_per_pass in rows:
        m, gib = models()[name], int(card)
        assert number(tokens) == m.kv_tokens(gib), (name, card)
        assert number(solutions) == m.kv_tokens(gib) // LONGEST
        fitting = m.rows_per_pass(gib)
        expected = ("does not fit", "-")
        if fitting is not None:
            expected = (f"{m.room(gib) / GIB:.2f}", str(fitting))
        assert (room, rows_per_pass) == expected, (name, card)


def test_the_settings_to_start_from_train_what_fits() -> None:
    fits = {(row[0], row[1]): row[5] for row in table("model", "card, GiB")}
    cards = {"24 GB": "22", "48 GB": "44", "80 GB": "79"}
    for model, card, _, training in table("model", "card"):
        rows = fits[f"Qwen2.5-{model}", cards[card]]
        found = re.search(r"rows_per_pass: (\d+)", training)
        assert (found.group(1) if found else "-") == rows, (model, card)


def test_the_worked_example_is_what_the_formula_gives() -> None:
    m = models()["Qwen2.5-1.5B"]
    logits = 2048 * m.vocabulary * 14
    assert f"= {(m.pass_bytes(16) - logits) / GIB:.2f} GiB" in TEXT
    assert f"= {logits / GIB:.2f} GiB" in TEXT
    assert f"needs {(18 * models()['Qwen2.5-7B'].parameters + GIB) / GIB:.1f} GiB before" in TEXT


def test_the_figures_between_the_tables_are_what_the_formulas_give() -> None:
    small, large = models()["Qwen2.5-1.5B"], models()["Qwen2.5-7B"]
    for figure in (
        f"{8 * 4 * small.parameters / GIB:.0f} GiB for 1.5B",
        f"4 bytes per parameter, {4 * small.parameters / GIB:.2f} GiB for 1.5B",
        f"12\n  bytes per parameter, {12 * small.parameters / GIB:.0f} GiB for 1.5B",
        f"for logits, to {14 * 512 * small.vocabulary / GIB:.0f} GiB at this vocabulary",
        f"hold 7B: {large.parameters / GIB:.1f} GiB of weights and {large.kv_per_token() // 2:,} bytes",
        f"of about {(18 * large.parameters + GIB + large.pass_bytes(1)) / SHARE / GIB:.0f} GiB",
        f"3B (3,085,938,688 parameters) needs {18 * 3_085_938_688 / GIB:.2f} GiB of state",
    ):
        assert figure in TEXT


def test_the_amounts_of_the_papers_settings_are_those_of_the_plan() -> None:
    load = pytest.importorskip("pipelines.config.load")
    sizes = pytest.importorskip("pipelines.config.sizes")
    planned = pytest.importorskip("pipelines.runs.plan").plan
    config = load.load_config(ROOT / "configs" / "math.yaml")
    known = sizes.asked_sizes(config)
    (draw, *_) = [stage for stage in planned(config) if stage.stage == "generate"]
    drawn, tokens = draw.rows.total(known), draw.tokens.total(known)
    assert f"draws {drawn:,} solutions of at most {tokens / 1e6:.0f} million tokens" in TEXT
    assert f"or {drawn * 156 / 1e6:.0f} million at the 156 tokens" in TEXT
    each = draw.commits // 8
    assert (
        f"makes {draw.commits} commits of at most {config.engine.prompts_per_commit} prompts"
        in TEXT
    )
    assert f"{each} or {each + 1} per engine" in TEXT
    batches = -(-config.problems.num_validation // ROWS_OF_D_VAL)
    steps = batches * config.sampling.max_tokens
    assert f"are {batches} batches" in TEXT
    assert f"{batches} x {config.sampling.max_tokens} = {steps:,} steps" in TEXT
    assert f"`improve.batch_size` = {config.improve.batch_size} rows is" in TEXT


def test_the_longest_rows_are_what_the_code_finds() -> None:
    memory = model_memory()
    training = pytest.importorskip("pipelines.placement.training")
    rows = table("model", r"card, GiB \| longest row, tokens")
    assert len(rows) == 6
    for name, card, cell in rows:
        shape = memory.shape_of_config(models()[name].config)
        budget = int(SHARE * int(card) * GIB)
        found = training.longest_row(shape, "bfloat16", budget, 10**6)
        assert cell == (f"{found:,}" if found else "does not fit"), (name, card)


def test_the_code_has_the_same_memory_per_model() -> None:
    memory = model_memory()
    for m in models().values():
        shape = memory.shape_of_config(m.config)
        assert shape.num_parameters == m.parameters
        assert memory.weight_bytes(shape, "bfloat16") == 2 * m.parameters
        assert memory.kv_bytes_per_token(shape, "bfloat16") == m.kv_per_token()
        assert memory.TRAINING_BYTES_PER_PARAMETER == 16
        assert memory.state_bytes(shape, "bfloat16") == 18 * m.parameters + GIB
        for rows in (1, 16):
            size = memory.PassSize(rows, WIDTH, PREFIX)
            assert memory.pass_bytes(shape, "bfloat16", size) == m.pass_bytes(rows)


def test_the_code_finds_the_same_to_fit() -> None:
    memory = model_memory()
    training = pytest.importorskip("pipelines.placement.training")
    for name, card, tokens, *_, rows in table("model", "card, GiB"):
        m, budget = models()[name], int(SHARE * int(card) * GIB)
        shape = memory.shape_of_config(m.config)
        engine = memory.engine_memory(shape, "bfloat16", 1, SEQUENCES, budget)
        assert engine.kv_tokens == number(tokens), (name, card)
        if rows != "-":
            largest = memory.PassSize(MOST_ROWS, WIDTH, PREFIX)
            found = training.rows_per_pass(shape, "bfloat16", budget, largest)
            assert found == int(rows), (name, card)


def test_every_path_that_the_page_names_exists() -> None:
    named = re.findall(r"`((?:configs|docs|tests|prompts)/[\w./-]+)`", TEXT)
    named += re.findall(r"\]\((?!https:)([\w./-]+)\)", TEXT)
    places = [ROOT, ROOT / "docs", ROOT / "configs"]
    assert len(named) > 5
    assert not [path for path in named if not any((place / path).exists() for place in places)]
