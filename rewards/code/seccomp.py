"""The seccomp filter of every candidate: an allow-list, compiled once by libseccomp.

Everything that is not listed fails with EPERM: no fork or vfork, no execve, no sockets but a stream pair within the
process, no kill, ptrace, mount, unshare, bpf, io_uring, keyctl, prctl. clone is allowed for threads only (how many:
`inside/isolate.py`); clone3 fails with ENOSYS, so that the C library falls back to clone. What Landlock leaves open, in
all or in older kernels, is not listed either: the times of files (utime), truncation by path or by opening for reading,
file locks (flock and fcntl's, so that SQLite works in memory alone), and fcntl's ways to have a signal sent to another
process.
"""

import errno
import tempfile

ALLOWED = """
read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 close close_range creat
stat fstat lstat newfstatat fstatat64 statx access faccessat faccessat2 lseek _llseek
mmap mprotect munmap mremap madvise brk membarrier mincore
rt_sigaction rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigpending rt_sigtimedwait sigaltstack
dup dup2 dup3 pipe pipe2 select pselect6 poll ppoll
epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 eventfd eventfd2
getpid gettid getppid getuid geteuid getgid getegid getgroups getpgrp getpgid getsid getresuid getresgid
getcwd chdir fchdir mkdir mkdirat rmdir unlink unlinkat rename renameat renameat2 readlink readlinkat
ftruncate getdents getdents64 umask fsync fdatasync sendfile copy_file_range
uname sysinfo times getrusage getrlimit clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time
alarm setitimer getitimer futex set_robust_list rseq set_tid_address arch_prctl sched_yield sched_getaffinity
exit exit_group getrandom restart_syscall recvfrom sendto shutdown getsockopt getsockname getpeername
"""

CLONE_THREAD = 0x00010000
SOCKET_TYPE_MASK, SOCK_STREAM, AF_UNIX = 0xF, 1, 1
O_TRUNC, WRONLY, RDWR = 0o1000, 1, 2
FCNTLS = (0, 1, 2, 3, 4, 1030)  # F_DUPFD F_GETFD F_SETFD F_GETFL F_SETFL F_DUPFD_CLOEXEC
IOCTLS = (0x5401, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS FIONREAD FIONBIO FIONCLEX FIOCLEX


def compiled(machine: str = "") -> bytes:
    """The filter as struct sock_filter[]. Raises ImportError or OSError where libseccomp is missing.

    machine: x86_64 or aarch64, "" for this one.
    """
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    if machine and not rules.exist_arch(arch := getattr(seccomp.Arch, machine.upper())):
        rules.add_arch(arch)
        rules.remove_arch(seccomp.Arch.NATIVE)
    for name in ALLOWED.split():
        add(rules, name, seccomp.ALLOW)
    add(rules, "clone", seccomp.ALLOW, seccomp.Arg(0, seccomp.MASKED_EQ, CLONE_THREAD, CLONE_THREAD))
    add(rules, "clone3", seccomp.ERRNO(errno.ENOSYS))
    add(rules, "prlimit64", seccomp.ALLOW, seccomp.Arg(0, seccomp.EQ, 0), seccomp.Arg(2, seccomp.EQ, 0))
    stream = seccomp.Arg(1, seccomp.MASKED_EQ, SOCKET_TYPE_MASK, SOCK_STREAM)
    add(rules, "socketpair", seccomp.ALLOW, seccomp.Arg(0, seccomp.EQ, AF_UNIX), stream)
    for name, place in (("open", 1), ("openat", 2)):
        for bits in (0, O_TRUNC | WRONLY, O_TRUNC | RDWR):
            flags = seccomp.Arg(place, seccomp.MASKED_EQ, O_TRUNC | bits, bits)
            add(rules, name, seccomp.ALLOW, flags)
    for request in FCNTLS:
        add(rules, "fcntl", seccomp.ALLOW, seccomp.Arg(1, seccomp.EQ, request))
    for request in IOCTLS:
        add(rules, "ioctl", seccomp.ALLOW, seccomp.Arg(1, seccomp.EQ, request))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def add(rules, name, action, *args) -> None:  # type: ignore[no-untyped-def]
    """Add a rule; a call that this architecture does not have needs none."""
    import pyseccomp as seccomp

    try:
        number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    except (ValueError, OSError):
        return
    if number >= 0:
        rules.add_rule(action, name, *args)
