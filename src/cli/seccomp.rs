//! Lets the kernel refuse system calls that the agent never makes (seccomp). So an attacker who controls the process
//! can do less. `docs/security.md` lists what these calls allow.
//!
//! This is a list of forbidden calls, not of allowed ones, so that another libc or kernel cannot stop the agent.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// System calls to run programs, access other processes, open files by handle, mount, make namespaces, and change the
/// kernel or its clock.
const FORBIDDEN: &[libc::c_long] = &[
    // Other programs and processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // File access without path checks.
    libc::SYS_open_by_handle_at,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mknodat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    libc::SYS_quotactl,
    // Namespaces.
    libc::SYS_setns,
    libc::SYS_unshare,
    // Kernel keys.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Subsystems with the most vulnerabilities.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_personality,
    // Kernel modules, reboot, and clocks.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// A bit that selects the x32 ABI. If the kernel supports x32, the same calls have a second number with this bit set.
/// The calls in `X32_ALONE` (execve, ptrace, kexec_load, process_vm_readv, process_vm_writev, execveat) have a
/// different number there.
const X32: libc::c_long = 0x4000_0000;
const X32_ALONE: [libc::c_long; 6] = [520, 521, 528, 539, 540, 545];

/// Forbids these calls permanently for this thread and all threads that it starts. Logs and returns the result. If the
/// kernel does not support seccomp, the agent runs without it.
pub(super) fn install() -> String {
    match apply() {
        Ok(()) => {
            tracing::info!(
                forbidden = FORBIDDEN.len(),
                "seccomp: the kernel refuses system calls that the agent never makes"
            );
            format!("{} system calls are refused", FORBIDDEN.len())
        }
        Err(error) => {
            tracing::warn!(error, "seccomp is not available: the agent runs without it");
            "not available".into()
        }
    }
}

fn apply() -> Result<(), String> {
    apply_but(&[])
}

/// Forbids all calls except `allowed`.
pub(super) fn apply_but(allowed: &[libc::c_long]) -> Result<(), String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|e| e.to_string())?;
    let mut calls: Vec<libc::c_long> = FORBIDDEN.iter().filter(|call| !allowed.contains(call)).copied().collect();
    if cfg!(target_arch = "x86_64") {
        calls.extend(FORBIDDEN.iter().chain(&X32_ALONE).map(|call| call | X32));
    }
    // No condition on arguments: the call is always refused.
    let rules: BTreeMap<i64, _> = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(|e| e.to_string())?;
    let program: BpfProgram = filter.try_into().map_err(|e: seccompiler::BackendError| e.to_string())?;
    seccompiler::apply_filter(&program).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::process::Command;

    use super::*;

    /// Runs `tried` in its own thread, because a filter applies to the calling thread and the threads that it starts.
    fn within<T: Send + 'static>(tried: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            apply().expect("this kernel knows seccomp");
            // The filter also applies to threads started later.
            std::thread::spawn(tried).join().expect("it does not panic")
        });
        thread.join().expect("it does not panic")
    }

    #[test]
    fn no_program_is_started_and_no_root_is_changed() {
        let (program, root) = within(|| {
            let program = Command::new("/bin/true").status().map_err(|error| error.kind());
            (program, std::os::unix::fs::chroot("/").map_err(|error| error.kind()))
        });
        assert_eq!(program.expect_err("it is refused"), ErrorKind::PermissionDenied);
        assert_eq!(root.expect_err("it is refused"), ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_the_agent_does_goes_on() {
        let done = within(|| -> std::io::Result<Vec<u8>> {
            let dir = tempfile::tempdir()?;
            let (file, renamed) = (dir.path().join("a"), dir.path().join("b"));
            std::fs::write(&file, b"line\n")?;
            std::fs::rename(&file, &renamed)?;
            std::os::unix::fs::symlink(&renamed, &file)?;
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            let _connected = std::net::TcpStream::connect(listener.local_addr()?)?;
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
            runtime.block_on(async { tokio::time::sleep(std::time::Duration::from_millis(1)).await });
            std::fs::read(file)
        });
        assert_eq!(done.expect("nothing of it is refused"), b"line\n");
    }
}
