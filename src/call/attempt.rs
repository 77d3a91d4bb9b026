/// The number of an attempt, in the extensions of every HTTP request that is a retry or a hedge.
///
/// A first attempt does not carry it, so that the common case costs nothing.
///
/// ```
/// use tower_rampart::retry::Attempt;
///
/// let request = http::Request::new(());
/// assert_eq!(Attempt::of(&request).number(), 1);
/// assert!(!Attempt::of(&request).is_retry());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt(u32);

impl Attempt {
    pub(crate) const FIRST: Self = Self(1);

    /// The attempt after this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Returns the attempt of a request: the first one if its extensions contain none.
    #[must_use]
    pub fn of<B>(request: &http::Request<B>) -> Self {
        request.extensions().get().copied().unwrap_or(Self::FIRST)
    }

    /// Returns the number of the attempt, counted from 1.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Returns true if an earlier attempt of the same call failed, or is slow.
    #[must_use]
    pub const fn is_retry(self) -> bool {
        self.0 > 1
    }
}
