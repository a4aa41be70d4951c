"""The few-shot prompt: exemplars, then the question, as plain text or as chat turns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipelines.checkpoints.base_model import resolve_base_model
from pipelines.config import PromptConfig, RunConfig
from pipelines.datasets.locations import expanded
from pipelines.errors import ConfigError, InputError

_QUESTION = "{question}"
_BELOW_THE_MARK = "\n-----\n"
_PLACEHOLDER = "\ue000question\ue000"
"""A private-use character: no chat template writes or strips it."""


@dataclass(frozen=True)
class Frame:
    """The text around a question: the same for all problems."""

    before: str
    after: str

    def around(self, question: str) -> str:
        """The prompt's text."""
        return self.before + question + self.after


def render_text(prompt: PromptConfig, question: str) -> str:
    """The plain-text prompt of a question.

    Raises:
        ConfigError: the template does not have `{question}` once.
    """
    return plain_frame(prompt).around(question)


def frame_of(config: RunConfig, prompt: PromptConfig | None = None) -> Frame:
    """The text around the questions of the run, or of a suite with a prompt of its own.

    Raises:
        ConfigError: the template does not have `{question}` once, or the model has no chat template.
        InputError: the model, whose chat template is needed, cannot be found.
    """
    prompt = prompt or config.prompt
    if not prompt.chat:
        return plain_frame(prompt)
    checkpoint, trusted = resolve_base_model(config.model), config.model.trust_remote_code
    return chat_frame(prompt, checkpoint, trust_remote_code=trusted)


def plain_frame(prompt: PromptConfig) -> Frame:
    """The few-shot prompt as text: exemplars, then the question in the template.

    Raises:
        ConfigError: the template does not have `{question}` once.
    """
    before, after = _template_parts(prompt)
    shots = [
        before + shot["question"] + after + prompt.solution_prefix + shot["solution"]
        for shot in prompt.exemplars
    ]
    shared = "".join(shot + prompt.exemplar_separator for shot in shots)
    return Frame(shared + before, after)


def exemplars_of(prompt: PromptConfig, files: list[str]) -> dict[str, str]:
    """Each file's own exemplars, which come before the plain-text frame.

    Text above a line `-----` is dropped: BIG-Bench Hard's files begin with a canary string against
    use as training data, which is not part of the prompt.

    Args:
        prompt: one with an `exemplars_folder`.
        files: the names wanted.

    Raises:
        ConfigError: the prompt is rendered as chat turns.
        InputError: the folder does not have a file.
    """
    if prompt.chat:
        raise ConfigError("prompt.exemplars_folder must not be set with chat; it is plain text")
    folder = Path(expanded(prompt.exemplars_folder or "", "prompt.exemplars_folder")).expanduser()
    return {name: _own_text(folder / f"{name}.txt") + prompt.exemplar_separator for name in files}


def _own_text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"prompt.exemplars_folder: cannot read {path} ({error.strerror}); every task that is "
            "asked needs its file there"
        ) from None
    head, mark, rest = text.partition(_BELOW_THE_MARK)
    return (rest if mark else head).strip()


def chat_frame(prompt: PromptConfig, checkpoint: Path, *, trust_remote_code: bool = False) -> Frame:
    """The few-shot prompt as chat turns, in the checkpoint's own chat template.

    If the template writes the token that begins a text, and the tokenizer adds it to every text that
    it reads, it is left out here: a policy is shown it once.

    Raises:
        ConfigError: the template does not have `{question}` once, or the tokenizer has no chat
            template.
    """
    from transformers import AutoTokenizer

    before, after = _template_parts(prompt)
    turns = [{"role": "system", "content": prompt.system}] if prompt.system else []
    for shot in prompt.exemplars:
        turns.append({"role": "user", "content": before + shot["question"] + after})
        turns.append({"role": "assistant", "content": shot["solution"]})
    turns.append({"role": "user", "content": before + _PLACEHOLDER + after})
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, trust_remote_code=trust_remote_code)
    if getattr(tokenizer, "chat_template", None) is None:
        raise ConfigError(
            f"prompt.chat must be false: the tokenizer of {checkpoint} has no chat template"
        )
    text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    begin = tokenizer.bos_token
    if begin and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]:
        text = text.removeprefix(begin)
    parts = text.split(_PLACEHOLDER)
    assert len(parts) == 2, "the chat template writes the last user turn once"
    return Frame(parts[0], parts[1])


def require_template(prompt: PromptConfig) -> None:
    """Require that a prompt's template can hold a question.

    Raises:
        ConfigError: it does not have `{question}` once.
    """
    _template_parts(prompt)


def _template_parts(prompt: PromptConfig) -> tuple[str, str]:
    parts = prompt.template.split(_QUESTION)
    if len(parts) != 2:
        raise ConfigError(f"prompt.template must contain {_QUESTION} once, got {prompt.template!r}")
    return parts[0], parts[1]
