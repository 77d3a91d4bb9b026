//! The examples of the README and of the pages in `docs`, so that they stay true. They are here because some need a
//! client that only the wire tests need.

#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[cfg(feature = "axum")]
    #[doc = include_str!("../../docs/clients/AXUM.md")]
    struct Axum;

    #[doc = include_str!("../../docs/clients/FUNCTIONS.md")]
    struct Functions;

    #[doc = include_str!("../../docs/clients/HYPER.md")]
    struct Hyper;

    #[cfg(feature = "reqwest")]
    #[doc = include_str!("../../docs/clients/REQWEST.md")]
    struct Reqwest;

    #[cfg(feature = "reqwest-middleware")]
    #[doc = include_str!("../../docs/clients/REQWEST_MIDDLEWARE.md")]
    struct ReqwestMiddleware;

    #[cfg(feature = "tonic")]
    #[doc = include_str!("../../docs/clients/TONIC.md")]
    struct Tonic;

    #[doc = include_str!("../../docs/METRICS.md")]
    struct Metrics;

    #[cfg(feature = "serde")]
    #[doc = include_str!("../../docs/CONFIG.md")]
    struct Config;

    #[cfg(feature = "reqwest-middleware")]
    #[doc = include_str!("../../docs/MIGRATING.md")]
    struct Migrating;

    #[cfg(feature = "status-page")]
    #[doc = include_str!("../../docs/OBSERVING.md")]
    struct Observing;

    #[doc = include_str!("../../docs/ORDER.md")]
    struct Order;

    #[doc = include_str!("../../docs/TENANTS.md")]
    struct Tenants;

    #[doc = include_str!("../../docs/TESTING.md")]
    struct Testing;

    #[doc = include_str!("../../docs/TROUBLESHOOTING.md")]
    struct Troubleshooting;
}
