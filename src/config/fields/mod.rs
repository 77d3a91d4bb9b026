//! The fields of the three tables, and how each becomes a call of its setter.

mod backoff;
mod breaker;
mod budget;
mod classify;
mod duration;
mod retry;
mod section;
mod setting;
mod table;

pub use self::backoff::{BackoffConfig, ExponentialConfig, FixedConfig, GrowingConfig, LinearConfig};
pub use self::breaker::{
    AbandonedConfig, BreakerConfig, CountWindowConfig, OutageConfig, RampConfig, SlowCallsConfig, TimeWindowConfig,
    WindowConfig,
};
pub use self::budget::{BudgetConfig, ConcurrentConfig, GrpcBudgetConfig, RatioConfig};
pub use self::classify::{ClassifyConfig, CodeConfig, StatusConfig, VerdictConfig};
pub use self::duration::HumanDuration;
pub(super) use self::duration::millis;
pub use self::retry::{DeadlineHeaderConfig, GuardConfig, HedgeConfig, RetryConfig};
pub(super) use self::section::Section;
pub(super) use self::setting::{Culprit, Setting};
pub(super) use self::table::table;
