use std::error::Error;

use super::{Classifier, Verdict};

/// Classifies errors by [`Verdict::of_error`], and every response as a success. For calls that are not HTTP.
///
/// ```
/// use tower_rampart::classify::{Class, Classifier, ErrorClassifier};
///
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let verdict = Classifier::<u32>::classify(&ErrorClassifier, Err(&refused));
/// assert_eq!(verdict.class(), Class::Transient);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorClassifier;

impl<Res> Classifier<Res> for ErrorClassifier {
    fn classify(&self, outcome: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        match outcome {
            Ok(_) => Verdict::success(),
            Err(error) => Verdict::of_error(error),
        }
    }
}
