"""Programs that do what a model's program must not do, each with the verdict it must get.

`SCRIPTS` are scored by what they print for the input 20 (it must be 21); `SOLUTIONS` by the tests of
`successor(n)`. A program that succeeds in its attack prints or returns the right answer, so the
verdict `correct` means that the sandbox failed.
"""

from __future__ import annotations

SCRIPTS: dict[str, tuple[str, str]] = {
    "fork bomb": ("import os\nwhile True:\n    os.fork()", "wrong"),
    "fork bomb that goes on": (
        "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass",
        "timeout",
    ),
    "thread bomb": (
        "import threading, time\nwhile True:\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()",
        "timeout",  # the interpreter waits for the threads that could be started
    ),
    "10 GB at once": ("print(len(bytearray(10 * 2**30)))", "memory"),
    "10 GB in pieces": ("kept = []\nwhile True:\n    kept.append(bytearray(2**26))", "memory"),
    "endless loop": ("while True:\n    pass", "timeout"),
    "endless sleep": ("import time\ntime.sleep(1000)", "timeout"),
    "endless output": ("while True:\n    print('x' * 10_000)", "wrong"),
    "endless output that goes on": (
        "while True:\n    try:\n        print('x' * 10_000, flush=True)\n    except OSError:\n        pass",
        "timeout",
    ),
    "one large file": (
        "with open('large', 'wb') as file:\n    while True:\n        file.write(bytes(2**20))",
        "wrong",
    ),
    "many large files": (
        "n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'wb').write(bytes(2**20))",
        "wrong",
    ),
    "many empty files": ("n = 0\nwhile True:\n    n += 1\n    open(f'{n}', 'w').close()", "wrong"),
    "many open files": ("kept = [open('/dev/null') for _ in range(10_000)]\nprint(21)", "wrong"),
    "kill everything": (
        "import os, signal\nfor who in (-1, 0, 1, os.getppid()):\n"
        "    try:\n        os.kill(who, signal.SIGKILL)\n    except OSError:\n        pass\n"
        "print('alive')",
        "wrong",
    ),
    "trace the parent": (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\nattach = 16\n"
        "done = [libc.ptrace(attach, pid, 0, 0) for pid in {1, 2, os.getppid()}]\n"
        "print(21 if 0 in done else 'refused')",
        "wrong",
    ),
    "read a host file": (
        "import os\nfor folder in ('/etc/passwd', '/root', '/home', '/proc/1/environ', '/restem'):\n"
        "    assert not os.path.exists(folder) or not os.listdir(folder)\n"
        "print('nothing')",
        "wrong",
    ),
    "read the environment": ("import os\nprint(21 if 'PATH' in os.environ else 'none')", "wrong"),
    "read the memory of others": ("print(open('/proc/self/maps').read())", "wrong"),
    "loopback": ("import socket\nsocket.create_connection(('127.0.0.1', 22))\nprint(21)", "wrong"),
    "listen": ("import socket\nsocket.socket().bind(('127.0.0.1', 0))\nprint(21)", "wrong"),
    "unix socket": (
        "import socket\nsocket.socket(socket.AF_UNIX).bind('\\0restem')\nprint(21)",
        "wrong",
    ),
    "start a program": ("import subprocess\nprint(subprocess.run(['/bin/echo', '21']))", "wrong"),
    "become a program": (
        "import os, sys\nos.execv('/usr/bin/python3', ['python3', '-c', 'print(21)'])",
        "wrong",
    ),
    "leave by a symbolic link": (
        "import os\nos.symlink('/etc', 'out')\nprint(21 if os.listdir('out') else 0)",
        "wrong",
    ),
    "write outside": (
        "import os, sys\nfor folder in ('/', '/dev', '/usr/lib', os.path.dirname(os.__file__)):\n"
        "    try:\n        open(folder + '/mine', 'w')\n    except OSError:\n        continue\n"
        "    print(21)",
        "wrong",
    ),
    "new namespaces": (
        "import ctypes\nprint(21 if ctypes.CDLL(None).unshare(0x10000000) == 0 else 0)",
        "wrong",
    ),
    "daemon": (
        "import os\nif os.fork() == 0:\n    os.setsid()\n    while True:\n        pass\nprint(21)",
        "wrong",
    ),
    "signal handlers": (
        "import signal\nfor number in range(1, 65):\n"
        "    try:\n        signal.signal(number, lambda *_: None)\n    except (OSError, ValueError):\n"
        "        pass\nwhile True:\n    pass",
        "timeout",
    ),
    "no input left": ("input()\ninput()\nprint(21)", "wrong"),
    "huge recursion": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(n):\n    return f(n + 1) + 1\nprint(f(0))",
        "memory or timeout",  # depends on how fast the machine fills its memory
    ),
    "recursion": ("def f(n):\n    return f(n + 1) + 1\nprint(f(0))", "wrong"),
    "recursion in C": (
        "import sys\nsys.setrecursionlimit(10**9)\nx, y = [], []\n"
        "for _ in range(200_000):\n    x, y = [x], [y]\nprint(21 if x == y else 0)",
        "wrong",
    ),
    "crash in C": ("import ctypes\nctypes.string_at(0)\nprint(21)", "wrong"),
    "abort": ("import os\nos.abort()", "wrong"),
    "end before printing": ("import os\nos._exit(0)\nprint(21)", "wrong"),
    "input from a descriptor of ours": (
        "import os\nfound = []\nfor number in range(3, 1024):\n"
        "    try:\n        os.fstat(number)\n        found.append(number)\n    except OSError:\n"
        "        pass\nprint(21 if found else 'none')",
        "wrong",
    ),
}

SOLUTIONS: dict[str, tuple[str, str]] = {
    "end before the tests": ("import sys\nsys.exit(0)\ndef successor(n): pass", "wrong"),
    "end at the call": ("import os\ndef successor(n): os._exit(0)", "wrong"),
    "ask to end at the call": ("import sys\ndef successor(n): sys.exit(0)", "wrong"),
    "raise an assertion": ("def successor(n): raise AssertionError", "wrong"),
    "replace built-ins": (
        "import builtins\nbuiltins.AssertionError = type('E', (), {})\n"
        "builtins.exec = builtins.compile = builtins.print = lambda *a, **k: None\n"
        "builtins.isinstance = builtins.all = builtins.bool = lambda *a: True\n"
        "def successor(n): return n",
        "wrong",
    ),
    "equal to everything": (
        "class Equal:\n    def __eq__(self, other): return True\n    def __ne__(self, o): return False\n"
        "def successor(n): return Equal()",
        "wrong",
    ),
    "an integer equal to everything": (
        "class Equal(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\n"
        "def successor(n): return Equal(n)",
        "wrong",
    ),
    "write the report": (
        "import os\ndef successor(n):\n    for number in range(64):\n"
        "        try:\n            os.write(number, b'\\0\\0\\0\\x12{\"passed\": true}  ')\n"
        "        except OSError:\n            pass\n    return n",
        "wrong",
    ),
    "answer with nonsense": (
        "import os\ndef successor(n):\n    os.write(3, b'\\xff' * 1000)\n    return n",
        "wrong",
    ),
    "answer with deep nesting": (
        "import os\ndef successor(n):\n    text = b'[' * 100_000\n"
        "    os.write(3, len(text).to_bytes(4, 'big') + text)\n    return n",
        "wrong",
    ),
    "hang up": ("import os\ndef successor(n):\n    os.close(3)\n    while True: pass", "wrong"),
    "never answer": ("def successor(n):\n    while True: pass", "timeout"),
    "too large an answer": ("def successor(n): return [0] * 10**8", "memory"),
    "a number of a million digits": ("def successor(n): return 10 ** 1_000_000", "wrong"),
    "recurse at the call": ("def successor(n): return successor(n)", "wrong"),
    "no such function": ("def predecessor(n): return n - 1", "wrong"),
    "not a program": ("def successor(n) return n + 1", "wrong"),
    "look for the tests": (
        "import gc, sys\ndef successor(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'assert ' + 'successor' in str(frame.f_locals): return n + 1\n"
        "        frame = frame.f_back\n    return n",
        "wrong",
    ),
}
