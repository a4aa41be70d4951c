"""The few-shot prompt."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.section import Section


class PromptConfig(Section):
    """What the policy sees: exemplars, then the question."""

    file: Path | None = None
    """YAML file of these settings (configs/prompts/ has the papers'); what is set here wins."""
    template: str = "Question: {question}\nAnswer:"
    """One exemplar or question; `{question}` is replaced."""
    exemplars: tuple[dict[str, str], ...] = ()
    """Few-shot exemplars, each with `question` and `solution`; or use `exemplars_file`."""
    exemplars_file: Path | None = None
    """YAML or JSONL file of exemplars (`question`, `solution`)."""
    exemplars_folder: str | None = None
    """Folder of a text of exemplars a task (`<file>.txt`, by the problem's field `file`), as
    BIG-Bench Hard has them; `${NAME}` is an environment variable."""
    exemplar_separator: str = "\n\n"
    solution_prefix: str = " "
    """Put between the template and an exemplar's solution."""
    chat: bool = False
    """Render as chat turns with the tokenizer's chat template instead of plain text."""
    system: str | None = None
    """System message, with `chat`."""
