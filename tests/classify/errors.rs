//! The walk along a chain of errors. The rules are those of `classify::error`.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use tower::{Layer, Service};
use tower_rampart::CircuitBreakerLayer;
use tower_rampart::breaker::CircuitOpen;
use tower_rampart::classify::{Class, ClassifiedError, Health, Processed, Reason, Verdict};

/// The most links that the walk looks at.
const DEPTH: usize = 64;

/// Returns itself as its own source.
#[derive(Debug)]
struct Ouroboros;

/// A link of a chain of any length.
#[derive(Debug)]
struct Link(Option<Box<dyn Error + Send + Sync>>);

macro_rules! display {
    ($($error:ty)*) => {$(
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($error))
            }
        }
    )*};
}

display!(Ouroboros Link);

impl Error for Ouroboros {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl Error for Link {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.as_deref().map(|source| source as _)
    }
}

/// Drops a long chain link by link: a recursive drop would overflow the stack.
impl Drop for Link {
    fn drop(&mut self) {
        let mut next = self.0.take();
        while let Some(error) = next {
            next = error.downcast::<Link>().ok().and_then(|mut link| link.0.take());
        }
    }
}

fn wrapped(error: impl Into<Box<dyn Error + Send + Sync>>, levels: usize) -> Link {
    (0..levels).fold(Link(Some(error.into())), |link, _| Link(Some(Box::new(link))))
}

fn verdict(error: &(dyn Error + 'static)) -> Verdict {
    Verdict::of_error(error)
}

fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

#[test]
fn unknown_chain() {
    let verdict = verdict(&Link(None));
    assert_eq!(verdict, Verdict::transient());
    assert_eq!((verdict.processed(), verdict.reason()), (Processed::Maybe, Reason::UNKNOWN));
}

#[test]
fn rule_1_an_error_that_is_its_own_source_is_unknown() {
    assert_eq!(verdict(&Ouroboros), Verdict::transient());
    assert!(ClassifiedError::find(&Ouroboros).is_none());
}

#[test]
fn rule_1_the_walk_ends_after_64_links() {
    // The wrapping links come first, then the error itself.
    assert_eq!(verdict(&wrapped(reset(), DEPTH - 2)).reason(), Reason::RESET);
    assert_eq!(verdict(&wrapped(reset(), DEPTH - 1)).reason(), Reason::UNKNOWN);
    assert_eq!(verdict(&wrapped(reset(), 10_000)), Verdict::transient());
}

#[test]
fn the_walk_looks_inside_an_io_error() {
    let nested = io::Error::other(io::Error::other(wrapped(reset(), 3)));
    assert_eq!(verdict(&nested).reason(), Reason::RESET);
}

#[test]
fn rule_3_of_equal_evidence_the_deepest_decides() {
    let nested = io::Error::new(io::ErrorKind::TimedOut, wrapped(reset(), 3));
    assert_eq!(verdict(&nested).reason(), Reason::RESET);
    let nested = io::Error::new(io::ErrorKind::ConnectionReset, io::Error::from(io::ErrorKind::TimedOut));
    assert_eq!(verdict(&nested).reason(), Reason::TIMEOUT);
}

#[test]
fn rule_4_the_outermost_classified_error_decides() {
    let inner = ClassifiedError::with_source(Verdict::terminal(), reset());
    assert_eq!(verdict(&wrapped(inner, 3)).class(), Class::Terminal);

    let inner = ClassifiedError::with_source(Verdict::terminal(), reset());
    let outer = ClassifiedError::with_source(Verdict::ambiguous(), wrapped(inner, 3));
    assert_eq!(verdict(&io::Error::other(outer)).class(), Class::Ambiguous);
}

#[test]
fn the_walk_looks_inside_a_box_and_an_arc() {
    let judged = || ClassifiedError::with_source(Verdict::terminal(), reset());
    let held: [Box<dyn Error + Send + Sync>; 4] = [
        Box::new(Box::new(judged())),
        Box::new(Arc::new(judged())),
        Box::new(wrapped(Box::new(judged()), 3)),
        Box::new(Arc::<dyn Error + Send + Sync>::from(Box::from(judged()))),
    ];
    for error in held {
        assert_eq!(
            ClassifiedError::find(&*error).map(ClassifiedError::verdict),
            Some(Verdict::terminal()),
            "{error:?}"
        );
        assert_eq!(verdict(&*error), Verdict::terminal(), "{error:?}");
    }
    for error in
        [&Box::new(reset()) as &(dyn Error + 'static), &Arc::new(reset()), &Box::new(io::Error::other(reset()))]
    {
        assert_eq!(verdict(error).reason(), Reason::RESET, "{error:?}");
    }
}

#[test]
fn an_open_circuit_is_terminal_unprocessed_and_neutral() {
    let breaker = CircuitBreakerLayer::new_for_http();
    breaker.breaker().force_open();
    let mut service =
        breaker.layer(tower::service_fn(|_: http::Request<()>| async { Ok::<_, Infallible>(http::Response::new(())) }));
    let call = service.call(http::Request::new(()));
    let error = futures_executor::block_on(call).unwrap_err();
    let open = Verdict::terminal().with_processed(Processed::No).with_health(Health::Neutral);
    let open = open.with_reason(Reason::CIRCUIT_OPEN);
    assert_eq!(verdict(&*error), open);
    // As `?` converts a boxed error.
    let boxed: Box<dyn Error> = Box::new(error.downcast::<CircuitOpen>().unwrap());
    assert_eq!(verdict(&*boxed), open);
    assert!(CircuitOpen::find(&*boxed).is_some());
}

#[test]
fn load_shedding_is_unprocessed_and_neutral() {
    let shed = verdict(&wrapped(tower::load_shed::error::Overloaded::new(), 2));
    let unsent = Verdict::transient().with_processed(Processed::No).with_health(Health::Neutral);
    assert_eq!(shed, unsent.with_reason(Reason::OVERLOADED));
}

#[test]
fn timeouts_of_tower_and_tokio() {
    let elapsed = tower::timeout::error::Elapsed::new();
    assert_eq!(verdict(&wrapped(elapsed, 2)), Verdict::transient().with_reason(Reason::TIMEOUT));
}
