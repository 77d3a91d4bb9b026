//! The numbers of the layers, for Prometheus and other metrics systems.
//!
//! Nothing is recorded for them when a call succeeds: a scrape reads what breakers and budgets count anyway. What happens
//! rarely (a transition, a probe, a retry, a call that gives up) is counted when it happens.
//!
//! 1. A handle of a layer is a [`Source`]: [`breaker::Handle`](crate::breaker::Handle) and
//!    [`retry::Handle`](crate::retry::Handle).
//! 2. [`prometheus_text`] writes them all. For other systems there are the features `metrics` and `opentelemetry`, or
//!    [`Source::collect`].
//! 3. Each layer has the label `name`. The number of series does not grow with the keys: only the 20 breakers that have
//!    not been closed for the longest time are shown by their label, as it stands in events, redacted ones included.
//! 4. A counter never falls. What a partition has counted stays in the numbers of its layer when it is evicted.
//! 5. A scrape takes no lock that a call waits for. It looks at each partition once, so scrape every few seconds, not
//!    more often.
//!
//! `docs/METRICS.md` explains each number and names what other libraries call it. Beside it are a dashboard for Grafana
//! and alert rules.

#[cfg(feature = "metrics")]
mod facade;
mod metric;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
mod prometheus;
mod sample;

#[cfg(feature = "metrics")]
pub use self::facade::Publisher;
pub use self::metric::{Kind, Metric};
#[cfg(feature = "opentelemetry")]
pub use self::opentelemetry::observe;
pub use self::prometheus::prometheus_text;
pub use self::sample::{Sample, Source};
