//! The examples of the README and of the pages in `docs`, so that they stay true. They are here because some need a
//! client that only the wire tests need.

#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../README.md")]
    struct Readme;

    #[cfg(all(feature = "axum", feature = "reqwest-middleware", feature = "tonic"))]
    #[doc = include_str!("../../docs/CLIENTS.md")]
    struct Clients;

    #[cfg(feature = "serde")]
    #[doc = include_str!("../../docs/CONFIG.md")]
    struct Config;

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
