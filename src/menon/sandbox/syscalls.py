"""System calls that model code may make, with their numbers on x86-64 and aarch64 (`-`: the machine has no
such call)."""

FREE = """
access 21 -; alarm 37 -; arch_prctl 158 -; brk 12 214; chdir 80 49; clock_getres 229 114; clock_gettime 228
113; clock_nanosleep 230 115; close 3 57; copy_file_range 326 285; creat 85 -; dup 32 23; dup2 33 -; dup3 292
24; epoll_create 213 -; epoll_create1 291 20; epoll_ctl 233 21; epoll_pwait 281 22; epoll_pwait2 441 441;
epoll_wait 232 -; eventfd 284 -; eventfd2 290 19; exit 60 93; exit_group 231 94; faccessat 269 48; faccessat2
439 439; fadvise64 221 223; fchdir 81 50; fdatasync 75 83; flock 73 32; fstat 5 80; fstatfs 138 44; fsync 74
82; ftruncate 77 46; futex 202 98; getcpu 309 168; getcwd 79 17; getdents 78 -; getdents64 217 61; getegid 108
177; geteuid 107 175; getgid 104 176; getgroups 115 158; getitimer 36 102; getpeername 52 205; getpgid 121
155; getpgrp 111 -; getpid 39 172; getppid 110 173; getpriority 140 141; getrandom 318 278; getresgid 120 150;
getresuid 118 148; getrlimit 97 163; getrusage 98 165; getsid 124 156; getsockname 51 204; getsockopt 55 209;
gettid 186 178; gettimeofday 96 169; getuid 102 174; link 86 -; linkat 265 37; lseek 8 62; lstat 6 -; madvise
28 233; membarrier 324 283; mkdir 83 -; mkdirat 258 34; mmap 9 222; mprotect 10 226; mremap 25 216; msync 26
227; munmap 11 215; nanosleep 35 101; newfstatat 262 79; pause 34 -; pipe 22 -; pipe2 293 59; poll 7 -; ppoll
271 73; pread64 17 67; preadv 295 69; preadv2 327 286; pselect6 270 72; pwrite64 18 68; pwritev 296 70;
pwritev2 328 287; read 0 63; readlink 89 -; readlinkat 267 78; readv 19 65; recvfrom 45 207; recvmsg 47 212;
rename 82 -; renameat 264 38; renameat2 316 276; restart_syscall 219 128; rmdir 84 -; rseq 334 293;
rt_sigaction 13 134; rt_sigpending 127 136; rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigsuspend 130 133;
rt_sigtimedwait 128 137; sched_get_priority_max 146 125; sched_get_priority_min 147 126; sched_getaffinity 204
123; sched_getparam 143 121; sched_getscheduler 145 120; sched_rr_get_interval 148 127; sched_yield 24 124;
select 23 -; sendfile 40 71; sendto 44 206; set_robust_list 273 99; set_tid_address 218 96; setitimer 38 103;
setsockopt 54 208; shutdown 48 210; sigaltstack 131 132; stat 4 -; statfs 137 43; statx 332 291; symlink 88 -;
symlinkat 266 36; sysinfo 99 179; time 201 -; timerfd_create 283 85; timerfd_gettime 287 87; timerfd_settime
286 86; times 100 153; umask 95 166; uname 63 160; unlink 87 -; unlinkat 263 35; wait4 61 260; waitid 247 95;
write 1 64; writev 20 66
"""
"""Allowed with any arguments: they reach only files that the process has open, its own memory, time, threads
and signals, or a path, which the file rules check. Not on this list, so refused: sockets, exec, fork, ptrace
and reading other processes, namespaces, mounts, keys, BPF, io_uring, userfaultfd, perf, modules, changing
owner, mode, times or user, memfd, System V memory; sendmsg, which can put open files where no limit counts
them; timer_create, by which a process can kill itself as if from outside."""

RULED = """
clone 56 220; clone3 435 435; close_range 436 436; fallocate 285 47; fcntl 72 25; ioctl 16 29; kill 62 129;
open 2 -; openat 257 56; openat2 437 437; prctl 157 167; prlimit64 302 261; setrlimit 160 164; socketpair 53
199; tgkill 234 131
"""
"""Allowed or refused by their arguments (`seccomp.rules`)."""


def numbers(table: str, machine: str) -> dict[str, int]:
    """Name -> number on "x86_64" or "aarch64"."""
    column = {"x86_64": 1, "aarch64": 2}[machine]
    rows = [entry.split() for entry in table.replace("\n", " ").split(";")]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}
