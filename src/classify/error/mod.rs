//! From an error to a verdict.
//!
//! 1. `chain` walks the error and its sources, for at most 64 links, and looks inside errors that hide what they wrap.
//! 2. `evidence` has one file for each library. It recognizes the errors of that library and returns what one link
//!    proves.
//! 3. `judge` walks a chain and returns the verdict of its strongest evidence. Of equal evidence the deepest decides,
//!    because it is closest to the cause.
//! 4. A `ClassifiedError`, an error of this crate and a failed request body are final: they end the walk.
//! 5. `cause` names the cause in static words of this crate. The text of an error may hold a secret, so it is never
//!    shown.
//!
//! The walk and the verdict are two files because other parts only search a chain, and must not depend on every
//! library.
//!
//! To support another library, add a file to `evidence` and an entry to the table in `judge`.

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
pub(super) use self::distrust::verdict_of_error;
pub(crate) use self::request_body_failed::RequestBodyFailed;
