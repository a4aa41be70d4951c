"""Starting the process that programs are forked from, in the best isolation that is here."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

from pipelines.errors import ConfigError, MachineError
from pipelines.rewards.sandbox import frames
from pipelines.rewards.sandbox.isolation import BUBBLEWRAP, CODE_FOLDER, NAMESPACES, NONE

AUTO = "auto"
CHOICES = (AUTO, BUBBLEWRAP, NAMESPACES, NONE)

_BOOT = (
    "import sys, json; sys.path.append(sys.argv[1]); "
    "from pipelines.rewards.sandbox import zygote; "
    "zygote.main(sys.argv[2], json.loads(sys.argv[3]), int(sys.argv[4]))"
)
_START_SECONDS = 60.0
_PACKAGE = Path(__file__).parent
_SYSTEM_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")


class Refused(Exception):
    """This isolation is not to be had on this machine."""


@lru_cache(maxsize=len(CHOICES))
def choose(asked: str) -> str:
    """The isolation to use: the one asked for, or with `auto` the best that works here.

    Raises:
        ConfigError: there is none of that name.
        MachineError: it does not work on this machine.
    """
    if asked not in CHOICES:
        raise ConfigError(
            f"reward.options.sandbox must be one of {', '.join(CHOICES)}, got {asked!r}"
        )
    reasons = []
    for kind in (BUBBLEWRAP, NAMESPACES) if asked == AUTO else (asked,):
        try:
            process, control = spawn(kind)
        except Refused as error:
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


def spawn(kind: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A started process that programs can be forked from, and the socket to it.

    Raises:
        Refused: this isolation does not work here.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            _command(kind, theirs.fileno()),
            pass_fds=[theirs.fileno()],
            env={"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    ours.settimeout(None)
    try:
        told = json.loads(frames.read_frame(ours.fileno()))
    except EOFError:
        told = {"failed": "it ended while it was starting"}
    if "failed" in told:
        ours.close()
        process.kill()
        process.wait()
        raise Refused(told["failed"])
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
    """Folders that no other of them shows already."""
    real = sorted(set(folders))
    return [f for f in real if not any(f != other and f.startswith(f"{other}/") for other in real)]


def _bubblewrap() -> list[str]:
    found = shutil.which("bwrap")
    if found is None:
        raise Refused("bwrap is not installed")
    command = [found, "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    if os.geteuid() == 0:
        # To become nobody inside: the kernel does not count the processes of root.
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        command += ["--unshare-user"]
    prefix = str(Path(sys.base_prefix).resolve())
    for folder in _without_nested([prefix, *_libraries()]):
        command += ["--ro-bind", folder, folder]
    for device in _DEVICES:
        command += ["--dev-bind", device, device]
    code = f"{CODE_FOLDER}/pipelines/rewards/sandbox"
    command += ["--ro-bind", str(_PACKAGE), code, "--proc", "/proc", "--tmpfs", "/tmp"]
    return [*command, "--remount-ro", "/", "--die-with-parent", "--chdir", "/"]
