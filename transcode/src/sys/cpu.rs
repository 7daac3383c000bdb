//! What a thread has cost.

/// CPU time of the calling thread so far, in microseconds; 0 where the system does not say.
pub(crate) fn thread_micros() -> u64 {
    micros_of(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of this process so far, in microseconds; 0 where the system does not say.
pub(crate) fn process_micros() -> u64 {
    micros_of(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn micros_of(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that lives through the call, and the clock id is a constant of the system.
    let code = unsafe { libc::clock_gettime(clock, &raw mut time) };
    if code != 0 {
        return 0;
    }
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1_000_000 + nanos / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_and_sleep_does_not() {
        let start = thread_micros();
        std::thread::sleep(std::time::Duration::from_millis(50));
        let slept = thread_micros() - start;
        let mut sum = 0u64;
        while thread_micros() - start < 60_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(slept < 20_000, "{slept} µs asleep");
        assert!(sum > 0 && process_micros() >= thread_micros());
    }
}
