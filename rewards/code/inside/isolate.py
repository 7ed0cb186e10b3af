"""What a forked process gives up before it runs a line of a candidate, by tier.

bubblewrap: own PID, mount and IPC namespaces inside bubblewrap's, a fresh small /tmp; no capability
landlock:   no namespaces; Landlock allows reading the Python installation and nothing else
both:       no new privileges, resource limits, a seccomp allow-list, every other descriptor closed; each new thread
            is asked for at the template (`Threads`), which grants so many and no more
"""

import contextlib
import ctypes
import errno
import fcntl
import os
import platform
import resource
import select
import signal
import socket
import struct

CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
SYS_CLONE = {"x86_64": 56, "aarch64": 220}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_SECCOMP = {"x86_64": 317, "aarch64": 277}
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 24, 38
MS_NOSUID_NODEV, MS_PRIVATE_REC = 6, (1 << 18) | (1 << 14)
TMP_OPTIONS = b"size=16m,nr_inodes=512,mode=0700"
ACTION_ALLOW, ACTION_ERRNO, ACTION_NOTIFY = 0x7FFF0000, 0x00050000, 0x7FC00000
NOTIFY_RECEIVE, NOTIFY_SEND, NOTIFY_CONTINUE = 0xC0502100, 0xC0182101, 1
THREADS = 256  # that a candidate may start in its life
READ = 1 << 2 | 1 << 3  # LANDLOCK_ACCESS_FS_READ_FILE | READ_DIR
WRITE_FILE = 1 << 1

libc = ctypes.CDLL(None, use_errno=True)
with_gil = ctypes.PyDLL(None)  # clone must not give up the interpreter lock
MACHINE = platform.machine()


def checked(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def fork(flags):
    """As os.fork, the child in new namespaces."""
    if not flags:
        return os.fork()
    with_gil.PyOS_BeforeFork()
    pid = with_gil.syscall(SYS_CLONE[MACHINE], flags | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        with_gil.PyOS_AfterFork_Child()
        return 0
    with_gil.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError("clone refused")
    return pid


def namespaces(tier):
    return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC if tier == "bubblewrap" else 0


def confine(tier, limits, program, keep, private, threads=None):
    """Everything but the code itself. `keep`: descriptors that stay open. `private`: own namespaces. `threads`: socket
    to the template's `Threads`, closed here.

    program: the seccomp filter, compiled (struct sock_filter[]), b"" for none (tier "none").
    """
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    os.setsid()
    if tier == "bubblewrap" and private:
        checked(libc.mount(None, b"/", None, MS_PRIVATE_REC, None), "private mounts")
        checked(libc.mount(b"tmpfs", b"/tmp", b"tmpfs", MS_NOSUID_NODEV, TMP_OPTIONS), "mounting /tmp")
        os.chdir("/tmp")
    set_limits(limits)
    close_all_but([*keep, *([threads.fileno()] if threads else [])])
    if tier != "none":
        drop_capabilities()
        checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    if tier == "landlock":
        restrict_files(limits["readable"])
    if threads:
        hand_over_threads(threads)
    if program:
        load_filter(program)


def set_limits(limits):
    for kind, value in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_CPU, limits["cpu"]),
        (resource.RLIMIT_FSIZE, limits["file"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def close_all_but(keep):
    low = 0
    for fd in sorted(keep):
        if low < fd:  # an empty range would close everything: its end wraps around
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 4096)


def drop_capabilities():
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    data = (ctypes.c_uint32 * 6)()
    checked(libc.syscall(SYS_CAPSET[MACHINE], header, data), "capset")


def landlock_version():
    """The kernel's Landlock ABI, 0 where there is none."""
    return max(libc.syscall(LANDLOCK_CREATE, None, 0, 1), 0)


def restrict_files(readable):
    """Read below `readable` (a list of paths), write to nothing but /dev/null; no TCP, no signals out."""
    version = landlock_version()
    files = (1 << 13) - 1
    for minimum, bit in ((2, 13), (3, 14), (5, 15)):
        files |= (1 << bit) if version >= minimum else 0
    fields = [files, 3 if version >= 4 else 0, 3 if version >= 6 else 0]
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    rules = struct.pack("<QQQ", *fields)
    fd = libc.syscall(LANDLOCK_CREATE, rules, size, 0)
    if fd < 0:
        checked(-1, "landlock")
    for path in readable:
        add_rule(fd, path, READ)
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        add_rule(fd, device, 1 << 2 | WRITE_FILE)
    checked(libc.syscall(LANDLOCK_RESTRICT, fd, 0), "landlock")
    os.close(fd)


def add_rule(ruleset, path, access):
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not os.path.isdir(path):
        access &= ~(1 << 3)
    rule = struct.pack("<Qi", access, parent)
    checked(libc.syscall(LANDLOCK_ADD, ruleset, 1, rule, 0), "landlock rule")
    os.close(parent)


def load_filter(program):
    count = len(program) // 8
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("<HxxxxxxQ", count, ctypes.addressof(code))
    checked(libc.prctl(PR_SET_SECCOMP, 2, header, 0, 0), "seccomp")


# Threads. RLIMIT_NPROC counts a user's processes and not root's, and a raw clone needs no stack to speak of: so each
# clone is put to the template, which knows nothing of it but that it happened, and counts.


def can_count_threads():
    """Whether the kernel notifies another process of a system call (5.0) and lets it go on (5.5)."""
    action = ctypes.c_uint32(ACTION_NOTIFY)
    return libc.syscall(SYS_SECCOMP[MACHINE], 2, 0, ctypes.byref(action)) == 0


def hand_over_threads(sock):
    """A filter on clone alone; its listener goes to the template. Where there is none to be had: no threads."""
    listener = load_clone_filter(ACTION_NOTIFY, 1 << 3)
    if listener < 0:
        checked(min(load_clone_filter(ACTION_ERRNO | errno.EAGAIN, 0), 0), "seccomp")
    else:
        socket.send_fds(sock, [b"t"], [listener])
        os.close(listener)
    sock.close()


def load_clone_filter(action, flags):
    rows = ((0x20, 0, 0, 0), (0x15, 0, 1, SYS_CLONE[MACHINE]), (0x06, 0, 0, action), (0x06, 0, 0, ACTION_ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *row) for row in rows))
    header = struct.pack("<HxxxxxxQ", len(rows), ctypes.addressof(code))
    return libc.syscall(SYS_SECCOMP[MACHINE], 1, flags, header)


class Threads:
    """The template's side: grants the first `THREADS` of each candidate. Reads numbers of the kernel's alone."""

    def __init__(self, control):
        self.poller = select.poll()
        self.poller.register(control, select.POLLIN)
        self.waiting = {}
        self.granted = {}

    def pair(self):
        """The socket for a new candidate."""
        ours, theirs = socket.socketpair()
        self.waiting[ours.fileno()] = ours
        self.poller.register(ours, select.POLLIN)
        return theirs

    def until(self, control):
        """Answer until there is something to read on `control`."""
        while True:
            for fd, event in self.poller.poll():
                if fd == control:
                    return
                if fd in self.waiting:
                    self.take(fd)
                elif event & select.POLLIN:
                    self.answer(fd)
                else:
                    self.poller.unregister(fd)

    def take(self, fd):
        sock = self.waiting.pop(fd)
        self.poller.unregister(fd)
        with sock:
            _, fds, _, _ = socket.recv_fds(sock, 1, 1)
        for listener in fds:
            self.granted[listener] = 0
            self.poller.register(listener, select.POLLIN)

    def answer(self, listener):
        request = bytearray(80)
        try:
            fcntl.ioctl(listener, NOTIFY_RECEIVE, request)
            self.granted[listener] += 1
            refused = self.granted[listener] > THREADS
            reply = struct.pack("<8sqiI", request[:8], 0, *((-errno.EAGAIN, 0) if refused else (0, NOTIFY_CONTINUE)))
            fcntl.ioctl(listener, NOTIFY_SEND, bytearray(reply))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):  # the one that asked is gone
                raise

    def clear(self):
        """The candidates are gone."""
        for fd, sock in self.waiting.items():
            self.poller.unregister(fd)
            sock.close()
        for listener in self.granted:
            with contextlib.suppress(KeyError):
                self.poller.unregister(listener)
            os.close(listener)
        self.waiting.clear()
        self.granted.clear()
