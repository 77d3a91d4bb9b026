//! Layers as middlewares of reqwest-middleware, and its client inside a stack.

mod client;
mod extensions;
mod layer;
mod proofs;
mod tracing;

use http::Extensions;
use reqwest::{Client, ClientBuilder, Request, Response};
use reqwest_middleware::{ClientWithMiddleware, Middleware, Next, Result};
use tower_rampart::clients::reqwest::ReqwestService;

/// A client with this middleware, over one that follows no redirects.
fn client_with(middleware: impl Middleware) -> ClientWithMiddleware {
    reqwest_middleware::ClientBuilder::new(one_request(Client::builder()).client().clone()).with(middleware).build()
}

fn one_request(builder: ClientBuilder) -> ReqwestService {
    ReqwestService::from_builder(builder).unwrap()
}

/// A middleware from a closure that sees the extensions before and after the call.
struct Around<Before, After>(Before, After);

impl<Before, After> Middleware for Around<Before, After>
where
    Before: Fn(&Request, &mut Extensions) + Send + Sync + 'static,
    After: Fn(&Result<Response>, &mut Extensions) + Send + Sync + 'static,
{
    fn handle<'life0, 'life1, 'life2, 'async_trait>(
        &'life0 self,
        request: Request,
        extensions: &'life1 mut Extensions,
        next: Next<'life2>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        'life2: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            (self.0)(&request, extensions);
            let outcome = next.run(request, extensions).await;
            (self.1)(&outcome, extensions);
            outcome
        })
    }
}
