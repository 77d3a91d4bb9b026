//! What all threads write costs each of them more than the rest of a call. So a breaker that all calls of a layer share
//! keeps such words a few times over, each for a lane of threads.

/// How many lanes there are.
pub(crate) const COUNT: usize = if cfg!(all(test, rampart_loom)) { 2 } else { 4 };

/// The lane of this thread. Threads take the lanes in turn.
#[cfg(not(all(test, rampart_loom)))]
#[inline(always)]
pub(crate) fn of_thread() -> usize {
    use std::cell::Cell;
    use std::sync::atomic::{AtomicUsize, Ordering};

    thread_local! {
        static LANE: Cell<usize> = const { Cell::new(COUNT) };
    }

    #[cold]
    fn choose() -> usize {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let lane = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        LANE.set(lane);
        lane
    }

    let lane = LANE.get();
    if lane < COUNT { lane } else { choose() }
}

/// By the number of the thread, because loom replays a run.
#[cfg(all(test, rampart_loom))]
pub(crate) fn of_thread() -> usize {
    let number = format!("{:?}", loom::thread::current().id());
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    digits.parse::<usize>().unwrap_or(0) % COUNT
}
