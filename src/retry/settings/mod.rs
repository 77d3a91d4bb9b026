//! The settings of a layer or policy, as one that runs compares them with new ones.
//!
//! A call keeps its [`Tuning`] from its start to its end. [`Eras`] holds every tuning so far, and which one is current.
//! The budget is not part of it: its settings change in place, also for calls in flight, which share its tokens.

mod eras;
#[cfg(all(test, rampart_loom))]
mod loom;
mod tuning;

use std::sync::Arc;

use super::headers::{DeadlineHeader, RetryGuard};
use super::hedge::Hedge;
use super::policy::Budget;
use crate::settings::invalid_setting::{InvalidSetting, ensure};

pub(in crate::retry) use self::eras::Eras;
pub(in crate::retry) use self::tuning::{Limits, Tuning};

/// The settings of a [`RetryLayer`](crate::RetryLayer), a [`HedgedRetryLayer`](super::HedgedRetryLayer) or a
/// [`RetryPolicy`](super::RetryPolicy), for [`Handle::reconfigure`](super::Handle::reconfigure).
///
/// Sealed; implemented by these three.
pub trait RetrySettings: sealed::Sealed {}

impl<Of: sealed::Sealed> RetrySettings for Of {}

/// All settings that can be compared.
#[allow(unnameable_types)]
#[derive(Clone, Debug)]
pub struct Settings {
    pub(in crate::retry) name: Arc<str>,
    pub(in crate::retry) seed: Option<u64>,
    pub(in crate::retry) distrust_refusals: bool,
    pub(in crate::retry) tuning: Tuning,
    pub(in crate::retry) budget: Budget,
    pub(in crate::retry) of_layer: LayerSettings,
}

/// The settings of a layer that a policy does not have.
#[allow(unnameable_types)]
#[derive(Clone, Debug, Default)]
pub struct LayerSettings {
    pub(in crate::retry) max_partitions: Option<usize>,
    pub(in crate::retry) max_replay_bytes: Option<usize>,
    pub(in crate::retry) deadline_header: Option<DeadlineHeader>,
    pub(in crate::retry) guard: Option<RetryGuard>,
    pub(in crate::retry) hedge: Option<Hedge>,
}

pub(in crate::retry) const DEFAULT_NAME: &str = "default";
pub(in crate::retry) const DEFAULT_REPLAY_BYTES: usize = 64 * 1024;

impl Settings {
    /// # Errors
    ///
    /// Returns an error if new settings have another value for what cannot change. They can leave it out.
    pub(in crate::retry) fn check_kept(&self, new: &Self) -> Result<(), InvalidSetting> {
        // What is left out has its default, and stays.
        ensure!(
            new.name == self.name || &*new.name == DEFAULT_NAME,
            "name: cannot change at run time, from {:?} to {:?}",
            self.name,
            new.name
        );
        ensure!(new.seed == self.seed || new.seed.is_none(), "seed: cannot change at run time");
        ensure!(
            new.distrust_refusals == self.distrust_refusals || !new.distrust_refusals,
            "distrust_refusals: cannot change at run time, because the classifier does it"
        );
        let (own, new) = (&self.of_layer, &new.of_layer);
        let LayerSettings { max_partitions: _, max_replay_bytes, deadline_header, guard, hedge } = new;
        ensure!(
            *max_replay_bytes == own.max_replay_bytes
                || max_replay_bytes.is_none_or(|bytes| bytes == DEFAULT_REPLAY_BYTES),
            "max_replay_bytes: cannot change at run time"
        );
        ensure!(
            *deadline_header == own.deadline_header || deadline_header.is_none(),
            "deadline_header: cannot change at run time"
        );
        ensure!(*guard == own.guard || guard.is_none(), "guard: cannot change at run time");
        ensure!(*hedge == own.hedge || hedge.is_none(), "hedge: cannot change at run time");
        Ok(())
    }
}

pub(in crate::retry) mod sealed {
    #[allow(unnameable_types)]
    pub trait Sealed {
        fn settings(&self) -> super::Settings;
    }
}
