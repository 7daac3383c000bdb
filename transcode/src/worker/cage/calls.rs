//! Which system calls a worker may make.

use std::io;

#[cfg(not(target_os = "linux"))]
pub(super) fn filter(_devices: bool) -> io::Result<()> {
    Err(io::Error::other("this system has no filter of system calls"))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn filter_for_network() -> io::Result<()> {
    filter(false)
}

#[cfg(target_os = "linux")]
pub(super) use linux::{filter, filter_for_network};

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use libc::{
        CLONE_THREAD, EPERM, SYS_accept, SYS_accept4, SYS_acct, SYS_add_key, SYS_bind, SYS_bpf, SYS_brk,
        SYS_chdir, SYS_chroot, SYS_clock_getres, SYS_clock_gettime, SYS_clock_nanosleep, SYS_clone,
        SYS_clone3, SYS_close, SYS_connect, SYS_dup, SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group,
        SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_fcntl, SYS_finit_module, SYS_fstat,
        SYS_futex, SYS_get_mempolicy, SYS_get_robust_list, SYS_getcpu, SYS_geteuid, SYS_getpid, SYS_getppid,
        SYS_getpriority, SYS_getrandom, SYS_getrusage, SYS_gettid, SYS_gettimeofday, SYS_getuid,
        SYS_init_module, SYS_io_uring_enter, SYS_io_uring_register, SYS_io_uring_setup, SYS_kexec_load,
        SYS_keyctl, SYS_kill, SYS_listen, SYS_lseek, SYS_madvise, SYS_membarrier, SYS_mmap, SYS_mount,
        SYS_mprotect, SYS_mremap, SYS_munmap, SYS_nanosleep, SYS_open_by_handle_at, SYS_perf_event_open,
        SYS_pidfd_getfd, SYS_pidfd_send_signal, SYS_pivot_root, SYS_ppoll, SYS_prctl, SYS_prlimit64,
        SYS_process_vm_readv, SYS_process_vm_writev, SYS_ptrace, SYS_quotactl, SYS_read, SYS_readv,
        SYS_reboot, SYS_request_key, SYS_restart_syscall, SYS_rseq, SYS_rt_sigaction, SYS_rt_sigprocmask,
        SYS_rt_sigreturn, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
        SYS_sched_setaffinity, SYS_sched_yield, SYS_set_robust_list, SYS_setdomainname, SYS_setgid,
        SYS_setgroups, SYS_sethostname, SYS_setns, SYS_setresgid, SYS_setresuid, SYS_settimeofday,
        SYS_setuid, SYS_sigaltstack, SYS_socket, SYS_socketpair, SYS_swapoff, SYS_swapon, SYS_sysinfo,
        SYS_tgkill, SYS_tkill, SYS_umount2, SYS_uname, SYS_unshare, SYS_userfaultfd, SYS_write, SYS_writev,
    };
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    use super::io;

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    /// What a worker without a GPU does: read and write its standard streams, memory, threads, time. What is not
    /// here is refused as if the permission were missing.
    const NEEDED: &[i64] = &[
        // Its standard streams.
        SYS_read,
        SYS_readv,
        SYS_write,
        SYS_writev,
        SYS_close,
        SYS_ppoll,
        SYS_fcntl,
        SYS_dup,
        SYS_lseek,
        SYS_fstat,
        // Memory.
        SYS_mmap,
        SYS_munmap,
        SYS_mremap,
        SYS_mprotect,
        SYS_madvise,
        SYS_brk,
        SYS_get_mempolicy,
        SYS_membarrier,
        // Threads.
        SYS_futex,
        SYS_set_robust_list,
        SYS_get_robust_list,
        SYS_rseq,
        SYS_sched_yield,
        SYS_sched_getaffinity,
        SYS_sched_setaffinity,
        SYS_sched_getparam,
        SYS_sched_getscheduler,
        SYS_getcpu,
        SYS_getpriority,
        SYS_gettid,
        SYS_getpid,
        SYS_getppid,
        SYS_getuid,
        SYS_geteuid,
        SYS_exit,
        SYS_exit_group,
        SYS_restart_syscall,
        SYS_rt_sigaction,
        SYS_rt_sigprocmask,
        SYS_rt_sigreturn,
        SYS_sigaltstack,
        // Time, chance, and what the machine is.
        SYS_clock_gettime,
        SYS_clock_getres,
        SYS_clock_nanosleep,
        SYS_nanosleep,
        SYS_gettimeofday,
        SYS_getrandom,
        SYS_getrusage,
        SYS_sysinfo,
        SYS_uname,
        // Answered as if the kernel lacked it: see `no_clone3`.
        SYS_clone3,
    ];

    /// What a worker with a network does besides: sockets, and reading what names are resolved by.
    const NETWORK: &[i64] = &[
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_setsockopt,
        libc::SYS_getsockopt,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_shutdown,
        libc::SYS_ioctl,
        libc::SYS_pselect6,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_eventfd2,
        libc::SYS_pipe2,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_statfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_pread64,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getcwd,
    ];

    /// The same where the system still has calls that newer ones replace.
    #[cfg(target_arch = "x86_64")]
    const NETWORK_OLD: &[i64] = &[
        libc::SYS_select,
        libc::SYS_epoll_create,
        libc::SYS_epoll_wait,
        libc::SYS_eventfd,
        libc::SYS_pipe,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
    ];

    /// What no worker does, whatever its drivers need.
    const FORBIDDEN: &[i64] = &[
        SYS_socket,
        SYS_socketpair,
        SYS_connect,
        SYS_bind,
        SYS_listen,
        SYS_accept,
        SYS_accept4,
        SYS_execve,
        SYS_execveat,
        SYS_ptrace,
        SYS_process_vm_readv,
        SYS_process_vm_writev,
        SYS_pidfd_getfd,
        SYS_pidfd_send_signal,
        SYS_kill,
        SYS_tkill,
        SYS_mount,
        SYS_umount2,
        SYS_pivot_root,
        SYS_chroot,
        SYS_chdir,
        SYS_setns,
        SYS_unshare,
        SYS_bpf,
        SYS_perf_event_open,
        SYS_userfaultfd,
        SYS_keyctl,
        SYS_add_key,
        SYS_request_key,
        SYS_init_module,
        SYS_finit_module,
        SYS_kexec_load,
        SYS_reboot,
        SYS_swapon,
        SYS_swapoff,
        SYS_acct,
        SYS_quotactl,
        SYS_sethostname,
        SYS_setdomainname,
        SYS_settimeofday,
        SYS_io_uring_setup,
        SYS_io_uring_enter,
        SYS_io_uring_register,
        SYS_open_by_handle_at,
        SYS_setuid,
        SYS_setgid,
        SYS_setresuid,
        SYS_setresgid,
        SYS_setgroups,
        SYS_fchmod,
        SYS_fchmodat,
        SYS_fchown,
        SYS_fchownat,
    ];

    /// Sets the filters for this thread and those that it starts.
    pub(in super::super) fn filter(devices: bool) -> io::Result<()> {
        apply(&no_clone3())?;
        let (rules, otherwise, listed) = match devices {
            false => (needed()?, SeccompAction::Errno(EPERM as u32), SeccompAction::Allow),
            true => (always(FORBIDDEN), SeccompAction::Allow, SeccompAction::Errno(EPERM as u32)),
        };
        apply(&Ok((rules, otherwise, listed)))
    }

    /// The same for a worker that needs a network: what is needed without one, sockets of the internet and of the kernel's
    /// routing, and files that are only read.
    pub(in super::super) fn filter_for_network() -> io::Result<()> {
        apply(&no_clone3())?;
        let mut rules = needed()?;
        rules.extend(always(NETWORK));
        #[cfg(target_arch = "x86_64")]
        rules.extend(always(NETWORK_OLD));
        let family = |family: i32| when(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family as u64);
        let families = [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        rules.insert(SYS_socket, families.into_iter().map(family).collect::<io::Result<_>>()?);
        let writes = (libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC) as u64;
        let reads = when(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(writes), libc::O_RDONLY as u64)?;
        rules.insert(libc::SYS_openat, vec![reads]);
        #[cfg(target_arch = "x86_64")]
        rules.insert(
            libc::SYS_open,
            vec![when(1, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(writes), libc::O_RDONLY as u64)?],
        );
        apply(&Ok((rules, SeccompAction::Errno(EPERM as u32), SeccompAction::Allow)))
    }

    type Filter = io::Result<(Rules, SeccompAction, SeccompAction)>;

    fn apply(filter: &Filter) -> io::Result<()> {
        let (rules, otherwise, listed) = match filter {
            Ok(filter) => filter.clone(),
            Err(error) => return Err(io::Error::new(error.kind(), error.to_string())),
        };
        let machine = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        let filter = SeccompFilter::new(rules, otherwise, listed, machine).map_err(io::Error::other)?;
        let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)
    }

    fn always(calls: &[i64]) -> Rules {
        calls.iter().map(|call| (*call, Vec::new())).collect()
    }

    /// A filter cannot read clone3's flags, which lie in memory. Without it libc falls back to clone, whose flags it can.
    fn no_clone3() -> Filter {
        Ok((always(&[SYS_clone3]), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32)))
    }

    fn needed() -> io::Result<Rules> {
        let mut rules = always(NEEDED);
        #[cfg(target_arch = "x86_64")]
        rules.extend(always(&[libc::SYS_poll, libc::SYS_time]));
        let word = SeccompCmpArgLen::Dword;
        let thread = SeccompCmpOp::MaskedEq(CLONE_THREAD as u64);
        // Threads, and no processes.
        rules.insert(SYS_clone, vec![when(0, word.clone(), thread, CLONE_THREAD as u64)?]);
        // A signal to itself, which is how abort() ends.
        let own = u64::from(std::process::id());
        rules.insert(SYS_tgkill, vec![when(0, word.clone(), SeccompCmpOp::Eq, own)?]);
        // Names of threads.
        rules.insert(SYS_prctl, vec![when(0, word, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?]);
        // Reading limits, which finds a thread's stack; not setting them.
        rules.insert(SYS_prlimit64, vec![when(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?]);
        Ok(rules)
    }

    fn when(argument: u8, length: SeccompCmpArgLen, is: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
        let condition = SeccompCondition::new(argument, length, is, value).map_err(io::Error::other)?;
        SeccompRule::new(vec![condition]).map_err(io::Error::other)
    }
}
