import json
from pathlib import Path

import pytest

from pipelines.checkpoints.policy import policy_id_of
from pipelines.tuning.checkpoint import save_checkpoint
from tests.tiny_model import build_tiny_model, tiny_tokenizer


@pytest.mark.slow
def test_a_saved_checkpoint_is_an_ordinary_folder_of_the_dtype_asked_for(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

    start = build_tiny_model(tmp_path / "start")
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    save_checkpoint(model, tiny_tokenizer(), torch.bfloat16, tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype="auto")
    assert again.dtype == torch.bfloat16
    assert GenerationConfig.from_pretrained(tmp_path / "saved").eos_token_id == 2
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert tokenizer("than")["input_ids"] == tiny_tokenizer()("than")["input_ids"]
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].to(torch.bfloat16)), name
    assert policy_id_of(tmp_path / "saved") == policy_id_of(start)
    assert model.config.dtype == torch.float32


OWN_MODEL = """from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "restem_own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.mark.slow
def test_a_saved_policy_has_the_code_that_its_model_came_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, dynamic_module_utils

    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    start = build_tiny_model(tmp_path / "start")
    (start / "own_model.py").write_text(OWN_MODEL)
    settings = json.loads((start / "config.json").read_text())
    own = {"AutoConfig": "own_model.OwnConfig", "AutoModelForCausalLM": "own_model.OwnModel"}
    settings |= {"model_type": "restem_own", "architectures": ["OwnModel"], "auto_map": own}
    (start / "config.json").write_text(json.dumps(settings))
    model = AutoModelForCausalLM.from_pretrained(start, trust_remote_code=True)
    save_checkpoint(model, tiny_tokenizer(), torch.bfloat16, tmp_path / "saved")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved", trust_remote_code=True)
    assert type(again).__name__ == "OwnModel"


@pytest.mark.slow
def test_the_tiny_model_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    ids = [
        policy_id_of(build_tiny_model(tmp_path / str(i), seed)) for i, seed in enumerate((0, 0, 1))
    ]
    assert ids[0] == ids[1] != ids[2]
