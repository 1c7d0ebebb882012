"""Which system calls a host may make, as the program of a seccomp filter: what is not named here is allowed.

Others are answered with an error that libraries know how to take: most with EPERM, a socket as if there were no
network, a new process as if there were no room for one.
"""

import errno
import struct

RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
NEWEST_KNOWN = 470
"""System calls from this number on are newer than this list, and answered as if the kernel did not have them."""
CLONE_THREAD = 0x00010000
IOCTLS = {
    # typing into a terminal
    "TIOCSTI": 0x5412,
    "TIOCLINUX": 0x541C,
    # changing a file without opening it
    "FS_IOC_SETFLAGS": 0x40086602,
    "FS_IOC_FSSETXATTR": 0x401C5820,
    # having the kernel signal another process
    "FIOASYNC": 0x5452,
    "FIOSETOWN": 0x8901,
    "SIOCSPGRP": 0x8902,
}
FCNTLS = {
    # covert messages to another host: a lock on a file, a watch on a folder
    "F_GETLK": 5,
    "F_SETLK": 6,
    "F_SETLKW": 7,
    "F_OFD_GETLK": 36,
    "F_OFD_SETLK": 37,
    "F_OFD_SETLKW": 38,
    "F_SETLEASE": 1024,
    "F_GETLEASE": 1025,
    "F_NOTIFY": 1026,
    # and a word in a file's inode, which some kernels let who may only read the file write
    "F_GET_RW_HINT": 1035,
    "F_SET_RW_HINT": 1036,
    "F_GET_FILE_RW_HINT": 1037,
    "F_SET_FILE_RW_HINT": 1038,
    # having the kernel signal another process
    "F_SETOWN": 8,
    "F_SETSIG": 10,
    "F_SETOWN_EX": 15,
    "F_GETOWN_EX": 16,
}
ADVICE = {
    # dropping from the page cache what every process shares; malloc needs advice on what is its own
    "MADV_COLD": 20,
    "MADV_PAGEOUT": 21,
}
O_TRUNC = 0o1000
"""Filtered, since before its third version Landlock lets a process empty a file that it may only read."""

REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other processes: looking into them, holding them, moving them
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "tkill": (200, 130),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # starting programs
    "execve": (59, 221),
    "execveat": (322, 281),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # ways around the other layers, and large attack surfaces
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "fanotify_init": (300, 262),
    "personality": (135, 92),
    "mknod": (133, None),
    "mknodat": (259, 33),
    # what Landlock does not cover: changing a file without opening it
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "truncate": (76, 45),
    "creat": (85, None),
    # nor this: reading what is attached to a file that may not be opened
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "fgetxattr": (193, 10),
    "getxattrat": (464, 464),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "flistxattr": (196, 13),
    "listxattrat": (465, 465),
    # covert messages to another host: a lock on a file, the page cache, a watch on a folder
    "flock": (73, 32),
    "fadvise64": (221, 223),
    "readahead": (187, 213),
    "preadv2": (327, 286),
    "cachestat": (451, 451),
    "mincore": (27, 232),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    # memory and queues that outlive a process
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "shmdt": (67, 197),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    # the machine
    "clock_settime": (227, 112),
    "settimeofday": (164, 170),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "iopl": (172, None),
    "ioperm": (173, None),
}
"""The numbers, on x86_64 and on aarch64, of the calls that are answered with EPERM."""
NO_SOCKETS = {"socket": (41, 198), "socketpair": (53, 199)}
NO_PROCESSES = {"fork": (57, None), "vfork": (58, None)}
CLONE, CLONE3, IOCTL = (56, 220), (435, 435), (16, 29)
OPEN, OPENAT, OPENAT2, FCNTL = (2, None), (257, 56), (437, 437), (72, 25)
MADVISE = (28, 233)
KILL, TGKILL, QUEUE_SIGNAL, QUEUE_SIGNAL_TO_THREAD = (62, 129), (234, 131), (129, 138), (297, 240)
PRLIMIT, PRCTL = (302, 261), (157, 167)
PR_SET_PDEATHSIG = 1
"""At a level without a process namespace, a host that cleared it could outlive a zygote that was killed."""


def system_call_filter(machine: str, process_id: int) -> bytes:
    """The BPF program, eight bytes an instruction; signals may be sent to `process_id` alone."""
    column = list(ARCHITECTURES).index(machine)
    program = [
        _load(4),
        _jump_if_equal(ARCHITECTURES[machine], 1, 0),
        _return(RET_KILL_PROCESS),
        _load(0),
    ]
    if machine == "x86_64":
        program += [_jump_if_at_least(X32_BIT, 0, 1), _return(RET_ERRNO | errno.EPERM)]
    program += [_jump_if_at_least(NEWEST_KNOWN, 0, 1), _return(RET_ERRNO | errno.ENOSYS)]
    answers = [(REFUSED, errno.EPERM), (NO_SOCKETS, errno.EAFNOSUPPORT), (NO_PROCESSES, errno.EAGAIN)]
    for calls, answer in answers:
        for numbers in calls.values():
            if (number := numbers[column]) is not None:
                program += [_jump_if_equal(number, 0, 1), _return(RET_ERRNO | answer)]
    for call in (CLONE3, OPENAT2):  # a filter cannot see their flags; libraries fall back to the older call
        program += [_jump_if_equal(call[column], 0, 1), _return(RET_ERRNO | errno.ENOSYS)]
    program += _with_argument(
        CLONE[column], 0, [_jump_if_any_bit(CLONE_THREAD, 1, 0), _return(RET_ERRNO | errno.EAGAIN)]
    )
    for call, argument, refused in ((IOCTL, 1, IOCTLS), (FCNTL, 1, FCNTLS), (MADVISE, 2, ADVICE)):
        checks = [
            code
            for value in refused.values()
            for code in (_jump_if_equal(value, 0, 1), _return(RET_ERRNO | errno.EPERM))
        ]
        program += _with_argument(call[column], argument, checks)
    for call, flags in ((OPEN, 1), (OPENAT, 2)):
        if (number := call[column]) is not None:
            emptying = [_jump_if_any_bit(O_TRUNC, 0, 1), _return(RET_ERRNO | errno.EPERM)]
            program += _with_argument(number, flags, emptying)
    for call in (KILL, TGKILL, QUEUE_SIGNAL, QUEUE_SIGNAL_TO_THREAD):
        only_itself = [_jump_if_equal(process_id, 1, 0), _return(RET_ERRNO | errno.EPERM)]
        program += _with_argument(call[column], 0, only_itself)
    of_others = [_jump_if_equal(0, 2, 0), _jump_if_equal(process_id, 1, 0), _return(RET_ERRNO | errno.EPERM)]
    program += _with_argument(PRLIMIT[column], 0, of_others)
    outliving = [_jump_if_equal(PR_SET_PDEATHSIG, 0, 1), _return(RET_ERRNO | errno.EPERM)]
    program += _with_argument(PRCTL[column], 0, outliving)
    return b"".join([*program, _return(RET_ALLOW)])


def _with_argument(number: int, argument: int, checks: list[bytes]) -> list[bytes]:
    """For the call `number`: `checks` on the low half of the argument, then allowed; other calls jump over this."""
    body = [_load(16 + 8 * argument), *checks, _return(RET_ALLOW)]
    return [_jump_if_equal(number, 0, len(body)), *body]


def _load(offset: int) -> bytes:
    """The 32 bits at `offset` of `struct seccomp_data`: number 0, architecture 4, arguments from 16, low half first."""
    return struct.pack("<HBBI", 0x20, 0, 0, offset)


def _jump_if_equal(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("<HBBI", 0x15, then, otherwise, value)


def _jump_if_at_least(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("<HBBI", 0x35, then, otherwise, value)


def _jump_if_any_bit(value: int, then: int, otherwise: int) -> bytes:
    return struct.pack("<HBBI", 0x45, then, otherwise, value)


def _return(value: int) -> bytes:
    return struct.pack("<HBBI", 0x06, 0, 0, value)
