use std::net::SocketAddr;

use super::{Limit, Listeners, Setup};
use crate::certificate::Certificate;

pub(super) fn config(setup: Setup, listeners: Listeners, app: SocketAddr, certificate: &Certificate) -> String {
    let Listeners { http1, h2c, h2_tls } = listeners;
    let both = certificate.both();
    let both = both.display();
    let backend = if setup.backend_h2 { " proto h2" } else { "" };
    let limit = match setup.limit {
        None => String::new(),
        Some(limit) => {
            let deny = match limit {
                Limit::TooManyRequests => "deny_status 429 hdr Retry-After 1",
                Limit::Unavailable => "deny_status 503",
            };
            format!(
                "  stick-table type integer size 1 expire 10s store http_req_rate(1s)
  http-request track-sc0 int(1)
  http-request deny {deny} if {{ sc_http_req_rate(0) gt 1000 }}
"
            )
        }
    };
    format!(
        "global
  nbthread 2
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend front
  bind {http1} backlog 2048
  bind {h2c} proto h2 backlog 2048
  bind {h2_tls} ssl crt {both} alpn h2 backlog 2048
{limit}  default_backend app
backend app
  server app {app}{backend}
"
    )
}
