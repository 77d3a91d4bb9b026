//! What an error means: the evidence in the chain of its sources, and the verdict on it.

mod cause;
mod chain;
mod classified;
mod distrust;
mod evidence;
mod judge;
mod request_body_failed;

pub(crate) use self::cause::cause;
pub(crate) use self::chain::find;
pub use self::classified::ClassifiedError;
pub use self::distrust::DistrustRefusals;
pub(super) use self::distrust::distrusted;
pub(crate) use self::request_body_failed::RequestBodyFailed;
