use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;

use http::HeaderValue;
use rand::rngs::SmallRng;

use crate::report::Report;

/// What the handlers of an upstream call once their server has worked on a request.
pub(crate) trait Next: Debug + Send + Sync {
    /// Starts it for one run.
    fn start(&self, tenants: &Arc<[HeaderValue]>, seeds: &mut SmallRng) -> Box<dyn Running>;
}

/// The same in a run.
pub(crate) trait Running: Send + Sync {
    /// Makes one call, and returns whether it was answered well.
    fn call(&self, tenant: u32) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// Whether a call that came now would be answered well.
    fn would_answer(&self, tenant: u32) -> bool;

    /// Whether a handler still runs.
    fn is_handling(&self) -> bool;

    fn report(&self) -> Report;
}
