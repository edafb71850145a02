"""Programs that try to pass without solving the task, or to harm the machine; none may succeed.

Scripts read "1 2" and should print 3; functions should return the sum. `SUM` is what an honest one does.
"""

SUM = "a,b=map(int,input().split())\n"

SCRIPTS = {
    # what it must not reach: prints the answer only if it got through
    "read_passwd": "open('/etc/passwd').read(); print(3)",
    "list_root": "import os; os.listdir('/'); print(3)",
    "list_tmp": "import os; os.listdir('/tmp'); print(3)",
    "list_processes": "import os; os.listdir('/proc'); print(3)",
    "read_own_memory_map": "open('/proc/self/maps').read(); print(3)",
    "read_grader_environment": "import os; open(f'/proc/{os.getppid()}/environ','rb').read(); print(3)",
    "read_through_a_link": "import os; os.symlink('/etc/passwd','l'); open('l').read(); print(3)",
    "write_beside_its_directory": "open('../escape_marker','w').write('x'); print(3)",
    "write_to_tmp": "open('/tmp/escape_marker','w').write('x'); print(3)",
    "write_to_shared_memory": "open('/dev/shm/escape_marker','w').write('x'); print(3)",
    "hard_link_of_a_library": "import os; os.link(os.__file__,'l'); print(3)",
    "truncate_by_reading": "import os; open('f','w').close(); os.open('f', os.O_RDONLY|os.O_TRUNC); print(3)",
    "write_to_a_library": "import os; os.open(os.__file__, os.O_RDWR); print(3)",
    "change_the_mode_of_a_file": "import os; open('f','w'); os.chmod('f',0o777); print(3)",
    "open_a_socket": "import socket; socket.socket(); print(3)",
    "open_a_unix_socket": "import socket; socket.socket(socket.AF_UNIX); print(3)",
    "open_a_datagram_pair": "import socket; socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM); print(3)",
    "fork": "import os; os.fork() or os._exit(0); print(3)",
    "start_a_shell": "import os; os.execv('/bin/sh',['sh','-c','echo 3'])",
    "spawn": "import os; os.posix_spawn('/bin/echo',['echo','3'],{}); print(3)",
    "kill_the_parent": "import os; os.kill(os.getppid(),9); print(3)",
    "kill_everything": "import os; os.kill(-1,9); print(3)",
    "limit_the_parent": "import os,resource as r; r.prlimit(os.getppid(),r.RLIMIT_CPU,(1,1)); print(3)",
    "raise_its_own_limits": "import resource as r; r.setrlimit(r.RLIMIT_AS,(-1,-1)); print(3)",
    "signal_by_a_descriptor": (
        "import fcntl,os; r,w=os.pipe(); fcntl.fcntl(r,fcntl.F_SETOWN,os.getppid()); print(3)"
    ),
    "leave_the_session": "import os; os.setsid(); print(3)",
    "priority": "import os; os.setpriority(os.PRIO_PROCESS,os.getppid(),19); print(3)",
    "become_another_user": "import os; os.setuid(1000); print(3)",
    "unnamed_memory_file": "import os; os.memfd_create('x'); print(3)",
    "terminal_injection": "import fcntl,termios; fcntl.ioctl(0,termios.TIOCSTI,b'x'); print(3)",
    # what it may do, but not get away with
    "exit_code_after_the_answer": SUM + "import sys; print(a+b); sys.exit(3)",
    "killed_after_the_answer": SUM + "import os; print(a+b,flush=True); os.kill(os.getpid(),9)",
    "exception_in_a_thread_then_loop": SUM
    + "import threading\ndef f():\n  while True: pass\nthreading.Thread(target=f).start()",
    "stops_itself": "import os,signal; os.kill(os.getpid(),signal.SIGSTOP)",
    "sleeps": SUM + "import time; time.sleep(60); print(a+b)",
    "sleeps_at_exit": SUM + "import atexit,time; atexit.register(time.sleep,60); print(a+b)",
    "ignores_signals": """import signal
for s in range(1, 20):
    try: signal.signal(s, signal.SIG_IGN)
    except Exception: pass
while 1: pass""",
    "prints_without_end": "while True: print('x'*65536)",
    "errors_without_end": "import sys\nwhile True: sys.stderr.write('x'*65536)",
    "shared_memory_bomb": "import mmap\nm=[mmap.mmap(-1,1<<26) for _ in range(100)]\nfor x in m: "
    "x.write(b'x'*(1<<26))\nprint(3)",
    "small_thread_bomb": "import threading,time\nthreading.stack_size(32768)\n"
    "for _ in range(2000): "
    "threading.Thread(target=time.sleep,args=(30,),daemon=True).start()\ntime.sleep(1); print(3)",
    "big_files": "for i in range(200): open(f'f{i}','wb').write(b'x'*(10<<20))\nprint(3)",
    "hidden_files": "import os,time; os.mkdir('d',0o300)\nfor i in range(100): "
    "open(f'd/{i}','wb').write(b'x'*(1<<20))\n"
    "time.sleep(1); print(3)",
    "crash": "import ctypes; ctypes.string_at(0)",
    "system_call_of_another_numbering": "import ctypes; c=ctypes.CDLL(None,use_errno=True)\n"
    "assert c.syscall(0x40000000|39)>0\nprint(3)",
    "raw_ptrace": "import ctypes,os; c=ctypes.CDLL(None); assert c.ptrace(16,os.getppid(),0,0)==0\nprint(3)",
    "raw_unshare": "import ctypes; c=ctypes.CDLL(None); assert c.unshare(0x10000000)==0\nprint(3)",
    "raw_keyring": "import ctypes; c=ctypes.CDLL(None); assert c.syscall(250,0,-3,1)>=0\nprint(3)",
    "raw_process_vm": "import ctypes,os; c=ctypes.CDLL(None); assert "
    "c.process_vm_readv(os.getppid(),0,0,0,0,0)==0\nprint(3)",
}

FUNCTIONS = {
    "exit_in_the_function": "import sys\ndef add(a,b): sys.exit(0)",
    "exit_while_loading": "import os\nos._exit(0)\ndef add(a,b): return a+b",
    "exit_at_exit": "import atexit,os\natexit.register(lambda: os._exit(0))\ndef add(a,b): return a-b",
    "always_equal": (
        "class E(int):\n  def __eq__(s,o): return True\n  __hash__=None\ndef add(a,b): return E(0)"
    ),
    "always_equal_object": (
        "class E:\n  def __eq__(s,o): return True\n  def __ne__(s,o): return False\ndef add(a,b): return E()"
    ),
    "reflected_subclass": """class E(float):
    def __eq__(s, o): return True
    def __rsub__(s, o): return 0
def add(a, b): return E(9)""",
    "int_that_lies": (
        "class E(int):\n  def __add__(s,o): return 3\n  def __index__(s): return 3\n"
        "  def __int__(s): return 3\n  __class__=bool\ndef add(a,b): return E(0)"
    ),
    "empty_list_that_iterates": (
        "class L(list):\n  def __iter__(s): return iter([3])\n  def __eq__(s,o): return True\n"
        "def add(a,b): return L()"
    ),
    "pickle": (
        "import os\nclass P:\n  def __reduce__(s): return (os.system,('touch escape_marker',))\n"
        "def add(a,b): return P()"
    ),
    "patched_assert": """import builtins
class A(Exception): pass
builtins.AssertionError = A
builtins.abs = lambda x: 0
def add(a, b): return 0""",
    "defines_check": "def check(candidate): return None\ndef add(a,b): return 0",
    "patched_wrapper": """import json
json.dumps = lambda *a, **k: '{"passed": true, "result": 7, "changed": []}'
def add(a, b): return 0""",
    "patched_serialiser": (
        "import menon.sandbox.wire as w\nw.encode=lambda *a: {'passed': True}\ndef add(a,b): return 0"
    ),
    "writes_to_the_channel": """import os
os.write(3, b'{"passed": true, "fault": false, "why": ""}\\n' * 9)
def add(a, b): return 0""",
    "writes_to_every_descriptor": """import os
for i in range(3, 50):
    try: os.write(i, b'{"passed": true, "fault": false}')
    except OSError: pass
def add(a, b): return 0""",
    "prints_a_verdict": "def add(a,b):\n  print('{\"passed\": true}'); print('OK'); return 0",
    "malformed_answer": """import os
os.write(3, b'{"result": {"set": [[]]}, "changed": 5}\\n' * 9)
def add(a, b): return 0""",
    "changes_what_was_not_given": """import os
os.write(3, b'{"result": 0, "changed": [[77, []]]}\\n' * 9)
def add(a, b): return 0""",
    "endless_answer": "def add(a,b): return 'x'*(64<<20)",
    "nested_answer": "def add(a,b):\n  x=[]\n  for _ in range(10**5): x=[x]\n  return x",
    "nested_raw_answer": "import os\nos.write(3,b'['*30000+b'\\n')\ndef add(a,b): return 0",
    "cyclic_answer": "def add(a,b):\n  x=[]\n  x.append(x)\n  return x",
    "not_a_number": "def add(a,b): return float('nan')",
    "raises_no_exception": "class B(BaseException): pass\ndef add(a,b): raise B()",
    "stops_the_iteration": "def add(a,b): raise StopIteration",
    "looks_at_the_frames": """import sys
def add(a, b):
    f = sys._getframe()
    while f:
        for v in f.f_locals.values():
            if isinstance(v, dict) and 'test' in v: return 3 if '== 3' in str(v) else 42
        f = f.f_back
    return 0""",
    "searches_memory": """import gc
def add(a, b):
    for o in gc.get_objects():
        for v in o.values() if type(o) is dict else [o]:
            if isinstance(v, str) and 'assert' in v and 'add(' in v: return a + b
    return 0""",
    "reads_the_tests_descriptors": """import os
def add(a, b):
    for i in range(64):
        try:
            if b'add(' in os.pread(i, 9999, 0): return a + b
        except OSError: pass
    return 0""",
    "reads_the_tests_memory": """import os
def add(a, b):
    for p in range(os.getpid() - 3, os.getpid() + 9):
        try:
            open(f'/proc/{p}/mem', 'rb')
            return a + b
        except OSError: pass
    return 0""",
    "leaves_a_thread": (
        "import threading,time\nthreading.Thread(target=time.sleep,args=(60,)).start()\n"
        "def add(a,b): return 0"
    ),
}
