//! The settings that a policy has had since it was made.

use std::fmt;

use crate::settings::append_only::AppendOnly;
use crate::settings::changes::ensure_room;
use crate::settings::invalid_setting::InvalidSetting;
use crate::sync::{AtomicU32, Mutex, MutexGuard, Ordering, fence, lock};

/// All settings that a policy has had, except those it was made with: each clone keeps these itself.
///
/// None are removed, because calls may still read them. Settings that return are stored once.
pub(in crate::retry) struct Eras<T> {
    /// The number of the current settings: 0 for those that the policy was made with.
    current: AtomicU32,
    /// Those from number 1 on.
    later: AppendOnly<T>,
    /// Held while the settings change, so that changes come one after the other.
    changing: Mutex<()>,
}

/// One change of the settings, while no other is made.
pub(in crate::retry) struct Change<'a, T> {
    eras: &'a Eras<T>,
    first: &'a T,
    _locked: MutexGuard<'a, ()>,
}

impl<T> Eras<T> {
    /// Returns the current settings, of which `first` is number 0. A call asks once.
    #[inline]
    pub(in crate::retry) fn current<'a>(&'a self, first: &'a T) -> &'a T {
        // Relaxed, because policies whose settings never change read nothing else.
        let era = self.current.load(Ordering::Relaxed);
        if era == 0 { first } else { self.latest(era, first) }
    }

    #[cold]
    fn latest<'a>(&'a self, era: u32, first: &'a T) -> &'a T {
        // Pairs with the store of the number, which came after the settings themselves.
        fence(Ordering::Acquire);
        self.later(era, first)
    }

    /// Returns the settings of this number, of which `first` is 0.
    #[inline]
    pub(in crate::retry) fn at<'a>(&'a self, era: u16, first: &'a T) -> &'a T {
        if era == 0 { first } else { self.later(era.into(), first) }
    }

    #[cold]
    fn later<'a>(&'a self, era: u32, first: &'a T) -> &'a T {
        self.later.get(era as usize - 1).unwrap_or(first)
    }

    /// Begins a change, once no other is under way.
    pub(in crate::retry) fn change<'a>(&'a self, first: &'a T) -> Change<'a, T> {
        Change { eras: self, first, _locked: lock(&self.changing) }
    }
}

impl<T> Change<'_, T> {
    pub(in crate::retry) fn before(&self) -> &T {
        self.eras.current(self.first)
    }

    /// Returns the number of the settings that are the same, and makes them if there are none.
    pub(in crate::retry) fn find_or_add(
        &self,
        is_same: impl Fn(&T) -> bool,
        make: impl FnOnce(u16) -> T,
    ) -> Result<u16, InvalidSetting> {
        let Eras { later, .. } = self.eras;
        let known = || std::iter::once(self.first).chain(later.iter());
        let count = known().count();
        let era = known().position(is_same).unwrap_or(count);
        ensure_room(era)?;
        // At most a thousand.
        let number = era as u16;
        if era == count {
            later.push(make(number));
        }
        Ok(number)
    }

    /// Makes the settings of this number current.
    pub(in crate::retry) fn begin(self, era: u16) {
        self.eras.current.store(era.into(), Ordering::Release);
    }
}

impl<T> Default for Eras<T> {
    fn default() -> Self {
        Self { current: AtomicU32::new(0), later: AppendOnly::new(), changing: Mutex::new(()) }
    }
}

impl<T> fmt::Debug for Eras<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Eras").field("current", &self.current).finish_non_exhaustive()
    }
}
