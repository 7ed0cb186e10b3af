"""The sandbox on x86-64 and on Arm: system call numbers and the filter, without a machine of either kind."""

import errno
import struct

import pytest

from rewards.code.inside import isolate
from rewards.code.seccomp import CLONE_THREAD, IOCTLS, compiled

seccomp = pytest.importorskip("pyseccomp", reason="LIBSECCOMP IS NOT HERE; the filters were not tested")

MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of linux/audit.h
ALLOW, REFUSE, KILL_THREAD = 0x7FFF0000, 0x00050000, 0


def number(machine: str, call: str) -> int:
    return seccomp.resolve_syscall(getattr(seccomp.Arch, machine.upper()), call)


def verdict(program: bytes, machine: str, call: int, *arguments: int) -> int:
    """What the kernel would do: the filter's return value. Classic BPF, the instructions that libseccomp writes."""
    words = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", call, AUDIT[machine], 0, *words)
    steps = list(struct.iter_unpack("<HBBI", program))
    value, at = 0, 0
    while True:
        code, true, false, k = steps[at]
        at += 1
        match code:
            case 0x20:  # load a word
                (value,) = struct.unpack_from("<I", data, k)
            case 0x54:
                value &= k
            case 0x05:
                at += k
            case 0x15:
                at += true if value == k else false
            case 0x25:
                at += true if value > k else false
            case 0x35:
                at += true if value >= k else false
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


@MACHINES
def test_numbers_of_the_calls_that_the_sandbox_makes(machine: str) -> None:
    assert isolate.SYS_CLONE[machine] == number(machine, "clone")
    assert isolate.SYS_CAPSET[machine] == number(machine, "capset")
    assert number(machine, "landlock_create_ruleset") == isolate.LANDLOCK_CREATE
    assert number(machine, "landlock_add_rule") == isolate.LANDLOCK_ADD
    assert number(machine, "landlock_restrict_self") == isolate.LANDLOCK_RESTRICT


@MACHINES
def test_what_the_filter_allows(machine: str) -> None:
    program = compiled(machine)
    # What a Python program does on any Linux: on Arm the calls with older names do not exist.
    plain = """read write openat close newfstatat fstat lseek mmap mprotect munmap mremap brk madvise getdents64
        readlinkat unlinkat mkdirat renameat pipe2 dup3 ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait eventfd2
        futex getpid gettid rt_sigaction rt_sigprocmask clock_gettime clock_nanosleep getrandom set_robust_list rseq
        sched_yield exit_group faccessat uname sysinfo getrusage recvfrom sendto""".split()
    refused = [call for call in plain if verdict(program, machine, number(machine, call)) != ALLOW]
    assert not refused
    assert verdict(program, machine, number(machine, "clone"), CLONE_THREAD | 0x100) == ALLOW
    assert verdict(program, machine, number(machine, "socketpair"), 1, 1 | 0o2000000) == ALLOW
    assert all(verdict(program, machine, number(machine, "ioctl"), 0, one) == ALLOW for one in IOCTLS)


@MACHINES
def test_what_the_filter_refuses(machine: str) -> None:
    program = compiled(machine)
    no = REFUSE | errno.EPERM
    calls = """execve execveat socket connect bind kill tgkill ptrace mount umount2 unshare setns bpf keyctl prctl
        seccomp io_uring_setup chroot capset process_vm_readv memfd_create userfaultfd perf_event_open
        init_module""".split()
    allowed = [call for call in calls if verdict(program, machine, number(machine, call)) != no]
    assert not allowed
    assert verdict(program, machine, number(machine, "clone"), 17) == no  # a fork: SIGCHLD and no thread
    assert verdict(program, machine, number(machine, "clone3")) == REFUSE | errno.ENOSYS
    assert verdict(program, machine, number(machine, "socketpair"), 2, 1) == no
    assert verdict(program, machine, number(machine, "ioctl"), 0, 0x5412) == no  # TIOCSTI
    assert verdict(program, machine, number(machine, "prlimit64"), 1) == no


@MACHINES
def test_calls_of_another_architecture_end_the_process(machine: str) -> None:
    other = next(one for one in AUDIT if one != machine)
    assert verdict(compiled(machine), other, number(other, "read")) == KILL_THREAD
