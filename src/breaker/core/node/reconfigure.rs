//! Other settings for a node that calls use meanwhile.

use std::ptr;
use std::sync::Arc;

use super::eras::Eras;
use super::{Node, Shared};
use crate::breaker::State;
use crate::breaker::core::packed_state::Phase;
use crate::breaker::core::window::consecutive_failures::ConsecutiveFailures;
use crate::sync::Ordering;

impl Node {
    /// Changes the settings. The state and its deadlines stay, and so do the outcomes that fit into the new window.
    pub(crate) fn reconfigure(&self, shared: &Arc<Shared>) {
        let engine = self.lock();
        let before = self.now_in();
        if Arc::ptr_eq(before.shared, shared) {
            return;
        }
        let eras = self.eras.get_or_init(Eras::new);
        let Some(era) = eras.find_or_add(shared, self.in_era(0)) else { return };
        let after = self.in_era(era);
        let is_same_window = ptr::eq(before.window, after.window);
        eras.begin(era, !is_same_window);
        let packed = self.packed_of(&engine);
        if !is_same_window {
            if packed.phase() == Phase::Live(State::Closed) {
                // No call may write to either window meanwhile: a recorder sees that the window changes, and waits for
                // the lock.
                self.packed.store(packed.between().bits(), Ordering::SeqCst);
            }
            let (now, config) = (self.now(), shared.policy.window);
            let from = before.shared.policy.window;
            after.window.take_over(config, (before.window, from), now);
            self.row().into_iter().for_each(|row| row.retick(|tick| config.tick_of(tick, from, now)));
        }
        if !shared.policy.counts_consecutive_failures() {
            self.row().into_iter().for_each(ConsecutiveFailures::reset);
        }
        self.packed.store(packed.bits(), Ordering::SeqCst);
    }
}
