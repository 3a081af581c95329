"""System calls that no model may use: name -> (x86_64, aarch64), None where an architecture has no such call.

All that Linux 6.17 has but those that `serinus_runtime.syscalls` permits to every worker.
"""

from __future__ import annotations

from typing import Mapping, Sequence

REFUSED: Mapping[str, Sequence[int | None]] = {
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "socket": (41, 198), "connect": (42, 203),
    "bind": (49, 200), "semget": (64, 190), "semop": (65, 193), "semctl": (66, 191), "shmdt": (67, 197),
    "msgget": (68, 186), "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "chmod": (90, None),
    "fchmod": (91, 52), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "ptrace": (101, 117),
    "syslog": (103, 116), "setuid": (105, 146), "setgid": (106, 144), "setpgid": (109, 154), "setsid": (112, 157),
    "setreuid": (113, 145), "setregid": (114, 143), "setgroups": (116, 159), "setresuid": (117, 147),
    "setresgid": (119, 149), "setfsuid": (122, 151), "setfsgid": (123, 152), "capset": (126, 91),
    "rt_sigqueueinfo": (129, 138), "utime": (132, None), "mknod": (133, None), "uselib": (134, None),
    "ustat": (136, None), "sysfs": (139, None), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "vhangup": (153, 58), "modify_ldt": (154, None), "pivot_root": (155, 41),
    "_sysctl": (156, None), "adjtimex": (159, 171), "chroot": (161, 51), "sync": (162, 81), "acct": (163, 89),
    "settimeofday": (164, 170), "mount": (165, 40), "umount2": (166, 39), "swapon": (167, 224),
    "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161), "setdomainname": (171, 162),
    "iopl": (172, None), "ioperm": (173, None), "create_module": (174, None), "init_module": (175, 105),
    "delete_module": (176, 106), "get_kernel_syms": (177, None), "query_module": (178, None),
    "quotactl": (179, 60), "nfsservctl": (180, 42), "getpmsg": (181, None), "putpmsg": (182, None),
    "afs_syscall": (183, None), "tuxcall": (184, None), "security": (185, None), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "getxattr": (191, 8), "lgetxattr": (192, 9),
    "fgetxattr": (193, 10), "listxattr": (194, 11), "llistxattr": (195, 12), "flistxattr": (196, 13),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16), "set_thread_area": (205, None),
    "io_setup": (206, 0), "io_destroy": (207, 1), "io_getevents": (208, 4), "io_submit": (209, 2),
    "io_cancel": (210, 3), "get_thread_area": (211, None), "lookup_dcookie": (212, 18),
    "epoll_ctl_old": (214, None), "epoll_wait_old": (215, None), "remap_file_pages": (216, 234),
    "semtimedop": (220, 192), "clock_settime": (227, 112), "utimes": (235, None), "vserver": (236, None),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183),
    "mq_notify": (244, 184), "mq_getsetattr": (245, 185), "kexec_load": (246, 104), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "ioprio_set": (251, 30), "ioprio_get": (252, 31),
    "inotify_init": (253, None), "inotify_add_watch": (254, 27), "inotify_rm_watch": (255, 28),
    "migrate_pages": (256, 238), "mknodat": (259, 33), "fchownat": (260, 54), "futimesat": (261, None),
    "fchmodat": (268, 53), "unshare": (272, 97), "get_robust_list": (274, 100), "move_pages": (279, 239),
    "utimensat": (280, 88), "inotify_init1": (294, 26), "rt_tgsigqueueinfo": (297, 240),
    "perf_event_open": (298, 241), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "clock_adjtime": (305, 266),
    "syncfs": (306, 267), "setns": (308, 268), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "finit_module": (313, 273), "sched_setattr": (314, 274), "seccomp": (317, 277),
    "kexec_file_load": (320, 294), "bpf": (321, 280), "execveat": (322, 281), "userfaultfd": (323, 282),
    "io_pgetevents": (333, 292), "pidfd_send_signal": (424, 424), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "pidfd_open": (434, 434), "clone3": (435, 435), "openat2": (437, 437),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "mount_setattr": (442, 442),
    "quotactl_fd": (443, 443), "landlock_create_ruleset": (444, 444), "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446), "memfd_secret": (447, 447), "process_mrelease": (448, 448),
    "set_mempolicy_home_node": (450, 450), "cachestat": (451, 451), "fchmodat2": (452, 452),
    "statmount": (457, 457), "listmount": (458, 458), "lsm_get_self_attr": (459, 459),
    "lsm_set_self_attr": (460, 460), "lsm_list_modules": (461, 461), "setxattrat": (463, 463),
    "getxattrat": (464, 464), "listxattrat": (465, 465), "removexattrat": (466, 466), "open_tree_attr": (467, 467),
    "file_getattr": (468, 468), "file_setattr": (469, 469),
}  # fmt: skip
