use super::{HedgedRetryLayer, RetryLayer};
use crate::registry::partition::Keyed;
use crate::retry::config::SharedConfig;
use crate::retry::handle::Handle;
use crate::retry::replay;
use crate::retry::settings::sealed::Sealed;
use crate::retry::settings::{LayerSettings, Settings};

impl<Classifier, Replay, OnRetry, Partition> RetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Replay: replay::Sealed,
    Partition: Keyed,
{
    /// Returns a handle that reads what the layer and its clones have counted and the balance of the budget, and that
    /// [changes the settings](Handle::reconfigure), also after the services have been moved or boxed. Take it when the
    /// layer is set up: it does not change a layer that has got another setting since, count the calls of another name,
    /// or read another budget.
    #[must_use]
    pub fn handle(&self) -> Handle<Partition::Key> {
        self.shared.policy.handle_with(self.settings(), self.shared.budgets.by_key())
    }
}

impl<Classifier, Replay, OnRetry, Partition> Sealed for RetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Replay: replay::Sealed,
    Partition: Keyed,
{
    fn settings(&self) -> Settings {
        let SharedConfig { policy, replay, budgets, pace } = &self.shared;
        let (max_partitions, hedge) = (Some(budgets.max_partitions()), pace.hedge());
        let of_layer = LayerSettings { max_partitions, hedge, ..replay.settings() };
        Settings { of_layer, ..policy.settings() }
    }
}

impl<Classifier, Replay, OnRetry, Partition> HedgedRetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Replay: replay::Sealed,
    Partition: Keyed,
{
    /// Returns a handle, as [`RetryLayer::handle`] does. One that was taken before [`hedge`](RetryLayer::hedge) reads and
    /// changes the same, but does not know the hedge.
    #[must_use]
    pub fn handle(&self) -> Handle<Partition::Key> {
        self.0.handle()
    }
}

impl<Classifier, Replay, OnRetry, Partition> Sealed for HedgedRetryLayer<Classifier, Replay, OnRetry, Partition>
where
    Replay: replay::Sealed,
    Partition: Keyed,
{
    fn settings(&self) -> Settings {
        self.0.settings()
    }
}
