"""Section `prompt`: the few-shot prompt."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.section import Section


class PromptConfig(Section):
    """The policy's input: exemplars, then the question."""

    first_stage = "render"

    file: Path | None = None
    """YAML file of these settings, as in configs/prompts/; what is set here has precedence."""
    template: str = "Question: {question}\nAnswer:"
    """Text of a question, in the exemplars too; `{question}` is replaced."""
    hint: str = " (Hint: the answer is {reference}.)"
    """Text after a question that is asked again with its answer (`sampling.rationalize`)."""
    exemplars: tuple[dict[str, str], ...] = ()
    """Few-shot exemplars, each with `question` and `solution`."""
    exemplars_file: Path | None = None
    """YAML or JSONL file of exemplars, in place of `exemplars`."""
    exemplars_folder: str | None = None
    """Folder of exemplars per task, as BIG-Bench Hard has them.

    A problem's are in `<file>.txt`, where `file` is a field of the problem. `${NAME}` is replaced
    by that environment variable.
    """
    exemplar_separator: str = "\n\n"
    """Text after each exemplar."""
    solution_prefix: str = " "
    """Text between the template and an exemplar's solution."""
    chat: bool = False
    """Render chat turns with the tokenizer's chat template instead of plain text."""
    system: str | None = None
    """System message of a chat; null: none."""
