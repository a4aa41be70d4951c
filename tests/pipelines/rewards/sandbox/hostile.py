"""Programs that do what a model's program must not do, each with the verdict it must get.

`SCRIPTS` are scored by what they print for the input 20 (it must be 21); `SOLUTIONS` by the tests of
`successor(n)`. A program that succeeds in its attack prints or returns the right answer, so the
verdict `correct` means that the sandbox failed.

Besides our own, these are the attacks named in human-eval's `reliability_guard` and issue 65,
EvalPlus's `unsafe_execute`, Soup's issue 21, APPS's pull request 21 and NeMo-Skills's pull request
1071: what such harnesses patch inside the interpreter, and the ways around the patches.
"""

from __future__ import annotations

_CALLS = (
    "import ctypes, mmap, os, platform\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "intel = platform.machine() == 'x86_64'\n"
    "def call(x86_64, aarch64, *arguments):\n"
    "    return libc.syscall(x86_64 if intel else aarch64, *arguments)\n"
)
"""Begins a program that makes system calls by number; they return -1 if they are refused."""

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

KERNEL_SCRIPTS: dict[str, tuple[str, str]] = {
    name: (_CALLS + program, verdict)
    for name, (program, verdict) in {
        # Memory outside the address space that RLIMIT_AS counts.
        "SysV shared memory": (
            "libc.shmat.restype = ctypes.c_void_p\nheld = 0\n"
            "for _ in range(8):\n"
            "    part = libc.shmget(0, 2**26, 0o1600)\n"
            "    at = libc.shmat(part, None, 0) if part >= 0 else None\n"
            "    if at and at != 2**64 - 1:\n"
            "        ctypes.memset(at, 1, 2**26)\n"
            "        libc.shmdt(ctypes.c_void_p(at))\n        held += 2**26\n"
            "print(21 if held > 2**28 else held)",
            "wrong",
        ),
        "anonymous files": (
            "held = 0\nfor _ in range(50):\n    file = os.memfd_create('held')\n"
            "    held += os.write(file, bytes(8 * 2**20 - 1))\n"
            "print(21 if held > 2**28 else held)",
            "wrong",
        ),
        "secret memory": ("print(21 if call(447, 447, 0) >= 0 else 0)", "wrong"),
        "huge pages given to pipes": (
            "area = mmap.mmap(-1, 2**21)\narea.write(bytes(2**21))\n"
            "class Piece(ctypes.Structure):\n"
            "    _fields_ = [('at', ctypes.c_void_p), ('size', ctypes.c_size_t)]\n"
            "piece = Piece(ctypes.addressof(ctypes.c_char.from_buffer(area)), 4096)\n"
            "_, end = os.pipe()\nprint(21 if call(278, 75, end, ctypes.byref(piece), 1, 8) > 0 else 0)",
            "wrong",
        ),
        "larger pipes": (
            "import fcntl\nprint(21 if fcntl.fcntl(os.pipe()[1], 1031, 2**20) > 0 else 0)",
            "wrong",
        ),
        "file locks": (
            "import fcntl\nfile = open('locked', 'w')\n"
            "for n in range(1000):\n    fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * n)\nprint(21)",
            "wrong",
        ),
        "descriptors in flight": (
            "import socket, array\nours, theirs = socket.socketpair()\n"
            "for _ in range(1000):\n    file = os.open('/dev/null', 0)\n"
            "    ours.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [file]))])\n"
            "    os.close(file)\nprint(21)",
            "wrong",
        ),
        "threads with descriptors of their own": (
            "import threading, time\nmade = []\ndef work():\n"
            "    if libc.unshare(0x400) == 0:\n"
            "        made.extend(os.open('/dev/null', 0) for _ in range(50))\n"
            "        time.sleep(0.2)\n"
            "threads = [threading.Thread(target=work) for _ in range(8)]\n"
            "[t.start() for t in threads]; [t.join() for t in threads]\n"
            "print(21 if len(made) > 64 else len(made))",
            "wrong",
        ),
        "message queue": ("print(21 if libc.msgget(0, 0o1600) >= 0 else 0)", "wrong"),
        "POSIX message queue": (
            "print(21 if call(240, 180, b'queue', 0o102, 0o600, None) >= 0 else 0)",
            "wrong",
        ),
        "semaphores": ("print(21 if libc.semget(0, 32000, 0o1600) >= 0 else 0)", "wrong"),
        "asynchronous input": (
            "context = ctypes.c_ulong(0)\n"
            "print(21 if call(206, 0, 1024, ctypes.byref(context)) == 0 else 0)",
            "wrong",
        ),
        "ring of requests": (
            "room = ctypes.create_string_buffer(256)\n"
            "print(21 if call(425, 425, 8, room) >= 0 else 0)",
            "wrong",
        ),
        "extended attributes": (
            "open('file', 'w').close()\nfor n in range(2000):\n"
            "    os.setxattr('file', f'user.{n}', bytes(60_000))\nprint(21)",
            "wrong",
        ),
        "file descriptors of inotify": (
            "print(21 if libc.inotify_init1(0) >= 0 else 0)",
            "wrong",
        ),
        # What it does to other programs and to the machine.
        "outlive the parent": (
            "print(21 if libc.prctl(1, 0, 0, 0, 0) == 0 else 0)",
            "wrong",
        ),
        "flush every disk": (
            "print(21 if call(162, 81) == 0 else 0)",
            "wrong",
        ),
        "drop the page cache of the libraries": (
            "file = os.open(os.__file__, os.O_RDONLY)\n"
            "os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)\nprint(21)",
            "wrong",
        ),
        "lock a shared library's file": (
            "import fcntl\nfcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_EX)\nprint(21)",
            "wrong",
        ),
        "choose a processor": ("os.sched_setaffinity(0, {0})\nprint(21)", "wrong"),
        "real-time priority": (
            "os.sched_setscheduler(0, 1, os.sched_param(1))\nprint(21)",
            "wrong",
        ),
        "signal every process by number": (
            "import signal\nreached = 0\nfor pid in range(2, 5000):\n    try:\n"
            "        os.kill(pid, 0)\n        reached += 1\n    except OSError:\n        pass\n"
            "print(21 if reached else 0)",
            "wrong",
        ),
        "read the memory of the parent": (
            "room = ctypes.create_string_buffer(8)\n"
            "print(21 if call(310, 270, os.getppid(), room, 1, room, 1, 0) > 0 else 0)",
            "wrong",
        ),
        "take a descriptor of another process": (
            "found = [call(438, 438, call(434, 434, pid, 0), 0, 0) for pid in range(0, 8)]\n"
            "print(21 if max(found) >= 0 else 0)",
            "wrong",
        ),
        # Ways around a filter of system calls.
        "the 32-bit system calls": (
            "code = bytes.fromhex('b814000000cd80c3' if intel else '1f2003d5c0035fd6')\n"
            "area = mmap.mmap(-1, 4096, prot=7)\narea.write(code)\n"
            "at = ctypes.addressof(ctypes.c_char.from_buffer(area))\n"
            "pid = ctypes.CFUNCTYPE(ctypes.c_int)(at)()\nprint(21 if intel and pid > 0 else 0)",
            "wrong",
        ),
        "the x32 system calls": (
            "print(21 if libc.syscall(0x40000000 + 39) > 0 else 0)",
            "wrong",
        ),
        "a system call newer than the list": (
            "print(21 if libc.syscall(465, -100, b'/tmp', 0, None, 0) >= 0 else 0)",
            "wrong",
        ),
        "a process without its own memory": (
            "made = call(56, 220, 0x4100 | 17, 0, 0, 0, 0)\nif made == 0:\n    os._exit(0)\n"
            "print(21 if made > 0 else 0)",
            "wrong",
        ),
        "a process by clone3": (
            "room = (ctypes.c_ulong * 11)(0, 0, 0, 0, 17)\nmade = call(435, 435, room, 88)\n"
            "if made == 0:\n    os._exit(0)\nprint(21 if made > 0 else 0)",
            "wrong",
        ),
        "a filter of its own": (
            "print(21 if call(317, 277, 2, 0, None) == 0 else 0)",
            "wrong",
        ),
        "32-bit personality": ("print(21 if libc.personality(8) >= 0 else 0)", "wrong"),
        "mount": (
            "print(21 if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 else 0)",
            "wrong",
        ),
        "mount by the new calls": ("print(21 if call(430, 430, b'tmpfs', 0) >= 0 else 0)", "wrong"),
        "change the root": ("os.chroot('/tmp')\nprint(21)", "wrong"),
        "become root": ("os.setuid(0)\nprint(21)", "wrong"),
        "keys": ("print(21 if call(250, 219, 0, -3, 1) > 0 else 0)", "wrong"),
        "performance counters": (
            "room = ctypes.create_string_buffer(128)\n"
            "print(21 if call(298, 241, room, 0, -1, -1, 0) >= 0 else 0)",
            "wrong",
        ),
        "programs in the kernel": (
            "room = ctypes.create_string_buffer(128)\n"
            "print(21 if call(321, 280, 0, room, 128) >= 0 else 0)",
            "wrong",
        ),
        "page faults by hand": ("print(21 if call(323, 282, 0) >= 0 else 0)", "wrong"),
        "raise the limits": (
            "import resource\n_, hard = resource.getrlimit(resource.RLIMIT_AS)\n"
            "resource.setrlimit(resource.RLIMIT_AS, (hard * 2, hard * 2))\nprint(21)",
            "wrong",
        ),
    }.items()
}
"""Attacks through system calls."""

HARNESS_SCRIPTS: dict[str, tuple[str, str]] = {
    "the shell": ("import os\nos.system('echo 21')", "wrong"),
    "popen": ("import os\nprint(os.popen('echo 21').read())", "wrong"),
    "spawn by the C library": (
        "import os\nos.posix_spawn('/bin/echo', ['echo', '21'], {})",
        "wrong",
    ),
    "a new process of multiprocessing": (
        "import multiprocessing\n"
        "if __name__ == '__main__':\n"
        "    p = multiprocessing.Process(target=print, args=(21,))\n    p.start()\n    p.join()",
        "wrong",
    ),
    "popen through the subclasses of object": (
        "for kind in ().__class__.__bases__[0].__subclasses__():\n"
        "    if kind.__name__ == '_wrap_close':\n"
        "        kind.__init__.__globals__['system']('echo 21')",
        "wrong",
    ),
    "the C library's system": ("import ctypes\nctypes.CDLL(None).system(b'echo 21')", "wrong"),
    "a module imported anew": (
        "import sys, importlib\nfor name in ('os', 'posix', 'subprocess', 'socket'):\n"
        "    sys.modules.pop(name, None)\nimportlib.import_module('socket').socket().connect(('1.1.1.1', 53))\n"
        "print(21)",
        "wrong",
    ),
    "connect by the C library": (
        "import ctypes\nprint(21 if ctypes.CDLL(None).socket(2, 1, 0) >= 0 else 0)",
        "wrong",
    ),
    "look up a name": ("import socket\nprint(socket.gethostbyname('example.com') and 21)", "wrong"),
    "remove everything": (
        "import shutil, json\nshutil.rmtree('/dev', ignore_errors=True)\n"
        "shutil.rmtree(json.__path__[0])\nprint(21)",
        "wrong",
    ),
    "rename and unlink libraries": (
        "import os\nos.rename(os.__file__, os.__file__ + '.old')\nprint(21)",
        "wrong",
    ),
    "change modes": ("import os\nos.chmod(os.__file__, 0o777)\nprint(21)", "wrong"),
    "run forever in a finaliser": (
        "class Late:\n    def __del__(self):\n        while True:\n            pass\n"
        "kept = Late()\nkept = None",
        "timeout",
    ),
    "sleep at exit": ("import atexit, time\natexit.register(time.sleep, 60)\nprint(21)", "timeout"),
    "swallow every exception": (
        "while True:\n    try:\n        while True:\n            pass\n"
        "    except BaseException:\n        pass",
        "timeout",
    ),
    "an alarm that is put off": (
        "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0)\nwhile True:\n    pass",
        "timeout",
    ),
    "a power that holds the interpreter": ("print(len(str(9 ** 9 ** 9)))", "timeout or memory"),
    "a pattern that backtracks": (
        "import re\nre.match('(a+)+$', 'a' * 40 + 'b')\nprint(21)",
        "timeout",
    ),
    "other streams": (
        "import os, sys\nos.write(2, b'21\\n')\nsys.stderr.write('21\\n')\nos.write(0, b'21\\n')",
        "wrong",
    ),
    "the answer and a failing exit": ("print(21, flush=True)\nimport os\nos._exit(3)", "wrong"),
    "the answer and a crash": ("print(21, flush=True)\nimport os\nos.abort()", "wrong"),
    "look for the expected output": (
        "import gc\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'outputs' in o]\n"
        "print(found[0]['outputs'][0] if found else 0)",
        "wrong",
    ),
}
"""Attacks on harnesses that patch the interpreter."""

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
    "replace the comparison of integers": (
        "import ctypes, gc\ndef successor(n):\n"
        "    int.__dict__\n    gc.get_referents(int.__dict__)[0]['__eq__'] = lambda *a: True\n"
        "    return n",
        "wrong",
    ),
    "skip the tests by a trace function": (
        "import sys\nsys.settrace(lambda frame, *_: setattr(frame, 'f_lineno', 99))\n"
        "def successor(n): return n",
        "wrong",
    ),
    "patch the test framework": (
        "import sys, types\nfake = types.ModuleType('unittest')\nsys.modules['unittest'] = fake\n"
        "import unittest\n__builtins__.__dict__['__debug_off__'] = True\n"
        "def successor(n): return n",
        "wrong",
    ),
    "define the tests anew": (
        "def check(candidate): return True\ndef successor(n): return n\n"
        "METADATA = {}\nassert_ = lambda *a: None",
        "wrong",
    ),
    "an answer for every caller": (
        "import os, threading\ndef successor(n):\n"
        "    text = b'[\"value\", true, [20]]'\n"
        "    for _ in range(8): os.write(3, len(text).to_bytes(4, 'big') + text)\n    return n",
        "wrong",
    ),
    "end by a thread during the call": (
        "import os, threading\ndef successor(n):\n"
        "    threading.Thread(target=os._exit, args=(0,)).start()\n    return n",
        "wrong",
    ),
    "look for the tests": (
        "import gc, sys\ndef successor(n):\n    frame = sys._getframe()\n    while frame:\n"
        "        if 'assert ' + 'successor' in str(frame.f_locals): return n + 1\n"
        "        frame = frame.f_back\n    return n",
        "wrong",
    ),
}
