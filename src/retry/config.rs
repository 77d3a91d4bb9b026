use std::sync::Arc;

use super::budgets::{Budgets, CallBucket};
use super::hedge::Pace;
use super::policy::AlwaysIdempotent;
use super::replay::CloneRequests;
use super::retry_policy::RetryPolicy;
use crate::registry::partition::{Keyed, Partition, Unpartitioned};

/// What the attempts of a call read: the configuration of its service, or the policy of a function.
pub(super) trait Shared {
    type Classifier;
    type OnRetry;
    type Replay;
    type Partition: Keyed;

    fn policy(&self) -> &RetryPolicy<Self::Classifier, Self::OnRetry>;

    fn replay(&self) -> &Self::Replay;

    /// When an attempt is hedged.
    fn pace(&self) -> &Pace;

    /// Returns the bucket of a call whose budget is not the policy's own.
    fn bucket<Req>(&self, request: &Req) -> CallBucket<Self::Partition>
    where
        Self::Partition: Partition<Req>;
}

/// The configuration and state that clones of a service share with their futures.
#[derive(Clone, Debug)]
pub(super) struct SharedConfig<Classifier, Replay, OnRetry, Partition: Keyed> {
    pub(super) policy: RetryPolicy<Classifier, OnRetry>,
    pub(super) replay: Replay,
    pub(super) budgets: Budgets<Partition>,
    pub(super) pace: Pace,
}

impl<Classifier, Replay, OnRetry, PartitionT: Keyed> Shared
    for Arc<SharedConfig<Classifier, Replay, OnRetry, PartitionT>>
{
    type Classifier = Classifier;
    type OnRetry = OnRetry;
    type Replay = Replay;
    type Partition = PartitionT;

    #[inline]
    fn policy(&self) -> &RetryPolicy<Classifier, OnRetry> {
        &self.policy
    }

    #[inline]
    fn replay(&self) -> &Replay {
        &self.replay
    }

    #[inline]
    fn pace(&self) -> &Pace {
        &self.pace
    }

    #[inline]
    fn bucket<Req>(&self, request: &Req) -> CallBucket<PartitionT>
    where
        PartitionT: Partition<Req>,
    {
        self.budgets.of_call(request, &self.policy.config.budget, &self.policy.config.name)
    }
}

/// A function needs nothing besides its policy.
impl<Classifier, OnRetry> Shared for &RetryPolicy<Classifier, OnRetry> {
    type Classifier = Classifier;
    type OnRetry = OnRetry;
    type Replay = CloneRequests;
    type Partition = Unpartitioned;

    #[inline]
    fn policy(&self) -> &RetryPolicy<Classifier, OnRetry> {
        self
    }

    #[inline]
    fn replay(&self) -> &CloneRequests {
        &CloneRequests { idempotency: AlwaysIdempotent }
    }

    #[inline]
    fn pace(&self) -> &Pace {
        &Pace::Never
    }

    #[inline]
    fn bucket<Req>(&self, _: &Req) -> CallBucket<Unpartitioned> {
        CallBucket::none()
    }
}
