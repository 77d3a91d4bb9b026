//! The nearest a crate without a registry comes to one breaker a host: the map its user would write.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dashmap::DashMap;
use foldhash::fast::RandomState;
use http::Request;
use tower::Service;

use crate::upstream::{Body, host};

/// One service a host, each with a breaker of its own, made when the host is first seen and never forgotten.
pub(crate) struct Keyed<S, M> {
    make: M,
    services: Arc<DashMap<Box<str>, S, RandomState>>,
}

impl<S, M> Keyed<S, M>
where
    S: Service<Request<Body>> + Clone,
    M: Fn() -> S,
{
    pub(crate) fn new(make: M) -> Self {
        Self { make, services: Arc::new(DashMap::default()) }
    }

    fn service(&self, host: &str) -> S {
        match self.services.get(host) {
            Some(service) => service.clone(),
            None => self.services.entry(host.into()).or_insert_with(&self.make).clone(),
        }
    }
}

impl<S, M> Service<Request<Body>> for Keyed<S, M>
where
    S: Service<Request<Body>> + Clone,
    M: Fn() -> S,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> S::Future {
        let mut service = self.service(host(&request).as_str());
        // Always ready here, as the inner service is; asked all the same, because breakers look at their state in it.
        let _ = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        service.call(request)
    }
}

impl<S, M: Clone> Clone for Keyed<S, M> {
    fn clone(&self) -> Self {
        Self { make: self.make.clone(), services: Arc::clone(&self.services) }
    }
}
