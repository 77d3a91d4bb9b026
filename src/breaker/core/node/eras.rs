//! The settings that a node has had since it was made.

use std::sync::Arc;
// Not those of loom, which does not know that a `OnceLock` synchronizes.
use std::sync::atomic::{AtomicU32, Ordering};

use super::shared::Shared;
use crate::breaker::core::packed_state::ERA_MAX;
use crate::breaker::core::window::SlidingWindow;
use crate::settings::append_only::AppendOnly;
use crate::sync::seq_cst_in_loom;

/// All settings of a node but those that it was made with. Allocated by its first reconfiguration.
///
/// None is removed, because calls may still read it. The same settings are stored once, however often they come again.
#[derive(Debug)]
pub(super) struct Eras<N> {
    /// The number of the current settings: 0 for those of the node itself. Written under the lock of the state machine.
    current: AtomicU32,
    /// How often the window has been replaced.
    windows: AtomicU32,
    /// The number of the settings that last opened the breaker.
    tripped: AtomicU32,
    /// Those from number 1 on.
    later: AppendOnly<Era<N>>,
}

#[derive(Debug)]
struct Era<N> {
    shared: Arc<Shared<N>>,
    window: EraWindow,
}

/// The first era that has a window owns it.
#[derive(Debug)]
enum EraWindow {
    Owned(SlidingWindow),
    /// The window of this earlier era.
    OwnedBy(u32),
}

/// The settings and the window of one era.
pub(in crate::breaker::core) struct InEra<'a, N> {
    pub(in crate::breaker::core) shared: &'a Arc<Shared<N>>,
    pub(in crate::breaker::core) window: &'a SlidingWindow,
}

impl<N> Clone for InEra<'_, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for InEra<'_, N> {}

impl<N> Eras<N> {
    pub(super) fn new() -> Box<Self> {
        let [current, windows, tripped] = [(); 3].map(|()| AtomicU32::new(0));
        Box::new(Self { current, windows, tripped, later: AppendOnly::new() })
    }

    /// Returns the number of the current settings.
    pub(super) fn current(&self) -> u32 {
        self.current.load(Ordering::Acquire)
    }

    /// How often the window has been replaced.
    pub(super) fn windows(&self) -> u32 {
        self.windows.load(Ordering::Acquire)
    }

    /// The number of the settings that last opened the breaker.
    pub(super) fn tripped(&self) -> u32 {
        let era = self.tripped.load(Ordering::Acquire);
        seq_cst_in_loom();
        era
    }

    /// The current settings open the breaker. Called under the lock of the state machine, before the trip is shown.
    pub(super) fn trip(&self) {
        seq_cst_in_loom();
        self.tripped.store(self.current(), Ordering::Release);
    }

    /// Makes these settings current. Called under the lock of the state machine.
    pub(super) fn begin(&self, era: u32, replaces_window: bool) {
        self.current.store(era, Ordering::Release);
        if replaces_window {
            self.windows.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Returns the settings and the window of this era. Era 0 is `first`, that of the node itself.
    pub(super) fn at<'a>(&'a self, era: u32, first: InEra<'a, N>) -> InEra<'a, N> {
        let Some(found) = self.get(era) else { return first };
        let window = match &found.window {
            EraWindow::Owned(window) => window,
            EraWindow::OwnedBy(earlier) => self.at(*earlier, first).window,
        };
        InEra { shared: &found.shared, window }
    }

    /// Returns the number of these settings, and adds them if they are new. Under the lock of the state machine.
    pub(super) fn find_or_add(&self, shared: &Arc<Shared<N>>, first: InEra<'_, N>) -> Option<u32> {
        if Arc::ptr_eq(shared, first.shared) {
            return Some(0);
        }
        if let Some(index) = self.later.iter().position(|era| Arc::ptr_eq(shared, &era.shared)) {
            return Some(index as u32 + 1);
        }
        let config = shared.policy.window;
        let number = self.later.iter().count() as u32 + 1;
        if number > ERA_MAX {
            return None;
        }
        let is_same = |era: &u32| self.at(*era, first).shared.policy.window.is_same_window(config);
        let window = match (0..number).find(is_same) {
            Some(earlier) => EraWindow::OwnedBy(earlier),
            None => EraWindow::Owned(SlidingWindow::new(config, shared.is_partitioned, 0)),
        };
        self.later.push(Era { shared: shared.clone(), window });
        Some(number)
    }

    /// What all windows but the first have counted.
    pub(super) fn totals(&self) -> (u64, u64) {
        let owned = self.later.iter().filter_map(|era| match &era.window {
            EraWindow::Owned(window) => Some(window.totals(era.shared.policy.window)),
            EraWindow::OwnedBy(_) => None,
        });
        owned.fold((0, 0), |all, own| (all.0.wrapping_add(own.0), all.1.wrapping_add(own.1)))
    }

    fn get(&self, era: u32) -> Option<&Era<N>> {
        self.later.get(era.checked_sub(1)? as usize)
    }
}
